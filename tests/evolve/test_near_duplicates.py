"""Near duplicates: by hand, and against comparing all with all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spar.evolve.near_duplicates import NearTexts
from spar.evolve.normalize import words

LINE = [f"w{number}" for number in range(30)]


def changed(*places: int) -> list[str]:
    """The line with other words in these places."""
    return [f"other{i}" if i in places else word for i, word in enumerate(LINE)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Don't PANIC, café-goers!", ["don", "t", "panic", "café", "goers"]),
        ("snake_case x2", ["snake", "case", "x2"]),
        ("\uff28\uff49 there", ["hi", "there"]),  # full-width letters
        ("用三句话 OK", ["用", "三", "句", "话", "ok"]),
        ("किताब पढ़ो", ["किताब", "पढ़ो"]),
        ("!?", []),
    ],
)
def test_words(text: str, found: list[str]) -> None:
    """Case and punctuation are gone, vowel signs stay, unspaced scripts are cut by character."""
    assert words(text) == [word for part in found for word in words(part)]
    assert len(words(text)) == len(found)


@pytest.mark.parametrize(
    ("places", "both", "near"),
    [((), 28, True), ((15,), 25, True), ((5, 20), 22, False), ((0, 29), 26, True)],
)
def test_by_hand(places: tuple[int, ...], both: int, near: bool) -> None:
    """30 words have 28 runs; each word in the middle is in three of them, one at an end in one."""
    texts = NearTexts([LINE])
    texts.add(LINE)
    matches = list(texts.matches(changed(*places)))
    assert bool(matches) == near
    for match in matches:
        assert match.similarity == both / (56 - both)
        assert match.new == match.missing == 28 - both


def test_short_texts() -> None:
    """Up to three words only the same ones match; a text without words matches nothing."""
    texts = NearTexts([])
    for text in ("who", "who wrote", "who wrote it", ""):
        texts.add(text.split())
    assert [m.number for m in texts.matches(["who"])] == [0]
    assert [m.number for m in texts.matches(["who", "wrote"])] == [1]
    assert [m.number for m in texts.matches(["who", "wrote", "it"])] == [2]
    assert list(texts.matches([])) == []


texts_of_few_words = st.lists(st.sampled_from("abcde"), max_size=14)


def similarity(one: list[str], other: list[str]) -> float:
    """Jaccard similarity of three-word runs, the long way."""

    def runs(text: list[str]) -> set[tuple[str, ...]]:
        return {tuple(text[i : i + 3]) for i in range(max(len(text) - 2, 1))} if text else set()

    either = runs(one) | runs(other)
    return len(runs(one) & runs(other)) / len(either) if either else 0.0


@given(st.lists(texts_of_few_words, max_size=12), texts_of_few_words, st.booleans())
def test_nothing_is_missed(corpus: list[list[str]], asked: list[str], known: bool) -> None:
    """The index finds just what comparing with each finds, whether or not it knows how rare runs are."""
    texts = NearTexts([*corpus, asked] if known else [])
    for text in corpus:
        texts.add(text)
    expected = {i: similarity(asked, text) for i, text in enumerate(corpus)}
    found = {match.number: match.similarity for match in texts.matches(asked)}
    assert found == {i: value for i, value in expected.items() if value >= 0.7}
