"""`trees.jsonl`, one tree a line: stream it, index it, repair it.

A last line that does not parse is torn: it is skipped by a reader and cut off by `repair`. Of two trees of one prompt,
the last counts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import ValidationError

from spar.errors import UsageError
from spar.files import expand_home, replacing
from spar.types import SCHEMA_VERSION, SearchTree, content_digest

TREES = "trees.jsonl"
_SHOWN_RUNS = 10
"""Runs that an error message lists."""

Progress = Callable[[int, int], None]
"""Takes how many are done, and how many there are."""


@dataclass(frozen=True, slots=True)
class StoredTree:
    """What a run must know of a tree that it has."""

    digest: str
    """`Prompt.digest` of its prompt."""
    answered: bool
    """Whether it has an answer; otherwise every attempt failed."""
    extended: bool = False
    """Whether `--total-budget` searched it further than its own budget."""


def read_trees(path: str | Path) -> Iterator[SearchTree]:
    """Stream the trees of a run directory or of a `.jsonl` file, in constant memory.

    A torn last line is skipped, so a run can be read while it is being written.

    Raises
    ------
    UsageError
        There is no such file. When the stream reaches it: a line that is corrupt, not a tree, or of a
        newer schema version.
    """
    path = tree_file(path)
    return (_tree(row, f"{path}:{number}") for number, _, row in _rows(path))


def last_trees(
    path: str | Path, progress: Progress | None = None, *, order: Sequence[str] = ()
) -> Iterator[SearchTree]:
    """The trees of a run in the order of its file, as `read_trees`; of several of one prompt, the last.

    A run with a total budget has two trees of a prompt while a round of it is searched.

    Parameters
    ----------
    progress:
        Called before each tree with its number and the number of all.
    order:
        Ids of prompts, whose trees come first and in this order.
    """
    return _last_trees(tree_file(path), progress, order)


def _last_trees(
    file: Path, progress: Progress | None, order: Sequence[str]
) -> Iterator[SearchTree]:
    positions = {prompt_id: number for number, prompt_id in enumerate(order)}
    with file.open("rb") as handle:
        starts = [
            (positions.get(prompt_id, len(positions)), start)
            for prompt_id, start in tree_offsets(file).items()
        ]
        offsets = [start for _, start in sorted(starts)]
        for number, start in enumerate(offsets):
            if progress:
                progress(number, len(offsets))
            yield tree_at(handle, start)


def tree_file(path: str | Path) -> Path:
    """The file of trees of a run directory, or the file itself; raises `UsageError` where there is none."""
    path = expand_home(Path(path))
    path = path / TREES if path.is_dir() else path
    if not path.is_file():
        raise UsageError(f"there is no file {path}; expected a run directory or its {TREES}")
    return path


def find_run(path: str | Path) -> Path:
    """The run that a path names: its directory, also for its `trees.jsonl`; another file, or what is no run, is returned as it is.

    A folder without trees that holds one run, as `--out` of an evaluation may, is that run.

    Raises
    ------
    UsageError
        The folder holds several runs.
    """
    path = expand_home(Path(path))
    if path.name == TREES and path.is_file():
        return path.parent
    if not path.is_dir() or (path / TREES).exists():
        return path
    runs = sorted(child for child in path.iterdir() if (child / TREES).is_file())
    if len(runs) > 1:
        shown = ", ".join(map(str, runs[:_SHOWN_RUNS])) + ", ..." * (len(runs) > _SHOWN_RUNS)
        raise UsageError(f"{path} is not a run, it holds {len(runs)}; give one of them: {shown}")
    return runs[0] if runs else path


def tree_at(handle: BinaryIO, start: int) -> SearchTree:
    """The tree whose line begins at a byte of an open file, as `tree_offsets` has it; raises `UsageError` if it is damaged."""
    handle.seek(start)
    try:
        return SearchTree.from_json(handle.readline())
    except ValueError as error:
        reason = first_problem(error) if isinstance(error, ValidationError) else str(error)
        raise UsageError(
            f"{handle.name}: the tree at byte {start} is damaged: {reason}; delete the line"
        ) from error


def stored_trees(path: Path) -> dict[str, StoredTree]:
    """Prompt id to what is known of its tree, the last one of each, in a file of trees."""
    stored = {}
    for number, _, row in _rows(path):
        stored[_prompt_id(row, f"{path}:{number}")] = _stored_tree(row, f"{path}:{number}")
    return stored


def tree_offsets(path: Path) -> dict[str, int]:
    """Prompt id to the byte offset of its line in a file of trees."""
    offsets, start = {}, 0
    for number, end, row in _rows(path):
        offsets[_prompt_id(row, f"{path}:{number}")] = start
        start = end
    return offsets


def repair(path: Path) -> dict[str, StoredTree]:
    """Cut a torn last line off `trees.jsonl`, and earlier trees of a prompt that has a later one."""
    if not path.exists():
        return {}
    stored: dict[str, StoredTree] = {}
    last: dict[str, int] = {}
    size = number = 0
    for number, end, row in _rows(path):
        prompt_id = _prompt_id(row, f"{path}:{number}")
        stored[prompt_id], last[prompt_id] = _stored_tree(row, f"{path}:{number}"), number
        size = end
    with path.open("r+b") as handle:
        handle.truncate(size)
        handle.seek(max(size - 1, 0))
        if size and handle.read() != b"\n":  # an editor removed the last line break
            handle.write(b"\n")
    if len(last) < number:
        rewrite(path, lambda prompt_id, line: last[prompt_id] == line)
    return stored


def rewrite(path: Path, wanted: Callable[[str, int], bool]) -> None:
    """Replace a file of trees by one with those lines whose prompt id and number are wanted."""
    with path.open("rb") as lines, replacing(path) as stream:
        for number, line in enumerate(lines, start=1):
            if wanted(_prompt_id(json.loads(line), f"{path}:{number}"), number):
                stream.write(line)


def _rows(path: Path) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Line number, byte offset of the line's end, and the line's JSON object; skips a torn last line."""
    end = 0
    with path.open("rb") as handle:
        for number, line in enumerate(handle, start=1):
            end += len(line)
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                if not handle.readline():
                    return
                raise UsageError(f"{path}:{number} is corrupt: {error}; delete the line") from error
            refuse_newer(row, f"{path}:{number}")
            yield number, end, row


def _stored_tree(row: dict[str, Any], where: str) -> StoredTree:
    prompt = row["prompt"]
    try:
        turns = [(turn["role"], turn["content"]) for turn in prompt["messages"]]
        digest = content_digest(turns, prompt.get("meta", {}))
    except (AttributeError, KeyError, TypeError) as error:
        raise UsageError(
            f"{where} is not a search tree: it has no prompt; delete the line"
        ) from error
    return StoredTree(digest, row.get("selected") is not None, bool(row.get("rounds")))


def _prompt_id(row: dict[str, Any], where: str) -> str:
    match row:
        case {"prompt": {"id": str(prompt_id)}}:
            return prompt_id
    raise UsageError(f"{where} is not a search tree: it has no prompt id; delete the line")


def _tree(row: dict[str, Any], where: str) -> SearchTree:
    try:
        return SearchTree.model_validate(row)
    except ValidationError as error:
        raise UsageError(f"{where} is not a search tree: {first_problem(error)}") from error


def refuse_newer(row: Any, where: str) -> None:
    if not isinstance(row, dict):
        raise UsageError(f"{where}: expected a JSON object, got {type(row).__name__}")
    version = row.get("schema_version", SCHEMA_VERSION)
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise UsageError(
            f"{where} has schema version {version}; this version of spar reads up to {SCHEMA_VERSION}; "
            "upgrade spar"
        )


def first_problem(error: ValidationError) -> str:
    detail = error.errors(include_url=False)[0]
    return f"{'.'.join(map(str, detail['loc']))}: {detail['msg']}"
