"""Summarize one line of a file of trees, quickly from its start and end, or by parsing it.

`SearchTree.to_json` writes its fields in a fixed order without spaces, so `quick_summary` finds the prompt's id
at the start, and stop, faults and time at the end, without parsing the rest. This is safe: inside a JSON
string every quote is escaped, so `,"stop":` is never part of a text. Other tools may write the fields in
another order; then `quick_summary` returns None, and only `summarize_tree` works.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from spar.record.outcomes import ConstraintCheck, Outcome, outcome_of
from spar.types import SCHEMA_VERSION, SearchTree, Stop
from tui.index.rows import TITLE_CHARACTERS, GroundTruth, RowError

HEAD_BYTES, TAIL_BYTES = 512, 2048
"""Bytes at the start and the end of a line that `quick_summary` needs."""
MAX_LINE_BYTES = 64 << 20
"""A longer line is not read, to limit memory."""
MAX_REASON = 300
"""Maximum characters of an error's reason."""

_BREAKS = re.compile(r"\s*\n\s*")
_HEAD = re.compile(rb'\{"schema_version":(\d+),"prompt":\{"id":"([^"\\]*)"')
_TAIL = re.compile(
    rb'\],"selected":(?:null|\d+),"stop":"(solved|exhausted|budget)","cancelled":\d+,'
    rb'"cancelled_usage":\{(?:"\w+":\{[^{}]*\},?)*\},"seconds":([-+.\deE]+)\}\s*'
)


@dataclass(frozen=True, slots=True)
class QuickSummary:
    """What the start and the end of a line give."""

    prompt_id: str
    stop: Stop
    has_faults: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class RowSummary:
    """A tree as one row of a table; the fields are those of `TreeRow`."""

    prompt_id: str
    title: str
    stop: Stop
    score: float | None
    num_nodes: int
    depth: int
    tokens: int
    faults: int
    seconds: float
    passed: bool | None
    """Whether the judge passed the answer; None without a judgement."""
    truth: bool | None
    failing: tuple[str, ...]
    """Types of the constraints that the answer fails, by name."""
    outcome: Outcome
    """What the search did."""
    digest: str
    """That of the prompt's content (`Prompt.digest`)."""


def quick_summary(head: bytes, tail: bytes) -> QuickSummary | None:
    """Read a line's first and last bytes; None unless they are as spar writes them."""
    start = tail.rfind(b'],"selected":')
    first, last = _HEAD.match(head), _TAIL.fullmatch(tail, max(start, 0))
    if first is None or last is None or int(first[1]) > SCHEMA_VERSION:
        return None
    no_faults = tail.endswith(b'"faults":[', 0, start)
    if not no_faults and not tail.endswith(b"}", 0, start):
        return None
    try:
        prompt_id, seconds = first[2].decode("utf-8"), float(last[2])
    except ValueError:
        return None
    stop: Stop = last[1].decode("ascii")  # type: ignore[assignment]  # the pattern names all three
    return QuickSummary(prompt_id, stop, not no_faults, seconds)


def parse_tree(raw: bytes) -> SearchTree:
    """Parse the tree of one line; raises `RowError` with the reason if it is not one."""
    value = parse_object(raw)
    _check_version(value)
    try:
        return SearchTree.model_validate(value)
    except ValidationError as error:
        detail = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(map(str, detail["loc"]))
        raise RowError(_cut(f"not a search tree: {where}: {detail['msg']}")) from error
    except RecursionError as error:
        raise RowError("not a search tree: nested too deeply") from error


def parse_object(raw: bytes) -> dict[str, Any]:
    """Parse the JSON object of one line; raises `RowError` if it is not one."""
    if not raw.strip():
        raise RowError("a blank line")
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError) as error:
        ends = raw.rstrip().endswith(b"}")
        raise RowError(_cut(f"{'corrupt' if ends else 'truncated or corrupt'}: {error}")) from error
    if not isinstance(value, dict):
        raise RowError(f"expected a JSON object, got {type(value).__name__}")
    return value


def summarize_tree(
    tree: SearchTree,
    truth: GroundTruth | None = None,
    check: ConstraintCheck | None = None,
    *,
    graded: bool | None = None,
) -> RowSummary:
    """Summarize a tree; a broken reference in it counts as no answer, which fails whatever can be checked.

    Parameters
    ----------
    truth:
        Ground truth of the answer, which counts more than `check`.
    check:
        Ground truth of a response, constraint by constraint.
    graded:
        An evaluation's verdict on the prompt, which counts more than `truth` and is there without an answer too.
    """
    nodes, index = tree.nodes, tree.selected
    is_answered = index is not None and 0 <= index < len(nodes)
    if graded is None and truth and is_answered:
        graded = truth(tree)
    outcome = outcome_of(tree, check, graded=graded)
    answer = outcome.after
    return RowSummary(
        prompt_id=tree.prompt.id,
        title=joined_lines(tree.prompt.messages[-1].content),
        stop=tree.stop,
        score=answer.score,
        num_nodes=len(nodes),
        depth=max((node.depth for node in nodes), default=0),
        tokens=sum(usage.completion_tokens for usage in outcome.roles.values()),
        faults=len(tree.faults),
        seconds=tree.seconds,
        passed=answer.judge,
        truth=answer.truth,
        failing=tuple(sorted({finding.type for finding in answer.failing})),
        outcome=outcome,
        digest=tree.prompt.digest,
    )


def joined_lines(text: str) -> str:
    """A text's lines joined by spaces, truncated to `TITLE_CHARACTERS`."""
    return _BREAKS.sub(" ", text[: 4 * TITLE_CHARACTERS].strip())[:TITLE_CHARACTERS]


def _check_version(value: dict[str, Any]) -> None:
    version = value.get("schema_version", SCHEMA_VERSION)
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise RowError(
            f"schema version {version}, this spar reads up to {SCHEMA_VERSION}; upgrade spar"
        )


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MAX_REASON else f"{line[:MAX_REASON]}..."
