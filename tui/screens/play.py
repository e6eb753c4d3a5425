"""Type an instruction, choose a search, and watch its tree grow."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widgets import Button, Footer, Input, Static
from textual.worker import Worker

from spar.errors import SparError, UsageError
from spar.listener import Listener
from spar.types import Node, Prompt, SearchTree
from spar.view.node_detail import Section, fault_sections, node_sections, prompt_sections
from spar.view.palette import PALETTE
from spar.view.text import one_line
from spar.view.tree_lines import TreeLine
from tui.clipboard import copy
from tui.inputs import Inputs
from tui.play import (
    Going,
    PlaySettings,
    cancelled_text,
    ended_text,
    going_text,
    so_far,
)
from tui.screens.base import BrowserScreen
from tui.screens.work import begin
from tui.widgets.bars import StatusBar
from tui.widgets.instruction import Instruction
from tui.widgets.line_list import LineList
from tui.widgets.node_pane import Chosen, NodePane, as_text, choose
from tui.widgets.play_form import PlayForm
from tui.widgets.tree_pane import TreePane

TICK_SECONDS = 0.2


class PlayScreen(BrowserScreen[None]):
    """One search at a time; what it found can be kept as a run."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+r", "run", "Run", priority=True),
        Binding("ctrl+c", "cancel", "Cancel", priority=True),
        Binding("ctrl+s", "keep", "Keep as a run", priority=True),
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
    PlayScreen #grown { height: 1fr; }
    PlayScreen #grown NodePane {
        width: 3fr; border-top: solid $panel; border-left: solid $panel;
    }
    PlayScreen #grown NodePane:focus { border-top: solid $accent; }
    """

    def __init__(self, inputs: Inputs) -> None:
        super().__init__()
        self.play = inputs.play
        self.grown: SearchTree | None = None
        """The tree that is shown, None before the first search."""
        self.ended: SearchTree | None = None
        """The same once its search has ended: what can be kept."""
        self._outcome = Text("type an instruction, then press Enter", style=PALETTE["note"])
        self._searching: Worker[None] | None = None
        self._settings = PlaySettings("", 1)
        self._begun, self._tokens = 0.0, 0
        self._said = ""
        self._chosen = Chosen()
        self._sections: list[Section] = []

    def compose(self) -> ComposeResult:
        """What to search, how, and what came of it."""
        title = Text("spar  play  ", style=PALETTE["note"])
        title.append(one_line(self.play.description, 120) if self.play else "", PALETTE["head"])
        yield Static(title, classes="title")
        yield Instruction()
        if self.play:
            yield PlayForm(self.play.strategies, self.play.settings)
        with Horizontal(id="grown"):
            yield TreePane()
            yield NodePane()
        yield StatusBar()
        yield Footer()

    def on_mount(self) -> None:
        """Let the person type."""
        self.query_one(Instruction).focus()
        self.set_interval(TICK_SECONDS, self.say_status)
        self.say_status()

    @property
    def is_searching(self) -> bool:
        """Whether a search goes on."""
        return self._searching is not None and not self._searching.is_finished

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """ctrl+c is the application's own where nothing can be cancelled."""
        return self.is_searching if action == "cancel" else True

    def action_run(self) -> None:
        """Search with what is typed and chosen."""
        if self.play is None or self.is_searching:
            self.browser.warn("a search goes on; escape cancels it")
            return
        text = self.query_one(Instruction).text
        try:
            if not text.strip():
                raise UsageError("type an instruction first")
            settings = self.query_one(PlayForm).read()
        except UsageError as error:
            self._outcome = Text(one_line(str(error), 300), style=PALETTE["fault"])
            self.say_status()
            return
        self.ended, self._begun, self._said = None, time.monotonic(), ""
        self._settings = settings
        self._tokens = self.play.tokens
        self._show(so_far(text, (), settings, self.play.gate))
        self.query_one(TreePane).focus()
        self._searching = begin(self, "search", self._search, text, settings)
        self.say_status()

    def action_cancel(self) -> None:
        """Give the search up; its nodes stay on the screen."""
        if self._searching is not None and self.is_searching:
            self._searching.cancel()
            num_nodes = len(self.grown.nodes) if self.grown else 0
            seconds = time.monotonic() - self._begun
            self._outcome = cancelled_text(num_nodes, seconds)
            self._searching = None
            self.say_status()

    def action_keep(self) -> None:
        """Write the tree into a run directory."""
        if self.ended is None:
            self.browser.warn("there is no tree to keep: a search must have come to its end")
        else:
            begin(self, "keep", self._keep, self.ended)

    def action_instruction(self) -> None:
        """Type another instruction."""
        self.query_one(Instruction).focus()

    def action_diff(self) -> None:
        """Show what changed, or the whole response."""
        self._choose(replace(self._chosen, diff=not self._chosen.diff))

    def action_answer(self) -> None:
        """Go to the best node by now."""
        pane = self.query_one(TreePane)
        pane.cursor = (self.grown and pane.line_of(self.grown.selected)) or pane.cursor

    def action_scroll(self, lines: int) -> None:
        """Scroll the node while the tree has the keys."""
        self.query_one(NodePane).advance(lines)

    def action_copy(self) -> None:
        """Copy the response under the cursor, uncut."""
        line = self.query_one(TreePane).under_cursor
        if line is not None and line.node is not None:
            copy(self.app, line.node.response, "response")

    def action_back(self) -> None:
        """Cancel what goes on; else leave."""
        if self.is_searching:
            self.action_cancel()
        else:
            self.dismiss(None)

    def on_instruction_asked(self) -> None:
        """Enter in the instruction."""
        self.action_run()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter in the budget or the seed."""
        self.action_run()

    async def on_button_pressed(self, event: Button.Pressed) -> None:
        """As the keys do."""
        await self.run_action(str(event.button.id))

    def on_line_list_moved(self, event: LineList.Moved) -> None:
        """Show the node under the cursor."""
        self._show_node()

    def on_line_list_opened(self, event: LineList.Opened) -> None:
        """Enter gives the keys to the node."""
        self.query_one(NodePane).focus()

    def say_status(self) -> None:
        """Say how the search stands, and let the buttons do what can be done."""
        line = self._outcome
        if self.play and self.is_searching and self.grown is not None:
            seconds, tokens = time.monotonic() - self._begun, self.play.tokens - self._tokens
            going = Going(len(self.grown.nodes), tokens, seconds, self._said)
            line = going_text(self._settings, going)
        self.query_one(StatusBar).say(line)
        for form in self.query(PlayForm):
            if form.allow(searching=self.is_searching, keeping=self.ended is not None):
                self.refresh_bindings()

    async def _search(self, text: str, settings: PlaySettings) -> None:
        """Search, and show each node when it comes; what comes after a cancel is not wanted."""
        assert self.play is not None
        mine, nodes, gate = self._searching, list[Node](), self.play.gate

        def on_node(node: Node) -> None:
            if mine is self._searching:
                nodes.append(node)
                self._show(so_far(text, nodes, settings, gate))

        try:
            tree = await self.play.search(text, settings, _Events(on_node, self._hear))
        except SparError as error:
            self._outcome = Text(one_line(str(error), 300), style=PALETTE["fault"])
        else:
            self.ended = tree
            self._outcome = ended_text(tree, self.play.tokens - self._tokens)
            self._show(tree)
        self._searching = None
        self.say_status()

    async def _keep(self, tree: SearchTree) -> None:
        assert self.play is not None
        try:
            path = await self.play.keep(tree)
        except SparError as error:
            self.browser.warn(str(error))
        else:
            self.browser.tell(f"kept in {path}")

    def _hear(self, line: str) -> None:
        self._said = line

    def _show(self, tree: SearchTree) -> None:
        """Draw a tree; the cursor follows the newest node until it is moved elsewhere."""
        pane, before = self.query_one(TreePane), self.grown
        line = pane.under_cursor
        newest = before.nodes[-1].id if before and before.nodes else None
        follows = line is None or line.node_id == newest or not tree.nodes
        pane.load(tree)
        self.grown = tree
        wanted = line.node_id if line and not follows else self._newest(tree)
        pane.cursor = pane.line_of(wanted) or 0
        self._show_node()

    def _newest(self, tree: SearchTree) -> int | None:
        """Of a tree that grows its last node, else its answer."""
        grows = tree is not self.ended and bool(tree.nodes)
        return tree.nodes[-1].id if grows else tree.selected

    def _show_node(self) -> None:
        if self.grown is not None:
            line = self.query_one(TreePane).under_cursor
            begin(self, "node", self._work_out, self.grown, line)

    async def _work_out(self, tree: SearchTree, line: TreeLine | None) -> None:
        """Show a node; its diff may take a while, so it is made elsewhere."""
        colour = not self.app.no_color
        self._sections = await asyncio.to_thread(_sections, tree, line, colour)
        self._choose(self._chosen)

    def _choose(self, chosen: Chosen) -> None:
        self._chosen = chosen
        self.query_one(NodePane).say(as_text(choose(self._sections, chosen)))


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


def _sections(tree: SearchTree, line: TreeLine | None, colour: bool) -> list[Section]:
    if line is None:
        return prompt_sections(tree)
    if line.node is not None:
        return node_sections(tree, line.node, colour=colour)
    return fault_sections(line.fault) if line.fault else []
