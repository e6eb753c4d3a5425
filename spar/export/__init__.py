"""Export a tree as a document, a drawing or JSON.

    tree = find_tree("runs/mine", "prompt-7")
    export_tree(tree, "html", annotations_for("runs/mine"))

| format | description |
|---|---|
| `markdown` | headings and fenced blocks |
| `html` | a self-contained page for a browser (`spar.export.page`), light and dark, without any request |
| `svg` | the tree as a drawing |
| `dot` | the tree in graphviz's language |
| `mermaid` | the tree in Mermaid's language, which GitHub draws |
| `json` | the record itself |

All formats but `json` show text in the visible forms of `spar.view.text.safe`, so hostile text is inert and
lone surrogates appear as `⟨U+D800⟩`. `json` is ASCII and lossless. `spar.export.page` writes a whole run
as a page, `spar.export.table` as a table; `spar.export.run` finds a tree and its annotations.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Literal, cast, get_args

from spar.types import SearchTree
from spar.view.node_detail import Annotations

TreeFormat = Literal["markdown", "html", "svg", "dot", "mermaid", "json"]
TREE_FORMATS: tuple[TreeFormat, ...] = get_args(TreeFormat)

SUFFIXES: Mapping[TreeFormat, str] = {
    "markdown": ".md",
    "html": ".html",
    "svg": ".svg",
    "dot": ".dot",
    "mermaid": ".mmd",
    "json": ".json",
}
"""The file name suffix of each format."""


def export_tree(
    tree: SearchTree, file_format: TreeFormat, annotations: Annotations = Annotations()
) -> str:
    """The tree in a format. The text can be encoded as UTF-8 and ends with a line break."""
    module, _, function = _WRITERS[file_format].partition(":")
    return cast("str", getattr(import_module(module), function)(tree, annotations))


def to_json(tree: SearchTree, annotations: Annotations) -> str:
    """The record itself."""
    return tree.to_json() + "\n"


_WRITERS: Mapping[TreeFormat, str] = {
    "markdown": "spar.export.markdown:to_markdown",
    "html": "spar.export.page.run_page:tree_html",
    "svg": "spar.export.svg:to_svg",
    "dot": "spar.export.dot:to_dot",
    "mermaid": "spar.export.mermaid:to_mermaid",
    "json": "spar.export:to_json",
}
"""Format to `module:function`, imported when it is used: the browser needs none of them before its first screen."""
