"""The results of an evaluation: `examples.jsonl` beside the trees, by prompt id.

    {"id": "1000", "passed": true, "verdicts": [{"name": "...", "passed": true, "why": "..."}], ...}

The file is read once, in slices; only the outcome and the position of each line stay in memory. A line that
is not an example is skipped.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from spar.errors import UsageError
from spar.files import file_stamp
from spar.record.evaluation import Verdict, verdict_findings
from spar.types import Finding
from tui.index.cooperative import Throttle
from tui.index.source import Source

BLOCK = 1 << 20
"""Bytes read at once; doubled for a longer line."""


class Examples:
    """The examples of one file, by the hash of the prompt's id."""

    def __init__(self, path: Path, throttle: Throttle) -> None:
        self.path, self._throttle = path, throttle
        self.passed: dict[int, bool | None] = {}
        """Whether the answer passes."""
        self._spans: dict[int, tuple[int, int]] = {}
        self._source: Source | None = None
        self._stamp: tuple[int, int, int] | None = None
        self._read, self._block = 0, BLOCK

    def reload(self) -> bool:
        """Start again if the file is new or was replaced; returns whether it was."""
        stamp = file_stamp(self.path)
        if stamp is None or stamp == self._stamp:
            return False
        self.close()
        try:
            self._source = Source(self.path)
        except UsageError:
            return False
        self._stamp, self._read = stamp, 0
        self.passed, self._spans = {}, {}
        return True

    def step(self, deadline: float) -> bool:
        """Read until `deadline`, a time of `time.monotonic`; returns whether all is read."""
        while self._source and (block := self._source.read(self._read, self._block)):
            whole = block.rfind(b"\n") + 1
            if not whole and len(block) == self._block:
                self._block *= 2
                continue
            for line in block[: whole or len(block)].splitlines(keepends=True):
                self._take(line)
                self._throttle.yield_cpu()
            if time.monotonic() > deadline:
                return False
        return True

    def verdicts(self, prompt_id: str) -> tuple[Verdict, ...]:
        """The verdicts on the answer to a prompt; empty if unknown."""
        span = self._spans.get(hash(prompt_id))
        row = _load(self._source.read(*span)) if span and self._source else {}
        values = row.get("verdicts")
        values = values if row.get("id") == prompt_id and isinstance(values, list) else []
        return tuple(verdict for value in values if (verdict := _verdict(value)))

    def findings(self, prompt_id: str) -> tuple[Finding, ...]:
        """The verdicts on the answer to a prompt that are known, as findings."""
        return verdict_findings(self.verdicts(prompt_id))

    def close(self) -> None:
        """Close the file."""
        if self._source:
            self._source.close()

    def _take(self, line: bytes) -> None:
        row, start = _load(line), self._read
        self._read += len(line)
        if isinstance(prompt_id := row.get("id"), str):
            self.passed[hash(prompt_id)] = _outcome(row.get("passed"))
            self._spans[hash(prompt_id)] = (start, len(line))


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
