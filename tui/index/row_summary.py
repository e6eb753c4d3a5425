"""One line of a file of trees: read quickly by its two ends, or parsed whole.

`SearchTree.to_json` writes its fields in a fixed order without spaces, so `glance` finds the prompt's id
at the head, and stop, faults and time at the tail, without parsing what is between. That is safe: inside
a JSON string every quote has a backslash before it, so `,"stop":` is never a model's text. A line that
another tool wrote in another order is legal; `glance` then says nothing and `digest` everything.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from spar.types import SCHEMA_VERSION, SearchTree, Stop, Usage
from tui.index.rows import TITLE_CHARACTERS, RowError, Truth

HEAD_BYTES, TAIL_BYTES = 512, 2048
"""What `glance` needs of a line's two ends."""
LONGEST_LINE = 64 << 20
"""A longer line is not read: it would take more memory than a browser should."""
SHOWN_CHARACTERS = 300
"""A longer reason is cut."""

_HEAD = re.compile(rb'\{"schema_version":(\d+),"prompt":\{"id":"([^"\\]*)"')
_TAIL = re.compile(
    rb'\],"selected":(?:null|\d+),"stop":"(solved|exhausted|budget)","cancelled":\d+,'
    rb'"cancelled_usage":\{(?:"\w+":\{[^{}]*\},?)*\},"seconds":([-+.\deE]+)\}\s*'
)


@dataclass(frozen=True, slots=True)
class Glance:
    """What the two ends of a line say."""

    prompt_id: str
    stop: Stop
    has_faults: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class Digest:
    """A tree as one row of a table; the fields mean what those of `TreeRow` do."""

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
    """Whether the judge passed the answer; None where it was not judged."""
    truth: bool | None


def glance(head: bytes, tail: bytes) -> Glance | None:
    """What a line's first and last bytes say; None where spar did not write it just so."""
    start = tail.rfind(b'],"selected":')
    first, last = _HEAD.match(head), _TAIL.fullmatch(tail, max(start, 0))
    if first is None or last is None or int(first[1]) > SCHEMA_VERSION:
        return None
    none = tail.endswith(b'"faults":[', 0, start)
    if not none and not tail.endswith(b"}", 0, start):
        return None
    try:
        prompt_id, seconds = first[2].decode("utf-8"), float(last[2])
    except ValueError:
        return None
    stop: Stop = last[1].decode("ascii")  # type: ignore[assignment]  # the pattern names all three
    return Glance(prompt_id, stop, not none, seconds)


def parse(raw: bytes) -> SearchTree:
    """The tree of one line; raises `RowError` with one line that says why there is none."""
    value = load(raw)
    _refuse_newer(value)
    try:
        return SearchTree.model_validate(value)
    except ValidationError as error:
        detail = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(map(str, detail["loc"]))
        raise RowError(_cut(f"not a search tree: {where}: {detail['msg']}")) from error
    except RecursionError as error:
        raise RowError("not a search tree: nested too deeply") from error


def load(raw: bytes) -> dict[str, Any]:
    """The JSON object of one line; raises `RowError` where it is none."""
    if not raw.strip():
        raise RowError("a blank line")
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError) as error:
        ends = raw.rstrip().endswith(b"}")
        raise RowError(_cut(f"{'corrupt' if ends else 'cut off or corrupt'}: {error}")) from error
    if not isinstance(value, dict):
        raise RowError(f"expected a JSON object, got {type(value).__name__}")
    return value


def digest(tree: SearchTree, truth: Truth | None = None) -> Digest:
    """A tree as one row; a broken reference inside it counts as no answer."""
    nodes = tree.nodes
    index = tree.selected
    answer = nodes[index] if index is not None and 0 <= index < len(nodes) else None
    judgement = answer.judgement if answer else None
    score = judgement.score if judgement else math.nan
    return Digest(
        prompt_id=tree.prompt.id,
        title=first_line(tree.prompt.messages[-1].content),
        stop=tree.stop,
        score=None if math.isnan(score) else score,
        num_nodes=len(nodes),
        depth=max((node.depth for node in nodes), default=0),
        tokens=sum(usage.completion_tokens for usage in _usages(tree)),
        faults=len(tree.faults),
        seconds=tree.seconds,
        passed=None if math.isnan(score) else score > tree.gate,
        truth=truth(tree) if truth and answer else None,
    )


def first_line(text: str) -> str:
    """The first line of a text that is not blank, cut to a title's length."""
    lines = text.lstrip()[:TITLE_CHARACTERS].splitlines()
    return lines[0] if lines else ""


def _usages(tree: SearchTree) -> Iterator[Usage]:
    yield from (node.usage for node in tree.nodes)
    yield from (fault.usage for fault in tree.faults)
    yield from tree.cancelled_usage.values()


def _refuse_newer(value: dict[str, Any]) -> None:
    version = value.get("schema_version", SCHEMA_VERSION)
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise RowError(
            f"schema version {version}, this spar reads up to {SCHEMA_VERSION}; upgrade spar"
        )


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SHOWN_CHARACTERS else f"{line[:SHOWN_CHARACTERS]}..."
