"""From a prompt to tokens, and from generated tokens to the reply: what engines in process share.

The model's own chat template renders the conversation. Text that spells one of the tokenizer's special
tokens is split on its way in, or a response could forge a turn; special tokens and a reasoning model's
thinking are taken out on its way back. A plain prompt is read as lm-eval's hf model reads one: special
tokens that it spells are special tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from spar.errors import PromptRefused, PromptTooLong, UsageError
from spar.infer.engine import Request
from spar.infer.engines.stops import find_stop, stop_window_tokens
from spar.infer.engines.thinking import OPENINGS, TAGS, without_thinking
from spar.sanitize import replace_surrogates, sanitize, special_pattern, special_tokens
from spar.types import Message

_KEPT = 512


@dataclass(frozen=True, slots=True)
class Rendered:
    """A prompt as the model reads it."""

    ids: tuple[int, ...]
    """Token ids, ending where the reply begins."""
    thinking: bool = False
    """Whether the template has opened the model's thinking already."""


class ChatEncoder:
    """Renders conversations with a tokenizer's chat template, and reads what the model wrote.

    Parameters
    ----------
    tokenizer:
        As loaded by transformers.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        """The one that was given."""
        self._special_tokens = special_tokens(tokenizer)
        self._shows_tags = bool(TAGS.intersection(self._special_tokens))
        self._specials = special_pattern(self._special_tokens)
        self._recent: dict[tuple[Message, ...], Rendered] = {}

    def render(self, messages: tuple[Message, ...]) -> Rendered:
        """Tokens of a conversation that wants a reply; the votes on one response render it once.

        Raises
        ------
        Exception
            Whatever the template raises about this conversation.
        """
        found = self._recent.pop(messages, None) or self._render(messages)
        self._recent[messages] = found
        if len(self._recent) > _KEPT:
            self._recent.pop(next(iter(self._recent)))
        return found

    def template(self, messages: tuple[Message, ...]) -> str:
        """A conversation that wants a reply, as the chat template writes it."""
        turns = self._turns(messages)
        text = self.tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
        return str(text)

    def encode(self, text: str, *, specials: bool = True) -> tuple[int, ...]:
        """Tokens of a text as it is.

        Parameters
        ----------
        specials:
            Whether the tokenizer adds those that it puts around a text; a text that begins with the
            first of them gets none.
        """
        bos = getattr(self.tokenizer, "bos_token", None)
        adds = specials and not (bos and text.startswith(bos))
        return tuple(self.tokenizer.encode(replace_surrogates(text), add_special_tokens=adds))

    @property
    def prefix(self) -> int:
        """The token that stands before a text which nothing else stands before."""
        first = getattr(self.tokenizer, "bos_token_id", None)
        return int(self.tokenizer.eos_token_id if first is None else first)

    def fit(self, request: Request, context: int) -> Rendered:
        """A request's prompt for a model that holds `context` tokens, at least one of them of its reply.

        Raises
        ------
        PromptTooLong
            There is no room for a reply.
        PromptRefused
            The template cannot render this conversation.
        """
        try:
            rendered = self._read(request)
        except Exception as error:  # a chat template may raise anything; other prompts go on
            raise PromptRefused(f"the prompt cannot be rendered: {error}") from error
        if request.truncate:
            rendered = _truncated(rendered, request.sampling.max_tokens, context)
        if len(rendered.ids) >= context:
            raise PromptTooLong(
                f"the prompt has {len(rendered.ids)} tokens; the model's context is {context}"
            )
        return rendered

    def stop_tokens(self, stop: Sequence[str]) -> frozenset[int]:
        """Those of the stop strings that are special tokens, which no reply's text shows."""
        found = sorted(self._special_tokens.intersection(stop))
        return frozenset(self.tokenizer.convert_tokens_to_ids(found) if found else ())

    def stops(self, tokens: Sequence[int], stop: Sequence[str]) -> bool:
        """Whether the last of a reply's tokens has completed one of the stop strings."""
        if not stop:
            return False
        tail = self.tokenizer.decode(tokens[-stop_window_tokens(stop) :], skip_special_tokens=True)
        return find_stop(tail, stop) < len(tail)

    def written(self, request: Request, tokens: Sequence[int], *, thinking: bool) -> str:
        """What a request is answered: the text of generated tokens up to the first stop string.

        Parameters
        ----------
        tokens, thinking:
            As `reply` takes them.
        """
        if request.plain:
            text = str(self.tokenizer.decode(tokens, skip_special_tokens=True))
        else:
            text = self.reply(tokens, thinking)
        return text[: find_stop(text, request.sampling.stop)]

    def reply(self, tokens: Sequence[int], thinking: bool) -> str:
        """The text of generated tokens without special ones and without thinking.

        Parameters
        ----------
        tokens:
            All but the one that ended the reply.
        thinking:
            Whether the prompt had opened the thinking, as `Rendered` says.
        """
        if not self._shows_tags:
            text = self.tokenizer.decode(tokens, skip_special_tokens=True)
            return without_thinking(text, thinking)
        # The tags are special tokens themselves: without them thinking and answer run together.
        text = self.tokenizer.decode(tokens, skip_special_tokens=False)
        return self._specials.sub("", without_thinking(text, thinking))

    def _read(self, request: Request) -> Rendered:
        if not request.plain:
            return self.render(request.messages)
        return Rendered(self.encode(request.messages[0].content) or (self.prefix,))

    def _turns(self, messages: tuple[Message, ...]) -> list[dict[str, str]]:
        return [{"role": m.role, "content": sanitize(m.content, self._specials)} for m in messages]

    def _render(self, messages: tuple[Message, ...]) -> Rendered:
        encoded = self.tokenizer.apply_chat_template(
            self._turns(messages), add_generation_prompt=True, tokenize=True, return_dict=True
        )
        ids = tuple(encoded["input_ids"])
        return Rendered(ids, self.tokenizer.decode(ids[-8:]).rstrip().endswith(OPENINGS))


def _truncated(rendered: Rendered, max_tokens: int, context: int) -> Rendered:
    room = context - max_tokens
    if len(rendered.ids) <= room:
        return rendered
    if room < 1:
        raise PromptTooLong(
            f"max_tokens {max_tokens} leaves no room for a prompt in the model's context of {context}"
        )
    return replace(rendered, ids=rendered.ids[-room:])


def load_tokenizer(model: str, **options: Any) -> Any:
    """The tokenizer of a chat model, by transformers.

    Parameters
    ----------
    options:
        Passed on to `AutoTokenizer.from_pretrained`.

    Raises
    ------
    UsageError
        There is none, or it has no chat template.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(model, **options)
    except (OSError, ValueError) as error:
        raise cannot_load(model, error) from error
    if not tokenizer.chat_template:
        raise UsageError(f"--model {model}: its tokenizer has no chat template; give a chat model")
    return tokenizer


def cannot_load(model: str, error: Exception) -> UsageError:
    """What to tell whoever named a model that transformers cannot load."""
    reason = str(error).strip().split("\n", 1)[0]
    return UsageError(
        f"--model {model}: cannot be loaded ({reason}); give a Hugging Face folder or hub name"
    )


def group_samples(requests: Sequence[Request]) -> list[tuple[Request, int]]:
    """Neighbours that differ in nothing but their seeds, and these in a row: the first one and how many.

    An engine may serve such a group as one request with `n` samples.
    """
    groups: list[tuple[Request, int]] = []
    for request in requests:
        if groups:
            first, n = groups[-1]
            seed = first.sampling.seed
            expected = replace(
                first, sampling=replace(first.sampling, seed=None if seed is None else seed + n)
            )
            if request == expected:
                groups[-1] = (first, n + 1)
                continue
        groups.append((request, 1))
    return groups
