"""A tree and its row in the list as the JSON values that the page's script reads (assets/data.js).

All text is in the visible forms of `spar.view.text.safe`, so the page has nothing to make safe. A refinement is
stored as its changes against its parent, which the script turns into the diff and the response:

    ["+", text]    added        a number n: n characters in common        a number -n: n characters removed

Characters are counted as JavaScript counts them, in UTF-16 units.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any

from spar.record.outcomes import Outcome, ResponseResult, story
from spar.types import Fault, Finding, Judgement, Node, SearchTree, Usage
from spar.view.diff import word_diff
from spar.view.layout import layout_of, place, walk
from spar.view.node_detail import Annotations, vote_word
from spar.view.present import stop_text
from spar.view.text import one_line, safe
from spar.view.tree_lines import is_supplied

LIMIT = 100_000
"""Characters of one text; a longer one ends with the number left out."""
TITLE, IDENTIFIER = 220, 120
"""Cells of a prompt in the list, and of an id."""
_DIGEST = 12
"""Hex digits that tell apart ids which begin alike."""

Json = dict[str, Any]


def row_data(tree: SearchTree, outcome: Outcome, number: int) -> Json:
    """What the list knows of a tree. Missing verdicts are null."""
    usage = outcome.usage
    return {
        "id": identifier(tree.prompt.id, number),
        "title": one_line(" ".join(tree.prompt.messages[-1].content[: 8 * TITLE].split()), TITLE),
        "story": one_line(story(outcome), TITLE),
        "stop": tree.stop,
        "judged": outcome.is_judged,
        "change": outcome.change,
        "before": _verdicts(outcome.before),
        "after": _verdicts(outcome.after),
        "score": outcome.after.score,
        "failing": sorted({one_line(f.type, IDENTIFIER) for f in outcome.after.failing}),
        "nodes": outcome.nodes,
        "faults": outcome.faults,
        "calls": usage.calls,
        "tokens": usage.completion_tokens,
        "seconds": round(outcome.seconds, 3),
    }


def bad_row_data(reason: str, number: int) -> Json:
    """The row of a line that is not a tree."""
    return {"id": f"line-{number + 1}", "title": one_line(reason, TITLE), "error": True}


def tree_data(tree: SearchTree, outcome: Outcome, number: int, annotations: Annotations) -> Json:
    """All that the page shows of a tree."""
    shape = layout_of(tree)
    steps = list(walk(shape, trail_limit=1))
    places = place(steps)
    texts = [text(node.response) for node in tree.nodes]
    nodes: list[Json] = [{} for _ in tree.nodes]
    faults: list[Json] = []
    for step, row, parent in zip(steps, places.rows, places.parents, strict=True):
        above = steps[parent - 1].position if parent else None
        where = {"parent": above, "column": step.depth + 1, "row": row}
        if step.fault is not None:
            faults.append({**where, **_fault(step.fault)})
        elif step.position is not None:
            at = step.position
            before = None if above is None else texts[above]
            own = _node(tree, tree.nodes[at], annotations)
            changes = {"text": texts[at]} if before is None else {"delta": delta(before, texts[at])}
            nodes[at] = {**where, **changes, **own}
            nodes[at] |= {"path": True} if at in shape.path else {}
    return {
        "id": identifier(tree.prompt.id, number),
        "turns": [[turn.role, text(turn.content)] for turn in tree.prompt.messages],
        "source": one_line(tree.prompt.source, TITLE),
        "meta": text(json.dumps(tree.prompt.meta, indent=1)) if tree.prompt.meta else "",
        "strategy": one_line(tree.strategy, IDENTIFIER),
        "gate": tree.gate,
        "stop": stop_text(tree),
        "solved": tree.solved,
        "story": one_line(story(outcome), 2 * TITLE),
        "change": outcome.change,
        "before": _verdicts(outcome.before),
        "after": _verdicts(outcome.after),
        "judge_wrong": outcome.judge_wrong,
        "selected": shape.selected,
        "row": places.prompt_row,
        "nodes": nodes,
        "faults": faults,
        "cancelled": tree.cancelled,
        "seconds": round(tree.seconds, 3),
        "usage": usage_data(outcome.roles.items()),
    }


def usage_data(roles: Iterable[tuple[str, Usage]]) -> list[list[Any]]:
    """Role, calls, tokens read, of these cached, tokens generated, seconds, and votes skipped or aborted."""
    return [
        [
            role,
            spent.calls,
            spent.prompt_tokens,
            spent.cached_tokens,
            spent.completion_tokens,
            round(spent.seconds, 2),
            spent.skipped_calls + spent.aborted_calls,
        ]
        for role, spent in roles
        if spent != Usage()
    ]


def delta(before: str, after: str) -> list[Any]:
    """The changes that lead from one text to another, in the form that the module's docstring describes."""
    changes: list[Any] = []
    for piece in word_diff(before, after):
        if piece.kind == "added":
            changes.append(["+", piece.text])
        else:
            units = len(piece.text.encode("utf-16-le")) // 2
            changes.append(units if piece.kind == "same" else -units)
    return changes


def text(content: str) -> str:
    """A text in visible forms, up to `LIMIT` characters."""
    return safe(content, limit=LIMIT, tab="\t")


def identifier(prompt_id: str, number: int = 0) -> str:
    """A prompt's id, which is the tree's address in the page; one that is too long ends with a digest of the whole."""
    shown = one_line(prompt_id, IDENTIFIER)
    if shown == one_line(prompt_id):
        return shown or f"line-{number + 1}"
    digest = hashlib.sha256(prompt_id.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST]
    return one_line(prompt_id, IDENTIFIER - _DIGEST) + digest


def _verdicts(result: ResponseResult) -> list[bool | None]:
    """By the judge, and by ground truth."""
    return [result.judge, result.truth]


def _node(tree: SearchTree, node: Node, annotations: Annotations) -> Json:
    truth = list(annotations.check(tree, node)) if annotations.check else []
    conversation = annotations.render(tree, node) if annotations.render else ()
    statistics = {one_line(name, IDENTIFIER): value for name, value in node.statistics.items()}
    values: Json = {
        "id": node.id,
        "judgement": _judgement(node.judgement, tree.gate) if node.judgement else None,
        "truth": _findings(truth) or None,
        "reflection": text(node.reflection) if node.reflection else "",
        "reply": text(node.text) if node.text else "",
        "conversation": [[turn.role, text(turn.content)] for turn in conversation],
        "statistics": {name: _plain(value) for name, value in statistics.items()},
        "merged": node.second_parent,
        "supplied": is_supplied(node) or None,
        "usage": _costs(node),
        "seed": None if node.seed is None else str(node.seed),
    }
    return _present(values)


def _judgement(judgement: Judgement, gate: float) -> Json:
    values: Json = {
        "score": round(judgement.score, 4),
        "passed": judgement.passed(gate),
        "votes": "".join({True: "y", False: "n", None: "-"}[vote] for vote in judgement.verdicts),
        "yes": judgement.num_yes,
        "parsed": judgement.num_parsed,
        "probability": judgement.probability,
        "points": list(judgement.points),
        "cut": list(judgement.cut),
        "findings": _findings(judgement.findings),
        "critique": text(judgement.critique),
        "dissent": text(judgement.dissent) if judgement.dissent and not judgement.votes else "",
        "texts": [
            [
                f"Vote {number + 1}{vote_word(judgement, number)}",
                "" if vote == judgement.critique else text(vote),
            ]
            for number, vote in enumerate(judgement.votes)
        ],
    }
    return _present(values)


def _findings(findings: Sequence[Finding]) -> list[list[Any]]:
    """Type, constraint in words, whether it is met, what was found, share of yes among votes on it."""
    return [
        [one_line(f.type, IDENTIFIER), text(f.constraint), f.met, text(f.found), f.share]
        for f in findings
    ]


def _fault(fault: Fault) -> Json:
    return {
        "stage": fault.stage,
        "reason": text(fault.reason),
        "unusable": text(fault.text),
        "usage": _costs(fault),
    }


def _costs(item: Node | Fault) -> list[list[Any]]:
    writer = "actor" if item.parent is None else "refiner"
    return usage_data({writer: item.usage - item.judge_usage, "judge": item.judge_usage}.items())


def _present(values: Json) -> Json:
    """Without what is missing or empty, which most of it is."""
    return {
        name: value
        for name, value in values.items()
        if value is not None and value not in ("", [], {})
    }


def _plain(value: Any) -> Any:
    return one_line(value, TITLE) if isinstance(value, str) else value
