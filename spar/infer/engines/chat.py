"""From a conversation to tokens, and from generated text to the reply: what engines in process share.

The model's own chat template renders the conversation. Text that spells one of the tokenizer's special
tokens is split on its way in, or a response could forge a turn; special tokens and a reasoning model's
thinking are taken out on its way back.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from spar.errors import PromptRefused, PromptTooLong, UsageMistake
from spar.infer.engine import Request
from spar.infer.engines.thinking import OPENINGS, TAGS, without_thinking
from spar.types import Message

_JOINER = "\u2060"
_SURROGATE = re.compile("[\ud800-\udfff]")
_KEPT = 512


@dataclass(frozen=True, slots=True)
class Rendered:
    """A conversation as the model reads it."""

    ids: tuple[int, ...]
    """Token ids, ending where the reply begins."""
    thinking: bool
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
        specials = sorted(_special_tokens(tokenizer), key=len, reverse=True)
        self._shows_tags = bool(TAGS.intersection(specials))
        self._specials = re.compile("|".join(map(re.escape, specials)) or r"(?!)")
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

    def fit(self, messages: tuple[Message, ...], context: int) -> Rendered:
        """`render` for a model that holds `context` tokens, at least one of them of its reply.

        Raises
        ------
        PromptTooLong
            There is no room for a reply.
        PromptRefused
            The template cannot render this conversation.
        """
        try:
            rendered = self.render(messages)
        except Exception as error:  # a chat template may raise anything; other prompts go on
            raise PromptRefused(f"the prompt cannot be rendered: {error}") from error
        if len(rendered.ids) >= context:
            raise PromptTooLong(
                f"the prompt has {len(rendered.ids)} tokens; the model's context is {context}"
            )
        return rendered

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

    def _render(self, messages: tuple[Message, ...]) -> Rendered:
        turns = [{"role": m.role, "content": plain(m.content, self._specials)} for m in messages]
        encoded = self.tokenizer.apply_chat_template(
            turns, add_generation_prompt=True, tokenize=True, return_dict=True
        )
        ids = tuple(encoded["input_ids"])
        return Rendered(ids, self.tokenizer.decode(ids[-8:]).rstrip().endswith(OPENINGS))


def _special_tokens(tokenizer: Any) -> set[str]:
    # The tokenizer names only some of them; the others are marked in its table.
    added = getattr(tokenizer, "added_tokens_decoder", {}).values()
    marked = {token.content for token in added if token.special}
    return {token for token in (*tokenizer.all_special_tokens, *marked) if token}


def load_tokenizer(model: str, **options: Any) -> Any:
    """The tokenizer of a chat model, by transformers.

    Parameters
    ----------
    options:
        Passed on to `AutoTokenizer.from_pretrained`.

    Raises
    ------
    UsageMistake
        There is none, or it has no chat template.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(model, **options)
    except (OSError, ValueError) as error:
        raise cannot_load(model, error) from error
    if not tokenizer.chat_template:
        raise UsageMistake(
            f"--model {model}: its tokenizer has no chat template; give a chat model"
        )
    return tokenizer


def cannot_load(model: str, error: Exception) -> UsageMistake:
    """What to tell whoever named a model that transformers cannot load."""
    reason = str(error).strip().split("\n", 1)[0]
    return UsageMistake(
        f"--model {model}: cannot be loaded ({reason}); give a Hugging Face folder or hub name"
    )


def plain(text: str, specials: re.Pattern[str]) -> str:
    """The text as a model may read it, which is not how it stands in the record.

    Tokenizers and JSON take UTF-8, so a lone surrogate becomes U+FFFD; special tokens are split.
    """
    return split_tokens(_SURROGATE.sub("\ufffd", text), specials)


def split_tokens(text: str, specials: re.Pattern[str]) -> str:
    """The text with a word joiner (U+2060) inside whatever spells a special token."""
    return specials.sub(lambda match: f"{match[0][0]}{_JOINER}{match[0][1:]}", text)


def grouped(requests: Sequence[Request]) -> list[tuple[Request, int]]:
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
