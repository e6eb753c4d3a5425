"""The rows of an answers file, of a folder of them, or of a run directory.

    {"id": "1000", "response": "..."}                              one object a line
    {"key": 1000, "prompt": "Write a ...", "output": "..."}
    [{"messages": [{"role": "user", "content": "..."}], "completion": "..."}]      one list of them
    {"doc": {"key": 1000}, "filtered_resps": ["..."]}              samples that lm-eval logs

Of a run directory, the trees are read; of an evaluation without trees, its `examples.jsonl`; of any other
folder, all `.jsonl` and `.json` files in the order of their names. A row knows its position and the prompt
that it names, and knows no benchmark.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from pydantic import ValidationError

from spar.errors import UsageError
from spar.record.evaluation import EXAMPLES
from spar.rows.read import JSON_SUFFIXES
from spar.store import MANIFEST, TREES, read_trees
from spar.types import Prompt, SearchTree

MAX_QUOTED = 60
"""Characters of a value that an error message quotes; a longer one is cut."""


@dataclass(frozen=True, slots=True)
class AnswerRow:
    """One row, and the prompt that it names."""

    where: str
    """File and line, for messages."""
    ids: tuple[str, ...]
    """Candidates for the prompt's id, likeliest first."""
    text: str | None
    """The prompt's last user turn, None if the row has no prompt."""
    content: Mapping[str, Any] | SearchTree
    """The row as the file has it, or the tree."""


def read_rows(path: str | Path) -> Iterator[AnswerRow]:
    """Stream the rows of a file, a folder of files or a run directory; a torn last line of trees is skipped.

    Raises
    ------
    UsageError
        There is no such file; or, when the stream gets there, a line that is not JSON, is not an object, or
        names no prompt.
    """
    return (row for file in answer_files(Path(path)) for row in _file_rows(file))


def answer_files(path: Path) -> list[Path]:
    """The files that `read_rows` reads at a path; raises `UsageError` if there are none."""
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
    """The last user turn of a prompt, or its last turn if there is no user turn."""
    user_turns = [message.content for message in prompt.messages if message.role == "user"]
    return user_turns[-1] if user_turns else prompt.messages[-1].content


def reject(where: str, problem: str, accepted: str) -> NoReturn:
    """Raise `UsageError` for a row."""
    raise UsageError(f"{where}: {problem}; accepted: {accepted}")


def quote(value: Any) -> str:
    """A value for a message: short, and safe to print whatever it contains."""
    try:
        text = ascii(value)
    except RecursionError:
        return "a value nested too deep"
    return text if len(text) <= MAX_QUOTED else f"{text[:MAX_QUOTED]}..."


def _file_rows(file: Path) -> Iterator[AnswerRow]:
    if file.name == TREES:
        for number, tree in enumerate(read_trees(file), start=1):
            yield _tree_row(tree, f"{file}:{number}")
        return
    for where, value in _values(file):
        if not isinstance(value, dict):
            reject(where, quote(value), "a JSON object")
        yield _object_row(value, where)


def _values(file: Path) -> Iterator[tuple[str, Any]]:
    """Each JSON value of a file with its position: those of one list, or one a line."""
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        reject(str(file), f"not UTF-8 at byte {error.start + 1}", "text in UTF-8")
    if text.lstrip().startswith("["):
        for number, value in enumerate(_parse(text, str(file)), start=1):
            yield f"{file}, row {number}", value
        return
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield f"{file}:{number}", _parse(line, f"{file}:{number}")


def _parse(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        reject(where, f"not JSON: {quote(text)}", "one JSON object a line, or one list of objects")


def _object_row(row: dict[str, Any], where: str) -> AnswerRow:
    if isinstance(row.get("nodes"), list):
        try:
            return _tree_row(SearchTree.model_validate(row), where)
        except ValidationError:
            reject(
                where, "an object with 'nodes' that is not a search tree", "a line as spar wrote it"
            )
    document = row.get("doc")
    sources = (row, document) if isinstance(document, dict) else (row,)
    ids = tuple(id_ for source in sources for id_ in _ids(source, where))
    texts = (_prompt_text_of(source, where) for source in sources)
    text = next((text for text in texts if text is not None), None)
    if not ids and text is None:
        reject(where, f"a row with {quote(list(row))}", "'id' or 'key', or 'prompt' or 'messages'")
    return AnswerRow(where, ids, text, row)


def _tree_row(tree: SearchTree, where: str) -> AnswerRow:
    return AnswerRow(where, (tree.prompt.id,), prompt_text(tree.prompt), tree)


def _ids(row: Mapping[str, Any], where: str) -> Iterator[str]:
    for name in ("id", "key"):
        value = row.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
            reject(
                where, f"{name!r} is {quote(value)}", "a string that is not empty, or an integer"
            )
        yield str(value)


def _prompt_text_of(row: Mapping[str, Any], where: str) -> str | None:
    value = row.get("prompt", row.get("messages"))
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, list):
        user_turns = [
            turn.get("content")
            for turn in value
            if isinstance(turn, dict) and turn.get("role") == "user"
        ]
        if user_turns and isinstance(user_turns[-1], str):
            return user_turns[-1]
    reject(where, f"its prompt is {quote(value)}", "a string, or messages with a turn of the user")
