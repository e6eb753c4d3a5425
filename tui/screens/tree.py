"""One tree: its instruction and what the search did above, the tree, and the node under the cursor beside it."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container

from spar.export import TreeFormat
from spar.record.marks import Mark
from spar.types import SearchTree
from spar.view.node_detail import (
    Annotations,
    Section,
    fault_sections,
    node_sections,
    prompt_sections,
)
from spar.view.palette import PALETTE
from spar.view.text import one_line, safe_text
from spar.view.tree_lines import TreeLine
from tui.clipboard import copy, open_editor, open_pager
from tui.node_facts import NodeFacts
from tui.run_view import RunView, raw_text, tree_of
from tui.screens.background import start_work
from tui.screens.export import ExportingScreen, ExportScreen, write_tree
from tui.screens.keys import TREE_KEYS
from tui.screens.tree_search import TreeSearchScreen
from tui.session_state import Position
from tui.tables.trees import kind_name
from tui.widgets.bars import SearchBar
from tui.widgets.footer import KeyFooter
from tui.widgets.line_list import LineList
from tui.widgets.note_bar import NoteBar
from tui.widgets.parts_pane import KEYS, PartsPane
from tui.widgets.tree_head import TreeHead
from tui.widgets.tree_pane import TreePane

WORK_SECONDS = 0.03
"""How long facts about nodes are found out before what is known is drawn."""
SHOWN_RAW = 2_000
"""Maximum characters shown of a line that is not a tree."""


class TreeScreen(ExportingScreen[int], TreeSearchScreen[int]):
    """One tree; the screen's result is the number of the last tree that was viewed."""

    BINDINGS: ClassVar[list[BindingType]] = TREE_KEYS

    def __init__(self, view: RunView, number: int) -> None:
        super().__init__()
        self.view, self.number = view, number
        self.record: SearchTree | None = None
        """None for a line that is not a tree."""
        self._sections: list[Section] = []
        self._facts: NodeFacts | None = None

    def compose(self) -> ComposeResult:
        """Header and both panes."""
        yield TreeHead()
        with Container(id="panes"):
            yield TreePane()
            yield PartsPane()
        yield SearchBar()
        yield NoteBar()
        yield KeyFooter()

    def on_mount(self) -> None:
        """Show the tree and restore the cursor."""
        position = self.browser.session.position_in(self.view.path)
        self.load(self.number)
        if (
            self.record
            and position.prompt_id == self.record.prompt.id
            and position.line is not None
        ):
            self._pane.cursor = position.line
        self._pane.focus()

    def load(self, number: int) -> None:
        """Show another tree, with the cursor on its answer."""
        self.number, self._sections = number, []
        tree = tree_of(self.view, number)
        self.record = tree if isinstance(tree, SearchTree) else None
        self._facts = (
            NodeFacts(tree, self.view.annotations) if isinstance(tree, SearchTree) else None
        )
        self._pane.load(self._facts)
        self._update_head()
        if self.record:
            self._pane.cursor = self._pane.line_of(self.record.selected) or 0
            self._show_node()
            start_work(self, "facts", self._find_out, self._facts)
        else:
            self._show_broken(str(tree))
        self.search_again()
        self._remember()

    def action_tree(self, step: int) -> None:
        """Go to the next or previous tree of the table."""
        position = self.view.position_of(self.number)
        following = 0 if position is None else position + step
        if 0 <= following < len(self.view.numbers):
            self.load(self.view.numbers[following])
        else:
            self.browser.show_warning(self.view.none_text("tree", step))

    def action_next(self, step: int) -> None:
        """Go to the next or previous match of a search; without one, to the next or previous failure."""
        if self.found is not None:
            self.go_to_match(step)
            return
        position = self.view.position_of(self.number)
        failure = None if position is None else self.view.failure(position, step)
        if failure is None:
            self.browser.show_warning(self.view.none_text("failure", step))
        else:
            self.load(self.view.numbers[failure])

    def action_diff(self) -> None:
        """Swap the diff and the whole response."""
        if not self._node.has_change:
            self.browser.show_warning("there is no diff here")
        self._node.fold(self._node.folds.with_diff_swapped())

    def action_fold(self, key: int) -> None:
        """Fold or open a part of the node."""
        if not any(KEYS.get(section.kind) == key for section in self._sections):
            self.browser.show_warning(f"there is no part {key} here")
        self._node.fold(self._node.folds.toggled(key, self._sections))

    def action_fold_all(self) -> None:
        """Open every part, or fold those that are folded at first."""
        self._node.fold(self._node.folds.with_all_swapped())

    def action_zoom(self) -> None:
        """Give the node the whole screen, or its place again."""
        self.toggle_class("-zoomed")
        self.focus_pane()

    def action_instruction(self) -> None:
        """Show the whole instruction, or its start."""
        self.query_one(TreeHead).toggle_whole()

    def action_answer(self) -> None:
        """Go to the answer."""
        line = self._pane.line_of(self.record.selected) if self.record else None
        if line is None:
            self.browser.show_warning("this tree has no answer")
        else:
            self._pane.cursor = line

    def action_other_pane(self) -> None:
        """Focus the other pane, if it is on the screen."""
        if self._pane.has_focus:
            self._node.focus()
        else:
            self.focus_pane()

    def action_node_pane(self) -> None:
        """Focus the node pane."""
        self._node.focus()

    def action_outwards(self) -> None:
        """Focus the tree, also out of the zoom; in the tree, move to the parent."""
        if not self._pane.has_focus:
            self.remove_class("-zoomed")
            self.focus_pane()
            return
        line = self._pane.under_cursor
        item = line.node or line.fault if line else None
        self._pane.cursor = self._pane.line_of(item.parent) or 0 if item else 0

    def action_scroll(self, lines: int) -> None:
        """Scroll the node pane while the tree is focused."""
        self._node.advance(lines)

    def action_copy(self, what: str) -> None:
        """Copy the whole original text."""
        if self.record is None:
            copy(self.app, raw_text(self.view, self.number), "line")
            return
        texts = {"response": self._response, "prompt": self._prompt, "json": self._json}
        copy(self.app, texts[what](), "node" if what == "json" else what)

    def action_pager(self) -> None:
        """Open all sections of the node in a pager."""
        text = "\n\n".join(f"{section.title}\n\n{section.raw}" for section in self._sections)
        open_pager(self.app, text, "node")

    def action_editor(self) -> None:
        """Open a copy of the response in an editor."""
        open_editor(self.app, self._response(), "response")

    def action_export(self) -> None:
        """Select a format, then write the file."""
        if self.record:
            self.app.push_screen(ExportScreen(), self._export)
        else:
            self.browser.show_warning("there is no tree to export here")

    def action_back(self) -> None:
        """End the search, then the zoom; without one, go back to the table."""
        if self.found is not None:
            self.end_search()
        elif self.has_class("-zoomed"):
            self.action_zoom()
        else:
            self.dismiss(self.number)

    async def leave(self) -> None:
        """Back to the table."""
        self.dismiss(self.number)

    def on_line_list_moved(self, event: LineList.Moved) -> None:
        """Show the node under the cursor."""
        self.highlight_node(at_once=False)
        self._show_node()
        self._remember()

    def on_line_list_opened(self, event: LineList.Opened) -> None:
        """Focus the node pane on Enter."""
        self._node.focus()

    def marked_tree(self) -> str | None:
        """The tree that is shown."""
        return self.record.prompt.id if self.record else None

    def show_marks(self) -> None:
        """Show the star and the note in the head."""
        self._update_head()

    def show_place(self) -> None:
        """Show the tree's place in the table again, after more trees were read."""
        self._update_head()

    @property
    def is_complete(self) -> bool:
        """Whether everything about the tree is shown."""
        return bool(self._sections) and (self._facts is None or self._facts.is_done)

    @property
    def _pane(self) -> TreePane:
        return self.query_one(TreePane)

    @property
    def _node(self) -> PartsPane:
        return self.query_one(PartsPane)

    def _show_node(self) -> None:
        if self.record:
            line = self._pane.under_cursor
            start_work(self, "node", self._render_sections, self.record, line)

    async def _render_sections(self, tree: SearchTree, line: TreeLine | None) -> None:
        """Show a node; its diff may take a while, so it is computed in a thread."""
        colour = not self.app.no_color
        self._sections = await asyncio.to_thread(
            sections_of, self.view.annotations, tree, line, colour
        )
        self._node.show_parts(part_title(line), self._sections)

    async def _find_out(self, facts: NodeFacts | None) -> None:
        """Draw ground truth and changes as they become known."""
        while facts is not None and not facts.is_done:
            await asyncio.to_thread(facts.work, WORK_SECONDS)
            self._pane.refresh()
            self._update_head()

    def _show_broken(self, why: str) -> None:
        self.workers.cancel_group(self, "node")
        self.workers.cancel_group(self, "facts")
        raw = raw_text(self.view, self.number)
        self._sections = [
            Section("This line is not a tree", safe_text(why, PALETTE["fault"]), why),
            Section("The line", safe_text(raw, limit=SHOWN_RAW), raw),
        ]
        self._node.show_parts(Text("no tree", style=PALETTE["fault"]), self._sections)

    def _update_head(self) -> None:
        mark = self.view.marks.of(self.record.prompt.id) if self.record else Mark()
        self.query_one(TreeHead).show(self.record, self._facts, self._place(), mark)

    def _place(self) -> Text:
        """The tree's place in the table, and why the table shows it."""
        position = self.view.position_of(self.number)
        where = "not shown in the table" if position is None else f"{position + 1:,}"
        text = Text(f"tree {where} of {len(self.view.numbers):,}")
        shown = self.view.shown
        parts: list[str] = [kind_name(shown.category)] if shown.category != "all" else []
        parts += [f"with {one_line(shown.text, 40)}"] if shown.text else []
        text.append("".join(f", {part}" for part in parts))
        if self.view.problem:
            text.append(f"  {one_line(self.view.problem, 200)}", style=PALETTE["fault"])
        return text

    def _remember(self) -> None:
        if self.record:
            position = Position(
                prompt_id=self.record.prompt.id, line=self._pane.cursor, open_tree=True
            )
            self.browser.remember(self.view.path, position)

    def _response(self) -> str:
        line = self._pane.under_cursor
        if line is None:
            return self._prompt()
        return line.node.response if line.node else line.fault.text if line.fault else ""

    def _prompt(self) -> str:
        return self.record.prompt.messages[-1].content if self.record else ""

    def _json(self) -> str:
        line = self._pane.under_cursor
        item = (line.node or line.fault) if line else self.record and self.record.prompt
        return json.dumps(item.model_dump(), indent=1) if item else ""

    def _export(self, file_format: TreeFormat | None) -> None:
        if file_format and self.record:
            self.start_export(partial(write_tree, self.view, self.number, self.record, file_format))


def sections_of(
    annotations: Annotations, tree: SearchTree, line: TreeLine | None, colour: bool
) -> list[Section]:
    """The sections of the prompt, a node or a fault."""
    if line is None:
        return prompt_sections(tree)
    if line.node is not None:
        return node_sections(tree, line.node, annotations, colour=colour)
    return fault_sections(line.fault) if line.fault else []


def part_title(line: TreeLine | None) -> Text:
    """The title of a pane with the sections of the prompt, a node or a fault."""
    if line is None:
        return Text("prompt", style=PALETTE["head"])
    if line.node is None:
        return Text("failed attempt", style=PALETTE["fault"])
    node = line.node
    title = Text(f"node #{node.id}", style=PALETTE["head"])
    what = "draft" if node.parent is None else f"refines #{node.parent}"
    return title.append(f", {what}", style="not bold")
