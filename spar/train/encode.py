"""Encodes rows of a data file for the trainers, with the model's own chat template.

    {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]}
    {"prompt": [{"role": "user", "content": "Hi"}], "chosen": "Hello.", "rejected": "hello"}

A chosen or rejected side may also be a list with one assistant turn; other keys of a row are ignored. Texts go
through `spar.sanitize`, as in a search, so that training and search see the same tokens.

The assistant's tokens are located by rendering a conversation up to a turn and beyond it, which works for
templates with and without `{% generation %}` marks. Knows no trainer.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from spar.errors import UsageError
from spar.sanitize import sanitize, special_pattern, special_tokens
from spar.types import Message

IGNORED = -100
"""Label of a token that carries no loss."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """A tokenized conversation."""

    ids: list[int]
    """All tokens."""
    labels: list[int]
    """The same for the assistant's tokens that are trained on, `IGNORED` elsewhere."""


class Encoder:
    """Renders conversations with a tokenizer's chat template.

    Parameters
    ----------
    tokenizer:
        As loaded by transformers, with a chat template.
    stops:
        Ids of the tokens that end a reply, by the model's generation settings.
    """

    def __init__(self, tokenizer: Any, stops: Sequence[int] = ()) -> None:
        self._tokenizer = tokenizer
        specials = special_tokens(tokenizer)
        self._specials = special_pattern(specials)
        # Ordinary words must not end a reply, even if a model's settings list them.
        special_ids = set(tokenizer.convert_tokens_to_ids(sorted(specials)))
        self._stops = ({*stops} & special_ids) | {tokenizer.eos_token_id}

    def turns(self, messages: Sequence[Message]) -> list[dict[str, str]]:
        """The conversation in the template's format."""
        return [{"role": m.role, "content": sanitize(m.content, self._specials)} for m in messages]

    def encode(self, messages: Sequence[Message], train_on: Literal["last", "all"]) -> Encoded:
        """Tokens and labels of a conversation that ends with the assistant.

        The end token of a turn is trained on, what the template writes after it is not. Where the template
        writes none, the start of the next turn or the tokenizer's end token is used.

        Raises
        ------
        UsageError
            The template renders an earlier turn differently once the conversation continues.
        """
        turns = self.turns(messages)
        ids = self._render(turns)
        assistant = [i for i, turn in enumerate(turns) if turn["role"] == "assistant"]
        labels = [IGNORED] * len(ids)
        for index in assistant if train_on == "all" else assistant[-1:]:
            start, end = self._span(turns, index, ids)
            labels[start:end] = ids[start:end]
        if not self._ends(ids, labels):
            ids = [*ids, self._tokenizer.eos_token_id]
            labels = [*labels, self._tokenizer.eos_token_id]
        return Encoded(ids, labels)

    def lacks_end(self) -> bool:
        """Whether the template writes no end token after the last reply."""
        turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
        start, end = self._span(turns, 1, ids := self._render(turns))
        return not any(token in self._stops for token in ids[start:end])

    def ids(self, messages: Sequence[Message], *, reply_follows: bool = False) -> list[int]:
        """Tokens of a conversation; where a reply follows, with the tokens that start it."""
        return self._render(self.turns(messages), add_generation_prompt=reply_follows)

    def _ends(self, ids: list[int], labels: list[int]) -> bool:
        last = max(i for i, label in enumerate(labels) if label != IGNORED)
        return ids[last] in self._stops

    def _span(self, turns: list[dict[str, str]], index: int, ids: list[int]) -> tuple[int, int]:
        """The start and end of the tokens of an assistant's turn."""
        prompt = self._render(turns[:index], add_generation_prompt=True)
        start = _common(prompt, ids)
        end = _common(self._render(turns[: index + 1]), ids)
        if start < _common(self._render(turns[:index]), prompt) or end <= start:
            raise UsageError(
                f"the chat template renders turn {index + 1} differently once the conversation continues, so its "
                "tokens cannot be located; set train_on to 'last'"
            )
        ends = [i for i in range(start, end) if ids[i] in self._stops]
        if ends:
            return start, ends[-1] + 1
        follows = end < len(ids) and ids[end] in self._stops
        return start, end + follows

    def _render(self, turns: list[dict[str, str]], **options: Any) -> list[int]:
        from jinja2 import TemplateError

        try:
            encoded = self._tokenizer.apply_chat_template(
                turns, tokenize=True, return_dict=True, **options
            )
        except TemplateError as error:
            roles = ", ".join(turn["role"] for turn in turns)
            raise UsageError(
                f"the model's chat template rejects a conversation of {roles}: {error}"
            ) from error
        return list(encoded["input_ids"])


def read_conversations(path: str | Path) -> list[tuple[Message, ...]]:
    """The `messages` of each row; the last turn is the assistant's.

    Raises
    ------
    UsageError
        The file cannot be read, has no row, or a malformed one; the message names the line.
    """
    return [_conversation(row, where) for where, row in _rows(path)]


def read_pairs(path: str | Path) -> list[dict[str, tuple[Message, ...]]]:
    """`prompt`, `chosen` and `rejected` of each row; raises as `read_conversations`."""
    return [_pair(row, where) for where, row in _rows(path)]


def _conversation(row: Mapping[str, Any], where: str) -> tuple[Message, ...]:
    messages = _messages(row, "messages", where)
    user_first = next((m.role for m in messages if m.role != "system"), "") == "user"
    if not user_first or messages[-1].role != "assistant":
        roles = ", ".join(message.role for message in messages)
        raise UsageError(
            f"{where}: messages are by {roles}; the first turn must be the user's and the last the assistant's"
        )
    return messages


def _pair(row: Mapping[str, Any], where: str) -> dict[str, tuple[Message, ...]]:
    prompt = _messages(row, "prompt", where)
    if prompt[-1].role != "user":
        raise UsageError(
            f"{where}: prompt ends with the {prompt[-1].role}; the last turn must be the user's"
        )
    return {"prompt": prompt, **{side: _side(row, side, where) for side in ("chosen", "rejected")}}


def _side(row: Mapping[str, Any], side: str, where: str) -> tuple[Message, ...]:
    if isinstance(row.get(side), str):
        return (Message(role="assistant", content=row[side]),)
    messages = _messages(row, side, where)
    if [message.role for message in messages] != ["assistant"]:
        raise UsageError(f"{where}: {side} must be a text or one turn of the assistant")
    return messages


def _messages(row: Mapping[str, Any], key: str, where: str) -> tuple[Message, ...]:
    value = row.get(key)
    if not isinstance(value, list) or not value:
        problem = f"is a {type(value).__name__}" if key in row else "is missing"
        raise UsageError(f"{where}: {key!r} {problem}; give a list of turns with role and content")
    try:
        return tuple(Message.model_validate(turn) for turn in value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = ".".join(map(str, first["loc"])) or "a turn"
        raise UsageError(f"{where}: {key}: {name}: {first['msg']}") from error


def _rows(path: str | Path) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        lines = Path(path).read_bytes().split(b"\n")
    except OSError as error:
        raise UsageError(f"cannot read the data {path}: {error.strerror}") from error
    rows = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if not rows:
        raise UsageError(f"the data {path} has no example; expected one JSON object on each line")
    for number, line in rows:
        where = f"{path}:{number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{where}: not JSON ({error})") from error
        if not isinstance(row, dict):
            raise UsageError(f"{where}: expected a JSON object, got a {type(row).__name__}")
        yield where, row


def _common(left: Sequence[int], right: Sequence[int]) -> int:
    """The length of the common prefix of two sequences."""
    pairs = enumerate(zip(left, right, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(left), len(right)))
