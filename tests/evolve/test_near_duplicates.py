"""Near duplicates: worked examples, and a comparison with brute force."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spar.evolve.near_duplicates import NearDuplicateIndex
from spar.evolve.normalize import words

LINE = [f"w{number}" for number in range(30)]


def changed(*positions: int) -> list[str]:
    """The line with other words at these positions."""
    return [f"other{i}" if i in positions else word for i, word in enumerate(LINE)]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("Don't PANIC, café-goers!", ["don", "t", "panic", "café", "goers"]),
        ("snake_case x2", ["snake", "case", "x2"]),
        ("\uff28\uff49 there", ["hi", "there"]),  # full-width letters
        ("用三句话 OK", ["用", "三", "句", "话", "ok"]),
        ("किताब पढ़ो", ["किताब", "पढ़ो"]),
        ("!?", []),
    ],
)
def test_words(text: str, parts: list[str]) -> None:
    """Case and punctuation are removed, vowel signs stay, unspaced scripts are split into characters."""
    assert words(text) == [word for part in parts for word in words(part)]
    assert len(words(text)) == len(parts)


@pytest.mark.parametrize(
    ("positions", "both", "near"),
    [((), 28, True), ((15,), 25, True), ((5, 20), 22, False), ((0, 29), 26, True)],
)
def test_similarity_of_changed_lines(positions: tuple[int, ...], both: int, near: bool) -> None:
    """30 words have 28 shingles; a word in the middle is in three of them, one at an end in one."""
    index = NearDuplicateIndex([LINE])
    index.add(LINE)
    matches = list(index.matches(changed(*positions)))
    assert bool(matches) == near
    for match in matches:
        assert match.similarity == both / (56 - both)
        assert match.new == match.missing == 28 - both


def test_short_texts() -> None:
    """Texts of up to three words match only if equal; a text without words matches nothing."""
    index = NearDuplicateIndex([])
    for text in ("who", "who wrote", "who wrote it", ""):
        index.add(text.split())
    assert [m.number for m in index.matches(["who"])] == [0]
    assert [m.number for m in index.matches(["who", "wrote"])] == [1]
    assert [m.number for m in index.matches(["who", "wrote", "it"])] == [2]
    assert list(index.matches([])) == []


texts_of_few_words = st.lists(st.sampled_from("abcde"), max_size=14)


def similarity(left: list[str], right: list[str]) -> float:
    """Jaccard similarity of three-word shingles, computed directly."""

    def shingles(text: list[str]) -> set[tuple[str, ...]]:
        return {tuple(text[i : i + 3]) for i in range(max(len(text) - 2, 1))} if text else set()

    either = shingles(left) | shingles(right)
    return len(shingles(left) & shingles(right)) / len(either) if either else 0.0


@given(st.lists(texts_of_few_words, max_size=12), texts_of_few_words, st.booleans())
def test_matches_equal_brute_force(
    corpus: list[list[str]], query: list[str], counted: bool
) -> None:
    """The index finds the same as comparing with each text, with and without shingle counts."""
    index = NearDuplicateIndex([*corpus, query] if counted else [])
    for text in corpus:
        index.add(text)
    expected = {i: similarity(query, text) for i, text in enumerate(corpus)}
    matches = {match.number: match.similarity for match in index.matches(query)}
    assert matches == {i: value for i, value in expected.items() if value >= 0.7}
