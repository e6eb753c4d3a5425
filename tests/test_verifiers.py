"""Verifiers: hand-picked cases, and equality with lm-eval's on the shared types."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spar.nano.constraints import CONSTRAINT_TYPES
from spar.nano.tasks import sample_task
from spar.nano.teacher import FlawRates, write_draft, write_response
from spar.verifiers import VERIFIERS, count_sentences, passes, verify, verify_meta

SHARED = sorted(name for name in VERIFIERS if not name.startswith("nano:"))

DATA = Path(os.environ.get("SPAR_DATA", Path(__file__).parents[2] / "shared" / "data"))


@pytest.fixture(scope="session")
def nltk_data() -> None:
    """Point NLTK at the benchmark data folder before lm-eval looks for its tokenizer."""
    folder = DATA / "nltk_data"
    if not folder.is_dir():
        pytest.skip(f"no benchmark data at {DATA}; set SPAR_DATA to its folder")
    nltk = pytest.importorskip("nltk")
    nltk.data.path.insert(0, str(folder))


@pytest.mark.parametrize(
    ("instruction_id", "kwargs", "good", "bad"),
    [
        ("nano:exact_words", {"num_words": 3}, "The fox sees.", "The fox."),
        ("nano:first_word", {"first_word": "today"}, '"TODAY, it rains."', "It rains today."),
        ("nano:character_sequence", {"character": "k", "length": 3}, "kKk", "kkkk"),
        (
            "nano:story",
            {"first_sentence": "A fox runs.", "last_sentence": "It ends."},
            "A fox runs. The owl sees it. It ends.",
            "A fox runs. It ends.",
        ),
        (
            "nano:story",
            {"first_sentence": "It ends.", "last_sentence": "It ends."},
            "It ends. Not yet. It ends.",
            "It ends.",
        ),
        ("keywords:existence", {"keywords": ["fox", "owl"]}, "FOX and owl", "a fox"),
        ("keywords:forbidden_words", {"forbidden_words": ["fox"]}, "foxes", "The Fox!"),
        (
            "keywords:frequency",
            {"keyword": "fox", "frequency": 2, "relation": "at least"},
            "fox fox",
            "fox",
        ),
        ("startend:end_checker", {"end_phrase": "The end."}, '"so: THE END."', "The end. No."),
        ("startend:quotation", {}, '"yes"', '"'),
        ("change_case:english_capital", {}, "ALL CAPS 1", "All caps"),
        ("punctuation:no_comma", {}, "none here", "one, here"),
        (
            "length_constraints:number_words",
            {"num_words": 2, "relation": "less than"},
            "one",
            "one two",
        ),
        (
            "length_constraints:number_sentences",
            {"num_sentences": 2, "relation": "at least"},
            "A. B!",
            "A.",
        ),
    ],
)
def test_hand_picked_cases(
    instruction_id: str, kwargs: dict[str, Any], good: str, bad: str
) -> None:
    """One response that meets each type and one that does not."""
    assert verify(good, instruction_id, kwargs) is True
    assert verify(bad, instruction_id, kwargs) is False


@pytest.mark.parametrize("instruction_id", sorted(VERIFIERS))
def test_a_blank_response_meets_nothing(instruction_id: str) -> None:
    """White space passes no verifier, not even one that forbids something."""
    assert verify(" \n", instruction_id, {}) is False


def test_meta_without_known_constraints_cannot_be_verified() -> None:
    """Unknown ids and bad arguments give None."""
    assert passes("text", {}) is None
    assert (
        passes("text", {"instruction_id_list": ["detectable_format:title"], "kwargs": [{}]}) is None
    )
    wrong = {"instruction_id_list": ["nano:exact_words"], "kwargs": [{"words": 3}]}
    assert passes("text", wrong) is None
    short = {"instruction_id_list": ["punctuation:no_comma", "startend:quotation"], "kwargs": [{}]}
    assert passes("text", short) is None


def test_null_arguments_are_left_out() -> None:
    """Null arguments, as in the hub's rows, are ignored."""
    kwargs = [{"num_words": 2, "relation": "at least", "keyword": None}]
    meta = {"instruction_id_list": ["length_constraints:number_words"], "kwargs": kwargs}
    assert passes("two words", meta) is True
    assert verify_meta("one", meta) == [("length_constraints:number_words 2 at least", False)]


def lm_eval_verdict(
    monkeypatch: Any, instruction_id: str, kwargs: dict[str, Any], text: str
) -> bool:
    registry = pytest.importorskip("lm_eval.tasks.ifeval.instructions_registry")
    import langdetect

    # On a few words its answer is chance; see the docstring of spar.verifiers.
    monkeypatch.setattr(langdetect, "detect", lambda _: "en")
    checker = registry.INSTRUCTION_DICT[instruction_id](instruction_id)
    checker.build_description(**kwargs)
    return bool(text.strip()) and bool(checker.check_following(text))


@pytest.mark.evalharness
@pytest.mark.data
@pytest.mark.parametrize("instruction_id", SHARED)
def test_equal_to_lm_eval_on_generated_responses(
    instruction_id: str, monkeypatch: pytest.MonkeyPatch, nltk_data: None
) -> None:
    """Verdicts on drafts and broken responses of a hundred tasks are equal, met and violated."""
    rng = random.Random(instruction_id)
    verdicts = []
    for index in range(1200):
        task = sample_task("train", 5, index)
        for c in task.constraints:
            if c.id == instruction_id:
                writers = (
                    write_draft(task, FlawRates(), rng),
                    write_response(task, rng, passing=False),
                )
                for text in writers:
                    verdict = verify(text, c.id, c.kwargs)
                    assert verdict == lm_eval_verdict(monkeypatch, c.id, dict(c.kwargs), text), text
                    verdicts.append(verdict)
    assert len(verdicts) >= 100
    assert len(set(verdicts)) == 2


WORDS = st.sampled_from(["fox", "FOX", "cat", "owl", "foxes", ",", ".", "!", '"', "\n", "1"])
ASCII = st.lists(WORDS, max_size=14).flatmap(
    lambda ws: st.sampled_from([" ".join(ws), "".join(ws)])
)


@pytest.mark.evalharness
@pytest.mark.data
@given(text=ASCII, seed=st.integers(0, 10_000))
@settings(max_examples=150, deadline=None)
def test_equal_to_lm_eval_on_arbitrary_text(nltk_data: None, text: str, seed: int) -> None:
    """Verdicts on any text are equal, except sentence counts, which differ if a word follows a stop directly."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        for instruction_id in SHARED:
            if instruction_id != "length_constraints:number_sentences":
                kwargs = CONSTRAINT_TYPES[instruction_id].sample(
                    random.Random(seed), ["fox", "cat", "owl"]
                )
                expected = lm_eval_verdict(monkeypatch, instruction_id, kwargs, text)
                assert verify(text, instruction_id, kwargs) == expected


def test_sentence_counts() -> None:
    """A closing mark counts once, quoted or not; a trailing one adds nothing."""
    assert count_sentences("") == 0
    assert count_sentences("no stop") == 1
    assert count_sentences('"One. Two! Three?"') == 3
    assert count_sentences("ONE.  TWO.\nTHREE.") == 3
