"""Stop strings: where a reply ends because of what it says. Pure."""

from __future__ import annotations

from collections.abc import Sequence


def find_stop(text: str, stop: Sequence[str]) -> int:
    """Where a text ends that must not reach any of these strings; its length if it has none of them.

    An empty string stops nothing.
    """
    found = (text.find(string) for string in stop if string)
    return min((at for at in found if at >= 0), default=len(text))


def stop_window_tokens(stop: Sequence[str]) -> int:
    """How many of a reply's last tokens show any of these strings that the last one completes.

    A token is a byte at least, special ones aside; one more token keeps the first from being shown
    differently for standing first.
    """
    return 1 + max((len(string.encode("utf-8", "replace")) for string in stop), default=0)
