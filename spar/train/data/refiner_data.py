"""The refiner's examples from search trees: winning refinements, and judgements that were not unanimous.

Pure; knows no file and no model. The conversations are those of the search, rendered by the same templates:
a judgement is the judge prompt and the stored vote, a refinement continues it with the refine request. The
reply of a refinement is the node's `text`, exactly as the engine returned it; for a node without `text` it
is in the canonical form (`spar.templates.parse.refinement_text`).

Unanimous votes teach nothing new and tied votes decide nothing, so only judgements between the two are used (paper,
section 2.3, and its code). A judge with a single vote, or a program, yields no such example. A teacher knows
more than the model that learns, so every decided judgement of its can be used (`decided`).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from spar.record.training_data import ExampleKind, JudgementFilter, RefinerExample
from spar.templates import Templates
from spar.templates.parse import Refinement, refinement_text
from spar.templates.verdicts import parse_verdict
from spar.train.data.pairs import solution
from spar.types import Judgement, Message, Node, SearchTree


def refine_example(tree: SearchTree, templates: Templates) -> RefinerExample | None:
    """The last refinement of a solved tree; None where no refinement passed."""
    winner = solution(tree)
    if winner is None or winner.parent is None:
        return None
    parent = tree.nodes[winner.parent]
    second = parent if winner.second_parent is None else tree.nodes[winner.second_parent]
    if parent.judgement is None or second.judgement is None:
        return None
    other = (second.response, second.judgement.critique)
    conversation = templates.refine_conversation(
        tree.prompt.messages,
        parent.response,
        parent.judgement.critique,
        other if second is not parent else None,
    )
    return RefinerExample(
        kind="refine",
        run="search",
        prompt_id=tree.prompt.id,
        node=winner.id,
        score=winner.score,
        messages=(*conversation, Message(role="assistant", content=_reply(winner))),
    )


def tree_judgements(
    tree: SearchTree,
    templates: Templates,
    seed: int,
    which: JudgementFilter = "split",
    *,
    with_root: bool = True,
) -> tuple[RefinerExample, ...]:
    """At most one Yes and one No of a search's judgements, drawn by `seed`.

    The parent of the winning refinement is excluded: its judge prompt also starts the refinement's example.

    Parameters
    ----------
    with_root:
        Whether the judgement of the draft at the root counts; the paper's code visits refinements alone.
    """
    winner = solution(tree)
    excluded = (
        None if winner is None or winner.parent is None else tree.nodes[winner.parent].response
    )
    rng = random.Random(f"{seed}|judgements|{tree.prompt.id!a}")
    examples = []
    for verdict in (True, False):
        nodes = [
            node
            for node in tree.nodes
            if (with_root or node.parent is not None)
            and node.response != excluded
            and _is_usable(node.judgement, verdict, which)
        ]
        if nodes:
            examples.append(_judgement(tree, rng.choice(nodes), templates, "tree"))
    return tuple(examples)


def draft_judgements(
    tree: SearchTree, templates: Templates, which: JudgementFilter = "split"
) -> tuple[RefinerExample, ...]:
    """Every usable judgement of a prompt's drafts, Yes and No."""
    return tuple(
        _judgement(tree, node, templates, "draft")
        for node in tree.children(None)
        if _is_usable(node.judgement, True, which) or _is_usable(node.judgement, False, which)
    )


def is_split(judgement: Judgement) -> bool:
    """Whether the votes have a majority but are not unanimous, and no program judged beside them."""
    if judgement.findings:
        return False
    num_yes, num_no = judgement.num_yes, judgement.num_parsed - judgement.num_yes
    return num_yes > 0 and num_no > 0 and num_yes != num_no


def is_decided(judgement: Judgement) -> bool:
    """Whether the votes, the score of a logprob judge, or programs favour one verdict."""
    return judgement.verdict is not None and judgement.probability != 0.5


def majority(judgement: Judgement) -> bool:
    """The verdict of most votes, of a logprob judge's score, or of programs; a tie is a No."""
    return judgement.verdict is True


def matches_majority(judgement: Judgement) -> bool:
    """Whether the stored critique has the verdict of the majority."""
    return parse_verdict(judgement.critique) is majority(judgement)


def _reply(refined: Node) -> str:
    if refined.text is not None:
        return refined.text
    return refinement_text(Refinement(refined.reflection or "", refined.response))


_FILTERS: Mapping[JudgementFilter, Callable[[Judgement], bool]] = {
    "split": is_split,
    "decided": is_decided,
}


def _is_usable(judgement: Judgement | None, verdict: bool, which: JudgementFilter) -> bool:
    if judgement is None or not _FILTERS[which](judgement):
        return False
    return majority(judgement) is verdict and matches_majority(judgement)


def _judgement(
    tree: SearchTree, node: Node, templates: Templates, kind: ExampleKind
) -> RefinerExample:
    assert node.judgement is not None
    conversation = templates.judge_conversation(tree.prompt.messages, node.response)
    return RefinerExample(
        kind=kind,
        verdict=majority(node.judgement),
        run="search" if kind == "tree" else "drafts",
        prompt_id=tree.prompt.id,
        node=node.id,
        score=node.score,
        messages=(*conversation, Message(role="assistant", content=node.judgement.critique)),
    )
