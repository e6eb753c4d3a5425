"""A tree as Markdown (CommonMark).

Text of models and prompts appears only in fenced blocks and code spans, each with a fence longer than any
run of backticks in the text, so none of it becomes a heading, a link or HTML.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from spar.export.content import heading, lines, parts, visible
from spar.types import SearchTree
from spar.view.diff import inline_diff
from spar.view.node_detail import Annotations, Section, prompt_sections
from spar.view.present import header_lines
from spar.view.text import one_line

_ID = 80


def to_markdown(tree: SearchTree, annotations: Annotations) -> str:
    """The prompt, the tree, and every node and fault in the tree's order."""
    return "\n\n".join(_blocks(tree, annotations)) + "\n"


def _blocks(tree: SearchTree, annotations: Annotations) -> Iterator[str]:
    yield f"# Search tree {code_span(one_line(tree.prompt.id, _ID))}"
    yield fenced("\n".join(line.plain for line in header_lines(tree, annotations)))
    yield from _sections(prompt_sections(tree))
    yield "## Tree"
    drawn = [line.plain for line in lines(tree, annotations)]
    yield fenced("\n".join(drawn) or "no node and no fault")
    for line, sections in parts(tree, annotations):
        yield f"## {heading(line)}"
        yield from _sections(sections)


def _sections(sections: Sequence[Section]) -> Iterator[str]:
    for section in sections:
        yield f"### {section.title}"
        yield fenced(inline_diff(section.pieces) if section.pieces else visible(section.raw))


def fenced(text: str) -> str:
    """A fenced block of this text."""
    fence = "`" * max(3, _longest_run(text) + 1)
    return f"{fence}text\n{text}\n{fence}"


def code_span(text: str) -> str:
    """A code span of this line."""
    fence = "`" * (_longest_run(text) + 1)
    return f"{fence} {text} {fence}"


def _longest_run(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)
