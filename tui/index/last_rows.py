"""Which rows a later row of the same prompt replaces: of two trees of one prompt, the last counts (`spar.tree_file`).

A run with a total budget appends a prompt's new tree, and removes the old one at the end of the round. Rows are found by
the `hash` of their prompt's id in chains, the last row first, which takes 10 to 15 bytes a row.
"""

from __future__ import annotations

from array import array

NO_ID = -1
"""`hash` of a string is never -1."""
_NONE = -1
"""Behind the last row of a chain."""
_CHAINS = 1 << 10
"""Chains at first, a power of two."""


class LastRows:
    """The prompt of each row, and whether a later row replaces it. One thread writes while others read."""

    def __init__(self) -> None:
        self.ids = array("q")
        """The `hash` of each row's prompt id, `NO_ID` while it is unknown and for a line that is no tree."""
        self.replaced = bytearray()
        """1 for each row that a later one replaces."""
        self.num_replaced = 0
        self.changed: set[int] = set()
        """Rows that were replaced, or are no longer, since they were taken from here."""
        self._firsts = array("i", [_NONE]) * _CHAINS
        """The last row of each chain."""
        self._earlier = array("i")
        """The row before each row in its chain."""
        self._linked = 0

    def append(self) -> None:
        """Add a row whose prompt is unknown."""
        self._earlier.append(_NONE)
        self.replaced.append(0)
        self.ids.append(NO_ID)

    def set(self, row: int, key: int) -> None:
        """Set the prompt of a row; `NO_ID` if it is unknown."""
        if self.ids[row] == key:
            return
        if self.ids[row] != NO_ID:
            self._unlink(row)
        if key != NO_ID:
            self._link(row, key)

    def _link(self, row: int, key: int) -> None:
        if self._linked >= len(self._firsts):
            self._double()
        ids, earlier, chain = self.ids, self._earlier, key & (len(self._firsts) - 1)
        later, at, is_replaced = _NONE, self._firsts[chain], False
        while at > row:
            is_replaced = is_replaced or ids[at] == key
            later, at = at, earlier[at]
        earlier[row] = at
        self._put_behind(later, chain, row)
        ids[row] = key
        self._linked += 1
        if is_replaced:
            self._mark(row, 1)
        elif (before := self._row_before(row)) != _NONE:
            self._mark(before, 1)

    def _unlink(self, row: int) -> None:
        chain = self.ids[row] & (len(self._firsts) - 1)
        later, at = _NONE, self._firsts[chain]
        while at != row:
            later, at = at, self._earlier[at]
        if self.replaced[row]:
            self._mark(row, 0)
        elif (before := self._row_before(row)) != _NONE:
            self._mark(before, 0)
        self._put_behind(later, chain, self._earlier[row])
        self._earlier[row], self.ids[row] = _NONE, NO_ID
        self._linked -= 1

    def _row_before(self, row: int) -> int:
        """The nearest earlier row of the same prompt."""
        key, at = self.ids[row], self._earlier[row]
        while at != _NONE and self.ids[at] != key:
            at = self._earlier[at]
        return at

    def _put_behind(self, later: int, chain: int, row: int) -> None:
        if later == _NONE:
            self._firsts[chain] = row
        else:
            self._earlier[later] = row

    def _mark(self, row: int, replaced: int) -> None:
        if self.replaced[row] != replaced:
            self.replaced[row] = replaced
            self.num_replaced += 1 if replaced else -1
            self.changed.add(row)

    def _double(self) -> None:
        """Twice as many chains, so that they stay short."""
        mask = 2 * len(self._firsts) - 1
        firsts, earlier = array("i", [_NONE]) * (mask + 1), self._earlier
        for row, key in enumerate(self.ids):
            if key != NO_ID:
                earlier[row], firsts[key & mask] = firsts[key & mask], row
        self._firsts = firsts
