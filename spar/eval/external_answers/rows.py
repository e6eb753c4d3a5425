"""The rows of an answers file, of a folder of them, or of a run directory.

    {"id": "1000", "response": "..."}                              one object a line
    {"key": 1000, "prompt": "Write a ...", "output": "..."}
    [{"messages": [{"role": "user", "content": "..."}], "completion": "..."}]      one list of them
    {"messages": [..., {"role": "assistant", "content": "..."}]}                   the reply in the conversation itself
    {"custom_id": "1000", "response": {"body": {"choices": [...]}}}                a line of OpenAI's batch output
    {"prompt_new": "Write a ...", "choices": [{"message": {"content": "..."}}]}    FollowBench's own files
    {"doc": {"key": 1000}, "resps": [["..."]], "filter": "none"}    samples that lm-eval logs

All formats of `spar.rows` are read: JSON lines, JSON lists, CSV, Parquet, compressed files, data sets of the hub. Of a
run directory, the trees are read; of an evaluation without trees, its `examples.jsonl`; of any other folder, all
files in these formats in the order of their names. A row knows its position and the prompt that it names, and knows
no benchmark. Conversations are those of prompts (`spar.conversations`): OpenAI's, ShareGPT's, Alpaca's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from spar.conversations import REPLY, around_list, conversation
from spar.errors import UsageError
from spar.record.evaluation import EXAMPLES
from spar.rows.hub import HUB_SCHEME, is_hub_name
from spar.rows.lines import GZIP_SUFFIX
from spar.rows.read import DELIMITERS, PARQUET_SUFFIX, SUFFIXES, TEXT_SUFFIX
from spar.rows.read import read_rows as read_plain_rows
from spar.rows.row import reject
from spar.store import MANIFEST, TREES, last_trees
from spar.types import Prompt, SearchTree

MAX_QUOTED = 60
"""Characters of a value that an error message quotes; a longer one is cut."""
ID_FIELDS = ("id", "key", "custom_id", "task_id")
"""Names of the field with the example's id; the later ones are those of OpenAI's batches and of HumanEval."""
PROMPT_FIELDS = ("prompt", "messages", "conversations", "prompt_new", "question", "instruction")
"""Names of the field with the prompt; the first that a row has counts."""
_LIST_FIELDS = ("messages", "conversations")
"""Those of them that hold a list of turns, which a cell of a table has as JSON."""
FILE_SUFFIXES = tuple(suffix for suffix in SUFFIXES if suffix != TEXT_SUFFIX)


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
    reply: str | None = None
    """The assistant's turn at the end of the row's conversation, None if it has none."""
    is_table: bool = False
    """Whether it is from a table, which has no field where a cell is empty."""


def read_rows(path: str | Path) -> Iterator[AnswerRow]:
    """Stream the rows of a file, a folder of files, a run directory or a data set; a torn last line of trees is skipped.

    Raises
    ------
    UsageError
        There is no such file; or, when the stream gets there, a row that cannot be read, or names no prompt.
    """
    if is_data_set(path):
        return _plain_rows(path)
    return (row for file in answer_files(path) for row in _file_rows(file))


def is_data_set(path: str | Path) -> bool:
    """Whether a path names a data set of the hub: no file has the name."""
    text = str(path)
    named = text.startswith(HUB_SCHEME) or (is_hub_name(text) and not Path(text).suffix)
    return named and not Path(path).exists()


def answer_files(source: str | Path) -> list[Path]:
    """The files that `read_rows` reads, none for a data set; raises `UsageError` if there are none at a path."""
    if is_data_set(source):
        return []
    path = Path(source)
    if not path.exists():
        raise UsageError(
            f"there is no {path}; give a file ({', '.join(FILE_SUFFIXES)}), a folder of such files or a "
            "run directory"
        )
    if not path.is_dir():
        return [path]
    trees, examples = path / TREES, path / EXAMPLES
    if examples.is_file() and not (trees.is_file() and trees.stat().st_size):
        return [examples]
    if trees.is_file() or (path / MANIFEST).is_file():
        return [trees]
    files = sorted(
        file
        for file in path.iterdir()
        if file.name.lower().removesuffix(GZIP_SUFFIX).endswith(FILE_SUFFIXES)
    )
    if not files:
        raise UsageError(f"{path} holds no {TREES} and no file in {' or '.join(FILE_SUFFIXES)}")
    return files


def prompt_text(prompt: Prompt) -> str:
    """The last user turn of a prompt, or its last turn if there is no user turn."""
    user_turns = [message.content for message in prompt.messages if message.role == "user"]
    return user_turns[-1] if user_turns else prompt.messages[-1].content


def quote(value: Any) -> str:
    """A value for a message: short, and safe to print whatever it contains."""
    try:
        text = ascii(value)
    except RecursionError:
        return "a value nested too deep"
    return text if len(text) <= MAX_QUOTED else f"{text[:MAX_QUOTED]}..."


def _file_rows(file: Path) -> Iterator[AnswerRow]:
    if file.name == TREES:
        for number, tree in enumerate(last_trees(file), start=1):
            yield _tree_row(tree, f"{file}:{number}")
        return
    yield from _plain_rows(file)


def _plain_rows(source: str | Path) -> Iterator[AnswerRow]:
    name = str(source).lower().removesuffix(GZIP_SUFFIX)
    is_table = name.endswith((*DELIMITERS, PARQUET_SUFFIX)) or is_data_set(source)
    for row in read_plain_rows(source, suffix=".jsonl"):
        parsed = _object_row(row.values, row.where)
        yield replace(parsed, is_table=is_table)


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
    prompts = (_prompt_and_reply(source, where) for source in sources)
    text, reply = next((found for found in prompts if found[0] is not None), (None, None))
    if not ids and text is None:
        ids_accepted, texts_accepted = (
            " or ".join(map(repr, names)) for names in (ID_FIELDS, PROMPT_FIELDS)
        )
        hint = around_list(row, (*ID_FIELDS, *PROMPT_FIELDS))
        accepted = f"{ids_accepted}, or {texts_accepted}{hint}"
        reject(where, f"a row with {quote(list(row))}", accepted)
    return AnswerRow(where, ids, text, row, reply)


def _tree_row(tree: SearchTree, where: str) -> AnswerRow:
    return AnswerRow(where, (tree.prompt.id,), prompt_text(tree.prompt), tree)


def _ids(row: Mapping[str, Any], where: str) -> Iterator[str]:
    for name in ID_FIELDS:
        value = row.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
            reject(
                where, f"{name!r} is {quote(value)}", "a string that is not empty, or an integer"
            )
        yield str(value)


def _prompt_and_reply(row: Mapping[str, Any], where: str) -> tuple[str | None, str | None]:
    """The last user turn of a row's conversation, and the reply that follows it; None for what the row lacks."""
    name = next((name for name in PROMPT_FIELDS if row.get(name) is not None), None)
    if name is None:
        return None, None
    value = row[name]
    if isinstance(value, str) and name not in (*_LIST_FIELDS, "instruction"):
        return value, None
    form = "prompt" if name in ("prompt_new", "question") else name
    alpaca = {"input": row["input"]} if name == "instruction" and row.get("input") else {}
    messages, rest = conversation({form: value, **alpaca}, where)
    return messages[-1].content, rest.get(REPLY)
