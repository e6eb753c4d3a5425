"""Read exported pages, and runs to export."""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spar.export.page.run_page import run_pages
from spar.export.run import check_constraints
from spar.types import Judgement, Node, SearchTree, Usage
from spar.view.node_detail import Annotations
from tests.export.samples import NANO, with_meta
from tests.train.trees import tree_of


@dataclass(frozen=True)
class ReadPage:
    """What a browser finds in a page."""

    text: str
    policy: str
    style: str
    script: str
    run: dict[str, Any]
    rows: list[dict[str, Any]]
    trees: list[dict[str, Any]]


def read_page(text: str) -> ReadPage:
    """Decode a page's data."""

    def between(start: str) -> str:
        return text.split(start, 1)[1].split("</", 1)[0]

    blocks = re.findall(r'<script type="text/plain" id="block-\d+">([^<]*)</script>', text)
    return ReadPage(
        text,
        policy=re.findall(r'Content-Security-Policy" content="([^"]*)"', text)[0],
        style=between("<style>"),
        script=text.split("<script>", 1)[1].split("</script>", 1)[0],
        run=json.loads(between('id="run">')),
        rows=unpack(between('id="rows">')),
        trees=[tree for block in blocks for tree in unpack(block)],
    )


def unpack(text: str) -> Any:
    """The value of a compressed block."""
    return json.loads(gzip.decompress(base64.b64decode(text)))


def write_pages(run: Path, out: Path, *, page_size: int = 5_000) -> list[Path]:
    """Write a run's pages as `spar export` does; returns the files."""
    pages = run_pages(run, Annotations(check_constraints), page_size=page_size)
    written = []
    for name, parts in pages.files(out.name):
        out.with_name(name).write_text("".join(parts), "utf-8")
        written.append(out.with_name(name))
    return written


def story_run() -> list[SearchTree]:
    """One tree of each kind: fixed, broken, right at first, still failing, and one where the judge is wrong.

    Every response must have no comma and end with "done".
    """
    return [
        searched("fixed", ("one, two done", 1), ("one two done", 5)),
        searched("broken", ("all done", 2), ("all, done", 4)),
        searched("right", ("well done", 5)),
        searched("fails", ("a, b", 0), ("a b", 2)),
        searched("fooled", ("no end", 4)),
    ]


def searched(prompt_id: str, *responses: tuple[str, int]) -> SearchTree:
    """A chain of refinements, each with its votes for yes of five."""
    nodes = [
        Node(
            id=at,
            parent=at - 1 if at else None,
            depth=at,
            response=text,
            judgement=Judgement(
                verdicts=tuple(vote < num_yes for vote in range(5)), critique=f"critique of {text}"
            ),
            usage=Usage(calls=6, prompt_tokens=100, completion_tokens=20, seconds=0.5),
            judge_usage=Usage(calls=5, prompt_tokens=80, completion_tokens=10, seconds=0.4),
        )
        for at, (text, num_yes) in enumerate(responses)
    ]
    return with_meta(tree_of(*nodes, prompt_id=prompt_id), NANO)


def read_live_page(text: str) -> dict[str, Any]:
    """What a served page reads first."""
    values: dict[str, Any] = json.loads(text.split('id="run">', 1)[1].split("</", 1)[0])
    return values


def strings(value: Any) -> Iterator[str]:
    """The texts of a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from strings(inner)
