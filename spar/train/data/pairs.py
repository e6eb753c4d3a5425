"""Preference pairs from search trees. Pure; knows no file and no model.

The sides of a refined pair differ in what had to change; those of two independent drafts differ in much else too
(paper, section 2.3). Both kinds are made here, so that they can be compared, and a control with labels shuffled at
random. So are the pairs of other methods: the best against the worst draft (Self-Rewarding, arXiv 2401.10020), the same
with control of their lengths (Meta-Rewarding, arXiv 2407.19594), a draft that passes against one with a score of 0 (AutoIF,
arXiv 2406.13542), and a reply that came with the prompt against a draft
(SPIN, arXiv 2401.01335).
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from spar.conversations import REPLY
from spar.record.training_data import REFERENCE_NODE, NoPair, Pair, SourceRun
from spar.repetition import NO_REPETITION
from spar.types import Node, SearchTree

_END = 40
"""Characters by which the end of a draft is known."""
_ROUNDING = 1e-9
"""By how much a score may miss the bound of a range that it lies on."""


def refined_pair(tree: SearchTree, *, cut_drafts: bool = True) -> Pair | None:
    """The passing refinement, preferred to the failing draft at its root; None where there is none.

    A draft that passed, one without a judgement, and a tree without a passing answer make no pair.

    Parameters
    ----------
    cut_drafts:
        Whether a refinement counts that still has the end of a draft that stopped at its token limit.
    """
    winner = solution(tree)
    if winner is None or winner.parent is None:
        return None
    root = tree.path(winner.id)[0]
    if not _fails(root, tree) or not (cut_drafts or not _is_cut(root) or _lost_end(root, winner)):
        return None
    return make_pair(tree, "search", winner, root)


def independent_pair(
    tree: SearchTree, seed: int, *, cut_drafts: bool = True, most: float | None = None
) -> Pair | None:
    """A passing draft, preferred to a failing draft of the same prompt; None where either is missing.

    The passing draft is drawn by `seed`; the failing one is `failing_draft`'s.

    Parameters
    ----------
    cut_drafts:
        Whether drafts that ended at their token limit count.
    most:
        The highest score of the failing draft; None for any.
    """
    passing = [node for node in _drafts(tree, cut_drafts=cut_drafts) if passes(node, tree)]
    rejected = failing_draft(tree, seed, cut_drafts=cut_drafts, most=most)
    if not passing or rejected is None:
        return None
    return make_pair(tree, "drafts", _draw(passing, seed, tree, "passing"), rejected)


@dataclass(frozen=True, slots=True)
class ScoreRule:
    """How the best and the worst draft are chosen."""

    length_control: float | None = None
    """Scores within this share of the range from the highest one count as best, and from the lowest one as worst; of the
    best drafts the shortest is chosen, of the worst the longest is rejected (Meta-Rewarding's rho). None draws among
    those with the highest and the lowest score themselves."""
    max_chosen_characters: int | None = None
    """A longer chosen side makes no pair; None for any length."""


def best_worst_pair(
    tree: SearchTree, seed: int, rule: ScoreRule = ScoreRule(), *, cut_drafts: bool = True
) -> Pair | NoPair:
    """The draft with the highest score, preferred to the one with the lowest; or why there is none.

    Whether drafts pass has no part in it. Lengths are in characters.
    """
    drafts = [node for node in _drafts(tree, cut_drafts=cut_drafts) if node.judgement is not None]
    if len(drafts) < 2:
        return "undecided"
    low, high = (choose(node.score for node in drafts) for choose in (min, max))
    if low == high:
        return "tied"
    margin = (rule.length_control or 0.0) * (high - low) + _ROUNDING
    best = [node for node in drafts if node.score >= high - margin]
    worst = [node for node in drafts if node.score <= low + margin]
    if rule.length_control is None:
        chosen, rejected = (
            _draw(nodes, seed, tree, what) for nodes, what in ((best, "best"), (worst, "worst"))
        )
    else:
        chosen = min(best, key=lambda node: (len(node.response), node.id))
        rejected = max(worst, key=lambda node: (len(node.response), -node.id))
    if chosen.id == rejected.id:
        return "tied"
    if len(chosen.response) > (rule.max_chosen_characters or len(chosen.response)):
        return "long"
    return make_pair(tree, "drafts", chosen, rejected)


def reference_pair(tree: SearchTree, seed: int, *, cut_drafts: bool = True) -> Pair | NoPair:
    """The prompt's own reply, preferred to a draft drawn by `seed`; or why there is none. No judge has a part in it."""
    reply, drafts = str(tree.prompt.meta.get(REPLY) or ""), _drafts(tree, cut_drafts=cut_drafts)
    if not reply.strip() or not drafts:
        return "undecided"
    rejected = _draw(drafts, seed, tree, "draft")
    if reply.strip() == rejected.response.strip():
        return "same"
    pair = make_pair(tree, "drafts", rejected, rejected)
    return pair.model_copy(update={"chosen": reply.strip(), "chosen_node": REFERENCE_NODE})


def failing_draft(
    tree: SearchTree, seed: int, *, cut_drafts: bool = True, most: float | None = None
) -> Node | None:
    """One of a prompt's failing drafts, drawn by `seed`: where its search starts (paper, section 2.2).

    Parameters
    ----------
    cut_drafts:
        Whether drafts that ended at their token limit count. Those that a judge fails for repetition do: a
        refinement leaves out what they say until the limit.
    most:
        Its highest score; None for any.
    """
    failing = [
        node
        for node in tree.children(None)
        if _fails(node, tree)
        and (most is None or node.score <= most)
        and (cut_drafts or not _is_cut(node) or _repeats(node))
    ]
    return _draw(failing, seed, tree, "failing") if failing else None


def shuffled(pair: Pair, seed: int) -> Pair:
    """The pair, its sides swapped or not at random, by `seed` and prompt."""
    # A prompt has a pair of judgements beside that of its answers at most.
    parts = (pair.prompt_id, *([pair.run] if pair.run == "judgements" else []), "shuffled")
    if _rng(seed, *parts).random() < 0.5:
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


def passing_draft(
    tree: SearchTree, seed: int, least: float | None = None, *, cut_drafts: bool = True
) -> Node | None:
    """One of a prompt's passing drafts, drawn by `seed`; None where none passes.

    Parameters
    ----------
    least:
        The score from which a draft passes; None for the tree's gate.
    cut_drafts:
        Whether drafts that ended at their token limit count.
    """
    passing = [
        node
        for node in _drafts(tree, cut_drafts=cut_drafts)
        if (passes(node, tree) if least is None else node.score >= least - _ROUNDING)
    ]
    return _draw(passing, seed, tree, "passing") if passing else None


def passes(node: Node, tree: SearchTree) -> bool:
    """Whether a node was judged and passes the tree's gate."""
    return node.judgement is not None and node.judgement.passed(tree.gate)


def _drafts(tree: SearchTree, *, cut_drafts: bool) -> list[Node]:
    """A prompt's drafts, without those that ended at their token limit where these do not count."""
    return [node for node in tree.children(None) if cut_drafts or not _is_cut(node)]


def _is_cut(node: Node) -> bool:
    """Whether a response stops at its token limit, by its own replies and not its judge's."""
    return node.usage.cut_calls > node.judge_usage.cut_calls


def _repeats(node: Node) -> bool:
    """Whether the judge holds it against a response that it repeats itself."""
    findings = node.judgement.findings if node.judgement else ()
    return any(each.type == NO_REPETITION and not each.met for each in findings)


def _lost_end(root: Node, winner: Node) -> bool:
    """Whether a refinement no longer has the end of its draft, as often as that stands in the draft."""
    end = root.response.strip()[-_END:].lower()
    return winner.response.lower().count(end) < root.response.lower().count(end)


def _fails(node: Node, tree: SearchTree) -> bool:
    return node.judgement is not None and not node.judgement.passed(tree.gate)


def make_pair(tree: SearchTree, run: SourceRun, chosen: Node, rejected: Node) -> Pair:
    """The pair of two nodes of a tree."""
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
