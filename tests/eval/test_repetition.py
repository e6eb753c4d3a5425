"""Answers that repeat themselves, counted by hand."""

from __future__ import annotations

import pytest

from spar.eval.repetition import repetition_notes, with_repetition
from spar.record.evaluation import Example
from spar.repetition import is_repetitive, seq_rep_4


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("", 0.0),
        ("a b c", 0.0),
        ("a b c d e f g", 0.0),
        ("a b c d a b c d", 1 / 5),
        ("word " * 103, 99 / 100),
        ("* * *\n\n" * 40, 116 / 117),
        ("天空很蓝天空很蓝", 1 / 5),
        ("天空很蓝，我喜欢它。" * 9, 77 / 87),
        ("きょうはとてもいい天気です。", 0.0),
        ("spar 天 good 天", 0.0),
    ],
)
def test_the_share_of_4_grams_that_occurred_before(text: str, share: float) -> None:
    """One less the distinct ones over all; a text of under five words has nothing to repeat.

    A character of Chinese or Japanese is a word.
    """
    assert seq_rep_4(text) == pytest.approx(share)
    assert is_repetitive(text) == (share > 0.5)


@pytest.mark.parametrize(("text", "kept"), [("la " * 30, 0.0), ("Rain falls on the roof.", 1.0)])
def test_a_passing_answer_counts_only_if_it_does_not_repeat_itself(text: str, kept: float) -> None:
    """The metric stays as it is, and has a stricter one beside it."""
    example = with_repetition(
        Example(id="a", response=text, passed=None, scores={"pass": (1.0, 1.0)}), "pass"
    )
    assert example.scores["pass"] == (1.0, 1.0)
    assert example.scores["pass_without_repetition"] == (kept, 1.0)
    assert example.scores["repetitive"] == (1 - kept, 1.0)


def test_without_a_verdict_or_an_answer() -> None:
    """An example without either has the two metrics alone, both 0."""
    scores = with_repetition(Example(id="a", response=None, passed=None, scores={}), "pass").scores
    assert scores == {"seq_rep_4": (0.0, 1.0), "repetitive": (0.0, 1.0)}


@pytest.mark.parametrize(("repeating", "noted"), [(0, False), (1, False), (2, True)])
def test_many_repetitive_answers_are_noted(repeating: int, noted: bool) -> None:
    """The line says how many there are, and how many of those that pass; a few are ordinary."""
    texts = ["la " * 30] * repeating + ["Rain falls on the roof."] * (20 - repeating)
    shares = [float(i % 2 == 0) for i in range(20)]
    examples = [
        with_repetition(
            Example(id=str(i), response=text, passed=None, scores={"pass": (met, 1.0)}), "pass"
        )
        for i, (text, met) in enumerate(zip(texts, shares, strict=True))
    ]
    notes = repetition_notes(examples, "pass")
    assert bool(notes) is noted
    assert not noted or notes[0].startswith("2 of 20 answers repeat themselves")
    assert not noted or notes[0].endswith("so do 1 of the 10 that pass (pass)")
