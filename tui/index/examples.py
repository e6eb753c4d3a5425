"""What an evaluation found of each answer: `examples.jsonl` beside the trees, by prompt id.

    {"id": "1000", "passed": true, "verdicts": [{"name": "...", "passed": true, "why": "..."}], ...}

Read once through in slices; kept are the outcome and the place of each line. A line that is no example
is skipped: the trees are shown all the same.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from spar.errors import UsageError
from spar.record.evaluation import Verdict
from tui.index.cooperative import Pace
from tui.index.source import Source

BLOCK = 1 << 20
"""Bytes read at once, and more where one line is longer."""


class Examples:
    """The examples of one file, by the hash of the prompt's id."""

    def __init__(self, path: Path, pace: Pace) -> None:
        self.path, self._pace = path, pace
        self.passed: dict[int, bool | None] = {}
        """Whether the answer passes."""
        self._places: dict[int, tuple[int, int]] = {}
        self._source: Source | None = None
        self._stamp: tuple[int, int, int] | None = None
        self._read, self._block = 0, BLOCK

    def look(self) -> bool:
        """Begin anew where the file is there and another one than before; whether it is."""
        stamp = self._now()
        if stamp is None or stamp == self._stamp:
            return False
        self.close()
        try:
            self._source = Source(self.path)
        except UsageError:
            return False
        self._stamp, self._read = stamp, 0
        self.passed, self._places = {}, {}
        return True

    def step(self, deadline: float) -> bool:
        """Read on until a time of `time.monotonic`; whether all is read."""
        while self._source and (block := self._source.read(self._read, self._block)):
            whole = block.rfind(b"\n") + 1
            if not whole and len(block) == self._block:
                self._block *= 2
                continue
            for line in block[: whole or len(block)].splitlines(keepends=True):
                self._take(line)
                self._pace.breathe()
            if time.monotonic() > deadline:
                return False
        return True

    def verdicts(self, prompt_id: str) -> tuple[Verdict, ...]:
        """What was checked of the answer to a prompt; none where nothing is known."""
        place = self._places.get(hash(prompt_id))
        row = _load(self._source.read(*place)) if place and self._source else {}
        found = row.get("verdicts")
        listed = found if row.get("id") == prompt_id and isinstance(found, list) else []
        return tuple(verdict for one in listed if (verdict := _verdict(one)))

    def close(self) -> None:
        """Close the file."""
        if self._source:
            self._source.close()

    def _take(self, line: bytes) -> None:
        row, start = _load(line), self._read
        self._read += len(line)
        if isinstance(prompt_id := row.get("id"), str):
            self.passed[hash(prompt_id)] = _outcome(row.get("passed"))
            self._places[hash(prompt_id)] = (start, len(line))

    def _now(self) -> tuple[int, int, int] | None:
        try:
            stat = self.path.stat()
        except OSError:
            return None
        return stat.st_ino, stat.st_size, stat.st_mtime_ns


def _load(line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return row if isinstance(row, dict) else {}


def _verdict(value: Any) -> Verdict | None:
    match value:
        case {"name": str(name)}:
            why = value.get("why", "")
            why = why if isinstance(why, str) else ""
            return Verdict(name=name, passed=_outcome(value.get("passed")), why=why)
    return None


def _outcome(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None
