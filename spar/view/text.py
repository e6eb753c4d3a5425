"""Make text of a model, a prompt or a file safe to display, whatever it contains.

| in the text | shown as |
|---|---|
| line feed | a line break; `⏎` in `one_line` |
| tab | `→` and three spaces |
| other control characters, escape among them | their picture: `␛`, `␍`, `␀`, `␡` |
| C1 controls, bidirectional and zero-width characters, other formats, unassigned and private ones, lone surrogates, line and paragraph separators, odd spaces, invisible letters | `⟨U+202E⟩` |
| no-break space | `⍽` |
| a combining mark without a base character | on `◌` |
| more than four marks on one character | four of them, and `⟨+96 marks⟩` |
| a single variation selector for a plain or a coloured glyph | nothing: terminals do not agree on its width |

Brackets, markup and emoji codes are ordinary characters here: pass the result of `safe` to a widget as a
`rich.text.Text` (`safe_text`), never as a string that would be parsed for markup. Letters of right-to-left
scripts are left as they are. Copying uses the original text.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from string import ascii_uppercase

from rich.cells import cell_len, chop_cells
from rich.text import Text

TAB = "→   "
"""The visible form of a tab."""
MAX_MARKS = 4
"""Maximum combining marks of one character; Vietnamese, Hebrew and Thai need fewer."""

_BREAK = "⏎"
_UNCHANGED = {"\n", "\t", "\u3000"}
_SPECIAL_FORMS = {"\x7f": "␡", "\u00a0": "⍽"}
# Printable by category but invisible: fillers, joiners, variation selectors.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0"
    "\U0001d159\U0001d173-\U0001d17a\U000e0100-\U000e01ef]"
)
_GLYPH_CHOICE = re.compile("(?<=[^\\s\ufe00-\ufe0f])[\ufe0e\ufe0f](?![\ufe00-\ufe0f])")
# Vowels and finals of Hangul have no width either and can be stacked like marks.
_JAMO = (range(0x1161, 0x1200), range(0xD7B0, 0xD800))
_MARKED = range(0x300, 0x20000)
"""Where combining marks are; the variation selectors behind it have a visible form."""


class _Forms(dict[int, str]):
    """Code point to visible form, computed on first use."""

    def __missing__(self, code: int) -> str:
        self[code] = form = _form(chr(code))
        return form


def safe(
    text: str, *, width_limit: int | None = None, limit: int | None = None, tab: str = TAB
) -> str:
    """The text in visible forms; line breaks stay.

    Parameters
    ----------
    width_limit:
        Maximum characters of a line; a longer one ends with the number left out.
    limit:
        Maximum characters in total; a longer text ends with the number left out.
    tab:
        The visible form of a tab.
    """
    if limit is not None:
        text = _cut(text, limit)
    if width_limit is not None and len(text) > width_limit:
        text = "\n".join(_cut(line, width_limit) for line in text.split("\n"))
    if text.isascii() and text.isprintable():
        return text
    shown = _GLYPH_CHOICE.sub("", text).translate(_FORMS)
    return (shown if shown.isascii() else _limit_marks(shown)).replace("\t", tab)


def safe_text(text: str, style: str = "", *, limit: int | None = None) -> Text:
    """The text in visible forms, as a `Text` that no widget parses for markup."""
    return Text(safe(text, limit=limit), style=style)


def one_line(text: str, limit: int | None = None) -> str:
    """The text in visible forms on one line of at most `limit` cells; a truncated one ends in `…`."""
    if limit is None:
        return safe(text).replace("\n", _BREAK)
    head = text[: 8 * max(limit, 1)]  # marks have no width, so a cell may take several characters
    line = safe(head).replace("\n", _BREAK)
    if len(head) == len(text) and cell_len(line) <= limit:
        return line
    return f"{_first_cells(line, limit - 1)}…" if limit > 0 else ""


def run_letter(place: int) -> str:
    """The short name of a run in a comparison by its place from 0: A to Z, then AA, AB, ..."""
    before, last = divmod(place, len(ascii_uppercase))
    return (run_letter(before - 1) if before else "") + ascii_uppercase[last]


def _first_cells(line: str, width: int) -> str:
    pieces = chop_cells(line, width) if width > 0 else []
    # `chop_cells` returns a wide character even if it does not fit.
    return pieces[0] if pieces and cell_len(pieces[0]) <= width else ""


def _cut(text: str, limit: int) -> str:
    left = len(text) - limit
    return f"{text[:limit]} … {left:,} characters more" if left > 0 else text


def _form(character: str) -> str:
    if character in _UNCHANGED:
        return character
    if character in _SPECIAL_FORMS:
        return _SPECIAL_FORMS[character]
    if character < " ":
        return chr(0x2400 + ord(character))
    if character.isprintable() and not _INVISIBLE.match(character):
        return character
    return f"⟨U+{ord(character):04X}⟩"


def _limit_marks(text: str) -> str:
    if not any(map(_is_mark, set(text))):
        return text  # arrows and dashes need no patterns, which take a tenth of a second to make
    bare, flood = _mark_patterns()
    return flood.sub(_truncate_marks, bare.sub("◌", text))


def _truncate_marks(marks: re.Match[str]) -> str:
    return f"{marks[0][:MAX_MARKS]}⟨+{len(marks[0]) - MAX_MARKS:,} marks⟩"


@cache
def _mark_patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Patterns of a mark without a base character, and of a run of marks that is too long."""
    mark = f"[{re.escape(''.join(filter(_is_mark, map(chr, _MARKED))))}]"
    return re.compile(rf"(?:(?<=\s)|\A)(?={mark})"), re.compile(rf"{mark}{{{MAX_MARKS + 1},}}")


def _is_mark(character: str) -> bool:
    code = ord(character)
    if code not in _MARKED:
        return False
    return unicodedata.category(character)[0] == "M" or any(code in jamo for jamo in _JAMO)


_FORMS = _Forms()
