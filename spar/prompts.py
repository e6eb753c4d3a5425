"""Prompts from a file, from standard input, or from one text.

    {"prompt": "Write two lines about rain.", "key": 1001, "instruction_id_list": ["..."]}
    {"id": "a7", "messages": [{"role": "user", "content": "Write two lines about rain."}]}

A `.jsonl` or `.json` file has one such object a line. A `.txt` file has one prompt a line. On
standard input (`-`) a line that starts with `{` is an object and any other line is a prompt. Blank lines
are skipped. All fields but `id`, `prompt` and `messages` become the prompt's `meta`.

The id of a prompt is its `id`; else its `key` (IFEval's name for it, which stays in `meta` too);
else a derived id such as `000017-1f2e3d4c`: the line number and the first 8 hex digits of the SHA-256
of the messages.

Rows are read one at a time; only the ids stay in memory. A bad row raises a `UsageError` of one line
that names the file, the line, the value received and the values accepted.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, get_args

from spar.errors import UsageError
from spar.types import ChatRole, Message, Prompt

STANDARD_INPUT = "-"
JSON_SUFFIXES = (".jsonl", ".json")
TEXT_SUFFIX = ".txt"
CHAT_ROLES: tuple[str, ...] = get_args(ChatRole)
MAX_DEPTH = 100
"""Maximum nesting of a row; much deeper rows cannot be written as part of a tree."""
SHOWN_CHARACTERS = 60
"""Length at which values in an error message are cut."""
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def read_prompts(source: str | Path, limit: int | None = None) -> Iterator[Prompt]:
    """Stream the prompts of `source`, a path or `-`, at most `limit` of them.

    Nothing is read before the first prompt is requested, and nothing past the last.

    Raises
    ------
    UsageError
        Immediately: no such file, a directory, an unknown suffix, a negative limit. When the stream
        reaches it: a bad row, a duplicate id, text that is not UTF-8, or no prompt at all.
    """
    if limit is not None and limit < 0:
        raise UsageError(f"the limit is {limit} prompts; accepted: 0 or more")
    if str(source) == STANDARD_INPUT:
        return islice(_stream(None, "standard input"), limit)
    path = Path(source)
    _check_path(path)
    return islice(_stream(path, str(path)), limit)


def prompt_from_text(text: str, source: str = "--prompt", number: int = 1) -> Prompt:
    """The prompt with one user turn; raises `UsageError` if the text is blank.

    Parameters
    ----------
    source:
        Name of the text's origin, stored as the prompt's `source` and used in messages.
    number:
        Position of the text in the source; part of the id.
    """
    if not text.strip():
        raise UsageError(f"{source} is blank; pass a text")
    return _prompt_of_line(text, number, source)


def prompt_from_row(row: dict[str, Any], number: int, source: str) -> Prompt:
    """The prompt of a row of a `.jsonl` file; raises `UsageError` for a bad row."""
    if _is_deeper(row, MAX_DEPTH):
        _reject(f"{source}:{number}", f"nested deeper than {MAX_DEPTH} levels", "a flatter row")
    return _prompt_of_row(row, number, source)


def _check_path(path: Path) -> None:
    accepted = (*JSON_SUFFIXES, TEXT_SUFFIX)
    if path.is_dir():
        raise UsageError(f"{path} is a directory; pass a file ({', '.join(accepted)})")
    if not path.exists():
        raise UsageError(
            f"there is no file {path}; pass a file of prompts, or - for standard input"
        )
    if path.suffix.lower() not in accepted:
        raise UsageError(
            f"{path} ends in {path.suffix!r}; accepted: {', '.join(accepted)}, "
            f"or {STANDARD_INPUT} for standard input"
        )


def _stream(path: Path | None, source: str) -> Iterator[Prompt]:
    seen: dict[str, int] = {}
    for number, line in _lines(path, source):
        where = f"{source}:{number}"
        if _is_json(path, line):
            prompt = _prompt_of_row(_row(line, where), number, source)
        else:
            prompt = _prompt_of_line(line, number, source)
        if prompt.id in seen:
            _reject(
                where,
                f"duplicate id {_shown(prompt.id)}, also on line {seen[prompt.id]}",
                "unique ids",
            )
        seen[prompt.id] = number
        yield prompt
    if not seen:
        raise UsageError(f"{source} has no prompt; expected one per line")


def _is_json(path: Path | None, line: str) -> bool:
    if path is None:
        return line.lstrip().startswith("{")
    return path.suffix.lower() in JSON_SUFFIXES


def _lines(path: Path | None, source: str) -> Iterator[tuple[int, str]]:
    """Line number and text of the lines that are not blank; only `\\n` and `\\r\\n` end a line."""
    with _opened(path) as handle:
        for number, data in enumerate(handle, start=1):
            if number == 1:
                data = data.removeprefix(BYTE_ORDER_MARK)
            data = data[:-2] if data.endswith(b"\r\n") else data.removesuffix(b"\n")
            line = _decoded(data, f"{source}:{number}")
            if line.strip():
                yield number, line


def _opened(path: Path | None) -> AbstractContextManager[BinaryIO]:
    if path is None:
        return nullcontext(sys.stdin.buffer)
    try:
        return path.open("rb")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error


def _decoded(data: bytes, where: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        byte = f"0x{data[error.start]:02x} at byte {error.start + 1} of the line"
        _reject(where, byte, "UTF-8 text")


def _row(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        at = f" at column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        _reject(where, f"not JSON{at}: {_cut(ascii(line)[1:-1])}", "one JSON object per line")
    if _is_deeper(row, MAX_DEPTH):
        _reject(where, f"nested deeper than {MAX_DEPTH} levels", "a flatter row")
    if not isinstance(row, dict):
        _reject(where, _shown(row), "one JSON object per line")
    return row


def _is_deeper(value: Any, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper(item, levels - 1) for item in inner)


def _prompt_of_line(line: str, number: int, source: str) -> Prompt:
    messages = (Message(role="user", content=line),)
    return Prompt(id=_derived_id(messages, number), messages=messages, source=source)


def _prompt_of_row(row: dict[str, Any], number: int, source: str) -> Prompt:
    where = f"{source}:{number}"
    messages = _messages(row, where)
    return Prompt(
        id=_explicit_id(row, where) or _derived_id(messages, number),
        messages=messages,
        source=source,
        meta={name: row[name] for name in row if name not in ("id", "prompt", "messages")},
    )


def _explicit_id(row: dict[str, Any], where: str) -> str | None:
    name = next((name for name in ("id", "key") if name in row), None)
    if name is None:
        return None
    value = row[name]
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        _reject(where, f"{name!r} is {_shown(value)}", "a non-empty string or an integer")
    return str(value)


def _derived_id(messages: tuple[Message, ...], number: int) -> str:
    text = json.dumps([[message.role, message.content] for message in messages])
    return f"{number:06d}-{hashlib.sha256(text.encode('ascii')).hexdigest()[:8]}"


def _messages(row: dict[str, Any], where: str) -> tuple[Message, ...]:
    messages: tuple[Message, ...]
    match [name for name in ("prompt", "messages") if name in row]:
        case ["prompt"]:
            messages = (_single(row["prompt"], where),)
        case ["messages"]:
            messages = _conversation(row["messages"], where)
        case []:
            _reject(where, f"a row with {_shown(list(row))}", "a row with 'prompt' or 'messages'")
        case _:
            _reject(where, "both 'prompt' and 'messages'", "exactly one of them")
    if not messages[-1].content.strip():
        _reject(where, f"a blank prompt, {_shown(messages[-1].content)}", "non-blank text")
    return messages


def _single(value: Any, where: str) -> Message:
    if not isinstance(value, str):
        accepted = "a string, or a conversation in 'messages'"
        _reject(where, f"'prompt' is {_shown(value)}", accepted)
    return Message(role="user", content=value)


def _conversation(value: Any, where: str) -> tuple[Message, ...]:
    if not isinstance(value, list) or not value:
        _reject(where, f"'messages' is {_shown(value)}", "a list of at least one message")
    messages = tuple(
        _message(turn, f"'messages'[{index}]", where) for index, turn in enumerate(value)
    )
    if messages[-1].role != "user":
        _reject(where, f"the last message has the role {messages[-1].role!r}", "'user'")
    return messages


def _message(turn: Any, name: str, where: str) -> Message:
    if not isinstance(turn, dict) or turn.keys() != {"role", "content"}:
        _reject(where, f"{name} is {_shown(turn)}", "an object with exactly 'role' and 'content'")
    if turn["role"] not in CHAT_ROLES:
        _reject(where, f"{name} has the role {_shown(turn['role'])}", ", ".join(CHAT_ROLES))
    if not isinstance(turn["content"], str):
        _reject(where, f"{name} has the content {_shown(turn['content'])}", "a string")
    return Message(role=turn["role"], content=turn["content"])


def _reject(where: str, received: str, accepted: str) -> NoReturn:
    raise UsageError(f"{where}: {received}; accepted: {accepted}")


def _shown(value: Any) -> str:
    return _cut(json.dumps(value))


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."
