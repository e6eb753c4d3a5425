"""A tree as Markdown (CommonMark).

Text of models and prompts stands in fenced blocks and code spans only, each with a fence longer than any
run of backticks within, so none of it becomes a heading, a link or HTML.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from spar.export.content import SNIPPET, heading, parts, shown
from spar.types import SearchTree
from spar.view.diff import marked
from spar.view.node_detail import Facts, Section, prompt_sections
from spar.view.present import header_lines
from spar.view.text import one_line
from spar.view.tree_lines import tree_lines

_ID = 80


def as_markdown(tree: SearchTree, facts: Facts) -> str:
    """The task, the tree, and every node and fault in the tree's order."""
    return "\n\n".join(_blocks(tree, facts)) + "\n"


def _blocks(tree: SearchTree, facts: Facts) -> Iterator[str]:
    yield f"# Search tree {code_span(one_line(tree.prompt.id, _ID))}"
    yield fenced("\n".join(line.plain for line in header_lines(tree)))
    yield from _sections(prompt_sections(tree))
    yield "## Tree"
    lines = [line.plain for line in tree_lines(tree, snippet=SNIPPET)]
    yield fenced("\n".join(lines) or "no node and no fault")
    for line, sections in parts(tree, facts):
        yield f"## {heading(line)}"
        yield from _sections(sections)


def _sections(sections: Sequence[Section]) -> Iterator[str]:
    for section in sections:
        yield f"### {section.title}"
        yield fenced(marked(section.pieces) if section.pieces else shown(section.raw))


def fenced(text: str) -> str:
    """A block that holds just this text."""
    fence = "`" * max(3, _longest_run(text) + 1)
    return f"{fence}text\n{text}\n{fence}"


def code_span(text: str) -> str:
    """A code span that holds just this line."""
    fence = "`" * (_longest_run(text) + 1)
    return f"{fence} {text} {fence}"


def _longest_run(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)
