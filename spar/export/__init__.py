"""A tree as a file for people and for other programs.

    export_tree(tree, "html", facts)

| form | what it is |
|---|---|
| `markdown` | headings and fenced blocks |
| `html` | one page that needs nothing else: no script, no network, light and dark |
| `svg` | the tree as a drawing |
| `dot` | the tree for graphviz |
| `json` | the record as it is |

All but `json` are views: their text is `spar.view.text.safe`'s, so hostile text is shown and does nothing, and
lone surrogates are written as `⟨U+D800⟩`. `json` is ASCII and loses nothing. A whole run as a table is
`spar.export.table`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, get_args

from spar.export.dot import as_dot
from spar.export.html import as_html
from spar.export.markdown import as_markdown
from spar.export.svg import as_svg
from spar.types import SearchTree
from spar.view.node_detail import Facts

TreeForm = Literal["markdown", "html", "svg", "dot", "json"]
TREE_FORMS: tuple[TreeForm, ...] = get_args(TreeForm)

SUFFIXES: Mapping[TreeForm, str] = {
    "markdown": ".md",
    "html": ".html",
    "svg": ".svg",
    "dot": ".dot",
    "json": ".json",
}
"""What a file of each form is called."""


def export_tree(tree: SearchTree, form: TreeForm, facts: Facts = Facts()) -> str:
    """The tree in one of the forms; the text has a UTF-8 form and ends in a line break."""
    return _FORMS[form](tree, facts)


def _as_json(tree: SearchTree, facts: Facts) -> str:
    return tree.to_json() + "\n"


_FORMS: Mapping[TreeForm, Callable[[SearchTree, Facts], str]] = {
    "markdown": as_markdown,
    "html": as_html,
    "svg": as_svg,
    "dot": as_dot,
    "json": _as_json,
}
