"""Training examples: files of any size open at once, and a line is parsed when it is viewed.

    data = TrainingData.open("runs/loop/iteration-1/build")
    while not data.work(0.05):                # in a worker: find all lines and their kinds
        ...
    data.example(data.order("pair")[0])

Reads the files of `spar train` and `python -m spar.train.build` in all three formats (`trl`, `llamafactory`,
`jsonl`). A line with two sides is a pair; the target of any other conversation is its last turn.
"""

from __future__ import annotations

import io
import json
import time
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import compress
from pathlib import Path
from typing import Any, Literal, cast, get_args

from spar.errors import UsageError
from spar.files import file_stamp
from spar.record.layout import EXAMPLE_FILES
from spar.record.training_data import ExampleKind
from spar.types import ChatRole, Message
from tui.index.cooperative import Throttle
from tui.index.source import Source

TrainingKind = Literal["pair", ExampleKind, "answer", "broken"]
"""Two responses, a refinement, a judgement in a search, one of a draft, a teacher's answer, or an invalid line."""
TRAINING_KINDS: tuple[TrainingKind, ...] = get_args(TrainingKind)

BLOCK = 1 << 20
CACHE_SIZE = 256
"""Size of the cache of parsed examples."""
_ROLES: Mapping[str, ChatRole] = {
    **{role: role for role in get_args(ChatRole)},
    "human": "user",
    "gpt": "assistant",
}
FileStamp = tuple[tuple[int, int, int] | None, ...]
"""Inode, size and modification time of each file; None if it does not exist."""


@dataclass(frozen=True, slots=True)
class TrainingExample:
    """One line of a file of examples."""

    kind: TrainingKind
    run: str = ""
    """The run that has the tree: search, drafts or answers."""
    prompt_id: str = ""
    nodes: tuple[int, ...] = ()
    """Ids of the chosen node and the rejected one, or of the one node."""
    turns: tuple[Message, ...] = ()
    """The conversation before the target."""
    target: str = ""
    """The chosen response, or the last turn."""
    rejected: str | None = None
    """The rejected response; None unless the example is a pair."""
    swapped: bool = False
    """Whether the sides of the pair were swapped at random."""
    verdict: bool | None = None
    """The verdict of a judgement."""
    score: float | None = None
    """The judge's score of the node."""
    error: str = ""
    """Why the line is not an example."""


class TrainingData:
    """The examples of one data set. Call `work` in a worker, everything else in the UI thread."""

    def __init__(self, build: Path) -> None:
        self.build = build
        self.stamp = stamp_of(build)
        self._sources = [Source(build / name) for name in EXAMPLE_FILES if (build / name).is_file()]
        self._files = bytearray()
        self._starts, self._lengths = array("q"), array("q")
        self._kinds = bytearray()
        self._at = (0, 0)
        """The file and offset up to which lines have been found."""
        self._throttle = Throttle()
        self._cached_example = lru_cache(CACHE_SIZE)(self._parse_example)

    @classmethod
    def open(cls, build: str | Path) -> TrainingData:
        """Open a data set's folder; one that does not exist yet has no examples.

        Raises
        ------
        UsageError
            A file in it cannot be read.
        """
        return cls(Path(build))

    def work(self, seconds: float = 0.05) -> bool:
        """Find examples for about so many seconds; returns whether all are found."""
        deadline = time.monotonic() + seconds
        while self._at[0] < len(self._sources):
            self._take_block()
            if time.monotonic() > deadline:
                return self._at[0] >= len(self._sources)
        return True

    def is_replaced(self) -> bool:
        """Whether the files were replaced and must be opened again."""
        return stamp_of(self.build) != self.stamp

    def __len__(self) -> int:
        """Examples found so far."""
        return len(self._kinds)

    def example(self, number: int) -> TrainingExample:
        """One example; an invalid line has an `error`."""
        return self._cached_example(number)

    def order(self, kind: TrainingKind | None = None) -> array[int]:
        """Numbers of the examples of one kind, or of all."""
        kinds = bytes(self._kinds)
        if kind is None:
            return array("q", range(len(kinds)))
        index = TRAINING_KINDS.index(kind)
        return array("q", compress(range(len(kinds)), (code == index for code in kinds)))

    def counts(self) -> dict[TrainingKind, int]:
        """Number of examples found so far, by kind."""
        counts = Counter(bytes(self._kinds))
        return {kind: counts[code] for code, kind in enumerate(TRAINING_KINDS) if counts[code]}

    def close(self) -> None:
        """Close the files."""
        for source in self._sources:
            source.close()

    def _take_block(self) -> None:
        file, start = self._at
        block = _whole_lines(self._sources[file], start)
        for line in io.BytesIO(block):
            self._add(file, start, line)
            start += len(line)
        self._at = (file, start) if block else (file + 1, 0)

    def _add(self, file: int, start: int, line: bytes) -> None:
        if line.strip():
            self._files.append(file)
            self._starts.append(start)
            self._lengths.append(len(line))
            self._kinds.append(
                TRAINING_KINDS.index(read_example(line).kind)
            )  # last, since it defines the number of rows
            self._throttle.yield_cpu()

    def _parse_example(self, number: int) -> TrainingExample:
        start, length = self._starts[number], self._lengths[number]
        data = self._sources[self._files[number]].read(start, length)
        if len(data) < length:
            return TrainingExample(
                "broken", error="the file was truncated; the line is no longer there"
            )
        return read_example(data)


def stamp_of(build: Path) -> FileStamp:
    """A stamp that changes when a data set's files are replaced."""
    return tuple(file_stamp(build / name) for name in EXAMPLE_FILES)


def read_example(line: bytes) -> TrainingExample:
    """Parse the example of a line; an invalid one has the kind `broken`."""
    try:
        return _example(json.loads(line))
    except (ValueError, RecursionError, UsageError) as error:
        return TrainingExample("broken", error=f"not an example: {error}")


def _whole_lines(source: Source, start: int) -> bytes:
    """The next complete lines, about one block; the last line of a file needs no line break."""
    block = source.read(start, BLOCK)
    while b"\n" not in block:
        more = source.read(start + len(block), BLOCK)
        if not more:
            return block
        block += more
    return block[: block.rfind(b"\n") + 1]


def _example(row: Any) -> TrainingExample:
    if not isinstance(row, dict):
        raise UsageError(f"expected a JSON object, got {type(row).__name__}")
    if "chosen" in row or "rejected" in row:
        return _pair(row)
    turns = _turns(row.get("messages", row.get("conversations")))
    if not turns:
        raise UsageError("it has neither a pair nor a conversation")
    kind = row.get("kind")
    return TrainingExample(
        cast("TrainingKind", kind) if kind in get_args(ExampleKind) else "answer",
        run=_text(row.get("run")),
        prompt_id=_text(row.get("prompt_id")),
        nodes=_ids(row.get("node")),
        turns=turns[:-1],
        target=turns[-1].content,
        verdict=row["verdict"] if isinstance(row.get("verdict"), bool) else None,
        score=_number(row.get("score")),
    )


def _pair(row: Mapping[str, Any]) -> TrainingExample:
    return TrainingExample(
        "pair",
        run=_text(row.get("run")),
        prompt_id=_text(row.get("prompt_id")),
        nodes=_ids(row.get("chosen_node"), row.get("rejected_node")),
        turns=_turns(row.get("prompt", row.get("conversations"))),
        target=_side(row.get("chosen")),
        rejected=_side(row.get("rejected")),
        swapped=row.get("swapped") is True,
    )


def _side(value: Any) -> str:
    """A response: a text, a turn, or the last turn of a conversation."""
    if isinstance(value, str):
        return value
    turns = _turns(value if isinstance(value, list) else [value])
    if not turns:
        raise UsageError("one side of the pair is missing")
    return turns[-1].content


def _turns(value: Any) -> tuple[Message, ...]:
    """A conversation in either format; a bare text is a user turn."""
    if isinstance(value, str):
        return (Message(role="user", content=value),)
    return tuple(_turn(turn) for turn in value) if isinstance(value, Sequence) else ()


def _turn(value: Any) -> Message:
    match value:
        case {"role": str(role), "content": str(text)} | {"from": str(role), "value": str(text)}:
            return Message(role=_ROLES.get(role, "user"), content=text)
    raise UsageError("a turn has no role or no content")


def _ids(*values: Any) -> tuple[int, ...]:
    """Node ids; empty if one of them is not an integer."""
    whole = all(isinstance(value, int) and not isinstance(value, bool) for value in values)
    return tuple(values) if whole else ()


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
