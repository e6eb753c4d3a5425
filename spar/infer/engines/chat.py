"""From conversations to tokens, and from generated tokens to replies; shared by the in-process engines.

The model's own chat template renders the conversation. Text that spells one of the tokenizer's special
tokens is split first, or a response could forge a turn; special tokens and a reasoning model's thinking are
removed from replies. A plain prompt is tokenized as lm-eval's hf model does it: special tokens that it
spells are special tokens.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from operator import attrgetter
from typing import Any

from spar.chat_template import REASONING_EFFORT, ChatTemplate
from spar.errors import PromptRefused, PromptTooLong
from spar.infer.engine import Request, Sampling, StructuredOutputs
from spar.infer.engines.stops import find_stop, stop_window_tokens
from spar.pretrained import load_pretrained_tokenizer
from spar.sanitize import replace_surrogates
from spar.thinking import (
    Answer,
    closes_thinking,
    is_tag,
    names_thinking,
    opens_thinking,
    read_answer,
)
from spar.types import Message

_CACHE_SIZE = 512


@dataclass(frozen=True, slots=True)
class Rendered:
    """A prompt as token ids."""

    ids: tuple[int, ...]
    """They end where the reply begins."""
    thinking: bool = False
    """Whether the template has opened a thinking block already."""


class ChatEncoder:
    """Renders conversations with a tokenizer's chat template, and decodes replies.

    Parameters
    ----------
    tokenizer:
        As loaded by transformers.
    note:
        Takes a line for the user, where the template needs conversations to be adapted.
    """

    def __init__(self, tokenizer: Any, note: Callable[[str], None] = lambda _: None) -> None:
        self.tokenizer = tokenizer
        self.template = ChatTemplate(tokenizer, note)
        """What renders conversations."""
        # Where tags of thinking are special tokens, thinking and answer could not be told apart without them.
        has_tags = any(map(is_tag, self.template.special_tokens))
        self.hidden_specials = self.template.special_pattern if has_tags else None
        """Special tokens that `decode` leaves in the text, to be removed from the answer; None if it leaves none."""
        self._cache: dict[tuple[tuple[Message, ...], str], Rendered] = {}

    def render(
        self, messages: tuple[Message, ...], arguments: Mapping[str, Any] | None = None
    ) -> Rendered:
        """Tokens of a conversation up to where the reply begins. Cached, for the votes on one response.

        Parameters
        ----------
        arguments:
            Variables of the chat template.

        Raises
        ------
        Exception
            Whatever the template raises for this conversation.
        """
        key = messages, json.dumps(arguments, sort_keys=True, default=str) if arguments else ""
        rendered = self._cache.pop(key, None) or self._render(messages, arguments)
        self._cache[key] = rendered
        if len(self._cache) > _CACHE_SIZE:
            self._cache.pop(next(iter(self._cache)))
        return rendered

    def render_text(
        self, messages: tuple[Message, ...], arguments: Mapping[str, Any] | None = None
    ) -> str:
        """Text of a conversation up to where the reply begins; parameters as of `render`."""
        return self.template.text(self.template.turns(messages), arguments, prompt=True)

    def encode(self, text: str, *, specials: bool = True) -> tuple[int, ...]:
        """Tokens of a text, without the chat template.

        Parameters
        ----------
        specials:
            Whether to add the tokenizer's special tokens around it; not done for a text that begins with
            the first of them.
        """
        bos = getattr(self.tokenizer, "bos_token", None)
        add_specials = specials and not (bos and text.startswith(bos))
        return tuple(
            self.tokenizer.encode(replace_surrogates(text), add_special_tokens=add_specials)
        )

    @property
    def prefix_token(self) -> int:
        """Id of the token that precedes a text without context."""
        bos = getattr(self.tokenizer, "bos_token_id", None)
        return int(self.tokenizer.eos_token_id if bos is None else bos)

    def encode_request(self, request: Request, context: int) -> Rendered:
        """The prompt of a request, for a model with a context of `context` tokens, one of them for the reply.

        Raises
        ------
        PromptTooLong
            There is no room for a reply.
        PromptRefused
            The template cannot render this conversation.
        """
        try:
            if request.plain:
                ids = self.encode(request.messages[0].content) or (self.prefix_token,)
                rendered = Rendered(ids)
            else:
                rendered = self.render(request.messages, template_arguments(request.sampling))
        except Exception as error:  # a chat template may raise anything; other prompts continue
            raise PromptRefused(f"the prompt cannot be rendered: {error}") from error
        if request.truncate:
            rendered = _truncate(rendered, request.sampling.max_tokens, context)
        if len(rendered.ids) >= context:
            raise PromptTooLong(
                f"the prompt has {len(rendered.ids)} tokens; the model's context is {context}"
            )
        return rendered

    def outputs_to_match(self, request: Request, rendered: Rendered) -> StructuredOutputs | None:
        """What the reply must match from its first token on; None where it may begin with thinking.

        A grammar of the answer would keep a reasoning model from thinking, or be met inside of its thinking.
        """
        outputs = request.sampling.structured_outputs
        if outputs is None or request.plain or not names_thinking(self.template.source):
            return outputs
        return outputs if closes_thinking(self.tokenizer.decode(rendered.ids[-8:])) else None

    def stop_token_ids(self, stop: Sequence[str]) -> frozenset[int]:
        """Ids of the stop strings that are special tokens, which the text of a reply does not show."""
        tokens = sorted(self.template.special_tokens.intersection(stop))
        return frozenset(self.tokenizer.convert_tokens_to_ids(tokens) if tokens else ())

    def ends_with_stop(self, tokens: Sequence[int], stop: Sequence[str]) -> bool:
        """Whether the last token of a reply completes one of the stop strings."""
        if not stop:
            return False
        window = tokens[-stop_window_tokens(stop) :]
        tail = self.tokenizer.decode(window, skip_special_tokens=True)
        return find_stop(tail, stop) < len(tail)

    def read_completion(self, request: Request, tokens: Sequence[int], *, thinking: bool) -> Answer:
        """What a completion says, up to the first stop string.

        Parameters
        ----------
        tokens, thinking:
            As for `decode_reply`.
        """
        if request.plain:
            answer = Answer(self.decode(tokens, plain=True))
        else:
            answer = self.decode_reply(tokens, thinking, request.messages[-1].content)
        return replace(answer, text=answer.text[: find_stop(answer.text, request.sampling.stop)])

    def decode_reply(self, tokens: Sequence[int], thinking: bool, prompt: str = "") -> Answer:
        """What generated tokens say, without special tokens and thinking.

        Parameters
        ----------
        tokens:
            Without the one that ended the reply.
        thinking:
            Whether the prompt had opened a thinking block, as in `Rendered`.
        prompt:
            The turn that is answered.
        """
        answer = read_answer(self.decode(tokens), opened=thinking, prompt=prompt)
        if self.hidden_specials is None:
            return answer
        return replace(answer, text=self.hidden_specials.sub("", answer.text))

    def decode(self, tokens: Sequence[int], *, plain: bool = False) -> str:
        """The text of generated tokens, in which thinking can still be told apart from the answer.

        Parameters
        ----------
        plain:
            Whether thinking is part of the reply, as for a plain request.
        """
        skips = plain or self.hidden_specials is None
        return str(self.tokenizer.decode(tokens, skip_special_tokens=skips))

    def _render(
        self, messages: tuple[Message, ...], arguments: Mapping[str, Any] | None
    ) -> Rendered:
        ids = tuple(self.template.ids(self.template.turns(messages), arguments, prompt=True))
        return Rendered(ids, opens_thinking(self.tokenizer.decode(ids[-8:])))


def template_arguments(sampling: Sampling) -> Mapping[str, Any]:
    """The chat template's variables for a request."""
    effort = {REASONING_EFFORT: sampling.reasoning_effort} if sampling.reasoning_effort else {}
    return {**effort, **sampling.chat_template_args}


def _truncate(rendered: Rendered, max_tokens: int, context: int) -> Rendered:
    room = context - max_tokens
    if len(rendered.ids) <= room:
        return rendered
    if room < 1:
        raise PromptTooLong(
            f"max_tokens {max_tokens} leaves no room for a prompt in the model's context of {context}"
        )
    return replace(rendered, ids=rendered.ids[-room:])


def load_tokenizer(model: str, **options: Any) -> Any:
    """Load the tokenizer of a chat model with transformers.

    Parameters
    ----------
    options:
        Passed to `AutoTokenizer.from_pretrained`.

    Raises
    ------
    UsageError
        It cannot be loaded, or has no chat template that renders what the user says.
    """
    tokenizer = load_pretrained_tokenizer(model, **options)
    ChatTemplate(tokenizer).check(model)
    return tokenizer


def group_samples(requests: Sequence[Request]) -> list[tuple[Request, int]]:
    """Group neighbours that differ only in their seeds, if these are consecutive.

    Returns the first request of each group and its size. An engine may serve a group as one request with
    `n` samples.
    """
    groups: list[tuple[Request, int]] = []
    for request in requests:
        if groups:
            first, n = groups[-1]
            seed = first.sampling.seed
            follows = request.sampling.seed == (None if seed is None else seed + n)
            follows = follows and request.on_text is None  # a callback takes one reply
            if follows and _without_seed(request) == _without_seed(first):
                groups[-1] = (first, n + 1)
                continue
        groups.append((request, 1))
    return groups


_sampling_without_seed = attrgetter(*(f.name for f in fields(Sampling) if f.name != "seed"))
_rest_of_request = attrgetter(*(f.name for f in fields(Request) if f.name != "sampling"))


def _without_seed(request: Request) -> tuple[Any, Any]:
    # Compared for every vote: `dataclasses.replace` would take far longer.
    return _rest_of_request(request), _sampling_without_seed(request.sampling)
