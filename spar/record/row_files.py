"""Files of rows with a report beside them, written whole: the report last, so that the rows are complete where it exists."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from spar.errors import RunStopped, UsageError
from spar.files import replace_json, replace_lines
from spar.types import Record

ADVICE = "fix this and rerun the command"
"""What to do where the disk fails."""
Report = TypeVar("Report", bound=Record)


def record_line(record: Record) -> str:
    """A record as a line of a file of rows."""
    return json.dumps(record.model_dump(), separators=(",", ":"))


def make_directory(directory: Path) -> None:
    """Make a directory and those above it; raises `RunStopped` where that fails."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _stopped(directory, error, ADVICE) from error


def write_rows(
    directory: Path,
    files: Mapping[str, Iterable[Record]],
    *,
    outdated: Sequence[str],
    advice: str = ADVICE,
) -> dict[str, str]:
    """Replace files of rows; returns file to the SHA-256 of its bytes.

    Parameters
    ----------
    outdated:
        Files that are deleted first, the report among them.
    advice:
        What to do where the disk fails.

    Raises
    ------
    RunStopped
        They cannot be written.
    """
    try:
        for name in outdated:
            (directory / name).unlink(missing_ok=True)
        return {
            name: replace_lines(directory / name, map(record_line, rows))
            for name, rows in files.items()
        }
    except OSError as error:
        raise _stopped(directory, error, advice) from error


def write_report(path: Path, report: Record, *, advice: str = ADVICE) -> None:
    """Write a report; raises `RunStopped` where it cannot be written."""
    try:
        replace_json(path, report.model_dump(mode="json"))
    except OSError as error:
        raise _stopped(path.parent, error, advice) from error


def read_report(path: Path, kind: type[Report], command: str) -> Report:
    """The report that a command wrote when it had finished; raises `UsageError` where there is none."""
    try:
        return kind.model_validate(json.loads(path.read_bytes()))
    except (OSError, ValueError, RecursionError, ValidationError) as error:
        raise UsageError(f"{path} is not the report of a finished `{command}`") from error


def _stopped(directory: Path, error: OSError, advice: str) -> RunStopped:
    return RunStopped(f"cannot write to {directory}: {error.strerror or error}; {advice}")
