"""The colours of meaning in the theme that was chosen, and text that can be read in all of them.

`spar.view.palette` names colours of a terminal, such as green for a pass. `ansi_colours` draws them in the colours of
the theme, so a pass is the theme's success. `ReadableText` is the last filter of every line: where a theme, a dimmed
style or `NO_COLOR` leaves too little contrast between text and background, it moves the text towards black or white
until it has the ratio of WCAG 2.1, criterion 1.4.3 (https://www.w3.org/TR/WCAG21/#contrast-minimum).
"""

from __future__ import annotations

import re
from functools import lru_cache

from rich.color import Color as RichColor
from rich.segment import Segment
from rich.style import Style
from rich.terminal_theme import TerminalTheme
from textual.color import Color
from textual.filter import LineFilter
from textual.theme import Theme

MIN_CONTRAST = 4.5
"""Minimum contrast ratio of text."""
_STEPS = 20
"""Steps in which a colour is moved towards black or white."""
_TEXT = re.compile(r"[^\s─-▟]")
"""A character that is neither blank nor part of a line, a border or a bar."""


class ReadableText(LineFilter):
    """Gives all text a contrast of at least `MIN_CONTRAST`; native terminal colours are left as they are."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """The segments, those with too little contrast in another colour."""
        behind = background.rich_color
        return [
            Segment(segment.text, _readable(segment.style, behind), segment.control)
            if segment.style is not None and _TEXT.search(segment.text)
            else segment
            for segment in segments
        ]


def ansi_colours(theme: Theme) -> TerminalTheme:
    """A terminal's sixteen colours in those of a theme.

    Magenta and cyan, the colours of the two sides of a comparison, are mixed, since the accent and the secondary
    colour of some themes are those of a warning or of the primary colour.
    """
    named = theme.to_color_system().generate()
    black, white, primary = (Color.parse(named[n]) for n in ("background", "foreground", "primary"))
    red, green, yellow = (Color.parse(named[n]) for n in ("error", "success", "warning"))
    magenta, cyan = primary.blend(red, 0.4), primary.blend(green, 0.4)
    triplets = [c.rgb for c in (black, red, green, yellow, primary, magenta, cyan, white)]
    return TerminalTheme(black.rgb, white.rgb, triplets, triplets)


def contrast(text: RichColor, background: RichColor) -> float:
    """The contrast ratio of two RGB colours, from 1 to 21."""
    light, dark = sorted((_luminance(text), _luminance(background)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@lru_cache(4096)
def _readable(style: Style, background: RichColor) -> Style:
    text, behind = style.color, style.bgcolor or background
    if style.reverse:
        text, behind = behind, text or background
    if text is None or text.triplet is None or behind.triplet is None:
        return style
    if contrast(text, behind) >= MIN_CONTRAST:
        return style
    ends = [RichColor.from_rgb(grey, grey, grey) for grey in (0, 255)]
    end = max(ends, key=lambda colour: contrast(colour, behind))
    mixes = (_mixed(text, end, step / _STEPS) for step in range(1, _STEPS + 1))
    colour = next((mix for mix in mixes if contrast(mix, behind) >= MIN_CONTRAST), end)
    return style + (Style(bgcolor=colour) if style.reverse else Style(color=colour))


def _mixed(colour: RichColor, other: RichColor, share: float) -> RichColor:
    assert colour.triplet is not None and other.triplet is not None
    pairs = zip(colour.triplet, other.triplet, strict=True)
    return RichColor.from_rgb(*(round(one + (two - one) * share) for one, two in pairs))


def _luminance(colour: RichColor) -> float:
    """Relative luminance, as WCAG defines it."""
    assert colour.triplet is not None
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in colour.triplet.normalized
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
