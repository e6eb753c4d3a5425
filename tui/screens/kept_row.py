"""The row that the cursor comes back to after a search that hid it."""

from __future__ import annotations

from typing import Generic, TypeVar

Row = TypeVar("Row")


class KeptRow(Generic[Row]):
    """Where the cursor was when a search began, until the reader moves it or the search is over."""

    def __init__(self) -> None:
        self._row: Row | None = None
        self._above = 0
        """Lines of the table above it on the screen."""
        self._placed: Row | None = None
        """The row under the cursor when the table was filled last."""

    def begin(self, row: Row | None, above: int) -> None:
        """A search begins, with the cursor on a row; one that goes on comes back to where it began."""
        if self._row is None or row != self._placed:
            self._row, self._above = row, above
        self._placed = row

    def wanted(self, row: Row | None, above: int) -> tuple[Row | None, int]:
        """The row to put the cursor on, if it is shown, and its place on the screen, from those of the cursor now."""
        if row != self._placed:
            self._row = None  # the reader moved it
        return (row, above) if self._row is None else (self._row, self._above)

    def placed(self, row: Row | None, *, is_searching: bool) -> None:
        """The table is filled, and the cursor is on a row."""
        self._placed = row
        if not is_searching:
            self._row = None
