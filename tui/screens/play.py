"""Enter an instruction, select a search, and watch its tree grow."""

from __future__ import annotations

import time
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Button, Input, Static, TextArea
from textual.worker import Worker

from spar.errors import SparError, UsageError
from spar.listener import AttemptProgress, Listener
from spar.types import Node, Prompt, SearchTree
from spar.view.palette import PALETTE
from spar.view.text import one_line
from tui.clipboard import copy
from tui.inputs import Inputs
from tui.play import (
    PlaySettings,
    Sample,
    SearchProgress,
    cancelled_text,
    hint_text,
    loading_text,
    progress_text,
    result_text,
    stopped_loading_text,
)
from tui.screens.background import Work, is_running, start_work
from tui.screens.base import BrowserScreen
from tui.screens.samples import SamplesScreen
from tui.widgets.bars import StatusBar
from tui.widgets.footer import KeyFooter
from tui.widgets.instruction import Instruction
from tui.widgets.line_list import LineList
from tui.widgets.parts_pane import PartsPane
from tui.widgets.play_form import PlayForm
from tui.widgets.play_panes import PlayPanes
from tui.widgets.tree_pane import TreePane

TICK_SECONDS = 0.1
"""How often what a search writes is drawn: a token more is no reason to draw everything again."""


class PlayScreen(BrowserScreen[None]):
    """Runs one search at a time; its tree can be stored as a run."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+o", "samples", "Samples", priority=True, tooltip="Instructions to try"),
        Binding("ctrl+r", "run", "Run", priority=True),
        Binding("ctrl+s", "store", "Store", priority=True, tooltip="Store as a run"),
        Binding("i", "instruction", "Instruction"),
        Binding("d", "diff", "Diff/full"),
        Binding("a", "answer", "To the answer", show=False),
        Binding("J", "scroll(1)", "Scroll the node down", show=False),
        Binding("K", "scroll(-1)", "Scroll the node up", show=False),
        Binding("y", "copy", "Copy the response", show=False),
        Binding("escape", "cancel", "Cancel", key_display="esc", id=""),  # a key map has ^c's
        Binding("ctrl+c", "cancel", "Cancel", show=False, priority=True),
        Binding("escape", "back", "Back", key_display="esc"),
    ]
    CSS = """
    PlayScreen.-low Instruction { height: 3; }
    #understands { height: 1; padding: 0 1; text-wrap: nowrap; text-overflow: ellipsis; }
    """

    def __init__(self, inputs: Inputs) -> None:
        super().__init__()
        self.play = inputs.play
        self.finished_tree: SearchTree | None = None
        """The displayed tree once its search has finished, when it can be stored."""
        self._result = Text("type an instruction, then press Enter", style=PALETTE["note"])
        self._searching: Worker[None] | None = None
        self._settings = PlaySettings("", 1)
        self._started, self._tokens = 0.0, 0
        self._last_note = ""
        self._is_loading = False
        self._known: frozenset[str] = frozenset()
        """Texts of the samples."""

    @property
    def panes(self) -> PlayPanes:
        """The tree, and a node of it."""
        return self.query_one(PlayPanes)

    @property
    def shown_tree(self) -> SearchTree | None:
        """The displayed tree, None before the first search."""
        return self.panes.shown_tree

    def compose(self) -> ComposeResult:
        """The instruction, the settings and the tree."""
        yield Static(self._title(), classes="title", id="title")
        yield Instruction()
        if self.play:
            yield PlayForm(self.play.strategies, self.play.judges, self.play.settings)
            yield Static(id="understands")
        yield PlayPanes(self.play.check if self.play else None)
        yield StatusBar()
        yield KeyFooter()

    def on_mount(self) -> None:
        """Focus the instruction."""
        self.query_one(Instruction).focus()
        self.set_interval(TICK_SECONDS, self._tick)
        self.update_status()
        self._update_hint()

    @property
    def is_searching(self) -> bool:
        """Whether a search is running."""
        return is_running(self._searching)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer what can be done now; ctrl+c is the application's while no search is running."""
        if action in ("run", "samples", "back"):
            return not self.is_searching
        if action == "store":
            return self.finished_tree is not None
        return self.is_searching if action == "cancel" else True

    def action_run(self) -> None:
        """Start a search."""
        text = self.query_one(Instruction).text
        settings = self._read_settings(None if text.strip() else "type an instruction first")
        if settings is not None:
            self.finished_tree = None
            self.panes.begin(text, settings, self.play.gate if self.play else 0.0)
            self.query_one(TreePane).focus()
            self._begin(self._search, settings)

    def action_load(self) -> None:
        """Load the model that was typed."""
        settings = self._read_settings(None)
        if settings is not None:
            self._begin(self._load, settings)

    def action_samples(self) -> None:
        """Pick an instruction from a list."""
        if self.play is not None and not self.is_searching:
            start_work(self, "samples", self._offer_samples, self.query_one(PlayForm).model)

    def action_cancel(self) -> None:
        """Cancel the search; its nodes stay on the screen."""
        if self._searching is not None and self.is_searching:
            self._searching.cancel()
            seconds = time.monotonic() - self._started
            if self._is_loading:
                self._end(stopped_loading_text(seconds))
                return
            self.panes.stop()
            self._end(cancelled_text(self.panes.num_nodes, seconds))

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
        if not pane.has_change:
            self.browser.show_warning("there is no diff here")
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
        """Close the screen."""
        self.dismiss(None)

    async def leave(self) -> None:
        """Cancel a running search; without one, close the screen."""
        await self.app.run_action("cancel" if self.is_searching else "back", self)

    def on_instruction_submitted(self) -> None:
        """Enter in the instruction."""
        self.action_run()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter in the budget or the seed runs; in the model, it loads."""
        if event.input.id == "model":
            self.action_load()
        else:
            self.action_run()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Say what the model understands that is typed."""
        self._update_hint()

    def on_text_area_changed(self, event: TextArea.Changed) -> None:
        """Say whether the model understands it."""
        self._update_hint()

    async def on_button_pressed(self, event: Button.Pressed) -> None:
        """Run the action of the button."""
        await self.run_action(str(event.button.id))

    def on_line_list_moved(self, event: LineList.Moved) -> None:
        """Show the node under the cursor."""
        self.panes.show_node()

    def on_line_list_opened(self, event: LineList.Opened) -> None:
        """Focus the node pane on Enter."""
        self.query_one(PartsPane).focus()

    def update_status(self) -> None:
        """Update the status bar and the buttons."""
        line = self._result
        if self.play and self.is_searching:
            seconds, tokens = time.monotonic() - self._started, self.play.tokens - self._tokens
            progress = SearchProgress(self.panes.num_nodes, tokens, seconds, self._last_note)
            waits = self._is_loading or not self.panes.has_begun
            line = (loading_text if waits else progress_text)(self._settings, progress)
        self.query_one(StatusBar).set_content(line)
        for form in self.query(PlayForm):
            if form.allow(searching=self.is_searching, can_store=self.finished_tree is not None):
                self.refresh_bindings()

    def _tick(self) -> None:
        """Draw what has come since the last time."""
        self.panes.draw_news()
        self.update_status()

    def _begin(self, work: Work, settings: PlaySettings) -> None:
        """Start a search, or load a model."""
        assert self.play is not None
        self._started, self._last_note, self._tokens = time.monotonic(), "", self.play.tokens
        self._settings = settings
        self._searching = start_work(self, "search", work, settings)
        self.update_status()

    def _end(self, result: Text) -> None:
        """Show how it ended."""
        self._searching, self._result, self._is_loading = None, result, False
        self.query_one("#title", Static).update(self._title())
        self.update_status()

    def _read_settings(self, error: str | None) -> PlaySettings | None:
        """The settings that were typed; None where nothing can be run, which is said."""
        if self.play is None or self.is_searching:
            self.browser.show_warning("a search is running; press escape to cancel it")
            return None
        try:
            if error is not None:
                raise UsageError(error)
            return self.query_one(PlayForm).read()
        except UsageError as refused:
            self._fail(refused)
            return None

    def _fail(self, error: SparError) -> None:
        line = Text(one_line(str(error), 300), style=PALETTE["fault"])
        if line.cell_len > self.size.width - 2:  # the status line has no room for all of it
            self.browser.show_warning(str(error))
        self._end(line)

    async def _load(self, settings: PlaySettings) -> None:
        assert self.play is not None
        self._is_loading = True
        try:
            name = await self.play.load(settings, _Events(self))
        except SparError as error:
            self._fail(error)
            return
        self._end(Text(f"{one_line(name, 80)} is loaded; type an instruction, then press Enter"))
        self.query_one(Instruction).focus()

    async def _search(self, settings: PlaySettings) -> None:
        """Search, and show each node as it arrives; nodes after a cancellation are ignored."""
        assert self.play is not None
        events = _Events(self)
        try:
            tree = await self.play.search(self.panes.instruction, settings, events)
        except SparError as error:
            self.panes.stop()
            self._fail(error)
            return
        self.finished_tree = tree
        self._end(result_text(tree, self.play.tokens - self._tokens))
        self.panes.finish(tree)

    async def _offer_samples(self, model: str) -> None:
        assert self.play is not None
        samples = await self.play.samples(model)
        self._known = frozenset(sample.text for sample in samples)
        what = "what the embedded model understands"
        title = what if self.play.is_embedded(model) else "instructions that programs can check"
        self.app.push_screen(SamplesScreen(title, samples), self._take)

    def _take(self, sample: Sample | None) -> None:
        """Put a sample into the instruction."""
        if sample is not None:
            instruction = self.query_one(Instruction)
            instruction.text = sample.text
            instruction.move_cursor(instruction.document.end)
            instruction.focus()

    def _update_hint(self) -> None:
        for form in self.query(PlayForm):
            assert self.play is not None
            text = self.query_one(Instruction).text
            embedded = self.play.is_embedded(form.model)
            hint = hint_text(embedded=embedded, text=text, known=self._known)
            self.query_one("#understands", Static).update(hint, layout=False)

    def _title(self) -> Text:
        title = Text("spar  play  ", style=PALETTE["note"])
        return title.append(
            one_line(self.play.description, 120) if self.play else "", PALETTE["head"]
        )

    async def _store(self, tree: SearchTree) -> None:
        assert self.play is not None
        try:
            path = await self.play.keep(tree)
        except SparError as error:
            self.browser.show_warning(str(error))
        else:
            self.browser.show_message(f"stored in {path}")

    def add_note(self, line: str) -> None:
        """A line about the model."""
        self._last_note = line


class _Events(Listener):
    """Passes what happens in a search to the screen, as long as it is the one that runs there."""

    def __init__(self, screen: PlayScreen) -> None:
        self._screen, self._search = screen, screen._searching

    def node(self, prompt: Prompt, node: Node) -> None:
        """Pass the node on."""
        if self._is_current:
            self._screen.panes.add_node(prompt, node)

    def attempt(self, prompt: Prompt, attempt: AttemptProgress) -> None:
        """Pass the attempt on."""
        if self._is_current:
            if not self._screen.panes.has_begun:  # the notes so far were about loading
                self._screen.add_note("")
            self._screen.panes.add_attempt(attempt)

    def note(self, line: str) -> None:
        """Pass the line on."""
        if self._is_current:
            self._screen.add_note(line)

    @property
    def _is_current(self) -> bool:
        return self._search is self._screen._searching
