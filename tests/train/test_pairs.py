"""Preference pairs: which trees make one, of which nodes, and what chance decides."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spar.record.training_data import REFERENCE_NODE, Pair
from spar.repetition import NO_REPETITION
from spar.train.data.pairs import (
    ScoreRule,
    best_worst_pair,
    failing_draft,
    independent_pair,
    reference_pair,
    refined_pair,
    shuffled,
    solution,
)
from spar.types import Finding, Judgement, Node, SearchTree, Usage
from tests.strategies import trees
from tests.train.trees import Planned, make_tree, tree_of, verified

FAILING_ROOT = ((None, 1), (0, 2), (1, 4))
"""A failing draft, a failing refinement of it, a passing one of that."""


def test_the_passing_refinement_is_preferred_to_the_failing_draft() -> None:
    """Not over its own parent, which failed as well: the draft is what the actor wrote."""
    tree = make_tree(*FAILING_ROOT)
    pair = refined_pair(tree)
    assert pair is not None
    assert (pair.chosen, pair.rejected) == ("r2", "r0")
    assert (pair.run, pair.prompt_id, pair.chosen_node, pair.rejected_node) == ("search", "p", 2, 0)
    assert pair.prompt == tree.prompt.messages
    assert not pair.swapped


NO_PAIR = {
    "nothing passed": ((None, 1), (0, 2)),
    "the draft passed at once": ((None, 4),),
    "the draft was never judged": ((None, None), (0, 4)),
    "a draft passed beside a failing one": ((None, 1), (None, 4)),
    "nothing was judged": ((None, None),),
    "nothing was written": (),
}


@pytest.mark.parametrize("nodes", NO_PAIR.values(), ids=NO_PAIR.keys())
def test_trees_without_a_pair(nodes: tuple[Planned, ...]) -> None:
    """A pair needs a draft that failed and a refinement below it that passed."""
    assert refined_pair(make_tree(*nodes)) is None


@pytest.mark.parametrize("gate", [0.5, 0.9])
def test_programs_pass_what_meets_every_constraint(gate: float) -> None:
    """Two of three constraints is a failing draft, though its score is above the gate, and no winner."""
    tree = make_tree((None, 0), (0, 0), gate=gate)
    assert refined_pair(verified(tree, 1, 2)) is None
    pair = refined_pair(verified(tree, 2, 3))
    assert pair is not None and (pair.chosen, pair.rejected) == ("r1", "r0")
    drafts = verified(make_tree((None, 0), (None, 0), gate=gate), 3, 2)
    independent = independent_pair(drafts, seed=0)
    assert independent is not None and independent.rejected == "r1"


def test_the_draft_is_the_one_that_was_refined() -> None:
    """Of two drafts, the winning refinement's own root is the rejected side."""
    pair = refined_pair(make_tree((None, None), (None, 0), (1, 5)))
    assert pair is not None
    assert (pair.rejected_node, pair.chosen_node) == (1, 2)


def test_the_trees_own_gate_decides() -> None:
    """Three of five votes pass a gate of 0.5 and not one of 0.6, which is strict."""
    nodes = ((None, 2), (0, 3))
    assert refined_pair(make_tree(*nodes)) is not None
    assert refined_pair(make_tree(*nodes, gate=0.6)) is None


def test_a_passing_draft_is_preferred_to_a_failing_one() -> None:
    """Refinements and unjudged drafts take no part in an independent pair."""
    tree = make_tree((None, None), (None, 2), (None, 5), (1, 5), (2, 0))
    pair = independent_pair(tree, 0)
    assert pair is not None
    assert (pair.run, pair.chosen, pair.rejected) == ("drafts", "r2", "r1")


def test_a_pass_rate_pair_rejects_what_nothing_accepts() -> None:
    """Of the failing drafts, only one with a score of 0; where there is none, there is no pair."""
    tree = make_tree((None, 4), (None, 2), (None, 0), (None, 1))
    assert {p.rejected_node for s in range(9) if (p := independent_pair(tree, s, most=0.0))} == {2}
    assert independent_pair(make_tree((None, 4), (None, 1)), 0, most=0.0) is None


@pytest.mark.parametrize("nodes", [((None, 5), (None, 4)), ((None, 0),), ((None, None),), ()])
def test_drafts_without_an_independent_pair(nodes: tuple[Planned, ...]) -> None:
    """Both a passing and a failing draft are needed."""
    assert independent_pair(make_tree(*nodes), 0) is None


def test_the_seed_decides_which_drafts() -> None:
    """Over many seeds each passing and each failing draft is taken about as often as the others."""
    tree = make_tree((None, 0), (None, 5), (None, 1), (None, 4), (None, 2))
    pairs = [independent_pair(tree, seed) for seed in range(300)]
    chosen = Counter(pair.chosen_node for pair in pairs if pair)
    rejected = Counter(pair.rejected_node for pair in pairs if pair)
    assert chosen.keys() == {1, 3}
    assert min(chosen.values()) > 100
    assert rejected.keys() == {0, 2, 4}
    assert min(rejected.values()) > 60
    assert pairs == [independent_pair(tree, seed) for seed in range(300)]


def test_the_search_starts_from_the_rejected_draft() -> None:
    """The ablation differs from the paper's pairs in the chosen side alone."""
    tree = make_tree((None, 0), (None, 5), (None, 1), (None, 2))
    for seed in range(20):
        root, pair = failing_draft(tree, seed), independent_pair(tree, seed)
        assert root is not None
        assert pair is not None
        assert root.id == pair.rejected_node
    assert failing_draft(make_tree((None, 5), (None, None)), 0) is None


def test_labels_are_shuffled_evenly() -> None:
    """About half of the pairs are swapped, whole and the same ones each time."""
    pairs = [
        pair
        for i in range(400)
        if (pair := refined_pair(make_tree(*FAILING_ROOT, prompt_id=f"p{i}")))
    ]
    after = [shuffled(pair, 7) for pair in pairs]
    assert 160 < sum(pair.swapped for pair in after) < 240
    for pair, other in zip(pairs, after, strict=True):
        sides = (other.chosen, other.chosen_node), (other.rejected, other.rejected_node)
        expected = ("r2", 2), ("r0", 0)
        assert sides == (expected[::-1] if other.swapped else expected)
        assert other.prompt == pair.prompt
    assert after == [shuffled(pair, 7) for pair in pairs]
    assert after != [shuffled(pair, 8) for pair in pairs]


@given(trees(), st.integers(0, 9))
def test_every_pair_has_a_passing_and_a_failing_side(tree, seed) -> None:  # type: ignore[no-untyped-def]
    """Whatever the tree: chosen passes, rejected is a judged draft that does not."""
    for pair in filter(None, (refined_pair(tree), independent_pair(tree, seed))):
        chosen, rejected = tree.nodes[pair.chosen_node], tree.nodes[pair.rejected_node]
        assert chosen.judgement is not None
        assert chosen.judgement.passed(tree.gate)
        assert rejected.parent is None
        assert rejected.judgement is not None
        assert not rejected.judgement.passed(tree.gate)
        assert (pair.chosen, pair.rejected) == (chosen.response, rejected.response)


def test_an_answer_below_the_gate_is_no_solution() -> None:
    """The best node of an unsolved tree is its answer, and no solution."""
    assert solution(make_tree((None, 1), (0, 2))) is None
    solved = solution(make_tree(*FAILING_ROOT))
    assert isinstance(solved, Node)
    assert solved.id == 2
    assert solution(tree_of()) is None


def test_drafts_that_were_cut_may_be_left_out() -> None:
    """A draft counts as cut by its own replies, not by its judge's; without it the pair has the other drafts."""
    tree = make_tree((None, 1), (None, 1), (None, 4), (None, 4))
    cut, judge = Usage(cut_calls=1), Usage(cut_calls=1)
    nodes = [
        tree.nodes[0].model_copy(update={"usage": cut}),
        tree.nodes[1].model_copy(update={"usage": judge, "judge_usage": judge}),
        tree.nodes[2],
        tree.nodes[3].model_copy(update={"usage": cut}),
    ]
    tree = tree_of(*nodes)
    for seed in range(8):
        pair = independent_pair(tree, seed, cut_drafts=False)
        assert pair is not None
        assert (pair.chosen_node, pair.rejected_node) == (2, 1)
    drawn = {failing_draft(tree, seed).id for seed in range(8)}  # type: ignore[union-attr]
    assert drawn == {0, 1}


LOOP = "We walk down to the mill. "
CUT_LOOP = LOOP * 4 + "We walk down to"


@pytest.mark.parametrize(
    ("refinement", "has_pair"),
    [
        (LOOP.strip(), True),
        (f"{LOOP}P.S. Bring a coat.", True),
        (CUT_LOOP.upper(), False),  # the cut end is still there
        (f"{CUT_LOOP} P.S. Bring a coat.", False),
    ],
)
def test_a_draft_that_repeats_itself_until_its_limit_is_refined(
    refinement: str, has_pair: bool
) -> None:
    """Where the judge fails it for that, also without the other cut drafts, if the refinement does not stop in the middle."""
    cut = Usage(cut_calls=1)
    repeats = Finding(type=NO_REPETITION, constraint="no repetition", met=False)
    failed = Judgement(verdicts=(), critique="", findings=(repeats,))
    other, root, refined = make_tree((None, 1), (None, 1), (1, 5)).nodes
    root = root.model_copy(
        update={"response": CUT_LOOP, "judgement": failed, "usage": cut, "judge_usage": Usage()}
    )
    refined = refined.model_copy(update={"response": refinement})
    tree = tree_of(other.model_copy(update={"usage": cut}), root, refined)
    for seed in range(8):
        draft = failing_draft(tree, seed, cut_drafts=False)
        assert draft is not None
        assert draft.id == 1
    assert refined_pair(tree) is not None
    assert (refined_pair(tree, cut_drafts=False) is not None) is has_pair


def scored(*drafts: tuple[int, int]) -> SearchTree:
    """Drafts with so many of five votes and so many characters."""
    tree = make_tree(*((None, num_yes) for num_yes, _ in drafts))
    nodes = (
        node.model_copy(update={"response": str(node.id) * length})
        for node, (_, length) in zip(tree.nodes, drafts, strict=True)
    )
    return tree_of(*nodes)


def test_the_best_draft_is_preferred_to_the_worst() -> None:
    """Whether they pass does not count; drafts without a judgement and refinements take no part."""
    pair = best_worst_pair(make_tree((None, 4), (None, None), (None, 3), (None, 5), (0, 0)), 0)
    assert isinstance(pair, Pair)
    assert (pair.run, pair.chosen_node, pair.rejected_node) == ("drafts", 3, 2)
    assert best_worst_pair(make_tree((None, 2), (None, 2)), 0) == "tied"
    wide = ScoreRule(
        length_control=1.0
    )  # one draft is both the shortest of the best and the longest of the worst
    assert best_worst_pair(make_tree((None, 1), (None, 4)), 0, wide) == "tied"
    assert best_worst_pair(make_tree((None, 2), (None, None)), 0) == "undecided"


def test_the_seed_decides_among_equally_good_drafts() -> None:
    """Over many seeds each of the best and of the worst is taken."""
    tree = make_tree((None, 5), (None, 0), (None, 5), (None, 3), (None, 0))
    pairs = [best_worst_pair(tree, seed) for seed in range(40)]
    nodes = {(p.chosen_node, p.rejected_node) for p in pairs if isinstance(p, Pair)}
    assert nodes == {(0, 1), (0, 4), (2, 1), (2, 4)}


@pytest.mark.parametrize(
    ("rho", "chosen", "rejected"), [(0.0, 1, 4), (0.2, 2, 3), (0.4, 2, 3), (0.19, 1, 4)]
)
def test_lengths_are_controlled_within_a_range_of_scores(
    rho: float, chosen: int, rejected: int
) -> None:
    """The shortest draft near the best score, the longest near the worst; a score on the bound is within it."""
    tree = scored((5, 30), (5, 20), (4, 10), (1, 50), (0, 40))
    pair = best_worst_pair(tree, 0, ScoreRule(rho))
    assert isinstance(pair, Pair)
    assert (pair.chosen_node, pair.rejected_node) == (chosen, rejected)


@pytest.mark.parametrize(("most", "is_pair"), [(20, True), (19, False)])
def test_a_chosen_side_that_is_too_long_makes_no_pair(most: int, is_pair: bool) -> None:
    """The rejected side may be longer."""
    pair = best_worst_pair(scored((5, 20), (0, 40)), 0, ScoreRule(0.0, most))
    assert isinstance(pair, Pair) if is_pair else pair == "long"


def test_the_prompts_own_reply_is_preferred_to_a_draft() -> None:
    """Judgements do not count; a draft that is the reply makes no pair, nor does a prompt without one."""
    tree = make_tree((None, None))
    assert reference_pair(tree, 0) == "undecided"
    for reply, expected in ((" Mine. ", "Mine."), ("r0", None)):
        prompt = tree.prompt.model_copy(update={"meta": {"output": reply}})
        pair = reference_pair(tree.model_copy(update={"prompt": prompt}), 0)
        if expected is None:
            assert pair == "same"
        else:
            assert isinstance(pair, Pair)
            assert (pair.chosen, pair.chosen_node, pair.rejected) == (
                expected,
                REFERENCE_NODE,
                "r0",
            )
