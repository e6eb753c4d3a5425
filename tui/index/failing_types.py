"""Which constraint types each row's answer fails: a bit for each type, 64 types to a column."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from sys import byteorder

BITS = 64
"""Types in one column."""
_HAS_BIT = tuple(bytes(value >> bit & 1 for value in range(256)) for bit in range(8))
"""Bit to what each byte has there."""


class FailingTypes:
    """A set of constraint types for each row; rows are only appended."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}
        self._masks: list[array[int]] = []
        self._rows = 0

    def append(self) -> None:
        """Add a row without any type."""
        self._rows += 1
        for masks in self._masks:
            masks.append(0)

    def set(self, row: int, types: Iterable[str]) -> None:
        """Set the types of a row."""
        for masks in self._masks:
            masks[row] = 0
        for name in types:
            column, bit = divmod(self._places.setdefault(name, len(self._places)), BITS)
            if column == len(self._masks):
                self._masks.append(array("Q", bytes(8 * self._rows)))
            self._masks[column][row] |= 1 << bit

    def of(self, row: int) -> tuple[str, ...]:
        """The types of a row, by name."""
        names = (
            name
            for name, place in self._places.items()
            if self._masks[place // BITS][row] >> (place % BITS) & 1
        )
        return tuple(sorted(names))

    def rows_with(self, name: str) -> bytes:
        """One byte for each row: 1 if it has the type."""
        place = self._places.get(name)
        if place is None:
            return bytes(self._rows)
        column, bit = divmod(place, BITS)
        byte, bit = divmod(bit, 8)
        masks = self._masks[column][: self._rows].tobytes()
        return masks[byte if byteorder == "little" else 7 - byte :: 8].translate(_HAS_BIT[bit])
