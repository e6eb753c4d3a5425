"""Enter an instruction, select a search, and watch its tree grow."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.widgets import Button, Input, Static
from textual.worker import Worker

from spar.errors import SparError, UsageError
from spar.listener import Listener
from spar.types import Node, Prompt, SearchTree
from spar.view.node_detail import Annotations, Section
from spar.view.palette import PALETTE
from spar.view.text import one_line
from spar.view.tree_lines import TreeLine
from tui.clipboard import copy
from tui.inputs import Inputs
from tui.node_facts import NodeFacts
from tui.play import (
    PlaySettings,
    SearchProgress,
    cancelled_text,
    partial_tree,
    progress_text,
    result_text,
)
from tui.screens.background import start_work
from tui.screens.base import BrowserScreen
from tui.screens.tree import WORK_SECONDS, part_title, sections_of
from tui.widgets.bars import StatusBar
from tui.widgets.footer import KeyFooter
from tui.widgets.instruction import Instruction
from tui.widgets.line_list import LineList
from tui.widgets.parts_pane import PartsPane
from tui.widgets.play_form import PlayForm
from tui.widgets.tree_pane import TreePane

TICK_SECONDS = 0.2


class PlayScreen(BrowserScreen[None]):
    """Runs one search at a time; its tree can be stored as a run."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+r", "run", "Run", priority=True),
        Binding("ctrl+c", "cancel", "Cancel", priority=True),
        Binding("ctrl+s", "store", "Store", priority=True, tooltip="Store as a run"),
        Binding("i", "instruction", "Instruction"),
        Binding("d", "diff", "Diff/full"),
        Binding("a", "answer", "To the answer", show=False),
        Binding("J", "scroll(1)", "Scroll the node down", show=False),
        Binding("K", "scroll(-1)", "Scroll the node up", show=False),
        Binding("y", "copy", "Copy the response", show=False),
        Binding("escape", "back", "Back", key_display="esc"),
    ]
    CSS = """
    PlayScreen.-low Instruction { height: 3; }
    """

    def __init__(self, inputs: Inputs) -> None:
        super().__init__()
        self.play = inputs.play
        self.shown_tree: SearchTree | None = None
        """The displayed tree, None before the first search."""
        self.finished_tree: SearchTree | None = None
        """The same once its search has finished, when it can be stored."""
        self._result = Text("type an instruction, then press Enter", style=PALETTE["note"])
        self._searching: Worker[None] | None = None
        self._settings = PlaySettings("", 1)
        self._started, self._tokens = 0.0, 0
        self._last_note = ""
        self._sections: list[Section] = []
        self._facts: NodeFacts | None = None

    def compose(self) -> ComposeResult:
        """The instruction, the settings and the tree."""
        title = Text("spar  play  ", style=PALETTE["note"])
        title.append(one_line(self.play.description, 120) if self.play else "", PALETTE["head"])
        yield Static(title, classes="title")
        yield Instruction()
        if self.play:
            yield PlayForm(self.play.strategies, self.play.settings)
        with Container(id="panes"):
            yield TreePane()
            yield PartsPane()
        yield StatusBar()
        yield KeyFooter()

    def on_mount(self) -> None:
        """Focus the instruction."""
        self.query_one(Instruction).focus()
        self.set_interval(TICK_SECONDS, self.update_status)
        self.update_status()

    @property
    def is_searching(self) -> bool:
        """Whether a search is running."""
        return self._searching is not None and not self._searching.is_finished

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Leave ctrl+c to the application while no search is running."""
        return self.is_searching if action == "cancel" else True

    def action_run(self) -> None:
        """Start a search."""
        if self.play is None or self.is_searching:
            self.browser.show_warning("a search is running; press escape to cancel it")
            return
        text = self.query_one(Instruction).text
        try:
            if not text.strip():
                raise UsageError("type an instruction first")
            settings = self.query_one(PlayForm).read()
        except UsageError as error:
            self._result = Text(one_line(str(error), 300), style=PALETTE["fault"])
            self.update_status()
            return
        self.finished_tree, self._started, self._last_note = None, time.monotonic(), ""
        self._settings = settings
        self._tokens = self.play.tokens
        self._show(partial_tree(text, (), settings, self.play.gate))
        self.query_one(TreePane).focus()
        self._searching = start_work(self, "search", self._search, text, settings)
        self.update_status()

    def action_cancel(self) -> None:
        """Cancel the search; its nodes stay on the screen."""
        if self._searching is not None and self.is_searching:
            self._searching.cancel()
            num_nodes = len(self.shown_tree.nodes) if self.shown_tree else 0
            seconds = time.monotonic() - self._started
            self._result = cancelled_text(num_nodes, seconds)
            self._searching = None
            self.update_status()

    def action_store(self) -> None:
        """Store the tree in a run directory."""
        if self.finished_tree is None:
            self.browser.show_warning("there is no tree to store yet: wait for a search to finish")
        else:
            start_work(self, "store", self._store, self.finished_tree)

    def action_instruction(self) -> None:
        """Focus the instruction."""
        self.query_one(Instruction).focus()

    def action_diff(self) -> None:
        """Swap the diff and the whole response."""
        pane = self.query_one(PartsPane)
        pane.fold(pane.folds.with_diff_swapped())

    def action_answer(self) -> None:
        """Go to the best node so far."""
        pane = self.query_one(TreePane)
        pane.cursor = (self.shown_tree and pane.line_of(self.shown_tree.selected)) or pane.cursor

    def action_scroll(self, lines: int) -> None:
        """Scroll the node pane while the tree is focused."""
        self.query_one(PartsPane).advance(lines)

    def action_copy(self) -> None:
        """Copy the whole response under the cursor."""
        line = self.query_one(TreePane).under_cursor
        if line is not None and line.node is not None:
            copy(self.app, line.node.response, "response")

    def action_back(self) -> None:
        """Cancel a running search; without one, close the screen."""
        if self.is_searching:
            self.action_cancel()
        else:
            self.dismiss(None)

    def on_instruction_submitted(self) -> None:
        """Enter in the instruction."""
        self.action_run()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter in the budget or the seed."""
        self.action_run()

    async def on_button_pressed(self, event: Button.Pressed) -> None:
        """Run the action of the button."""
        await self.run_action(str(event.button.id))

    def on_line_list_moved(self, event: LineList.Moved) -> None:
        """Show the node under the cursor."""
        self._show_node()

    def on_line_list_opened(self, event: LineList.Opened) -> None:
        """Focus the node pane on Enter."""
        self.query_one(PartsPane).focus()

    def update_status(self) -> None:
        """Update the status bar and the buttons."""
        line = self._result
        if self.play and self.is_searching and self.shown_tree is not None:
            seconds, tokens = time.monotonic() - self._started, self.play.tokens - self._tokens
            progress = SearchProgress(len(self.shown_tree.nodes), tokens, seconds, self._last_note)
            line = progress_text(self._settings, progress)
        self.query_one(StatusBar).set_content(line)
        for form in self.query(PlayForm):
            if form.allow(searching=self.is_searching, can_store=self.finished_tree is not None):
                self.refresh_bindings()

    async def _search(self, text: str, settings: PlaySettings) -> None:
        """Search, and show each node as it arrives; nodes after a cancellation are ignored."""
        assert self.play is not None
        worker, nodes, gate = self._searching, list[Node](), self.play.gate

        def on_node(node: Node) -> None:
            if worker is self._searching:
                nodes.append(node)
                self._show(partial_tree(text, nodes, settings, gate))

        try:
            tree = await self.play.search(text, settings, _Events(on_node, self._on_note))
        except SparError as error:
            self._result = Text(one_line(str(error), 300), style=PALETTE["fault"])
        else:
            self.finished_tree = tree
            self._result = result_text(tree, self.play.tokens - self._tokens)
            self._show(tree)
        self._searching = None
        self.update_status()

    async def _store(self, tree: SearchTree) -> None:
        assert self.play is not None
        try:
            path = await self.play.keep(tree)
        except SparError as error:
            self.browser.show_warning(str(error))
        else:
            self.browser.show_message(f"stored in {path}")

    def _on_note(self, line: str) -> None:
        self._last_note = line

    def _show(self, tree: SearchTree) -> None:
        """Draw a tree; the cursor follows the newest node until it is moved."""
        pane, before = self.query_one(TreePane), self.shown_tree
        line = pane.under_cursor
        newest = before.nodes[-1].id if before and before.nodes else None
        follows = line is None or line.node_id == newest or not tree.nodes
        facts = NodeFacts(tree, Annotations())
        if self._facts is not None:
            facts.take_over(self._facts)
        pane.load(facts)
        self._facts, self.shown_tree = facts, tree
        start_work(self, "facts", self._find_out, facts)
        target = line.node_id if line and not follows else self._newest(tree)
        pane.cursor = pane.line_of(target) or 0
        self._show_node()

    def _newest(self, tree: SearchTree) -> int | None:
        """The last node of a growing tree, or the answer of a finished one."""
        grows = tree is not self.finished_tree and bool(tree.nodes)
        return tree.nodes[-1].id if grows else tree.selected

    def _show_node(self) -> None:
        if self.shown_tree is not None:
            line = self.query_one(TreePane).under_cursor
            start_work(self, "node", self._render_sections, self.shown_tree, line)

    async def _render_sections(self, tree: SearchTree, line: TreeLine | None) -> None:
        """Show a node; its diff may take a while, so it is computed in a thread."""
        colour = not self.app.no_color
        self._sections = await asyncio.to_thread(sections_of, Annotations(), tree, line, colour)
        self.query_one(PartsPane).show_parts(part_title(line), self._sections)

    async def _find_out(self, facts: NodeFacts) -> None:
        """Draw changes as they become known."""
        while not facts.is_done:
            await asyncio.to_thread(facts.work, WORK_SECONDS)
            self.query_one(TreePane).refresh()


class _Events(Listener):
    """Passes the nodes and notes of a search to two functions."""

    def __init__(self, on_node: Callable[[Node], None], on_note: Callable[[str], None]) -> None:
        self._on_node, self._on_note = on_node, on_note

    def node(self, prompt: Prompt, node: Node) -> None:
        """Pass the node on."""
        self._on_node(node)

    def note(self, line: str) -> None:
        """Pass the line on."""
        self._on_note(line)
