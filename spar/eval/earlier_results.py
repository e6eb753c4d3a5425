"""What an evaluation's directory held before it is scored again: a lower `--limit` leaves out examples that had been scored."""

from __future__ import annotations

from pathlib import Path

from spar.errors import UsageError
from spar.record.evaluation import read_results


def num_scored(directory: Path) -> int:
    """How many examples the results in a directory are of; 0 where there are none, or they cannot be read."""
    try:
        return read_results(directory).n
    except UsageError:
        return 0


def fewer_scored(before: int, now: int) -> str:
    """A line where fewer examples are scored than were before, else ""."""
    if now >= before:
        return ""
    return f"{before:,} examples were scored here, now {now:,}; the same command with a larger --limit, or none, scores the others again"
