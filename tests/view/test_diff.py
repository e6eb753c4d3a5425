"""Word-level changes: exact, readable, and never long in the making."""

from __future__ import annotations

import random
import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spar.view.diff import Piece, change_text, diff_text, inline_diff, word_diff
from spar.view.palette import PALETTE
from tests.hostile import EVERYTHING, hostile_text
from tests.view.test_text import unseen

few_words = st.lists(st.sampled_from(["a", "b", "a b", ".", " ", "\n", "  ", "猫", "\t"])).map(
    "".join
)
"""Texts that have much in common."""


def sides(pieces: list[Piece]) -> tuple[str, str]:
    """Reconstruct both texts from the pieces."""
    old = "".join(piece.text for piece in pieces if piece.kind != "added")
    new = "".join(piece.text for piece in pieces if piece.kind != "removed")
    return old, new


@given(few_words | hostile_text, few_words | hostile_text, st.sampled_from([0, 20, 10**6]))
def test_pieces_rebuild_both_texts(old: str, new: str, steps: int) -> None:
    """The pieces make up both texts under any limit; none is empty or repeats the previous kind."""
    pieces = word_diff(old, new, steps=steps)
    assert sides(pieces) == (old, new)
    assert all(piece.text for piece in pieces)
    kinds = [piece.kind for piece in pieces]
    assert all(one != other for one, other in pairwise(kinds))
    assert (kinds in ([], ["same"])) is (old == new)


@pytest.mark.parametrize(
    ("old", "new", "shown"),
    [
        ("Two cats sat.", "Two dogs sat.", "Two [-cats-]{+dogs+} sat."),
        ("One. Two.", "One. Two. Three.", "One. Two.{+ Three.+}"),
        ("Zero one.", "one.", "[-Zero -]one."),
        ("word", "word.", "word{+.+}"),
        ("a b", "a  b", "a{+·+} b"),
        ("a b", "a\nb", "a[-·-]{+⏎\n+}b"),
        ("他喜欢猫。", "他喜欢狗。", "他喜欢[-猫-]{+狗+}。"),
        ("don't stop", "do not stop", "[-don't-]{+do not+} stop"),
        ("x", "", "[-x-]"),
        ("", "x", "{+x+}"),
        ("", "", ""),
        ("same", "same", "same"),
        # The one comma that survives is no reason to chop a rewritten sentence into bits.
        (
            "red apples hang there, all of them ripe",
            "no fruit was left, since birds ate everything",
            "[-red apples hang there, all of them ripe-]{+no fruit was left, since birds ate everything+}",
        ),
    ],
)
def test_what_is_shown(old: str, new: str, shown: str) -> None:
    """Words change, white space changes visibly, and without colour brackets say which is which."""
    assert inline_diff(word_diff(old, new)) == shown


def test_colour_needs_no_brackets() -> None:
    """In colour what was removed is struck through and what was added is underlined."""
    text = diff_text(word_diff("Two cats.", "Two dogs."))
    assert text.plain == "Two catsdogs."
    styles = {text.plain[span.start : span.end]: span.style for span in text.spans}
    assert styles == {"cats": PALETTE["removed"], "dogs": PALETTE["added"]}
    assert "strike" in PALETTE["removed"]
    assert "underline" in PALETTE["added"]


def test_a_long_diff_is_cut_with_a_note() -> None:
    """A long diff is truncated and shows the number left out."""
    text = diff_text(word_diff("one two three", "one 2 three"), limit=6)
    assert text.plain == "one tw … 8 characters more"
    assert diff_text(word_diff("one", "one"), limit=3).plain == "one"


@given(hostile_text, hostile_text)
def test_hostile_words_stay_words(old: str, new: str) -> None:
    """No control character of either text is shown."""
    assert unseen(inline_diff(word_diff(old, new))) == set()
    assert unseen(diff_text(word_diff(old, EVERYTHING)).plain) == set()


@pytest.mark.parametrize("words", [2_000, 50_000])
def test_repetition_does_not_take_forever(words: int) -> None:
    """Texts on which difflib alone takes minutes: repeated words, shifted, scattered and rewritten."""
    dice = random.Random(0)
    start = time.monotonic()
    for old, new in (
        ("a b " * (words // 2), "a a b " * (words // 3)),
        ("ab. " * words, "aa ab. " * (words // 2)),
        (" ".join(dice.choices("abc", k=words)), " ".join(dice.choices("abc", k=words))),
        ("x" * words, "y" * words),
    ):
        assert sides(word_diff(old, new)) == (old, new)
    assert time.monotonic() - start < 15


def test_beyond_the_limit_changed_sentences_are_still_found() -> None:
    """Where words are too many to be matched, sentences are matched first and words within them."""
    same = [f"Sentence {number} says the same as ever." for number in range(300)]
    old = " ".join(["First it was red.", *same, "Last it was red."])
    new = " ".join(["First it was blue.", *same, "Last it was blue."])
    pieces = word_diff(old, new, steps=5_000)
    assert [p.text for p in pieces if p.kind != "same"] == ["red", "blue", "red", "blue"]


def test_only_what_changed_on_one_line() -> None:
    """Changes at one place stand together, a long one is cut, and blanks are visible."""
    pairs = {
        ("Two cats sat.", "Two dogs sat."): "-cats +dogs",
        ("Two cats sat here.", "Two dogs sat still here."): "-cats +dogs  +still",
        ("a b", "a\nb"): "-· +⏎",
        ("same", "same"): "",
    }
    for (old, new), shown in pairs.items():
        assert change_text(word_diff(old, new), 40).plain == shown
    long = change_text(word_diff("start", "start " + "word " * 40), 30)
    assert long.plain.startswith("+word word") and long.cell_len == 30
