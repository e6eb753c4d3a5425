"""Preference pairs from search trees. Pure; knows no file and no model.

The sides of a refined pair differ in what had to change; those of two independent drafts differ in much else too
(paper, section 2.3). Both kinds are made here, so that they can be compared, and a control with labels shuffled at
random.
"""

from __future__ import annotations

import random

from spar.record.training_data import Pair, SourceRun
from spar.types import Node, SearchTree


def refined_pair(tree: SearchTree) -> Pair | None:
    """The passing refinement, preferred to the failing draft at its root; None where there is none.

    A draft that passed, one without a judgement, and a tree without a passing answer make no pair.
    """
    winner = solution(tree)
    if winner is None or winner.parent is None:
        return None
    root = tree.path(winner.id)[0]
    return _pair(tree, "search", winner, root) if _fails(root, tree) else None


def independent_pair(tree: SearchTree, seed: int, *, cut_drafts: bool = True) -> Pair | None:
    """A passing draft, preferred to a failing draft of the same prompt; None where either is missing.

    The passing draft is drawn by `seed`; the failing one is `failing_draft`'s.

    Parameters
    ----------
    cut_drafts:
        Whether drafts that ended at their token limit count.
    """
    passing = [node for node in _drafts(tree, cut_drafts=cut_drafts) if passes(node, tree)]
    rejected = failing_draft(tree, seed, cut_drafts=cut_drafts)
    if not passing or rejected is None:
        return None
    return _pair(tree, "drafts", _draw(passing, seed, tree, "passing"), rejected)


def failing_draft(tree: SearchTree, seed: int, *, cut_drafts: bool = True) -> Node | None:
    """One of a prompt's failing drafts, drawn by `seed`: where its search starts (paper, section 2.2).

    Parameters
    ----------
    cut_drafts:
        Whether drafts that ended at their token limit count.
    """
    failing = [node for node in _drafts(tree, cut_drafts=cut_drafts) if _fails(node, tree)]
    return _draw(failing, seed, tree, "failing") if failing else None


def shuffled(pair: Pair, seed: int) -> Pair:
    """The pair, its sides swapped or not at random, by `seed` and prompt."""
    if _rng(seed, pair.prompt_id, "shuffled").random() < 0.5:
        return pair
    sides = {
        "chosen": pair.rejected,
        "rejected": pair.chosen,
        "chosen_node": pair.rejected_node,
        "rejected_node": pair.chosen_node,
    }
    return pair.model_copy(update={**sides, "swapped": not pair.swapped})


def solution(tree: SearchTree) -> Node | None:
    """The tree's answer, if it passes the gate."""
    answer = None if tree.selected is None else tree.nodes[tree.selected]
    return answer if answer is not None and passes(answer, tree) else None


def passes(node: Node, tree: SearchTree) -> bool:
    """Whether a node was judged and passes the tree's gate."""
    return node.judgement is not None and node.judgement.passed(tree.gate)


def _drafts(tree: SearchTree, *, cut_drafts: bool) -> list[Node]:
    """A prompt's drafts, without those that ended at their token limit where these do not count."""
    return [
        node
        for node in tree.children(None)
        if cut_drafts or node.usage.cut_calls <= node.judge_usage.cut_calls
    ]


def _fails(node: Node, tree: SearchTree) -> bool:
    return node.judgement is not None and not node.judgement.passed(tree.gate)


def _pair(tree: SearchTree, run: SourceRun, chosen: Node, rejected: Node) -> Pair:
    return Pair(
        run=run,
        prompt_id=tree.prompt.id,
        chosen_node=chosen.id,
        rejected_node=rejected.id,
        prompt=tree.prompt.messages,
        chosen=chosen.response,
        rejected=rejected.response,
    )


def _draw(nodes: list[Node], seed: int, tree: SearchTree, what: str) -> Node:
    return _rng(seed, tree.prompt.id, what).choice(nodes)


def _rng(seed: int, prompt_id: str, what: str) -> random.Random:
    return random.Random(f"{seed}|{what}|{prompt_id!a}")
