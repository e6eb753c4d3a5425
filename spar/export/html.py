"""A tree as a self-contained HTML page.

The page has no script, no link and only its own style; a content security policy forbids anything else.
Nodes fold with `<details>`, colours follow the reader's light or dark theme, and changes are `<del>` and
`<ins>`, which are readable without colour. All text goes through `escaped`; none is used in an attribute.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from html import escape

from spar.export.content import heading, parts, visible
from spar.types import SearchTree
from spar.view.diff import Piece, visible_change
from spar.view.layout import layout_of
from spar.view.node_detail import Annotations, Section, prompt_sections
from spar.view.present import header_lines
from spar.view.text import one_line
from spar.view.tree_lines import TreeLine

_STYLE = """
:root { color-scheme: light dark; --ink: #1c1c1c; --paper: #fdfdfc; --soft: #666; --line: #d5d5d0;
  --pass: #14692c; --fail: #a4161a; --fault: #7a5200; --add: #dff3e3; --del: #fbe3e1; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e6e3; --paper: #191a1c; --soft: #a2a2a0;
  --line: #3a3c40; --pass: #7fd694; --fail: #ff8f8a; --fault: #e6b450; --add: #163d22;
  --del: #4a1d1d; } }
body { margin: 2rem auto; max-width: 70rem; padding: 0 1rem; color: var(--ink);
  background: var(--paper); font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.3rem; overflow-wrap: anywhere; }
h2 { font-size: .8rem; color: var(--soft); margin: .9rem 0 .2rem; }
pre, summary { font: 13px/1.45 ui-monospace, Menlo, Consolas, monospace; }
pre { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; unicode-bidi: plaintext; }
summary { white-space: pre-wrap; overflow-wrap: anywhere; cursor: pointer; }
details > section { border-left: 3px solid var(--line); margin: .2rem 0 1rem .5rem; padding-left: 1rem; }
.path > summary { font-weight: 700; }
.pass > summary { color: var(--pass); }
.fail > summary { color: var(--fail); }
.fault > summary { color: var(--fault); }
ins { background: var(--add); text-decoration: underline; }
del { background: var(--del); text-decoration: line-through; }
"""
_DIGEST = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY = f"default-src 'none'; style-src 'sha256-{_DIGEST}'; base-uri 'none'; form-action 'none'"


def to_html(tree: SearchTree, annotations: Annotations) -> str:
    """The prompt, then the tree with foldable nodes and faults; those on the path to the answer are open."""
    return "\n".join([*_head(tree), *_body(tree, annotations), "</body>", "</html>"]) + "\n"


def escaped(text: str) -> str:
    """Text in visible forms, as HTML text."""
    return escape(visible(text))


def _head(tree: SearchTree) -> Iterator[str]:
    yield '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{escape(one_line(tree.prompt.id, 80))}: search tree</title>"
    yield f"<style>{_STYLE}</style>\n</head>\n<body>"


def _body(tree: SearchTree, annotations: Annotations) -> Iterator[str]:
    yield f"<h1>Search tree {escape(one_line(tree.prompt.id, 200))}</h1>"
    yield f"<pre>{escape(chr(10).join(line.plain for line in header_lines(tree)))}</pre>"
    yield from _sections(prompt_sections(tree))
    yield "<h2>Tree</h2>"
    path = {id(tree.nodes[position]) for position in layout_of(tree).path}
    for line, sections in parts(tree, annotations):
        on_path = id(line.node) in path
        kind = " ".join([*(["path"] if on_path else []), _outcome(tree, line)])
        yield f'<details class="{kind}"{" open" if on_path else ""}>'
        yield f"<summary>{escape(line.plain)}</summary>\n<section>"
        yield f"<h2>{heading(line)}</h2>"
        yield from _sections(sections)
        yield "</section>\n</details>"


def _sections(sections: Sequence[Section]) -> Iterator[str]:
    for section in sections:
        yield f"<h2>{escape(section.title)}</h2>"
        body = _change(section.pieces) if section.pieces else escaped(section.raw)
        # A parser drops a line break right after the tag, so add one for it to drop.
        yield f"<pre>\n{body}</pre>"


def _change(pieces: Sequence[Piece]) -> str:
    return "".join(
        escaped(piece.text)
        if piece.kind == "same"
        else f"<{_TAGS[piece.kind]}>{escape(visible_change(piece.text))}</{_TAGS[piece.kind]}>"
        for piece in pieces
    )


_TAGS = {"removed": "del", "added": "ins"}


def _outcome(tree: SearchTree, line: TreeLine) -> str:
    if line.node is None:
        return "fault"
    judgement = line.node.judgement
    if judgement is None:
        return "unjudged"
    return "pass" if judgement.passed(tree.gate) else "fail"
