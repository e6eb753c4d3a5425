"""The columns of a run's table, and the rows that fill them: a row a tree, a node or a fault.

docs/export.md says what each column means.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, get_args

from spar.types import ROLES, Fault, Judgement, Node, SearchTree, Usage
from spar.view.layout import shape_of
from spar.view.node_detail import Facts

Rows = Literal["trees", "nodes", "faults"]
ROWS: tuple[Rows, ...] = get_args(Rows)

Row = dict[str, Any]
TEXT, WHOLE, REAL, TRUTH = "string", "Int64", "Float64", "boolean"
"""pandas' types that can say that nothing is known."""

_COSTS = ("calls", "prompt_tokens", "cached_tokens", "completion_tokens")
_SPENT = dict.fromkeys((*_COSTS, "skipped_calls", "aborted_calls"), WHOLE)
_BY_ROLE = {f"{role}_{name}": WHOLE for role in ROLES for name in _COSTS}
_BY_JUDGE = {f"judge_{name}": WHOLE for name in _COSTS}

COLUMNS: Mapping[Rows, Mapping[str, str]] = {
    "trees": {
        "prompt_id": TEXT,
        "source": TEXT,
        "prompt": TEXT,
        "messages": TEXT,
        "meta": TEXT,
        "strategy": TEXT,
        "config": TEXT,
        "stop": TEXT,
        "gate": REAL,
        "solved": TRUTH,
        "selected": WHOLE,
        "answer": TEXT,
        "score": REAL,
        "truth_before": TRUTH,
        "truth": TRUTH,
        "nodes": WHOLE,
        "depth": WHOLE,
        "faults": WHOLE,
        "cancelled": WHOLE,
        "seconds": REAL,
        **_SPENT,
        **_BY_ROLE,
    },
    "nodes": {
        "prompt_id": TEXT,
        "node": WHOLE,
        "parent": WHOLE,
        "depth": WHOLE,
        "selected": TRUTH,
        "on_path": TRUTH,
        "response": TEXT,
        "reflection": TEXT,
        "score": REAL,
        "passed": TRUTH,
        "truth": TRUTH,
        "num_yes": WHOLE,
        "num_parsed": WHOLE,
        "verdicts": TEXT,
        "probability": REAL,
        "critique": TEXT,
        "dissent": TEXT,
        "seed": TEXT,
        "seconds": REAL,
        **_SPENT,
        **_BY_JUDGE,
    },
    "faults": {
        "prompt_id": TEXT,
        "parent": WHOLE,
        "stage": TEXT,
        "reason": TEXT,
        "text": TEXT,
        "seconds": REAL,
        **_SPENT,
        **_BY_JUDGE,
    },
}
"""What a row is of, to its columns and their types."""


def rows_of(tree: SearchTree, rows: Rows, facts: Facts = Facts()) -> Iterator[Row]:
    """The rows that a tree gives, each with every column of its kind."""
    return _MAKERS[rows](tree, facts)


def _tree_row(tree: SearchTree, facts: Facts) -> Iterator[Row]:
    shape = shape_of(tree)
    answer = None if shape.selected is None else tree.nodes[shape.selected]
    by_role = tree.usage_by_role
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
        "truth_before": _truth(tree, tree.nodes[0] if tree.nodes else None, facts),
        "truth": _truth(tree, answer, facts),
        "nodes": len(tree.nodes),
        "depth": max(shape.levels, default=None),
        "faults": len(tree.faults),
        "cancelled": tree.cancelled,
        "seconds": tree.seconds,
        **_spent(tree.usage),
        **{f"{role}_{n}": getattr(by_role[role], n) for role in ROLES for n in _COSTS},
    }


def _node_rows(tree: SearchTree, facts: Facts) -> Iterator[Row]:
    shape = shape_of(tree)
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
            "truth": _truth(tree, node, facts),
            "num_yes": judgement.num_yes if judgement else None,
            "num_parsed": judgement.num_parsed if judgement else None,
            "verdicts": json.dumps(judgement.verdicts) if judgement else None,
            "probability": judgement.probability if judgement else None,
            "critique": judgement.critique if judgement else None,
            "dissent": judgement.dissent if judgement else None,
            # 63 bits, which a spreadsheet's numbers and a column of floats would round.
            "seed": None if node.seed is None else str(node.seed),
            **_costs(node),
        }


def _fault_rows(tree: SearchTree, facts: Facts) -> Iterator[Row]:
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


def _truth(tree: SearchTree, node: Node | None, facts: Facts) -> bool | None:
    """Whether every constraint is met; None where no program can tell."""
    if node is None or facts.verdicts is None:
        return None
    verdicts = facts.verdicts(tree, node)
    return all(met for _, met in verdicts) if verdicts else None


_MAKERS: Mapping[Rows, Callable[[SearchTree, Facts], Iterator[Row]]] = {
    "trees": _tree_row,
    "nodes": _node_rows,
    "faults": _fault_rows,
}
