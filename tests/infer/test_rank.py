"""The rank by which strategies compare nodes."""

from __future__ import annotations

import pytest
from hypothesis import given

from spar.infer.rank import evidence, posterior, rank, ranked
from spar.types import Judgement, Node
from tests.fakes import make_findings, make_root
from tests.strategies import judgements


def judged(*verdicts: bool | None, node_id: int = 0, **fields: object) -> Node:
    """A draft with these votes."""
    judgement = Judgement(verdicts=verdicts, critique="", **fields)
    return make_root(node_id=node_id).model_copy(update={"judgement": judgement})


@pytest.mark.parametrize(
    ("judgement", "parameters"),
    [
        (Judgement(verdicts=(True, False, False, None), critique=""), (1.5, 2.5)),
        (Judgement(verdicts=(), critique="", probability=0.25), (0.75, 1.25)),
        (Judgement(verdicts=(), critique="", findings=make_findings(True, False)), (1.5, 1.5)),
        (
            Judgement(verdicts=(True, False), critique="", findings=make_findings(True, False)),
            (2.0, 2.0),
        ),
        (Judgement(verdicts=(None, None), critique=""), (0.5, 1.5)),
    ],
)
def test_the_posterior_counts_what_was_judged(
    judgement: Judgement, parameters: tuple[float, float]
) -> None:
    """Votes, a probability, constraints, votes as one more constraint; and as a no what nothing could be said of."""
    assert posterior(judgement) == parameters


@given(judgements)
def test_evidence_is_never_negative(judgement: Judgement) -> None:
    """For and against, whatever was judged, so every posterior is proper."""
    assert min(evidence(judgement)) >= 0


def test_few_votes_say_less() -> None:
    """One no ranks above five, and two of five above one of five."""
    nodes = [
        judged(*[False] * 5, node_id=0),
        judged(False, node_id=1),
        judged(True, False, False, False, False, node_id=2),
        judged(True, True, False, False, False, node_id=3),
        make_root(node_id=4).model_copy(update={"judgement": None}),
    ]
    assert [node.id for node in ranked(nodes)] == [3, 1, 2, 0, 4]
    assert rank(nodes[4]) == -1.0


def test_ties_go_to_the_shallower_then_to_the_earlier_node() -> None:
    """The order is the same whatever order the nodes are passed in."""
    shallow, later = judged(False, node_id=5), judged(False, node_id=6)
    deep = later.model_copy(update={"id": 2, "depth": 1})
    assert (
        ranked([later, deep, shallow]) == ranked([deep, shallow, later]) == [shallow, later, deep]
    )


def test_probabilities_tell_equal_counts_apart() -> None:
    """Votes count as much of a yes as the judge thought likely; one without a verdict does not count."""
    surer = Judgement(verdicts=(False, True, None), critique="", probabilities=(0.4, 0.9, None))
    doubting = Judgement(verdicts=(False, True, None), critique="", probabilities=(0.1, 0.6, None))
    assert surer.score == doubting.score == 0.5
    assert evidence(surer) == pytest.approx((1.3, 0.7))
    nodes = [
        Node(id=0, parent=None, depth=0, response="", judgement=doubting),
        Node(id=1, parent=None, depth=0, response="", judgement=surer),
    ]
    assert [node.id for node in ranked(nodes)] == [1, 0]


def test_a_vote_without_a_probability_counts_whole() -> None:
    """As where no probabilities are known."""
    judgement = Judgement(verdicts=(True, False), critique="", probabilities=(None, 0.2))
    assert evidence(judgement) == pytest.approx((1.2, 0.8))
