"""What a search and a run did."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given

from spar.eval.statistics import metrics
from spar.record.evaluation import Example, Scored
from spar.record.outcomes import ConstraintCheck, outcome_of, story
from spar.record.run_outcomes import RunOutcomes
from spar.types import Fault, Finding, Node, SearchTree, Usage
from tests.strategies import trees
from tests.train.trees import make_tree, verified


def passing(*responses: str) -> ConstraintCheck:
    """Ground truth that these responses meet both constraints, and any other the first alone."""

    def check(_: SearchTree, node: Node) -> Sequence[Finding]:
        return (
            Finding(type="a:length", constraint="short", met=bool(node.response)),
            Finding(type="b:commas", constraint="no commas", met=node.response in responses),
        )

    return check


def counted(tree: SearchTree) -> SearchTree:
    """The tree, its nodes of three calls each."""
    nodes = [node.model_copy(update={"usage": Usage(calls=3)}) for node in tree.nodes]
    return tree.model_copy(update={"nodes": tuple(nodes)})


@pytest.mark.parametrize(
    ("tree", "right", "change", "judge_wrong", "line"),
    [
        (
            make_tree((None, 2), (0, 5)),
            ("r1",),
            "fixed",
            False,
            "failed: no commas → fixed in 1 refinement, 6 calls",
        ),
        (
            make_tree((None, 2), (0, 5)),
            ("r0",),
            "broken",
            True,
            "passed at first → broken in 1 refinement: no commas, 6 calls",
        ),
        (make_tree((None, 5)), ("r0",), "passed", False, "passed at the first draft, 3 calls"),
        (make_tree((None, 1)), (), "failed", False, "fails: no commas, 3 calls"),
        (
            make_tree((None, 1), (0, 0), (0, 0)),
            (),
            "failed",
            False,
            "failed: no commas → still fails after 2 refinements, 9 calls",
        ),
        (
            make_tree((None, 1), (None, 4)),
            ("r1",),
            "fixed",
            False,
            "failed: no commas → fixed by another of 2 drafts, 6 calls",
        ),
        (make_tree(), (), "failed", False, "fails: short, no commas, 0 calls"),
    ],
)
def test_a_story(
    tree: SearchTree, right: Sequence[str], change: str, judge_wrong: bool, line: str
) -> None:
    """What became of the first draft, whether the judge was wrong, and both in one line."""
    outcome = outcome_of(counted(tree), passing(*right))
    assert (outcome.change, outcome.judge_wrong, story(outcome)) == (change, judge_wrong, line)


def test_without_ground_truth_the_judge_decides() -> None:
    """A run that no program can check has changes too, and failing constraints as they were judged."""
    outcome = outcome_of(verified(make_tree((None, 0), (0, 0)), 1, 3))
    assert (outcome.change, outcome.judge_wrong) == ("fixed", False)
    assert len(outcome.before.failing) == 2


def test_an_answer_that_no_judge_saw_is_neither_passed_nor_failed() -> None:
    """Greedy decoding without verifiers says nothing of its answer."""
    outcome = outcome_of(counted(make_tree((None, None))))
    assert (outcome.is_judged, outcome.change, outcome.best_scores) == (False, None, ())
    assert story(outcome) == "answered, not judged, 3 calls"


def test_an_evaluation_grades_the_answer() -> None:
    """Its verdict counts more than the verifier's, for the answer alone unless that is the draft."""
    outcome = outcome_of(make_tree((None, 1), (0, 5)), passing(), graded=True)
    assert (outcome.before.truth, outcome.after.truth, outcome.change) == (False, True, "fixed")
    assert outcome_of(make_tree((None, 1)), passing(), graded=True).before.truth is True


def run_of(*rows: tuple[SearchTree, Sequence[str]]) -> RunOutcomes:
    """The totals of trees, each with the responses that ground truth passes."""
    totals = RunOutcomes()
    for tree, right in rows:
        totals.add(outcome_of(tree, passing(*right)))
    return totals


def test_totals_of_a_run() -> None:
    """Hand-counted: three prompts, one fixed, one passed at once, one that the judge wrongly passed."""
    totals = run_of(
        (make_tree((None, 2), (0, 5)), ("r1",)),
        (make_tree((None, 5)), ("r0",)),
        (make_tree((None, 1), (0, 2), (1, 4)), ()),
    )
    shown = totals.shown
    assert (shown.before.hits, shown.after.hits, shown.after.n) == (1, 2, 3)
    assert shown.gain is not None
    assert shown.gain == pytest.approx((1 / 3, (2 / 9 / 2) ** 0.5))
    assert dict(totals.changes) == {"fixed": 1, "passed": 1, "failed": 1}
    assert (totals.judge_wrong, totals.too_lenient, totals.compared, totals.solved) == (1, 1, 3, 3)
    name, worst = totals.failing_types()[0]
    assert (name, worst.n, worst.before, worst.after) == ("b:commas", 3, 2, 1)


def test_one_number_has_one_standard_error() -> None:
    """The share of a run that an evaluation scored has the error that the evaluation gives for it."""
    totals = run_of(*((make_tree((None, 5)), ("r0",) if n else ()) for n in range(8)))
    rows = [
        Example(id=str(n), response="", passed=n > 0, scores={"pass": (float(n > 0), 1.0)})
        for n in range(8)
    ]
    (metric,) = metrics(Scored(examples=tuple(rows))).values()
    assert totals.shown.after.value == metric.value == 0.875
    assert totals.shown.after.stderr == pytest.approx(metric.stderr)


def test_a_single_prompt_has_no_standard_error() -> None:
    """With one prompt nothing is known of the spread, as in an evaluation."""
    shown = run_of((make_tree((None, 2), (0, 5)), ("r1",))).shown
    assert (shown.after.stderr, shown.gain) == (None, (1.0, None))


def test_score_by_depth_carries_a_finished_tree_on() -> None:
    """A tree that ended at depth 0 counts below with its score, so the curve never compares other trees."""
    totals = run_of((make_tree((None, 5)), ()), (make_tree((None, 1), (0, 3), (1, 2)), ()))
    curve = totals.score_by_depth()
    assert [(point.depth, point.reached) for point in curve] == [(0, 2), (1, 1), (2, 1)]
    assert [point.mean for point in curve] == pytest.approx([0.6, 0.8, 0.8])
    assert curve[0].stderr == pytest.approx(0.4)


@given(trees())
def test_every_tree_has_a_story(tree: SearchTree) -> None:
    """Whatever the record says, its outcome can be computed, added up and said in one line."""
    outcome = outcome_of(tree, passing("x"))
    totals = RunOutcomes()
    totals.add(outcome)
    assert story(outcome)
    assert totals.shown.after.n == 1
    assert totals.usage == tree.usage


@given(trees(), trees())
def test_a_tree_is_taken_back(tree: SearchTree, other: SearchTree) -> None:
    """The totals are then those of the others, and those of nothing without any."""
    wanted, totals = RunOutcomes(), RunOutcomes()
    wanted.add(outcome_of(tree, passing("x")))
    for each in (tree, other):
        totals.add(outcome_of(each, passing("x")))
    totals.remove(outcome_of(other, passing("x")))
    assert totals.seconds == pytest.approx(wanted.seconds, abs=1e-6)
    assert (totals.trees, totals.nodes, totals.stops) == (1, wanted.nodes, wanted.stops)
    assert (totals.changes, totals.constraints) == (wanted.changes, wanted.constraints)
    assert (totals.shown, totals.by_judge) == (wanted.shown, wanted.by_judge)
    assert totals.usage.calls == tree.usage.calls
    curves = totals.score_by_depth(), wanted.score_by_depth()
    assert [point.reached for point in curves[0]] == [point.reached for point in curves[1]]
    totals.remove(outcome_of(tree, passing("x")))
    assert (totals.trees, totals.score_by_depth(), totals.constraints) == (0, [], {})


def test_faults_are_counted() -> None:
    """A search whose every draft failed has no answer, and a tree with faults is counted once."""
    fault = Fault(parent=None, stage="draft", reason="empty")
    tree = make_tree().model_copy(update={"faults": (fault, fault)})
    totals = RunOutcomes()
    totals.add(outcome_of(tree))
    assert (totals.faulty, totals.unanswered) == (1, 1)
