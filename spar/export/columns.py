"""The columns of a run's table and its rows, one for each tree, node or fault, or for each example.

docs/export.md describes every column.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, get_args

from spar.record.evaluation import Example
from spar.record.outcomes import outcome_of
from spar.types import ROLES, Fault, Judgement, Node, SearchTree, Usage
from spar.view.layout import layout_of
from spar.view.node_detail import Annotations, node_truth

RowKind = Literal["trees", "nodes", "faults"]
ROW_KINDS: tuple[RowKind, ...] = get_args(RowKind)

Row = dict[str, Any]
TEXT, INTEGER, FLOAT, BOOLEAN = "string", "Int64", "Float64", "boolean"
"""pandas' nullable types."""

_COSTS = ("calls", "prompt_tokens", "cached_tokens", "completion_tokens")
_SPENT = dict.fromkeys((*_COSTS, "skipped_calls", "aborted_calls"), INTEGER)
_BY_ROLE = {f"{role}_{name}": INTEGER for role in ROLES for name in _COSTS}
_BY_JUDGE = {f"judge_{name}": INTEGER for name in _COSTS}

COLUMNS: Mapping[RowKind, Mapping[str, str]] = {
    "trees": {
        "prompt_id": TEXT,
        "source": TEXT,
        "prompt": TEXT,
        "messages": TEXT,
        "meta": TEXT,
        "strategy": TEXT,
        "config": TEXT,
        "stop": TEXT,
        "gate": FLOAT,
        "solved": BOOLEAN,
        "selected": INTEGER,
        "answer": TEXT,
        "score": FLOAT,
        "truth_before": BOOLEAN,
        "truth": BOOLEAN,
        "nodes": INTEGER,
        "depth": INTEGER,
        "faults": INTEGER,
        "cancelled": INTEGER,
        "seconds": FLOAT,
        **_SPENT,
        **_BY_ROLE,
    },
    "nodes": {
        "prompt_id": TEXT,
        "node": INTEGER,
        "parent": INTEGER,
        "depth": INTEGER,
        "selected": BOOLEAN,
        "on_path": BOOLEAN,
        "response": TEXT,
        "reflection": TEXT,
        "score": FLOAT,
        "passed": BOOLEAN,
        "truth": BOOLEAN,
        "num_yes": INTEGER,
        "num_parsed": INTEGER,
        "verdicts": TEXT,
        "probability": FLOAT,
        "findings": TEXT,
        "critique": TEXT,
        "dissent": TEXT,
        "seed": TEXT,
        "seconds": FLOAT,
        **_SPENT,
        **_BY_JUDGE,
    },
    "faults": {
        "prompt_id": TEXT,
        "parent": INTEGER,
        "stage": TEXT,
        "reason": TEXT,
        "text": TEXT,
        "seconds": FLOAT,
        **_SPENT,
        **_BY_JUDGE,
    },
}
"""Kind of row to its columns and their types."""

EXAMPLE_COLUMNS: Mapping[str, str] = {
    "prompt_id": TEXT,
    "group": TEXT,
    "prompt": TEXT,
    "response": TEXT,
    "passed": BOOLEAN,
    "verdicts": TEXT,
    "scores": TEXT,
}
"""Of the rows of an evaluation's examples."""


def rows_of(
    tree: SearchTree, rows: RowKind, annotations: Annotations = Annotations()
) -> Iterator[Row]:
    """The rows of a tree, each with all columns of its kind."""
    return _MAKERS[rows](tree, annotations)


def example_row(example: Example) -> Row:
    """The row of one example of an evaluation, whose answer may have come from a file and have no tree."""
    return {
        "prompt_id": example.id,
        "group": example.group,
        "prompt": example.prompt,
        "response": example.response,
        "passed": example.passed,
        "verdicts": json.dumps({verdict.name: verdict.passed for verdict in example.verdicts}),
        "scores": json.dumps(example.scores),
    }


def _tree_row(tree: SearchTree, annotations: Annotations) -> Iterator[Row]:
    shape = layout_of(tree)
    answer = None if shape.selected is None else tree.nodes[shape.selected]
    by_role = tree.usage_by_role
    outcome = outcome_of(tree, annotations.check, graded=annotations.grade_of(tree))
    yield {
        "prompt_id": tree.prompt.id,
        "source": tree.prompt.source,
        "prompt": tree.prompt.messages[-1].content,
        "messages": json.dumps([message.model_dump() for message in tree.prompt.messages]),
        "meta": json.dumps(tree.prompt.meta),
        "strategy": tree.strategy,
        "config": tree.config,
        "stop": tree.stop,
        "gate": tree.gate,
        "solved": tree.solved,
        "selected": tree.selected,
        "answer": answer.response if answer else None,
        "score": _score(answer.judgement if answer else None),
        "truth_before": outcome.before.truth,
        "truth": outcome.after.truth,
        "nodes": len(tree.nodes),
        "depth": max(shape.levels, default=None),
        "faults": len(tree.faults),
        "cancelled": tree.cancelled,
        "seconds": tree.seconds,
        **_spent(tree.usage),
        **{f"{role}_{n}": getattr(by_role[role], n) for role in ROLES for n in _COSTS},
    }


def _node_rows(tree: SearchTree, annotations: Annotations) -> Iterator[Row]:
    shape = layout_of(tree)
    for position, node in enumerate(tree.nodes):
        judgement = node.judgement
        yield {
            "prompt_id": tree.prompt.id,
            "node": node.id,
            "parent": node.parent,
            "depth": node.depth,
            "selected": position == shape.selected,
            "on_path": position in shape.path,
            "response": node.response,
            "reflection": node.reflection,
            "score": _score(judgement),
            "passed": judgement.passed(tree.gate) if judgement else None,
            "truth": node_truth(tree, node, annotations),
            "num_yes": judgement.num_yes if judgement else None,
            "num_parsed": judgement.num_parsed if judgement else None,
            "verdicts": json.dumps(judgement.verdicts) if judgement else None,
            "probability": judgement.probability if judgement else None,
            "findings": _findings(judgement),
            "critique": judgement.critique if judgement else None,
            "dissent": judgement.dissent if judgement else None,
            # 63 bits, which a spreadsheet's numbers and a column of floats would round.
            "seed": None if node.seed is None else str(node.seed),
            **_costs(node),
        }


def _fault_rows(tree: SearchTree, annotations: Annotations) -> Iterator[Row]:
    for fault in tree.faults:
        yield {
            "prompt_id": tree.prompt.id,
            "parent": fault.parent,
            "stage": fault.stage,
            "reason": fault.reason,
            "text": fault.text,
            **_costs(fault),
        }


def _costs(item: Node | Fault) -> Row:
    judged = {f"judge_{name}": getattr(item.judge_usage, name) for name in _COSTS}
    return {"seconds": item.usage.seconds, **_spent(item.usage), **judged}


def _spent(usage: Usage) -> Row:
    return {name: getattr(usage, name) for name in _SPENT}


def _score(judgement: Judgement | None) -> float | None:
    return judgement.score if judgement else None


def _findings(judgement: Judgement | None) -> str | None:
    """What programs found, as JSON; None where no program judged."""
    if judgement is None or not judgement.findings:
        return None
    return json.dumps([finding.model_dump() for finding in judgement.findings])


_MAKERS: Mapping[RowKind, Callable[[SearchTree, Annotations], Iterator[Row]]] = {
    "trees": _tree_row,
    "nodes": _node_rows,
    "faults": _fault_rows,
}
