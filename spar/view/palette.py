"""Colours by meaning, as rich styles from the sixteen that a terminal defines, so they follow its theme.

`spar tui` draws them in the colours of the theme that was chosen there (`tui.colours`). Colour is never the only
cue: every use also has a word, a glyph or a strike-through.
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
    "added_words": "green",
    "removed_words": "red",
    "left": "strike magenta",
    "right": "underline cyan",
    "left_name": "magenta",
    "right_name": "cyan",
    "head": "bold",
    "match": "reverse",
    "found": "bold underline",
    "mark": "bold blue",
    "note": "dim italic",
    "guide": "dim",
}
"""Meaning to style."""
