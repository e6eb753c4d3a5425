"""The first screen: every run there is, and what to do where there is none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Button, Footer, Static
from textual.worker import Worker

from spar.errors import SparError
from spar.view.palette import PALETTE
from spar.view.text import one_line
from tui.index.run_summary import RunSummary
from tui.index.watcher import Feed, Found, is_openable
from tui.inputs import Inputs
from tui.screens.base import BrowserScreen
from tui.screens.others import open_screen
from tui.tables.runs import COLUMNS, run_cells, run_detail, sort_runs
from tui.widgets.bars import StatusBar
from tui.widgets.line_list import LineList
from tui.widgets.table import Table

TICK_SECONDS = 0.25
DEMO = "demo"
"""Name of the demo's run directory."""
OF_RUNS = frozenset({"open", "mark", "compare", "training", "sort", "reverse"})
"""Actions that need a run."""


class RunsScreen(BrowserScreen[None]):
    """A table of runs, those under way followed live."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("l,right", "open", "Open", key_display="⏎"),
        Binding("space", "mark", "Mark", tooltip="Mark for a comparison"),
        Binding("C", "compare", "Compare", tooltip="Compare the two marked runs"),
        Binding("t", "training", "Training", tooltip="Scores and training data of a training run"),
        Binding("P", "play", "Play", tooltip="Search for an answer to an instruction of one's own"),
        Binding("s", "sort", "Sort by the next column", show=False),
        Binding("S", "reverse", "Sort the other way", show=False),
        Binding("D", "demo", "Run the demo", show=False),
    ]

    def __init__(self, inputs: Inputs, last: Path | None = None) -> None:
        super().__init__()
        self.inputs = inputs
        self.marked: list[Path] = []
        """Runs that are marked, the first marked first."""
        self._feed = Feed(inputs.paths)
        self._seen: Found | None = None
        self._runs: list[RunSummary] = []
        self._sort: tuple[str | None, bool] = (None, False)
        self._looking: Worker[None] | None = None
        self._demo: Worker[None] | None = None
        self._wanted = last
        """The run that the cursor is to go to once it is found."""

    def compose(self) -> ComposeResult:
        """The table, or what to do where it would be empty."""
        title = Text.assemble(("spar  ", PALETTE["note"]), ("runs", PALETTE["head"]))
        yield Static(title, classes="title")
        yield Table(COLUMNS)
        with Vertical(id="welcome"):
            yield Static(_welcome(self.inputs.paths), id="hint")
            yield Button("Run the demo", id="demo", variant="primary")
        yield Static(id="about")
        yield StatusBar()
        yield Footer()

    def on_mount(self) -> None:
        """Look for runs, now and ever after."""
        self.query_one("#demo").display = self.inputs.demo is not None
        self._show(Found())
        self.set_interval(TICK_SECONDS, self.tick)
        self.tick()

    def on_unmount(self) -> None:
        """Stop looking."""
        self._feed.close()

    def on_screen_resume(self) -> None:
        """Give the table the keys again; a person who is here is in no run."""
        self.query_one(Table).focus()
        if self.app.screen is self:
            self.browser.forget_run()

    def tick(self) -> None:
        """Show what was found, and look again."""
        if not self.is_current:
            return
        if self._feed.found is not self._seen:
            self._show(self._feed.found)
        idle = self._looking is None or self._looking.is_finished
        if idle and self._feed.is_due():
            self._looking = self.run_worker(self._feed.look, thread=True, group="look")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Some keys do nothing where the command line handed nothing in for them."""
        if action in OF_RUNS:
            return bool(self._runs)
        if action == "demo":
            return self.inputs.demo is not None
        return self.inputs.play is not None if action == "play" else True

    def action_open(self) -> None:
        """Show the trees of the run under the cursor."""
        run = self._run
        if run is None:
            return
        if is_openable(run):
            self.browser.open_run(run.directory)
        elif run.kind == "training":
            self.action_training()
        else:
            why = run.why or "it has no trees of its own; its stages are listed below it"
            self.browser.warn(f"{run.directory}: {why}")

    def action_mark(self) -> None:
        """Mark the run, or take its mark away; of three the first loses its own."""
        if self._run is None:
            return
        directory = self._run.directory
        if directory in self.marked:
            self.marked.remove(directory)
        else:
            self.marked = [*self.marked, directory][-2:]
        self.query_one(Table).refresh()
        self.query_one(Table).advance(1)

    def action_compare(self) -> None:
        """Compare the two marked runs."""
        if len(self.marked) != 2:
            self.browser.warn("mark two runs with the space bar, then compare them")
            return
        self.browser.push_screen(open_screen("compare", self.inputs, *self.marked))

    def action_training(self) -> None:
        """Show what a training run learns from."""
        run = self._run
        if run is None or run.kind != "training":
            self.browser.warn("this is no training run")
            return
        self.browser.push_screen(open_screen("training", self.inputs, run.directory))

    def action_play(self) -> None:
        """Search for an answer to an instruction of one's own."""
        self.browser.push_screen(open_screen("play", self.inputs))

    def action_demo(self) -> None:
        """Make a small run with the embedded model."""
        if self._demo is None or self._demo.is_finished:
            self._demo = self.run_worker(self._run_demo(), group="demo")

    def action_sort(self) -> None:
        """Sort by the next column."""
        names = [None, *(column.name for column in COLUMNS[1:])]
        following = names[(names.index(self._sort[0]) + 1) % len(names)]
        self._sort = (following, False)
        self._arrange()

    def action_reverse(self) -> None:
        """Sort the other way."""
        self._sort = (self._sort[0] or "name", not self._sort[1])
        self._arrange()

    def on_table_sorted(self, event: Table.Sorted) -> None:
        """Sort by the column that was clicked, the other way at the second click."""
        again = event.column == self._sort[0]
        self._sort = (event.column, again and not self._sort[1])
        self._arrange()

    def on_line_list_opened(self, event: LineList.Opened) -> None:
        """Enter, or a double click."""
        self.action_open()

    def on_line_list_moved(self, event: LineList.Moved) -> None:
        """Say more about the run under the cursor."""
        self._describe()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """The one button there is."""
        self.action_demo()

    @property
    def _run(self) -> RunSummary | None:
        cursor = self.query_one(Table).cursor
        return self._runs[cursor] if cursor < len(self._runs) else None

    def _show(self, found: Found) -> None:
        self._seen = found
        self._arrange()
        self.refresh_bindings()
        empty = found.whole and not found.runs
        self.query_one("#welcome").display = empty
        self.query_one(Table).display = not empty
        self.query_one("#about").display = not empty
        if empty and self.inputs.demo:
            self.query_one("#demo").focus()
        elif not empty and self.is_current:
            self.query_one(Table).focus()

    def _arrange(self) -> None:
        """Order the rows, the cursor on the run where it was."""
        before, found = self._run, self._seen or Found()
        column, descending = self._sort
        self._runs = sort_runs(found.runs, column, descending=descending)
        table = self.query_one(Table)
        table.mark_sorted(column, descending=descending)
        table.set_rows(len(self._runs), lambda row: self._cells(self._runs[row]))
        places = {run.directory: place for place, run in enumerate(self._runs)}
        if self._wanted in places:
            table.cursor, self._wanted = places[self._wanted], None
        elif before is not None and before.directory in places:
            table.cursor = places[before.directory]
        self._describe()
        self.query_one(StatusBar).say(_status(found, len(self.marked)))

    def _cells(self, run: RunSummary) -> Mapping[str, Text]:
        return run_cells(run, self.inputs.paths, marked=run.directory in self.marked)

    def _describe(self) -> None:
        about = run_detail(self._run) if self._run else Text("")
        self.query_one("#about", Static).update(about)

    async def _run_demo(self) -> None:
        assert self.inputs.demo is not None
        button = self.query_one("#demo", Button)
        button.disabled, button.label = True, "The demo is running"
        self.browser.notify("the demo is running: its trees appear as they end", markup=False)
        try:
            await self.inputs.demo(self._demo_directory())
        except SparError as error:
            self.browser.warn(str(error))
        finally:
            button.disabled, button.label = False, "Run the demo"

    def _demo_directory(self) -> Path:
        folders = [path for path in self.inputs.paths if not path.is_file()]
        return (folders[0] if folders else Path("runs")) / DEMO


def _status(found: Found, num_marked: int) -> Text:
    running = sum(run.state == "running" for run in found.runs)
    parts = [f"{len(found.runs):,} run{'' if len(found.runs) == 1 else 's'}"]
    parts += [f"{running:,} running"] if running else []
    parts += [f"{num_marked} marked"] if num_marked else []
    parts += [one_line(note, 200) for note in found.notes]
    return Text(", ".join(parts if found.whole else [*parts, "looking for more"]))


def _welcome(paths: Sequence[Path]) -> Text:
    where = ", ".join(one_line(str(path), 60) for path in paths)
    text = Text(f"There is no run under {where} yet.\n\n")
    text.append("To make one, type in a shell:\n\n")
    for command, what in (
        ("spar decode --strategy bfs --budget 15", "the built-in prompts, the embedded model"),
        ("spar decode prompts.jsonl --model DIR", "your prompts, your model"),
        ("spar decode prompts.jsonl --base-url URL", "a server"),
    ):
        text.append(f"  {command}\n", style=PALETTE["head"]).append(f"      {what}\n")
    return text.append("\nIt appears here as soon as it begins. spar tui DIR looks elsewhere.\n")
