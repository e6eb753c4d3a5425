"""A tree as a list of lines: the prompt, then every node and fault."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from spar.types import SearchTree
from spar.view.palette import PALETTE
from spar.view.tree_lines import TreeLine, tree_lines
from tui.widgets.line_list import LineList

SNIPPET = 60
"""Maximum cells of a response after its line."""


class TreePane(LineList):
    """A drawn tree. Line 0 is the prompt, line i + 1 is line i of `tree_lines`."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: Sequence[TreeLine] = ()

    def load(self, tree: SearchTree | None) -> None:
        """Draw another tree, or none."""
        self._lines = tree_lines(tree, snippet=SNIPPET) if tree else ()
        self.set_count(len(self._lines) + 1 if tree else 0)

    def draw(self, line: int, width: int) -> Text:
        """A line of the tree, truncated to the pane."""
        text = Text("prompt", style=PALETTE["head"]) if line == 0 else self._lines[line - 1].text
        shown = text.copy()
        shown.truncate(width, overflow="ellipsis")
        return shown

    @property
    def under_cursor(self) -> TreeLine | None:
        """The node or fault under the cursor, None for the prompt."""
        return self._lines[self.cursor - 1] if 0 < self.cursor <= len(self._lines) else None

    def line_of(self, node_id: int | None) -> int | None:
        """The line of a node."""
        lines = enumerate(self._lines, start=1)
        found = (at for at, line in lines if line.node and line.node_id == node_id)
        return next(found, None) if node_id is not None else None
