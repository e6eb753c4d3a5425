"""The refiner's examples out of search trees: refinements that won, judgements that were not unanimous.

Pure; knows no file and no model. The conversations are the search's own, rendered by the same templates:
a judgement is the judge prompt and the vote that was kept, a refinement goes on from there with the
refine request. The reply of a refinement is the node's `text`, character for character as the engine gave
it; a node without one has it in the canonical form (`spar.templates.parse.refinement_text`).

Votes that all agree teach nothing new and votes that tie decide nothing, so only judgements between the
two are learnt from (paper, section 2.3, and its code). A judge that is asked once, or is a program, has
no votes that could disagree and gives no such example. Of a teacher, who knows better than the model that
learns, every judgement that was decided can be (`decided`).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from spar.record.training_data import ExampleKind, JudgementFilter, RefinerExample
from spar.templates import Templates
from spar.templates.parse import Refinement, parse_verdict, refinement_text
from spar.train.data.pairs import solution
from spar.types import Judgement, Message, Node, SearchTree


def refine_example(tree: SearchTree, templates: Templates) -> RefinerExample | None:
    """The winning step of a solved tree; None where no refinement passed."""
    winner = solution(tree)
    if winner is None or winner.parent is None:
        return None
    parent = tree.nodes[winner.parent]
    if parent.judgement is None:
        return None
    asked = templates.refine_conversation(
        tree.prompt.messages, parent.response, parent.judgement.critique
    )
    return RefinerExample(
        kind="refine",
        run="search",
        prompt_id=tree.prompt.id,
        node=winner.id,
        score=winner.score,
        messages=(*asked, Message(role="assistant", content=_reply(winner))),
    )


def tree_judgements(
    tree: SearchTree, templates: Templates, seed: int, which: JudgementFilter = "split"
) -> tuple[RefinerExample, ...]:
    """At most one Yes and one No of a search's judgements, drawn by `seed`.

    The node that the winning refinement started from is left to `refine_example`, which opens with the
    same judge prompt.
    """
    winner = solution(tree)
    taken = None if winner is None or winner.parent is None else tree.nodes[winner.parent].response
    dice = random.Random(f"{seed}|judgements|{tree.prompt.id!a}")
    found = []
    for verdict in (True, False):
        nodes = [
            node
            for node in tree.nodes
            if node.response != taken and _teaches(node.judgement, verdict, which)
        ]
        if nodes:
            found.append(_judgement(tree, dice.choice(nodes), templates, "tree"))
    return tuple(found)


def draft_judgements(
    tree: SearchTree, templates: Templates, which: JudgementFilter = "split"
) -> tuple[RefinerExample, ...]:
    """Every such judgement of a prompt's drafts, Yes and No."""
    return tuple(
        _judgement(tree, node, templates, "draft")
        for node in tree.children(None)
        if _teaches(node.judgement, True, which) or _teaches(node.judgement, False, which)
    )


def is_split(judgement: Judgement) -> bool:
    """Whether the votes disagreed and yet decided."""
    num_yes, num_no = judgement.num_yes, judgement.num_parsed - judgement.num_yes
    return num_yes > 0 and num_no > 0 and num_yes != num_no


def is_decided(judgement: Judgement) -> bool:
    """Whether the votes, or the logprob judge's score, say the one or the other."""
    return judgement.num_parsed > 0 and judgement.score != 0.5


def majority(judgement: Judgement) -> bool:
    """What most votes say, or the logprob judge's score."""
    return judgement.score > 0.5


def is_carried(judgement: Judgement) -> bool:
    """Whether the critique that was kept says what the majority says."""
    return parse_verdict(judgement.critique) is majority(judgement)


def _reply(refined: Node) -> str:
    if refined.text is not None:
        return refined.text
    return refinement_text(Refinement(refined.reflection or "", refined.response))


_LEARNT: Mapping[JudgementFilter, Callable[[Judgement], bool]] = {
    "split": is_split,
    "decided": is_decided,
}


def _teaches(judgement: Judgement | None, verdict: bool, which: JudgementFilter) -> bool:
    if judgement is None or not _LEARNT[which](judgement):
        return False
    return majority(judgement) is verdict and is_carried(judgement)


def _judgement(
    tree: SearchTree, node: Node, templates: Templates, kind: ExampleKind
) -> RefinerExample:
    assert node.judgement is not None
    asked = templates.judge_conversation(tree.prompt.messages, node.response)
    return RefinerExample(
        kind=kind,
        verdict=majority(node.judgement),
        run="search" if kind == "tree" else "drafts",
        prompt_id=tree.prompt.id,
        node=node.id,
        score=node.score,
        messages=(*asked, Message(role="assistant", content=node.judgement.critique)),
    )
