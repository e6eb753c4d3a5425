"""Model text is shown as text: nothing of it styles, moves or escapes the terminal."""

from __future__ import annotations

import io
import re
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from spar.view.text import one_line, safe, safe_text
from tests.hostile import EVERYTHING, SNIPPETS, hostile_text

SGR = re.compile(r"\x1b\[[0-9;]*m")
UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def unseen(text: str) -> set[str]:
    """Characters that a terminal might obey, or that show nothing; line breaks are none of them."""
    return {c for c in text if c != "\n" and unicodedata.category(c) in UNSEEN}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain [b]text[/b]\n", "plain [b]text[/b]\n"),
        ("a\tb", "a→   b"),
        ("\x1b[31m", "␛[31m"),
        ("a\r\nb", "a␍\nb"),
        ("\x00\x7f", "␀␡"),
        ("\x9b2J", "⟨U+009B⟩2J"),
        ("\u202eabc", "⟨U+202E⟩abc"),
        ("a\u200db", "a⟨U+200D⟩b"),
        ("\ud800", "⟨U+D800⟩"),
        ("\u2028", "⟨U+2028⟩"),
        ("\u3164", "⟨U+3164⟩"),
        ("\U000e0041", "⟨U+E0041⟩"),
        ("5\u00a0%", "5⍽%"),
        ("\u3000", "\u3000"),
        ("❤\ufe0f", "❤"),
        ("❤\ufe0f\ufe0f", "❤⟨U+FE0F⟩⟨U+FE0F⟩"),
        (" \ufe0f", " ⟨U+FE0F⟩"),
        ("e\u0301", "e\u0301"),
        ("\u0301", "◌\u0301"),
        ("a\n\u0301", "a\n◌\u0301"),
        ("e" + "\u0301" * 100, "e\u0301\u0301\u0301\u0301⟨+96 marks⟩"),
        ("ᄀ" + "\u1161" * 9, "ᄀ" + "\u1161" * 4 + "⟨+5 marks⟩"),
        ("שלום, 日本語", "שלום, 日本語"),
    ],
)
def test_forms(text: str, shown: str) -> None:
    """Each kind of character in its visible form, and ordinary letters of any script as they are."""
    assert safe(text) == shown


@given(hostile_text)
@example(EVERYTHING)
def test_nothing_reaches_the_terminal_but_text(text: str) -> None:
    """A real console sends line breaks and its own colour codes, and nothing that the text held."""
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, color_system="truecolor", width=40)
    console.print(safe_text(text, "bold red"))
    assert unseen(SGR.sub("", out.getvalue())) == set()
    assert out.getvalue().count("\x1b") == len(SGR.findall(out.getvalue()))


@given(st.text(st.characters(exclude_categories=())))
def test_every_character_leaves_a_trace(text: str) -> None:
    """The lines stay the lines, no line is lost, and what was shown is shown the same again."""
    shown = safe(text)
    assert shown.count("\n") == text.count("\n")
    assert unseen(shown) == set()
    assert safe(shown) == shown
    assert bool(shown) == bool(text)


@given(hostile_text, st.integers(0, 30))
@example("日本語", 1)
@example("e" + "\u0301" * 1000 + "x", 2)
def test_one_line_fits(text: str, limit: int) -> None:
    """One line of no more cells than there are, and a mark where something was left out."""
    line = one_line(text, limit)
    assert "\n" not in line
    assert cell_len(line) <= limit
    assert unseen(line) == set()
    whole = one_line(text)
    assert line == whole or limit == 0 or line.endswith("…")


def test_one_line_shows_line_breaks() -> None:
    """A line break is a character of the line, and a short text stands whole."""
    assert one_line("a\nb") == "a⏎b"
    assert one_line("abcdef", 6) == "abcdef"
    assert one_line("abcdefg", 6) == "abcde…"
    assert one_line("日本語", 4) == "日…"


def test_long_lines_are_cut_with_a_note() -> None:
    """Each line that is too long says by how much; other lines stay."""
    assert safe("x" * 100_000 + "\nshort", width_limit=5) == "xxxxx … 99,995 characters more\nshort"
    assert safe("ab\ncd", limit=3) == "ab\n … 2 characters more"
    assert safe("ab", width_limit=2, limit=2) == "ab"


def test_markup_is_text() -> None:
    """Brackets and emoji codes come out as they went in."""
    out = io.StringIO()
    console = Console(file=out, width=200)
    for snippet in (SNIPPETS[0], SNIPPETS[1], ":smile:"):
        console.print(safe_text(snippet))
    assert out.getvalue() == "[bold red]x[/]\n[/x]\n:smile:\n"


def test_tabs_may_stay() -> None:
    """A file keeps its tabs."""
    assert safe("a\tb\x1b", tab="\t") == "a\tb␛"
