"""Parts of a text that are replaced.

changed("Tea, milk.", [(3, 4, " and")])     "Tea and milk."
"""

from __future__ import annotations

from collections.abc import Iterable

Change = tuple[int, int, str]
"""Start and end of a part of a text, and what stands there instead."""


def changed(text: str, changes: Iterable[Change]) -> str:
    """The text after all changes, in any order; of parts that overlap the later one goes on where the earlier one ends."""
    pieces, end = [], 0
    for start, stop, new in sorted(changes):
        pieces += [text[end : max(start, end)], new]
        end = max(stop, end)
    return "".join([*pieces, text[end:]])
