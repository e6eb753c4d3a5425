"""Stop strings: where a reply ends because of its text. Pure."""

from __future__ import annotations

from collections.abc import Sequence


def find_stop(text: str, stop: Sequence[str]) -> int:
    """Index of the first stop string in a text; its length if there is none. An empty string stops nothing."""
    indexes = (text.find(string) for string in stop if string)
    return min((index for index in indexes if index >= 0), default=len(text))


def unfinished_stop(text: str, stop: Sequence[str]) -> int:
    """How many of a text's last characters may turn out to begin a stop string."""
    sizes = (
        size for string in stop for size in range(1, len(string)) if text.endswith(string[:size])
    )
    return max(sizes, default=0)


def stop_window_tokens(stop: Sequence[str]) -> int:
    """How many of a reply's last tokens to decode to see a stop string that the last token completes.

    A token is at least one byte, except for special tokens; one more token keeps the first of them from
    being decoded differently for being the first.
    """
    return 1 + max((len(string.encode("utf-8", "replace")) for string in stop), default=0)
