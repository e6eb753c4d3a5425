"""Text of a model, a prompt or a file, made fit to be shown: as text, whatever it holds.

| in the text | shown as |
|---|---|
| line feed | a line break; `⏎` where one line is asked for |
| tab | `→` and three spaces |
| other control characters, escape among them | their picture: `␛`, `␍`, `␀`, `␡` |
| C1 controls, bidirectional and zero-width characters, other formats, unassigned and private ones, lone surrogates, line and paragraph separators, odd spaces, letters that show nothing | `⟨U+202E⟩` |
| no-break space | `⍽` |
| a combining mark with nothing to stand on | on `◌` |
| more than four marks on one character | four of them, and `⟨+96 marks⟩` |
| the one variation selector that asks for a plain or a coloured glyph | nothing: terminals do not agree on its width |

Brackets, markup and emoji codes are no matter of characters: what `safe` gives must reach the screen as
a `rich.text.Text` (`safe_text`), never as a string that a widget would parse. Letters of scripts that run
from right to left are text, and stay. Copying takes the text itself, not what is shown.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache

from rich.cells import cell_len, chop_cells
from rich.text import Text

TAB = "→   "
"""What a tab is shown as."""
MAX_MARKS = 4
"""Combining marks that one character may carry; Vietnamese, Hebrew and Thai need fewer."""

_BREAK = "⏎"
_AS_THEY_ARE = {"\n", "\t", "\u3000"}
_OWN_FORMS = {"\x7f": "␡", "\u00a0": "⍽"}
# Printable by their category, yet nothing to be seen: fillers, joiners, variation selectors.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0"
    "\U0001d159\U0001d173-\U0001d17a\U000e0100-\U000e01ef]"
)
_GLYPH_CHOICE = re.compile("(?<=[^\\s\ufe00-\ufe0f])[\ufe0e\ufe0f](?![\ufe00-\ufe0f])")
# Vowels and finals of Hangul have no width of their own either, and can be heaped up like marks.
_JAMO = (range(0x1161, 0x1200), range(0xD7B0, 0xD800))
_PLANES = (range(0x300, 0x20000),)


class _Forms(dict[int, str]):
    """Code point to what it is shown as, worked out when it is first met."""

    def __missing__(self, code: int) -> str:
        self[code] = shown = _form(chr(code))
        return shown


def safe(
    text: str, *, width_limit: int | None = None, limit: int | None = None, tab: str = TAB
) -> str:
    """The text in visible forms; line breaks stay.

    Parameters
    ----------
    width_limit:
        Most characters of a line; how many were left out is said at its end.
    limit:
        Most characters in all; how many were left out is said at the end.
    tab:
        What stands for a tab.
    """
    if limit is not None:
        text = _cut(text, limit)
    if width_limit is not None and len(text) > width_limit:
        text = "\n".join(_cut(line, width_limit) for line in text.split("\n"))
    if text.isascii() and text.isprintable():
        return text
    shown = _GLYPH_CHOICE.sub("", text).translate(_FORMS)
    return (shown if shown.isascii() else _hold_marks(shown)).replace("\t", tab)


def safe_text(text: str, style: str = "", *, limit: int | None = None) -> Text:
    """The text in visible forms, as something that no widget takes for markup."""
    return Text(safe(text, limit=limit), style=style)


def one_line(text: str, limit: int | None = None) -> str:
    """The text in visible forms on one line of at most `limit` cells, `…` where it was cut."""
    if limit is None:
        return safe(text).replace("\n", _BREAK)
    head = text[: 8 * max(limit, 1)]  # marks have no width, so a cell may take several characters
    line = safe(head).replace("\n", _BREAK)
    if len(head) == len(text) and cell_len(line) <= limit:
        return line
    return f"{_first_cells(line, limit - 1)}…" if limit > 0 else ""


def _first_cells(line: str, width: int) -> str:
    pieces = chop_cells(line, width) if width > 0 else []
    # A wide character does not fit into one cell, and `chop_cells` must put it somewhere.
    return pieces[0] if pieces and cell_len(pieces[0]) <= width else ""


def _cut(text: str, limit: int) -> str:
    left = len(text) - limit
    return f"{text[:limit]} … {left:,} characters more" if left > 0 else text


def _form(character: str) -> str:
    if character in _AS_THEY_ARE:
        return character
    if character in _OWN_FORMS:
        return _OWN_FORMS[character]
    if character < " ":
        return chr(0x2400 + ord(character))
    if character.isprintable() and not _INVISIBLE.match(character):
        return character
    return f"⟨U+{ord(character):04X}⟩"


def _hold_marks(text: str) -> str:
    bare, flood = _mark_patterns()
    return flood.sub(_held, bare.sub("◌", text))


def _held(marks: re.Match[str]) -> str:
    return f"{marks[0][:MAX_MARKS]}⟨+{len(marks[0]) - MAX_MARKS:,} marks⟩"


@cache
def _mark_patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Where a mark has nothing to stand on, and runs of marks that are too long."""
    marks = "".join(chr(code) for plane in _PLANES for code in plane if _is_mark(code))
    jamo = "".join(f"{chr(r.start)}-{chr(r.stop - 1)}" for r in _JAMO)
    one = f"[{re.escape(marks)}{jamo}]"
    return re.compile(rf"(?:(?<=\s)|\A)(?={one})"), re.compile(rf"{one}{{{MAX_MARKS + 1},}}")


def _is_mark(code: int) -> bool:
    return unicodedata.category(chr(code)).startswith("M")


_FORMS = _Forms()
