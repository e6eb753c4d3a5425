"""Rows that a person stored somewhere: in a file, in a folder of files, or in a run directory.

    {"id": "1000", "response": "..."}                              one object a line
    {"key": 1000, "prompt": "Write a ...", "output": "..."}
    [{"messages": [{"role": "user", "content": "..."}], "completion": "..."}]      one list of them
    {"doc": {"key": 1000}, "filtered_resps": ["..."]}              samples that lm-eval logs

A run directory gives its trees, an evaluation without trees its `examples.jsonl`, any other folder all
of its `.jsonl` and `.json` files in the order of their names. This module says of a row where it stands
and which prompt it names; it knows no benchmark.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from pydantic import ValidationError

from spar.errors import UsageError
from spar.prompts import JSON_SUFFIXES
from spar.record.evaluation import EXAMPLES
from spar.store import MANIFEST, TREES, read_trees
from spar.types import Prompt, SearchTree

SHOWN_CHARACTERS = 60
"""A longer value is cut in an error message."""


@dataclass(frozen=True, slots=True)
class StoredRow:
    """One row, and the prompt that it names."""

    where: str
    """File and line, for messages."""
    ids: tuple[str, ...]
    """What may be the prompt's id, likeliest first."""
    text: str | None
    """The prompt's last user turn, None where the row has no prompt."""
    content: Mapping[str, Any] | SearchTree
    """The row as it stands in the file, or the tree."""


def read_stored(path: str | Path) -> Iterator[StoredRow]:
    """Stream the rows of a file, a folder of files or a run directory; a live run's torn line is skipped.

    Raises
    ------
    UsageError
        Nothing is there; or, when the stream gets there, a line that is not JSON, no object, or names no
        prompt.
    """
    return (row for file in stored_files(Path(path)) for row in _rows(file))


def stored_files(path: Path) -> list[Path]:
    """The files that `read_stored` reads there; raises `UsageError` where nothing is."""
    if not path.exists():
        raise UsageError(
            f"there is no {path}; give a file with one JSON object a line, a folder of such files or a "
            "run directory"
        )
    if not path.is_dir():
        return [path]
    trees, examples = path / TREES, path / EXAMPLES
    if examples.is_file() and not (trees.is_file() and trees.stat().st_size):
        return [examples]
    if trees.is_file() or (path / MANIFEST).is_file():
        return [trees]
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in JSON_SUFFIXES)
    if not files:
        raise UsageError(f"{path} holds no {TREES} and no file in {' or '.join(JSON_SUFFIXES)}")
    return files


def prompt_text(prompt: Prompt) -> str:
    """The last user turn of a prompt, its last turn where no user speaks."""
    said = [message.content for message in prompt.messages if message.role == "user"]
    return said[-1] if said else prompt.messages[-1].content


def refuse(where: str, found: str, accepted: str) -> NoReturn:
    """Raise the one line that says what is wrong with a row."""
    raise UsageError(f"{where}: {found}; accepted: {accepted}")


def shown(value: Any) -> str:
    """A value for a message: short, and safe to print whatever is in it."""
    try:
        text = ascii(value)
    except RecursionError:
        return "a value nested too deep"
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."


def _rows(file: Path) -> Iterator[StoredRow]:
    if file.name == TREES:
        for number, tree in enumerate(read_trees(file), start=1):
            yield _of_tree(tree, f"{file}:{number}")
        return
    for where, value in _values(file):
        if not isinstance(value, dict):
            refuse(where, shown(value), "a JSON object")
        yield _of_object(value, where)


def _values(file: Path) -> Iterator[tuple[str, Any]]:
    text = _content(file)
    if text.lstrip().startswith("["):
        for number, value in enumerate(_parsed(text, str(file)), start=1):
            yield f"{file}, row {number}", value
        return
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield f"{file}:{number}", _parsed(line, f"{file}:{number}")


def _content(file: Path) -> str:
    try:
        return file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        refuse(str(file), f"not UTF-8 at byte {error.start + 1}", "text in UTF-8")


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        refuse(where, f"not JSON: {shown(text)}", "one JSON object a line, or one list of objects")


def _of_object(row: dict[str, Any], where: str) -> StoredRow:
    if isinstance(row.get("nodes"), list):
        try:
            return _of_tree(SearchTree.model_validate(row), where)
        except ValidationError:
            refuse(
                where, "an object with 'nodes' that is no search tree", "a line as spar wrote it"
            )
    document = row.get("doc")
    sources = (row, document) if isinstance(document, dict) else (row,)
    ids = tuple(id_ for source in sources for id_ in _ids(source, where))
    texts = (_text(source, where) for source in sources)
    text = next((text for text in texts if text is not None), None)
    if not ids and text is None:
        refuse(where, f"a row with {shown(list(row))}", "'id' or 'key', or 'prompt' or 'messages'")
    return StoredRow(where, ids, text, row)


def _of_tree(tree: SearchTree, where: str) -> StoredRow:
    return StoredRow(where, (tree.prompt.id,), prompt_text(tree.prompt), tree)


def _ids(row: Mapping[str, Any], where: str) -> Iterator[str]:
    for name in ("id", "key"):
        value = row.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
            refuse(
                where, f"{name!r} is {shown(value)}", "a string that is not empty, or an integer"
            )
        yield str(value)


def _text(row: Mapping[str, Any], where: str) -> str | None:
    value = row.get("prompt", row.get("messages"))
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, list):
        said = [turn.get("content") for turn in value if _is_users(turn)]
        if said and isinstance(said[-1], str):
            return said[-1]
    refuse(where, f"its prompt is {shown(value)}", "a string, or messages with a turn of the user")


def _is_users(turn: Any) -> bool:
    return isinstance(turn, dict) and turn.get("role") == "user"
