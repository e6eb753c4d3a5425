"""Measures of a build, each by hand."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spar.errors import MissingExtra, UsageError
from spar.record.training_data import Pair
from spar.train.data.measure import VoteCounter, measure_pairs, pairwise_agreement, spread
from spar.types import Judgement
from tests.fakes import NO, make_prompt
from tests.train.trees import draft, make_tree


def make_pair(chosen: str, rejected: str) -> Pair:
    """A pair of two texts."""
    messages = make_prompt().messages
    return Pair(
        run="search",
        prompt_id="p",
        chosen_node=1,
        rejected_node=0,
        prompt=messages,
        chosen=chosen,
        rejected=rejected,
    )


def test_the_sides_of_pairs() -> None:
    """kitten -> sitting takes 3 edits of 7 letters; equal sides are 1, strangers 0."""
    pairs = [
        make_pair("sitting", "kitten"),
        make_pair("a b c", "a b c"),
        make_pair("xyz", "abcdef"),
    ]
    found = measure_pairs(pairs)
    assert found.edit_similarity is not None
    assert found.characters_more is not None
    assert found.words_more is not None
    assert found.edit_similarity.mean == pytest.approx((4 / 7 + 1 + 0) / 3)
    assert found.edit_similarity.median == pytest.approx(4 / 7)
    assert found.characters_more.mean == pytest.approx((1 + 0 - 3) / 3)
    assert found.words_more.mean == 0
    assert (found.pairs, found.swapped, found.embedding_similarity) == (3, 0, None)


def test_no_pairs_have_no_similarity() -> None:
    """Nothing is no number."""
    assert measure_pairs([]).edit_similarity is None


def test_spread() -> None:
    """0 to 10: a tenth of the way up, the middle, a tenth of the way down."""
    found = spread(list(range(11)))
    assert found is not None
    assert (found.mean, found.p10, found.median, found.p90) == (5, 1, 5, 9)
    lone = spread([0.3])
    assert lone is not None
    assert (lone.p10, lone.median, lone.p90) == (0.3, 0.3, 0.3)
    assert spread([]) is None


@pytest.mark.parametrize(
    ("verdicts", "agreement"),
    [
        ((True,) * 5, 1.0),
        ((True, True, True, True, False), 0.6),  # 6 of 10 pairs
        ((True, True, True, False, False), 0.4),  # 3 + 1 of 10
        ((True, False), 0.0),
        ((True, None, True), 1.0),
        ((True, None), None),
        ((), None),
    ],
)
def test_pairwise_agreement(verdicts: tuple[bool | None, ...], agreement: float | None) -> None:
    """Pairs of parsed votes that agree, of all such pairs."""
    assert pairwise_agreement(Judgement(verdicts=verdicts, critique="")) == agreement


def test_vote_statistics() -> None:
    """Counted over two trees, each response once."""
    tally = VoteCounter()
    tally.add(make_tree((None, 0), (0, 2), (0, 4), (0, None)).nodes)
    same = draft(5)
    tally.add((same, same.model_copy(update={"id": 1})))
    found = tally.measures()
    assert found.judgements == 4
    assert found.yes_share == 0.5
    assert found.unanimous_share == 0.5
    assert found.pairwise_agreement == pytest.approx((1 + 0.4 + 0.6 + 1) / 4)
    assert (found.split, found.unparsed_votes, found.mismatched) == (2, 0, 0)


def test_odd_votes_are_counted() -> None:
    """Votes without a verdict, and a critique that says the opposite."""
    tally = VoteCounter()
    odd = Judgement(verdicts=(True, None, True), critique=NO)
    tally.add((draft(5).model_copy(update={"judgement": odd}),))
    found = tally.measures()
    assert (found.unparsed_votes, found.mismatched, found.split) == (1, 1, 0)


def test_a_single_vote_has_no_agreement() -> None:
    """Judgements of one vote have a side, and no agreement."""
    tally = VoteCounter()
    lone = Judgement(verdicts=(False,), critique=NO)
    tally.add((draft(5).model_copy(update={"judgement": lone}),))
    found = tally.measures()
    assert (found.yes_share, found.unanimous_share, found.pairwise_agreement) == (0, None, None)
    assert VoteCounter().measures().yes_share is None


@given(st.lists(st.sampled_from([True, False, None]), max_size=9))
def test_agreement_is_a_share(verdicts: list[bool | None]) -> None:
    """1 exactly where all parsed votes agree, and never below what two even sides give."""
    judgement = Judgement(verdicts=tuple(verdicts), critique="")
    agreement = pairwise_agreement(judgement)
    if agreement is not None:
        assert 0 <= agreement <= 1
        assert (agreement == 1) == (judgement.score in (0, 1))


def test_measuring_needs_rapidfuzz(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra that brings it is named."""
    monkeypatch.setitem(sys.modules, "rapidfuzz.distance", None)
    with pytest.raises(MissingExtra, match=r"rapidfuzz.*\.\[train\]"):
        measure_pairs([])


def test_a_named_embedding_model_needs_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only where a model is named is the package asked for."""
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    measure_pairs([make_pair("a", "b")])
    with pytest.raises(MissingExtra, match=r"\.\[embeddings\]"):
        measure_pairs([make_pair("a", "b")], "some/model")


class Directions:
    """An encoder whose embedding of a text is a unit vector: a for `a`, b for `b`, between for others."""

    def __init__(self, name: str) -> None:
        if name != "good":
            raise OSError(f"no model {name}")

    def encode(self, texts: list[str], normalize_embeddings: bool) -> Any:
        import numpy

        assert normalize_embeddings
        known = {"a": (1.0, 0.0), "b": (0.0, 1.0)}
        return numpy.array([known.get(text, (0.6, 0.8)) for text in texts])


def test_embedding_similarity(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cosine of both sides' embeddings; a model that cannot be loaded is a mistake."""
    pytest.importorskip("numpy")
    module: Any = SimpleNamespace(SentenceTransformer=Directions)
    monkeypatch.setitem(sys.modules, "sentence_transformers", module)
    pairs = [make_pair("a", "b"), make_pair("a", "a"), make_pair("c", "b")]
    found = measure_pairs(pairs, "good").embedding_similarity
    assert found is not None
    assert found.mean == pytest.approx((0 + 1 + 0.8) / 3)
    with pytest.raises(UsageError, match="'bad' cannot be loaded"):
        measure_pairs(pairs, "bad")


def test_sides_that_are_merely_cut_are_counted() -> None:
    """The beginning of the rejected side counts; an equal side, another text and an added end do not."""
    pairs = [
        make_pair(*sides)
        for sides in (("One.", "One. Two."), ("One", "Two"), ("One. Two.", "One."), ("One", "One "))
    ]
    measures = measure_pairs(pairs)
    assert measures.cut == 1
    assert "cut" not in measure_pairs(pairs[1:]).model_dump()
