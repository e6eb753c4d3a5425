"""Colours by meaning, as rich styles from the terminal's own sixteen, so they follow its theme.

Colour is never the only cue: every use also has a word, a glyph or a strike-through.
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
