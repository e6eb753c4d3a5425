"""The rows of a data file of the trainers: conversations, and pairs.

    {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]}
    {"prompt": [{"role": "user", "content": "Hi"}], "chosen": "Hello.", "rejected": "hello"}

A chosen or rejected side may also be a list with one assistant turn; other keys of a row are ignored. A conversation may begin with
the assistant, as a prompt may, where the chat template renders it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from spar.errors import UsageError
from spar.thinking import read_answer
from spar.types import Message

SIDES = ("chosen", "rejected")
"""The replies of a pair."""
Example = TypeVar("Example", tuple[Message, ...], dict[str, tuple[Message, ...]])
E = TypeVar("E")


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


def each_row(
    path: str | Path, examples: Sequence[Example], encode: Callable[[Example], E]
) -> list[E]:
    """What `encode` makes of each example of a file; its `UsageError` names the line as well."""
    made = []
    for index, example in enumerate(examples):
        try:
            made.append(encode(example))
        except UsageError as error:
            where, _ = next(islice(_rows(path), index, None))
            raise UsageError(f"{where}: {error}") from error
    return made


def without_thinking(examples: list[Example]) -> tuple[list[Example], int]:
    """The examples of a file without thinking in the assistant's turns, and how many had any."""
    stripped = [_stripped(example) for example in examples]
    return stripped, sum(a != b for a, b in zip(stripped, examples, strict=True))


def _stripped(example: Any) -> Any:
    if not isinstance(example, dict):
        return _without_thinking(example)
    prompt = _without_thinking(example["prompt"])
    stripped = {side: _without_thinking((*prompt, *example[side]))[len(prompt) :] for side in SIDES}
    return {"prompt": prompt, **stripped}


def _without_thinking(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    asked = ("", *(message.content for message in messages))
    return tuple(
        message.model_copy(update={"content": read_answer(message.content, prompt=before).text})
        if message.role == "assistant"
        else message
        for message, before in zip(messages, asked, strict=False)
    )


def _conversation(row: Mapping[str, Any], where: str) -> tuple[Message, ...]:
    messages = _messages(row, "messages", where)
    roles = [message.role for message in messages]
    if roles[-1] != "assistant" or "user" not in roles:
        raise UsageError(
            f"{where}: messages are by {', '.join(roles)}; one turn must be the user's and the last the assistant's"
        )
    return messages


def _pair(row: Mapping[str, Any], where: str) -> dict[str, tuple[Message, ...]]:
    prompt = _messages(row, "prompt", where)
    if prompt[-1].role != "user":
        raise UsageError(
            f"{where}: prompt ends with the {prompt[-1].role}; the last turn must be the user's"
        )
    return {"prompt": prompt, **{side: _side(row, side, where) for side in SIDES}}


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
