"""Export a tree as a document, a drawing or JSON.

    tree = find_tree("runs/mine", "prompt-7")
    export_tree(tree, "html", annotations_for("runs/mine"))

| format | description |
|---|---|
| `markdown` | headings and fenced blocks |
| `html` | a self-contained page: no script, no network, light and dark |
| `svg` | the tree as a drawing |
| `dot` | the tree in graphviz's language |
| `json` | the record itself |

All formats but `json` show text in the visible forms of `spar.view.text.safe`, so hostile text is inert and
lone surrogates appear as `⟨U+D800⟩`. `json` is ASCII and lossless. `spar.export.table` writes a whole run
as a table; `spar.export.run` finds a tree and its annotations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, get_args

from spar.export.dot import to_dot
from spar.export.html import to_html
from spar.export.markdown import to_markdown
from spar.export.svg import to_svg
from spar.types import SearchTree
from spar.view.node_detail import Annotations

TreeFormat = Literal["markdown", "html", "svg", "dot", "json"]
TREE_FORMATS: tuple[TreeFormat, ...] = get_args(TreeFormat)

SUFFIXES: Mapping[TreeFormat, str] = {
    "markdown": ".md",
    "html": ".html",
    "svg": ".svg",
    "dot": ".dot",
    "json": ".json",
}
"""The file name suffix of each format."""


def export_tree(
    tree: SearchTree, file_format: TreeFormat, annotations: Annotations = Annotations()
) -> str:
    """The tree in a format. The text can be encoded as UTF-8 and ends with a line break."""
    return _FORMATS[file_format](tree, annotations)


def _to_json(tree: SearchTree, annotations: Annotations) -> str:
    return tree.to_json() + "\n"


_FORMATS: Mapping[TreeFormat, Callable[[SearchTree, Annotations], str]] = {
    "markdown": to_markdown,
    "html": to_html,
    "svg": to_svg,
    "dot": to_dot,
    "json": _to_json,
}
