"""A tree as a list of lines in columns: the prompt, then every node and fault."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from rich.text import Text

from spar.record.outcomes import pluralize
from spar.types import SearchTree
from spar.view.layout import layout_of
from spar.view.palette import PALETTE
from spar.view.tree_lines import (
    LineColumns,
    TreeLine,
    bare_lines,
    columns_of,
    line_text,
    truth_mark,
)
from tui.node_facts import NodeFacts
from tui.play_attempts import Pending
from tui.tree_search import Found
from tui.widgets.line_list import LineList
from tui.widgets.parts_pane import highlight

_NAME = re.compile(r"[^#!p]*(#\d+|!|prompt)")
"""The id of a node, or what stands in its place."""
NODE, TRUTH, JUDGE, CHANGE = "node", "truth", "judge", "what changed"
"""The titles of the columns."""


class TreePane(LineList):
    """A drawn tree. Line 0 is the prompt, line i + 1 is line i of `tree_lines`."""

    DEFAULT_CSS = """
    TreePane { border: round $foreground 35%; border-title-color: $foreground; }
    TreePane:focus { border: round $accent; }
    """

    def __init__(self) -> None:
        super().__init__(head=True)
        self._lines: Sequence[TreeLine] = ()
        self._facts: NodeFacts | None = None
        self._pending: Mapping[int, Pending] = {}
        self._columns = LineColumns(0, 0, 0)
        self._found: Found | None = None
        self._found_lines: frozenset[int] = frozenset()

    def load(
        self, facts: NodeFacts | None, pending: Mapping[int, Pending] = MappingProxyType({})
    ) -> None:
        """Draw another tree, or none.

        Parameters
        ----------
        pending:
            Ids of nodes that are not in the tree yet, to their lines.
        """
        self._facts, self._pending = facts, pending
        lines = bare_lines(facts.tree) if facts else []
        self._lines = [self._with_state(line) for line in lines] if pending else lines
        widest = columns_of(self._lines)
        self._columns = LineColumns(
            max(widest.label, len(NODE)), len(TRUTH), max(widest.judged, len(JUDGE))
        )
        self.border_title = Text("tree", style=PALETTE["head"])
        self.show_found(None, None)
        self.set_count(len(self._lines) + 1 if facts else 0)

    def show_found(self, found: Found | None, count: Text | None) -> None:
        """Highlight what a search found; its count takes the place of the tree's size."""
        self._found, self._found_lines = found, found.lines if found else frozenset()
        size = _size(self._facts.tree) if self._facts else Text()
        self.border_subtitle = size if count is None else count
        self.refresh()

    def draw(self, line: int, width: int) -> Text:
        """A line of the tree, truncated to the pane."""
        text = self._legend() if line == 0 else self._line(self._lines[line - 1])
        if self._found and line in self._found_lines:
            if name := _NAME.match(text.plain):
                text.stylize(PALETTE["found"], *name.span(1))
            if line:
                highlight(text, self._found.query, PALETTE["found"], start=self._start_of_text())
        text.truncate(width, overflow="ellipsis")
        return text

    def draw_head(self, width: int) -> Text:
        """The titles of the columns."""
        columns = self._columns
        truth = f" {TRUTH:<{columns.truth}}" if self._has_truth else ""
        text = Text(f"{NODE:<{columns.label}}{truth} {JUDGE:<{columns.judged}}  {CHANGE}")
        text.truncate(width, overflow="ellipsis")
        return text

    @property
    def under_cursor(self) -> TreeLine | None:
        """The node or fault under the cursor, None for the prompt."""
        return self._lines[self.cursor - 1] if 0 < self.cursor <= len(self._lines) else None

    def line_of(self, node_id: int | None) -> int | None:
        """The line of a node."""
        lines = enumerate(self._lines, start=1)
        found = (at for at, line in lines if line.node and line.node_id == node_id)
        return next(found, None) if node_id is not None else None

    @property
    def _has_truth(self) -> bool:
        return self._facts is not None and self._facts.has_truth

    def _start_of_text(self) -> int:
        columns = self._columns
        truth = columns.truth + 1 if self._has_truth else 0
        return columns.label + 1 + truth + columns.judged

    def _line(self, line: TreeLine) -> Text:
        fact = self._facts.of(line.node) if self._facts and line.node else None
        pending = self._pending_of(line)
        columns = self._columns
        if not self._has_truth:
            columns = LineColumns(columns.label, 0, columns.judged)
        change = pending.change if pending else fact.change if fact else None
        return line_text(line, columns, fact.right if fact else None, change)

    def _with_state(self, line: TreeLine) -> TreeLine:
        pending = self._pending_of(line)
        return (
            line
            if pending is None or pending.judged is None
            else replace(line, judged=pending.judged)
        )

    def _pending_of(self, line: TreeLine) -> Pending | None:
        return None if line.node_id is None else self._pending.get(line.node_id)

    def _legend(self) -> Text:
        text = Text("prompt", style=PALETTE["head"])
        legend = Text("★ answer  ● on the way to it", style="not bold")
        if self._has_truth:
            legend.append("  ").append_text(truth_mark(True)).append(" right  ")
            legend.append_text(truth_mark(False)).append(" wrong")
        text.pad_right(max(self._columns.label - text.cell_len, 0))
        return text.append(" ").append_text(legend)


def _size(tree: SearchTree) -> Text:
    parts = [pluralize(len(tree.nodes), "node"), f"depth {max(layout_of(tree).levels, default=0)}"]
    parts += [pluralize(len(tree.faults), "fault")] if tree.faults else []
    parts += [f"{tree.cancelled:,} cancelled"] if tree.cancelled else []
    return Text(", ".join(parts), style=PALETTE["note"])
