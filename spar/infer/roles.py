"""The roles of a search: their protocols, and the actor and the refiner that call a model.

Roles own prompts and parsing. They know neither trees nor budgets; a role that cannot do its work
raises `AttemptFailed`, which the driver writes down as a fault.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol, runtime_checkable

from spar.errors import ParseError, PromptRefused, SparError, UsageError
from spar.infer.cut_replies import count_cut, unfinished_thinking
from spar.infer.engine import Completion, Engine, Request, Sampling
from spar.templates import Templates
from spar.templates.parse import is_whole, parse_refinement, refinement_text
from spar.types import Judgement, Message, Node, Prompt, Usage

Seeds = Callable[[int], int | None]
"""Attempt number to seed."""

REFINE_ATTEMPTS = 3
"""Tries to get a refinement that can be parsed (paper, code)."""
EMPTY_DRAFT = "the draft is empty"
"""How the reason of a draft without text begins."""


@dataclass(slots=True)
class UsageCounter:
    """What a piece of work has cost so far, for the case that it is cancelled."""

    usage: Usage = Usage()


USAGE_COUNTER: ContextVar[UsageCounter | None] = ContextVar("usage_counter", default=None)
"""Where the current task's requests are added up; the driver sets it for each attempt."""


class AttemptFailed(SparError):
    """A role could not do its work; costs one attempt of the budget.

    Parameters
    ----------
    reason:
        One human-readable line.
    text:
        The last text that could not be used, if there is one.
    usage:
        What the failed work cost; by default nothing.
    is_final:
        Whether another attempt at the same node fails too, whatever its seed: then no more of the budget is spent there.
    """

    def __init__(
        self, reason: str, text: str = "", usage: Usage = Usage(), *, is_final: bool = False
    ) -> None:
        super().__init__(reason)
        self.reason, self.text = reason, text
        self.usage, self.is_final = usage, is_final


@dataclass(frozen=True, slots=True)
class Generation:
    """A draft or a refinement, as an actor or a refiner returns it; the fields are those of the `Node` made of it."""

    response: str
    reflection: str | None
    usage: Usage
    seed: int | None
    text: str | None = None
    """As the node's."""


class ActorProtocol(Protocol):
    """Who writes drafts."""

    async def draft(self, prompt: Prompt, index: int, seeds: Seeds) -> Generation: ...


@runtime_checkable
class ModelActor(ActorProtocol, Protocol):
    """An actor that drafts with a model. Jobs that prompt the model in their own way require one."""

    @property
    def engine(self) -> Engine:
        """The model's engine."""
        ...

    @property
    def sampling(self) -> Sampling:
        """How drafts are sampled."""
        ...

    @property
    def greedy_first(self) -> bool:
        """Whether the first draft of a tree is decoded greedily."""
        ...


class RefinerProtocol(Protocol):
    """Writes a refinement of a judged node, or raises `AttemptFailed`; may also `merge(prompt, parents, seeds)` two of them."""

    async def refine(self, prompt: Prompt, parent: Node, seeds: Seeds) -> Generation: ...


class Judge(Protocol):
    """Turns a response into a judgement and what it cost, or raises `AttemptFailed`; `seeds(n)` is the seed of attempt n."""

    async def judge(
        self, prompt: Prompt, response: str, seeds: Seeds
    ) -> tuple[Judgement, Usage]: ...


@runtime_checkable
class ModelJudge(Judge, Protocol):
    """A judge that calls a model. Jobs that prompt the judge's model in their own way require one."""

    @property
    def engine(self) -> Engine:
        """The model's engine."""
        ...


@runtime_checkable
class VotingJudge(Judge, Protocol):
    """A judge that votes in rounds, and votes again when a round decides nothing."""

    def one_round(self) -> Judge:
        """The same judge limited to one round of votes, whose result counts even if it is a tie."""
        ...


@dataclass(frozen=True, slots=True)
class Roles:
    """The actor, the judge and the refiner of a search."""

    actor: ActorProtocol
    judge: Judge
    refiner: RefinerProtocol

    def model_actor(self) -> ModelActor:
        """The actor, for jobs that call its model directly.

        Raises
        ------
        UsageError
            The actor does not draft with a model.
        """
        if isinstance(self.actor, ModelActor):
            return self.actor
        raise UsageError(
            f"the actor {type(self.actor).__name__} calls no model, and this job calls the actor's model "
            "directly; use an actor with the attributes engine, sampling and greedy_first"
        )

    def judge_engine(self) -> Engine:
        """The engine of the judge's model, for jobs that call it directly.

        Raises
        ------
        UsageError
            The judge calls no model.
        """
        if isinstance(self.judge, ModelJudge):
            return self.judge.engine
        raise UsageError(
            f"the judge {type(self.judge).__name__} calls no model, and this job calls the judge's model "
            "directly; use --judge votes, or a judge with the attribute engine"
        )

    def with_one_round(self) -> Roles:
        """The roles with a judge that votes once; a judge that does not vote in rounds stays as it is."""
        if isinstance(self.judge, VotingJudge):
            return replace(self, judge=self.judge.one_round())
        return self


@dataclass(frozen=True, slots=True)
class Actor:
    """Writes drafts: the prompt as it is, through the model's own chat template."""

    engine: Engine
    sampling: Sampling
    greedy_first: bool = True
    """Whether the first draft of a tree is decoded greedily, so that every strategy starts alike."""
    completes: bool = False
    """Whether it goes on where the prompt stops, without the chat template; the first line of such a
    draft keeps its indentation."""

    async def draft(self, prompt: Prompt, index: int, seeds: Seeds) -> Generation:
        """The draft at `index` among the tree's drafts."""
        greedy = self.greedy_first and index == 0
        sampling = replace(self.sampling, temperature=0.0) if greedy else self.sampling
        sampling = replace(sampling, seed=seeds(0))
        request = Request(prompt.messages, sampling, plain=self.completes)
        (reply,), usage = await ask(self.engine, [request])
        is_cut = reply.finish == "length"
        usage += count_cut("actor", [is_cut], sampling.max_tokens)
        if not reply.text.strip():
            reason = EMPTY_DRAFT
            if reply.unfinished_thinking:
                reason = f"{reason}: {unfinished_thinking('--max-new-tokens')}"
            elif reply.empty_reason:
                reason = f"{reason}: {reply.empty_reason}"
            elif is_cut:
                reason = f"{reason}: it was cut at {sampling.max_tokens:,} tokens"
            raise AttemptFailed(reason, reply.text, usage)
        text = reply.text.rstrip() if self.completes else reply.text.strip()
        return Generation(text, None, usage, sampling.seed)


@dataclass(frozen=True, slots=True)
class Refiner:
    """Writes refinements: continues the judge's conversation with the stored critique."""

    reads_critique_only: ClassVar[bool] = True
    """Whether a refinement follows from the node's response and critique alone, so that it may be written before
    all votes are in."""

    engine: Engine
    sampling: Sampling
    templates: Templates

    async def refine(self, prompt: Prompt, parent: Node, seeds: Seeds) -> Generation:
        """A refinement of a judged node."""
        return await self._write(refine_messages(self.templates, prompt, parent), seeds)

    async def merge(self, prompt: Prompt, parents: tuple[Node, Node], seeds: Seeds) -> Generation:
        """One refinement out of two judged nodes and their critiques."""
        return await self._write(refine_messages(self.templates, prompt, *parents), seeds)

    async def _write(self, messages: tuple[Message, ...], seeds: Seeds) -> Generation:
        usage, text, reason = Usage(), "", ""
        for attempt in range(REFINE_ATTEMPTS):
            sampling = replace(self.sampling, seed=seeds(attempt))
            (reply,), cost = await ask(self.engine, [Request(messages, sampling)], usage)
            text, is_cut = reply.text, reply.finish == "length" and not is_whole(reply.text)
            usage = cost + count_cut("refiner", [is_cut], sampling.max_tokens)
            if reply.unfinished_thinking:
                reason = unfinished_thinking("--refine-max-new-tokens")
                continue
            if reply.empty_reason:
                reason = f"the reply is empty: {reply.empty_reason}"
                continue
            try:
                refinement = parse_refinement(text)
            except ParseError as error:
                cut = f": it was cut at {sampling.max_tokens:,} tokens" if is_cut else ""
                reason = f"{error}{cut}"
                continue
            original = None if refinement_text(refinement) == text else text
            return Generation(
                refinement.response, refinement.reflection, usage, sampling.seed, original
            )
        raise AttemptFailed(f"{reason} ({REFINE_ATTEMPTS} attempts)", text, usage)


def judge_messages(templates: Templates, prompt: Prompt, response: str) -> tuple[Message, ...]:
    """The judge's conversation about a response."""
    return templates.judge_conversation(prompt.messages, response)


def refine_messages(
    templates: Templates, prompt: Prompt, parent: Node, second: Node | None = None
) -> tuple[Message, ...]:
    """The refiner's conversation about a node, or two; the judge's conversation is its prefix, token for token.

    Raises
    ------
    AttemptFailed
        The parent was never judged, so there is no critique to continue.
    """
    reviewed = []
    for node in (parent, second) if second else (parent,):
        if node.judgement is None:
            raise AttemptFailed(f"node {node.id} has no critique to refine from", "", Usage())
        reviewed.append((node.response, node.judgement.critique))
    (response, critique), *other = reviewed
    return templates.refine_conversation(prompt.messages, response, critique, *other)


async def ask(
    engine: Engine, requests: Sequence[Request], spent: Usage = Usage()
) -> tuple[list[Completion], Usage]:
    """Send requests together; returns the replies and `spent` plus what they cost.

    Raises
    ------
    AttemptFailed
        The engine will not serve the prompt: it does not fit in the model's context, for instance.
    """
    start, counter = time.monotonic(), USAGE_COUNTER.get() or UsageCounter()
    try:
        replies = await engine.generate(requests)
    except asyncio.CancelledError:
        counter.usage += Usage(aborted_calls=len(requests))
        raise
    except PromptRefused as error:
        raise AttemptFailed(str(error), "", spent) from error
    cost = Usage(
        calls=len(replies),
        prompt_tokens=sum(reply.prompt_tokens for reply in replies),
        cached_tokens=sum(reply.cached_tokens for reply in replies),
        completion_tokens=sum(reply.completion_tokens for reply in replies),
        seconds=time.monotonic() - start,
    )
    counter.usage += cost
    return replies, spent + cost


@dataclass(frozen=True, slots=True)
class FunctionRefiner:
    """A plain function as a refiner.

    Parameters
    ----------
    function:
        Called with the prompt and the node to refine, whose judgement has the critique; returns the
        refined response, or a reflection and the response. May be `async`.
    """

    function: Callable[[Prompt, Node], Any]

    async def refine(self, prompt: Prompt, parent: Node, seeds: Seeds) -> Generation:
        """Call the function; costs no call of a model."""
        returned = self.function(prompt, parent)
        result = await returned if inspect.isawaitable(returned) else returned
        if isinstance(result, Generation):
            return result
        pair = isinstance(result, tuple) and len(result) == 2
        reflection, response = result if pair else (None, result)
        if not isinstance(response, str | None) or not isinstance(reflection, str | None):
            raise UsageError(
                f"a refiner returned {result!r}; expected a text, (reflection, text), or a spar.Generation"
            )
        if not response or not response.strip():
            raise AttemptFailed("the refiner returned no text", "", Usage())
        return Generation(response, reflection, Usage(), seeds(0))


@dataclass(frozen=True, slots=True)
class RefinerSpec:
    """A refiner, and what spar must know of it; `make` gets the refiner's engine and sampling, and the templates."""

    make: Callable[[Engine, Sampling, Templates], RefinerProtocol]
    uses_model: bool = True
    """Whether it calls the refiner's model, which is then loaded."""
    check_prompts: Callable[[Iterable[Prompt]], None] | None = None
    """Raises `UsageError` if it can refine responses to none of the prompts; called before anything is generated,
    and reads no further than it must."""


MODEL = RefinerSpec(Refiner)
"""The paper's refiner: the model continues the judge's conversation."""


def as_refiner_spec(target: object) -> RefinerSpec:
    """A spec as it is, or one of a refiner or of a function of a prompt and a node, which call no model.

    Raises
    ------
    UsageError
        It is none of these.
    """
    if isinstance(target, RefinerSpec):
        return target
    refiner: Any = target if hasattr(target, "refine") else None
    if refiner is None and callable(target):
        refiner = FunctionRefiner(target)
    if refiner is None or isinstance(target, type):
        raise UsageError(
            f"{target!r} is not a refiner; expected a RefinerSpec, an object with a method `refine`, or a "
            "function (prompt, node) -> text"
        )
    return RefinerSpec(lambda *_: refiner, uses_model=False)
