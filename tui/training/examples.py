"""What a training learns from, example by example: files of any size open at once, a line is parsed when seen.

    data = TrainingData.open("runs/loop/iteration-1/build")
    while not data.work(0.05):                # in a worker: find all lines, and of which kind they are
        ...
    data.example(data.order("pair")[0])

Reads what `spar train` and `python -m spar.train.build` write, in all three forms (`trl`, `llamafactory`,
`jsonl`): a line with two sides is a pair, any other with turns is learnt by its last turn.
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
from spar.record.layout import EXAMPLE_FILES
from spar.record.training_data import ExampleKind
from spar.types import ChatRole, Message
from tui.index.cooperative import Pace
from tui.index.source import Source

Kind = Literal["pair", ExampleKind, "answer", "broken"]
"""Two responses, a refinement, a judgement in a search, one of a draft, a teacher's answer; or no example."""
KINDS: tuple[Kind, ...] = get_args(Kind)

BLOCK = 1 << 20
KEPT = 256
"""Examples that are kept once they were parsed."""
_ROLES: Mapping[str, ChatRole] = {
    **{role: role for role in get_args(ChatRole)},
    "human": "user",
    "gpt": "assistant",
}
Stamp = tuple[tuple[int, int, int] | None, ...]
"""Of each file its inode, size and time of change; None where it is not there."""


@dataclass(frozen=True, slots=True)
class TrainingExample:
    """One line of a file of examples."""

    kind: Kind
    run: str = ""
    """Which of the build's runs its tree stands in: search, drafts or answers."""
    prompt_id: str = ""
    nodes: tuple[int, ...] = ()
    """Ids of the chosen node and the rejected one, or of the one node."""
    turns: tuple[Message, ...] = ()
    """The conversation before what is learnt."""
    learnt: str = ""
    """The chosen response, or the last turn."""
    rejected: str | None = None
    """None where the example is no pair."""
    swapped: bool = False
    """Whether chance has swapped the sides of a pair."""
    verdict: bool | None = None
    """What a judgement says."""
    score: float | None = None
    """The judge's score of the node."""
    error: str = ""
    """Why the line holds no example."""


class TrainingData:
    """The examples of one build. `work` is for a worker, all else for the thread that draws."""

    def __init__(self, build: Path) -> None:
        self.build = build
        self.stamp = stamp_of(build)
        self._sources = [Source(build / name) for name in EXAMPLE_FILES if (build / name).is_file()]
        self._files = bytearray()
        self._starts, self._lengths = array("q"), array("q")
        self._kinds = bytearray()
        self._at = (0, 0)
        """File and offset up to which lines are found."""
        self._pace = Pace()
        self._known = lru_cache(KEPT)(self._parsed)

    @classmethod
    def open(cls, build: str | Path) -> TrainingData:
        """Open a build's folder; one that is not there, or not built yet, has no examples.

        Raises
        ------
        UsageError
            A file in it cannot be read.
        """
        return cls(Path(build))

    def work(self, seconds: float = 0.05) -> bool:
        """Work for about so long on what is not known yet; returns whether all is known."""
        deadline = time.monotonic() + seconds
        while self._at[0] < len(self._sources):
            self._take_block()
            if time.monotonic() > deadline:
                return self._at[0] >= len(self._sources)
        return True

    def is_replaced(self) -> bool:
        """Whether the files on the disk are others by now; `open` them again then."""
        return stamp_of(self.build) != self.stamp

    def __len__(self) -> int:
        """Examples found so far."""
        return len(self._kinds)

    def example(self, number: int) -> TrainingExample:
        """One example; a line that holds none has an `error`."""
        return self._known(number)

    def order(self, kind: Kind | None = None) -> array[int]:
        """Numbers of the examples of one kind, of all where none is named."""
        kinds = bytes(self._kinds)
        if kind is None:
            return array("q", range(len(kinds)))
        wanted = KINDS.index(kind)
        return array("q", compress(range(len(kinds)), (at == wanted for at in kinds)))

    def counts(self) -> dict[Kind, int]:
        """Examples found so far by kind."""
        found = Counter(bytes(self._kinds))
        return {kind: found[at] for at, kind in enumerate(KINDS) if found[at]}

    def close(self) -> None:
        """Let go of the files."""
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
            self._kinds.append(KINDS.index(read_example(line).kind))  # last: rows are counted by it
            self._pace.breathe()

    def _parsed(self, number: int) -> TrainingExample:
        start, length = self._starts[number], self._lengths[number]
        data = self._sources[self._files[number]].read(start, length)
        if len(data) < length:
            return TrainingExample("broken", error="the file was cut short, the line is gone")
        return read_example(data)


def stamp_of(build: Path) -> Stamp:
    """What tells whether a build's files were replaced."""
    return tuple(_stamp(build / name) for name in EXAMPLE_FILES)


def read_example(line: bytes) -> TrainingExample:
    """The example of a line, one of kind `broken` where it holds none."""
    try:
        return _example(json.loads(line))
    except (ValueError, RecursionError, UsageError) as error:
        return TrainingExample("broken", error=f"no example: {error}")


def _whole_lines(source: Source, start: int) -> bytes:
    """The next lines, about a block of them; the last line of a file needs no break."""
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
        raise UsageError("it has neither two sides nor turns")
    kind = row.get("kind")
    return TrainingExample(
        cast("Kind", kind) if kind in get_args(ExampleKind) else "answer",
        run=_text(row.get("run")),
        prompt_id=_text(row.get("prompt_id")),
        nodes=_ids(row.get("node")),
        turns=turns[:-1],
        learnt=turns[-1].content,
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
        learnt=_side(row.get("chosen")),
        rejected=_side(row.get("rejected")),
        swapped=row.get("swapped") is True,
    )


def _side(value: Any) -> str:
    """A response: a text, a turn, or a conversation whose last turn it is."""
    if isinstance(value, str):
        return value
    turns = _turns(value if isinstance(value, list) else [value])
    if not turns:
        raise UsageError("a pair lacks one of its sides")
    return turns[-1].content


def _turns(value: Any) -> tuple[Message, ...]:
    """A conversation in either spelling; a bare text is a user's turn."""
    if isinstance(value, str):
        return (Message(role="user", content=value),)
    return tuple(_turn(one) for one in value) if isinstance(value, Sequence) else ()


def _turn(value: Any) -> Message:
    match value:
        case {"role": str(role), "content": str(text)} | {"from": str(role), "value": str(text)}:
            return Message(role=_ROLES.get(role, "user"), content=text)
    raise UsageError("a turn has no speaker or no text")


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def _ids(*values: Any) -> tuple[int, ...]:
    """Ids of nodes; none where one of them is none."""
    whole = all(isinstance(value, int) and not isinstance(value, bool) for value in values)
    return tuple(values) if whole else ()


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
