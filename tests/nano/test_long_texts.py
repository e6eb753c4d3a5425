"""Long texts of nano-if: their constraints, their style, and the edits that keep it."""

from __future__ import annotations

import random
from itertools import islice

import pytest

from spar.nano.constraint_type import Constraint
from spar.nano.long_texts import (
    FEWEST,
    MOST,
    Style,
    adjectives_share,
    broken_once,
    half_rewritten,
    in_two_styles,
    long_tasks,
    openings_share,
    repaired,
    write_long,
    write_long_draft,
)
from spar.nano.tasks import split_of
from spar.nano.writer import violated
from spar.own_verifiers import count_sentences

TEXT = "Today the old fox sees that owl. Every bell guards this small quiet door."


@pytest.fixture(scope="module")
def tasks() -> list[tuple[Constraint, ...]]:
    return [task.constraints for _, task in islice(long_tasks("train", 0), 40)]


def test_the_style_of_a_text_is_counted() -> None:
    """Adjectives of all nouns, and sentences that open with a starter; a text without words has none of either."""
    assert adjectives_share(TEXT) == (3.0, 4.0)
    assert openings_share(TEXT) == (1.0, 2.0)
    assert Style.of(TEXT) == Style(0.75, 0.5)
    assert Style.of("") == Style(0.0, 0.0)


def test_tasks_are_of_their_split_and_reproducible() -> None:
    """No prompt twice, none of another split, the same ones for the same seed."""
    for split in ("train", "test"):
        drawn = list(islice(long_tasks(split, 3), 30))
        assert len({task.text for _, task in drawn}) == len({name for name, _ in drawn}) == 30
        assert {split_of(task.constraints) for _, task in drawn} == {split}
        assert drawn == list(islice(long_tasks(split, 3), 30))
    assert drawn != list(islice(long_tasks("test", 4), 30))


def test_texts_are_long_meet_their_task_and_have_their_style(
    tasks: list[tuple[Constraint, ...]],
) -> None:
    """10 to 20 sentences; adjectives are as frequent as the style says."""
    rng = random.Random(0)
    shares = {}
    for adjectives in (0.1, 0.9):
        texts = [write_long(each, Style(adjectives, 0.5), rng) for each in tasks]
        for text, constraints in zip(texts, tasks, strict=True):
            assert text is not None and not violated(text, constraints)
            assert FEWEST <= count_sentences(text) <= MOST
        shares[adjectives] = adjectives_share(" ".join(text or "" for text in texts))
    few, many = (above / below for above, below in shares.values())
    assert few < 0.25 and many > 0.8


def test_edits_change_what_they_should_alone(tasks: list[tuple[Constraint, ...]]) -> None:
    """A repair passes and leaves the style; half a rewrite passes too and has other words; a break violates something."""
    rng = random.Random(1)
    failing = 0
    for constraints in tasks:
        draft = write_long_draft(constraints, rng)
        if violated(draft, constraints):
            failing += 1
            refined = repaired(draft, constraints, rng)
            assert refined is not None and not violated(refined, constraints)
            assert abs(Style.of(refined).adjectives - Style.of(draft).adjectives) < 0.1
            half = half_rewritten(refined, constraints, rng)
            assert half is not None and not violated(half, constraints)
            assert len(set(half.split(". ")) & set(refined.split(". "))) >= 3 and half != refined
        text = write_long(constraints, Style(0.5, 0.5), rng)
        assert text is not None
        broken = broken_once(text, constraints, rng)
        assert broken is None or violated(broken, constraints)
    assert 5 < failing < len(tasks)


def test_two_styles_differ_in_adjectives_alone(tasks: list[tuple[Constraint, ...]]) -> None:
    """Both texts pass; without their adjectives they are one."""
    rng = random.Random(2)
    for constraints in tasks[:10]:
        texts = in_two_styles(constraints, rng)
        assert texts is not None
        plain, adorned = texts
        assert not violated(plain, constraints) and not violated(adorned, constraints)
        remaining = iter(adorned.lower().split())
        assert all(word in remaining for word in plain.lower().split())  # a subsequence
        assert Style.of(adorned).adjectives > 0.9 > 0.4 > Style.of(plain).adjectives
