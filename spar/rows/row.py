"""A row, and the words of an error about one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, NoReturn

from spar.errors import UsageError

SHOWN_CHARACTERS = 60
"""Length at which values in an error message are cut."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row."""

    where: str
    """Its place, for messages: `FILE:LINE`, or `FILE, row N` where rows are not lines."""
    number: int
    """The line, or the position among the rows, from 1."""
    values: dict[str, Any]
    """Its fields, plain JSON."""

    @property
    def place(self) -> str:
        """Its place in the file, for messages about another row."""
        return (
            f"on line {self.number}"
            if self.where.endswith(f":{self.number}")
            else f"in row {self.number}"
        )


def reject(where: str, received: str, accepted: str) -> NoReturn:
    """Raise `UsageError` for a row."""
    raise UsageError(f"{where}: {received}; accepted: {accepted}")


def shown(value: Any) -> str:
    """A value as ASCII JSON for a message, cut where it is long."""
    try:
        return cut(json.dumps(value, default=str))
    except (ValueError, RecursionError):
        return "a value nested too deep"


def cut(text: str) -> str:
    """A text for a message, cut where it is long."""
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."


def error_line(error: BaseException) -> str:
    """The message of an error without its line breaks."""
    return " ".join(str(error).split()) or type(error).__name__
