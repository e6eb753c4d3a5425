"""Colours by what they mean, as rich styles: the terminal's own sixteen, so that they follow its theme.

Nothing is said by colour alone: every use has a word, a glyph or a line through it as well.
"""

from __future__ import annotations

from collections.abc import Mapping

PALETTE: Mapping[str, str] = {
    "pass": "green",
    "fail": "red",
    "unjudged": "dim",
    "fault": "yellow",
    "answer": "bold",
    "added": "underline green",
    "removed": "strike red",
    "head": "bold",
    "note": "dim italic",
    "guide": "dim",
}
"""Meaning to style."""
