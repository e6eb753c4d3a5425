"""Files of trees, line by line, for the tests of the browser's index."""

from __future__ import annotations

import json
from pathlib import Path

from spar.types import Fault, Judgement, Message, Node, Prompt, SearchTree, Stop, Usage
from tui.index.rows import Filter, Sort
from tui.index.run_index import TreeIndex


def tree(
    prompt_id: str,
    *,
    text: str = "Say hi.",
    response: str = "hi",
    stop: Stop = "solved",
    votes: tuple[bool | None, ...] | None = (True, True, False),
    num_faults: int = 0,
) -> SearchTree:
    """A tree of a draft and its refinement; the refinement is the answer and has the votes."""
    judgement = Judgement(verdicts=votes, critique="fine") if votes is not None else None
    cost = Usage(calls=1, prompt_tokens=7, completion_tokens=10)
    return SearchTree(
        prompt=Prompt(id=prompt_id, messages=(Message(role="user", content=text),)),
        strategy="bfs",
        config="c",
        nodes=(
            Node(id=0, parent=None, depth=0, response="draft", usage=cost),
            Node(id=1, parent=0, depth=1, response=response, judgement=judgement, usage=cost),
        ),
        faults=(Fault(parent=0, stage="refine", reason="r", usage=cost),) * num_faults,
        selected=1,
        stop=stop,
        cancelled_usage={"judge": Usage(completion_tokens=3)},
        seconds=1.5,
    )


def write(path: Path, *lines: SearchTree | bytes | str, end: bytes = b"\n") -> Path:
    """Write a file of trees or raw lines; returns its path."""
    path.write_bytes(b"".join(line_of(line) + end for line in lines))
    return path


def append(path: Path, *lines: SearchTree | bytes | str, end: bytes = b"\n") -> None:
    """Add lines to a file."""
    with path.open("ab") as handle:
        for line in lines:
            handle.write(line_of(line) + end)


def line_of(line: SearchTree | bytes | str) -> bytes:
    """A line without its line break."""
    if isinstance(line, bytes):
        return line
    return (line if isinstance(line, str) else line.to_json()).encode("ascii")


def spaced(one: SearchTree) -> bytes:
    """A tree as another tool may write it: other key order, spaces, no escapes."""
    row = dict(reversed(one.model_dump().items()))
    return json.dumps(row, ensure_ascii=False).encode("utf-8")


def summarised(path: Path) -> TreeIndex:
    """An index with all background work done."""
    index = TreeIndex.open(path)
    finish(index)
    return index


def finish(index: TreeIndex) -> None:
    """Do all background work."""
    while not index.summarise(10):
        pass


def shown(index: TreeIndex, wanted: Filter = Filter(), sort: Sort | None = None) -> list[int]:
    """The rows of an order, with all rows searched."""
    index.order(wanted, sort)
    while not index.search(10):
        pass
    return list(index.order(wanted, sort))


def errors(index: TreeIndex) -> list[int]:
    """Rows that are not trees."""
    return [row.number for row in index.rows(range(len(index))) if row.error is not None]
