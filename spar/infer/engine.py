"""The engine protocol: turn requests into completions. Optional protocols: score text, constrain replies, report statistics.

An engine knows conversations and sampling settings. It does not know roles, templates, trees or
budgets. Batching is its own business: callers submit what they have the moment they have it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from spar.types import Message

if TYPE_CHECKING:
    from pydantic import BaseModel

    from spar.config import DecodeConfig

Finish = Literal["stop", "length"]
"""Why a completion ended: the model's end of turn or a stop string, or the token limit."""

NoteCallback = Callable[[str], None]
"""Takes a human-readable line: a choice that was made, a warning."""

TREE: ContextVar[int] = ContextVar("tree", default=0)
"""Admission number of the tree that the current task searches; `decode` sets it for each of them."""


PROMPT_ID: ContextVar[str] = ContextVar("prompt_id", default="")
"""Id of the prompt whose tree that is; "" outside a run."""

OnText = Callable[[str], None]
"""Takes the beginning of a reply while it is generated; each call replaces what earlier ones said."""

ON_TEXT: ContextVar[OnText | None] = ContextVar("on_text", default=None)
"""Callback for the replies to the requests that the current task makes; None for none."""


@dataclass(frozen=True, slots=True)
class StructuredOutputs:
    """What a reply must match: a JSON schema or a regular expression, one of the two."""

    json: Mapping[str, Any] | None = field(default=None, hash=False)
    """A JSON schema; OpenAI's own servers take an object at the top, with all properties required and no others."""
    regex: str = ""
    """A regular expression that the whole reply matches."""

    def __post_init__(self) -> None:
        """Refuse none and both."""
        if (self.json is None) == (not self.regex):
            raise ValueError("pass a JSON schema or a regular expression, one of the two")


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next tokens are drawn."""

    temperature: float = 0.0
    """0 is greedy; otherwise the logits are divided by it."""
    top_p: float = 1.0
    """Nucleus: smallest set of tokens whose probability reaches this; 1 keeps all."""
    max_tokens: int = 512
    """Most tokens to generate."""
    seed: int | None = None
    """Same seed, same request, same engine: same text. None draws afresh."""
    top_logprobs: int = 0
    """How many alternatives' log-probabilities to return at each token; 0 returns none."""
    stop: tuple[str, ...] = ()
    """The reply ends before the first of these that the model writes; () ends it nowhere."""
    top_k: int = 0
    """Only the k most likely tokens; 0 keeps all."""
    min_p: float = 0.0
    """Only tokens at least this likely relative to the most likely one; 0 keeps all."""
    reasoning_effort: str = ""
    """How long a reasoning model thinks: low, medium or high; "" leaves it to the model."""
    chat_template_args: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Variables of the chat template that renders the conversation, such as `enable_thinking`."""
    extra_body: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Further fields of a request to a server; other engines ignore them."""
    structured_outputs: StructuredOutputs | None = None
    """What the reply must match, thinking aside; None for any text. Only a `StructuredEngine` reads it, and a server
    that refuses it is asked without it, so a caller must be able to read other replies too."""


@dataclass(frozen=True, slots=True)
class Request:
    """One conversation that wants one reply."""

    messages: tuple[Message, ...]
    """Ends with the user's turn."""
    sampling: Sampling = Sampling()
    tree: int = field(default_factory=TREE.get)
    """Admission number of its tree, 0 for none. Engines with several replicas keep a tree on one of them,
    so that its prefix cache is reused. Requests are served first come, first served, whatever this is;
    only vLLM with `--engine-arg scheduling_policy=priority` serves older trees first."""
    adapter: str = ""
    """One of the deployment's adapters to apply, "" for the plain model."""
    plain: bool = False
    """Whether the only message's content is the prompt as it is, without the chat template; then the
    completion's text is all that the model writes, thinking included."""
    truncate: bool = False
    """Whether a prompt that leaves no room for `max_tokens` loses its first tokens, where otherwise it
    would be too long or its reply be cut short. A server's prompts are never truncated."""
    on_text: OnText | None = field(default_factory=ON_TEXT.get, compare=False, repr=False)
    """Called while the reply is generated, by an engine that can; None for no callback, which costs nothing.
    It is called in the caller's event loop, before `generate` returns and not once that is cancelled, with as much of
    the completion's text as no later token is expected to change: without thinking, stop strings and halves of
    characters. It must return at once and raise nothing. `spar.infer.streaming.stream` makes deltas of it, and gives
    the whole text once where an engine never calls it."""

    def __post_init__(self) -> None:
        """Refuse what cannot be: a plain prompt of several turns."""
        if self.plain and len(self.messages) != 1:
            raise ValueError(f"a plain request has one message, not {len(self.messages)}")


@dataclass(frozen=True, slots=True)
class TokenLogprobs:
    """One generated token and what else could have stood there."""

    token: str
    """The token's text."""
    top: Mapping[str, float]
    """Token text to natural log-probability at temperature 1, best first."""


@dataclass(frozen=True, slots=True)
class Completion:
    """The reply to one request."""

    text: str
    """Generated text without the end-of-turn token, and without a reasoning model's thinking."""
    finish: Finish
    """Why it ended: `stop` at the model's end of turn or a stop string, `length` at the token limit."""
    prompt_tokens: int
    """Tokens of the prompt, those in a prefix cache included."""
    completion_tokens: int
    """Tokens generated, thinking included."""
    logprobs: tuple[TokenLogprobs, ...] = ()
    """One entry a token with `Sampling.top_logprobs`, else empty."""
    unfinished_thinking: bool = False
    """Whether the model's thinking does not end, so that there is no text."""
    empty_reason: str = ""
    """Why there is no text, where a server says so: its content filter, a refusal, a tool call."""
    cached_tokens: int = field(default=0, compare=False)
    """Prompt tokens that were not computed for this request, since the engine's prefix cache held them
    or a request beside it has the same prompt. Depends on who came before, so equality ignores it."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """One model to open, and where it runs."""

    model: str
    """A Hugging Face folder or hub name, or the name by which a server knows it."""
    urls: tuple[str, ...] = ()
    """Base URLs of the servers that hold it, each a whole replica; only for engines behind a server."""
    adapters: tuple[str, ...] = ()
    """Folders of the LoRA adapters that requests may name."""
    share: float = 1.0
    """Share of the memory that it may take, where several models live side by side."""
    engine: str = "auto"
    """Name in the engines table of what runs it."""
    chat_template_args: tuple[Mapping[str, Any], ...] = field(default=(), compare=False)
    """Variables of the chat template that requests will bring, so that it can be checked for them."""

    def serves(self, needed: Deployment) -> bool:
        """Whether this deployment, once open, can replace another: it may hold more adapters, in less memory."""
        same = (self.model, self.urls, self.engine) == (needed.model, needed.urls, needed.engine)
        return same and self.share <= needed.share and {*self.adapters} >= {*needed.adapters}


@dataclass(frozen=True, slots=True)
class Continuation:
    """A text to score, and its context."""

    context: str | tuple[Message, ...]
    """Text as it is, or a conversation that the chat template renders up to the start of the reply.
    Where it is "", the text has no context: a longer one than the model holds is scored in windows."""
    text: str
    chat_template_args: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Variables of the chat template, where the context is a conversation."""


@dataclass(frozen=True, slots=True)
class Likelihood:
    """How likely a model finds a continuation."""

    logprob: float
    """Natural log-probability of the whole text at temperature 1."""
    greedy: bool
    """Whether each of its tokens is the most likely one at its position."""
    tokens: int
    """How many it has."""


@runtime_checkable
class Engine(Protocol):
    """What roles need of a model server, in process or remote.

    `generate` returns one completion a request, in order. Cancelling the awaiting task cancels the
    work. It raises `PromptTooLong` if a request cannot fit: a fault of its tree; and `EngineError` if one cannot be
    served: the run stops and can be resumed.
    """

    @property
    def model(self) -> str:
        """Name or path of the model, as it goes into the manifest."""
        ...

    @property
    def capacity(self) -> int:
        """Requests it can process concurrently at this moment; 0 where nothing limits it."""
        ...

    @property
    def description(self) -> str:
        """What it runs and how, in a few human-readable words."""
        ...

    async def generate(self, requests: Sequence[Request]) -> list[Completion]: ...

    async def aclose(self) -> None:
        """Free the model, stop workers. Safe to call twice."""
        ...


@runtime_checkable
class Scorer(Protocol):
    """An engine that can also score text. Optional; `spar.infer.engine_wrappers.scorer` checks for it."""

    async def score(self, continuations: Sequence[Continuation]) -> list[Likelihood]:
        """Return one likelihood per continuation, in order.

        Raises
        ------
        UsageError
            This server or deployment turns out not to support scoring.
        EngineError
            As for `Engine.generate`.
        """
        ...


@runtime_checkable
class Stats(Protocol):
    """An engine that also reports statistics. Optional; `engine_wrappers.stats` checks for it."""

    @property
    def mean_batch(self) -> float:
        """Mean number of sequences per decoding step so far; 0.0 where there is none."""
        ...

    @property
    def prefix_cache(self) -> tuple[int, int]:
        """Prompt tokens looked up in the prefix cache so far, and hits; (0, 0) without a cache."""
        ...


@runtime_checkable
class StructuredEngine(Protocol):
    """An engine that can constrain replies. Optional; `engine_wrappers.constrains` checks for it."""

    @property
    def structured_outputs(self) -> bool:
        """Whether it reads `Sampling.structured_outputs`."""
        ...


@runtime_checkable
class TokenCounter(Protocol):
    """An engine that counts tokens as it generates them. Optional; without it tokens count once their reply has ended."""

    @property
    def generated_tokens(self) -> int:
        """Tokens generated so far, those of unfinished and cancelled replies included."""
        ...


Arrangement = Literal["one", "side by side", "in turn"]
"""One model only, all at the same time, or one after the other."""


@dataclass(frozen=True, slots=True)
class Placement:
    """How the models of a run share the memory or the GPUs."""

    arrangement: Arrangement
    why: str
    """The reason, as a sentence without its full stop."""


Accepts = Literal[
    "engine_args", "adapter", "speculative_decoding", "replicas", "chat_template", "server_fields"
]
"""Groups of settings that only some engines have."""


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """An engine, and what spar must know of it before it is opened.

    The defaults are those of a remote engine of one's own that needs no URL.
    """

    open: Callable[[Deployment, DecodeConfig, NoteCallback], Engine]
    """Opens the engine of a deployment; blocks until the model is loaded. The callback takes lines for
    the user."""
    urls: Literal["required", "optional", "refused"] = "optional"
    """Whether every role that uses it needs `base_url`s, may have them, or runs in this process or on a
    cluster of its own, so that a role with a URL is served by the engine `openai`."""
    loads_models: bool = False
    """Whether it loads a model's folder itself, so that a missing one is an error before the run."""
    in_process: bool = False
    """Whether models are loaded into this machine's memory, so that two of them may have to take turns."""
    shares_memory: bool = False
    """Whether it takes its share of the memory where several models are loaded."""
    automatic: bool = False
    """Whether `auto` may have resolved to it in a stored run."""
    accepts: frozenset[Accepts] = frozenset()
    """Groups of settings that it has; others are refused."""
    place: Callable[[Sequence[Deployment], DecodeConfig], Placement] | None = None
    """Says how models that are not open yet fit on the machines that the engine has besides this one; None
    where these have room for any number, or where models are loaded into this machine's memory."""
    use_all_gpus: Callable[[DecodeConfig, NoteCallback], DecodeConfig] | None = None
    """Sets what the settings leave open so that all GPUs of this machine work, for a run with many prompts; notes
    it, or why some stay idle. None where that needs no setting."""
    options: type[BaseModel] | None = None
    """Options of its own (`--engine-arg NAME=VALUE`) as a pydantic model; None with `engine_args` in
    `accepts` passes them on unchecked."""
    parse_url: Callable[[str], str] | None = None
    """Checks a URL and returns its canonical form; raises `UsageError`."""
    served_model: Callable[[Deployment, DecodeConfig, NoteCallback], str] | None = None
    """Asks the servers of a deployment for the name of its model, before anything runs."""
    validate: Callable[[DecodeConfig], None] | None = None
    """Raises `UsageError` for settings that it cannot have."""
    packages: tuple[str, ...] = ()
    """Packages that it needs."""
