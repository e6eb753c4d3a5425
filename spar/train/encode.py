"""Encodes conversations for the trainers, with the model's own chat template, as a search renders them.

The last reply is trained on in the context that a search gives it: the prompt as `spar.chat_template` renders it there,
up to where the reply begins, then the reply and its end. What the template writes between them (an empty
thinking block, a channel) is context without loss; a thinking block that the prompt opens is closed. White space that begins
a reply is not merged into the context's last token. Earlier replies are
located by rendering a conversation up to a turn and beyond it, which works for templates with and without
`{% generation %}` marks. No thinking is trained on. Knows no trainer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

from spar.chat_template import ChatTemplate, Turn
from spar.errors import UsageError
from spar.thinking import closing_tag, opens_thinking
from spar.types import Message

IGNORED = -100
"""Label of a token that carries no loss."""
_PROBE = Message(role="assistant", content="Maple comet 9")


@dataclass(frozen=True, slots=True)
class Encoded:
    """A tokenized conversation."""

    ids: list[int]
    """All tokens."""
    labels: list[int]
    """The same for the assistant's tokens that are trained on, `IGNORED` elsewhere."""


@dataclass(frozen=True, slots=True)
class Rendering:
    """The text of a conversation that ends with the assistant."""

    context: str
    """Up to where the last reply begins, as a search renders it."""
    reply: str
    """The reply and what ends it."""


@dataclass(frozen=True, slots=True)
class _Seam:
    """How a prompt and a reply meet in a template's text of both."""

    dropped: int
    """Characters at the prompt's end that only stand where the reply is still to come."""
    opening: str
    """What the template writes between them, if it is more than white space."""


class Encoder:
    """Renders conversations with a tokenizer's chat template.

    Parameters
    ----------
    tokenizer:
        As loaded by transformers, with a chat template.
    stops:
        Ids of the tokens that end a reply, by the model's generation settings.
    arguments:
        Variables of the chat template, as in the searches that the model is trained for.
    note:
        Takes a line for the user, where the template needs conversations to be adapted.
    """

    def __init__(
        self,
        tokenizer: Any,
        stops: Sequence[int] = (),
        arguments: Mapping[str, Any] | None = None,
        note: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._tokenizer, self._arguments = tokenizer, arguments
        self.template = ChatTemplate(tokenizer, note)
        """What renders conversations."""
        # Ordinary words must not end a reply, even if a model's settings list them.
        special_ids = tokenizer.convert_tokens_to_ids(sorted(self.template.special_tokens))
        self._stops = ({*stops} & {*special_ids}) | {tokenizer.eos_token_id}
        self._seams: dict[tuple[str, ...], _Seam] = {}

    def turns(self, messages: Sequence[Message]) -> list[Turn]:
        """The conversation in the template's format."""
        return self.template.turns(messages)

    def rendering(self, messages: Sequence[Message]) -> Rendering:
        """The text of a conversation that ends with the assistant.

        Raises
        ------
        UsageError
            The template rejects the conversation, or renders its earlier turns differently without the reply.
        """
        turns = self.turns(messages)
        prompt, whole = self._text(turns[:-1], prompt=True), self._text(turns)
        seam = self._seam(turns, prompt)
        shared = prompt[: len(prompt) - seam.dropped] + seam.opening
        if not whole.startswith(shared):
            raise _loses_context()
        context = prompt + seam.opening
        if opens_thinking(context):
            context += closing_tag(context) + "\n\n"
        return Rendering(context, whole[len(shared) :])

    def encode(self, messages: Sequence[Message], train_on: Literal["last", "all"]) -> Encoded:
        """Tokens and labels of a conversation that ends with the assistant.

        The end token of a turn is trained on, what the template writes after it is not. Where the template
        writes none, the start of the next turn or the tokenizer's end token is used.

        Raises
        ------
        UsageError
            The template renders an earlier turn differently once the conversation continues.
        """
        turns, rendering = self.turns(messages), self.rendering(messages)
        context = self.tokens(rendering.context)
        ids = self._joined(context, rendering)
        spans = [self._cut(_common(context, ids), len(ids), ids)]
        if train_on == "all":
            roles = enumerate(turn["role"] for turn in turns[:-1])
            spans += [self._span(turns, i, ids) for i, role in roles if role == "assistant"]
        labels = [IGNORED] * len(ids)
        for start, end in spans:
            labels[start:end] = ids[start:end]
        if not self._ends(ids, labels):
            ids = [*ids, self._tokenizer.eos_token_id]
            labels = [*labels, self._tokenizer.eos_token_id]
        return Encoded(ids, labels)

    @cached_property
    def lacks_end(self) -> bool:
        """Whether the template writes no end token after the last reply."""
        messages = (Message(role="user", content="a"), Message(role="assistant", content="b"))
        return not any(
            token in self._stops for token in self.tokens(self.rendering(messages).reply)
        )

    def ids(self, messages: Sequence[Message], *, reply_follows: bool = False) -> list[int]:
        """Tokens of a conversation that ends with the assistant, or of the context of a reply that follows."""
        if reply_follows:
            return self.tokens(self._text(self.turns(messages), prompt=True))
        rendering = self.rendering(messages)
        return self._joined(self.tokens(rendering.context), rendering)

    def text(self, messages: Sequence[Message]) -> Rendering:
        """As `rendering`, with the tokenizer's end token where the template writes none."""
        rendering = self.rendering(messages)
        end = self._tokenizer.eos_token if self.lacks_end else ""
        return replace(rendering, reply=rendering.reply + end)

    def tokens(self, text: str) -> list[int]:
        """Tokens of a rendered text."""
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def _joined(self, context: list[int], rendering: Rendering) -> list[int]:
        """Tokens of a rendering that begin with those of its context, as in a search, where the reply follows them.

        A reply that begins with white space may otherwise merge with the line break before it.
        """
        ids = self.tokens(rendering.context + rendering.reply)
        if ids[: len(context)] == context:
            return ids
        apart = [*context, *self.tokens(rendering.reply)]
        # A tokenizer that puts a space before every text would put one into the middle of this one.
        same = self._tokenizer.decode(apart) == self._tokenizer.decode(ids)
        return apart if same else ids

    def _ends(self, ids: list[int], labels: list[int]) -> bool:
        last = max((i for i, label in enumerate(labels) if label != IGNORED), default=None)
        return last is not None and ids[last] in self._stops

    def _seam(self, turns: Sequence[Turn], prompt: str) -> _Seam:
        """How a prompt and a reply meet; it depends on the roles only, and is found with a word as the reply."""
        roles = tuple(str(turn["role"]) for turn in turns)
        if roles not in self._seams:
            asked = [_with_word(turn, index) for index, turn in enumerate(turns[:-1])]
            _, between = self._meeting(asked, self._text(asked, prompt=True))
            if any(_word(index) in between for index in range(len(asked))):
                raise _loses_context()
            self._seams[roles], _ = self._meeting(turns[:-1], prompt)
        return self._seams[roles]

    def _meeting(self, asked: Sequence[Turn], prompt: str) -> tuple[_Seam, str]:
        """Where a word in place of the reply meets a prompt, and all text that only one of the two has there."""
        probed = self._text([*asked, self.template.turns([_PROBE])[0]])
        shared = _common(prompt, probed)
        opening, _, _ = probed[shared:].partition(_PROBE.content)
        seam = _Seam(len(prompt) - shared, opening if opening.strip() else "")
        return seam, prompt[shared:] + opening

    def _span(self, turns: list[Turn], index: int, ids: list[int]) -> tuple[int, int]:
        """The start and end of the tokens of an assistant's turn before the last."""
        prompt = self.tokens(self._text(turns[:index], prompt=True))
        start = self._after(prompt, ids)
        end = _common(self.tokens(self._text(turns[: index + 1])), ids)
        if start < _common(self.tokens(self._text(turns[:index])), prompt) or end <= start:
            raise _differs(index + 1)
        return self._cut(start, end, ids)

    def _after(self, prompt: list[int], ids: list[int]) -> int:
        """Where the tokens after a prompt start, without one that white space of both was merged into."""
        start = shared = _common(prompt, ids)
        merged, text = self._tokenizer.decode(prompt[shared:]), ""
        while len(text) < len(merged) and start < len(ids):
            start += 1
            text = self._tokenizer.decode(ids[shared:start])
        return start if text.startswith(merged) else shared

    def _cut(self, start: int, end: int, ids: list[int]) -> tuple[int, int]:
        """A turn without what follows its last end token."""
        ends = [i for i in range(start, end) if ids[i] in self._stops]
        if ends:
            return start, ends[-1] + 1
        follows = end < len(ids) and ids[end] in self._stops
        return start, end + follows

    def _text(self, turns: Sequence[Turn], *, prompt: bool = False) -> str:
        from jinja2 import TemplateError

        try:
            return self.template.text(turns, self._arguments, prompt=prompt)
        except TemplateError as error:
            roles = ", ".join(turn["role"] for turn in turns)
            raise UsageError(
                f"the model's chat template rejects a conversation of {roles}: {error}; leave such conversations "
                "out, or choose a model that takes them"
            ) from error


def _word(index: int) -> str:
    return f"Violet anchor {index}"


def _with_word(turn: Turn, index: int) -> Turn:
    """A turn that says a word of its own."""
    parts = not isinstance(turn["content"], str)
    return {**turn, "content": [{"type": "text", "text": _word(index)}] if parts else _word(index)}


def _loses_context() -> UsageError:
    return UsageError(
        "the chat template renders the turns before a reply differently with and without it, so that a "
        "model would not be trained on the context that a search gives it; change its chat_template.jinja"
    )


def _differs(number: int) -> UsageError:
    return UsageError(
        f"the chat template renders turn {number} differently once the conversation continues, so its "
        "tokens cannot be located; set train_on to 'last'"
    )


def _common(left: Sequence[object], right: Sequence[object]) -> int:
    """The length of the common prefix of two sequences."""
    pairs = enumerate(zip(left, right, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(left), len(right)))
