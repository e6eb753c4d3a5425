"""The first screen: all runs, or instructions if there are none."""

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
from spar.view.text import one_line, pluralize
from tui.index.run_summary import RunSummary
from tui.index.watcher import RunScan, RunWatcher, is_openable
from tui.inputs import Inputs
from tui.screens.base import BrowserScreen
from tui.screens.lazy import open_screen
from tui.tables.runs import COLUMNS, run_cells, run_detail, sort_runs
from tui.widgets.bars import StatusBar
from tui.widgets.line_list import LineList
from tui.widgets.table import Table

TICK_SECONDS = 0.25
DEMO = "demo"
"""Name of the demo's run directory."""
RUN_ACTIONS = frozenset({"open", "mark", "compare", "training", "sort", "reverse"})
"""Actions that need a run."""


class RunsScreen(BrowserScreen[None]):
    """A table of runs; those in progress are updated live."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("l,right", "open", "Open", key_display="⏎"),
        Binding("space", "mark", "Mark", tooltip="Mark for a comparison"),
        Binding("C", "compare", "Compare", tooltip="Compare the two marked runs"),
        Binding("t", "training", "Training", tooltip="Scores and training data of a training run"),
        Binding("P", "play", "Play", tooltip="Search for a response to your own instruction"),
        Binding("s", "sort", "Sort by the next column", show=False),
        Binding("S", "reverse", "Sort the other way", show=False),
        Binding("D", "demo", "Run the demo", show=False),
    ]

    def __init__(self, inputs: Inputs, last: Path | None = None) -> None:
        super().__init__()
        self.inputs = inputs
        self.marked: list[Path] = []
        """The marked runs, in the order in which they were marked."""
        self._watcher = RunWatcher(inputs.paths, inputs.truth)
        self._scan: RunScan | None = None
        self._runs: list[RunSummary] = []
        self._sort: tuple[str | None, bool] = (None, False)
        self._scan_worker: Worker[None] | None = None
        self._demo: Worker[None] | None = None
        self._leaving = False
        """Whether to quit although the demo is running."""
        self._had_runs = False
        """Whether there were runs: if they vanish, Enter must not start the demo."""
        self._target = last
        """The run to move the cursor to once it is found."""

    def compose(self) -> ComposeResult:
        """The table, or instructions in place of an empty one."""
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
        """Start to watch for runs."""
        self.query_one("#demo").display = self.inputs.demo is not None
        self._show(RunScan())
        self.set_interval(TICK_SECONDS, self.tick)
        self.tick()

    def on_unmount(self) -> None:
        """Stop the watcher."""
        self._watcher.close()

    def on_screen_resume(self) -> None:
        """Focus the table; no run is open on this screen."""
        self.query_one(Table).focus()
        if self.app.screen is self:
            self.browser.leave_run()

    def tick(self) -> None:
        """Show the latest scan, and start the next one."""
        if not self.is_current:
            return
        if self._watcher.latest is not self._scan:
            self._show(self._watcher.latest)
        idle = self._scan_worker is None or self._scan_worker.is_finished
        if idle and self._watcher.is_due():
            self._scan_worker = self.run_worker(self._watcher.scan, thread=True, group="scan")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Disable the actions that need a run, or an input that was not passed."""
        if action in RUN_ACTIONS:
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
            why = run.reason or "it has no trees of its own; its stages are listed below it"
            self.browser.show_warning(f"{run.directory}: {why}")

    def action_mark(self) -> None:
        """Mark or unmark the run; at most two are marked, the most recent ones."""
        if self._run is None:
            return
        directory = self._run.directory
        if directory in self.marked:
            self.marked.remove(directory)
        else:
            self.marked = [*self.marked, directory][-2:]
        self.query_one(Table).refresh()
        self._show_status()
        self.query_one(Table).advance(1)

    def action_compare(self) -> None:
        """Compare the two marked runs."""
        if len(self.marked) != 2:
            self.browser.show_warning("mark two runs with the space bar, then compare them")
            return
        self.browser.push_screen(open_screen("compare", self.inputs, *self.marked))

    def action_training(self) -> None:
        """Show the scores and training data of a training run."""
        run = self._run
        if run is None or run.kind != "training":
            self.browser.show_warning("this is not a training run")
            return
        self.browser.push_screen(open_screen("training", self.inputs, run.directory))

    def action_play(self) -> None:
        """Open the play screen."""
        self.browser.push_screen(open_screen("play", self.inputs))

    def action_demo(self) -> None:
        """Start a small run with the embedded model."""
        if self._demo is None or self._demo.is_finished:
            self._demo = self.run_worker(self._run_demo(), group="demo")

    async def leave(self) -> None:
        """Quit; a running demo is stopped only when asked twice."""
        if self._demo is None or self._demo.is_finished or self._leaving:
            self.app.exit()
            return
        self._leaving = True
        self.browser.show_warning("the demo is running; press q again to stop it and to quit")

    def action_sort(self) -> None:
        """Sort by the next column."""
        names = [None, *(column.name for column in COLUMNS[1:])]
        following = names[(names.index(self._sort[0]) + 1) % len(names)]
        self._sort = (following, False)
        self._update_table()

    def action_reverse(self) -> None:
        """Sort the other way."""
        self._sort = (self._sort[0] or "name", not self._sort[1])
        self._update_table()

    def on_table_sorted(self, event: Table.Sorted) -> None:
        """Sort by the clicked column; a second click reverses the order."""
        again = event.column == self._sort[0]
        self._sort = (event.column, again and not self._sort[1])
        self._update_table()

    def on_line_list_opened(self, event: LineList.Opened) -> None:
        """Enter, or a double click."""
        self.action_open()

    def on_line_list_moved(self, event: LineList.Moved) -> None:
        """Show the details of the run under the cursor."""
        self._describe()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Run the demo."""
        self.action_demo()

    @property
    def _run(self) -> RunSummary | None:
        cursor = self.query_one(Table).cursor
        return self._runs[cursor] if cursor < len(self._runs) else None

    def _show(self, scan: RunScan) -> None:
        self._scan = scan
        self._had_runs = self._had_runs or bool(scan.runs)
        self._update_table()
        self.refresh_bindings()
        empty = scan.complete and not scan.runs
        self.query_one("#welcome").display = empty
        self.query_one(Table).display = not empty
        self.query_one("#about").display = not empty
        if empty and self.inputs.demo and not self._had_runs:
            self.query_one("#demo").focus()
        elif empty:
            self.set_focus(None)
        elif self.is_current:
            self.query_one(Table).focus()

    def _update_table(self) -> None:
        """Sort the rows; the cursor stays on its run."""
        before, scan = self._run, self._scan or RunScan()
        column, descending = self._sort
        self._runs = sort_runs(scan.runs, column, descending=descending)
        table = self.query_one(Table)
        table.mark_sorted(column, descending=descending)
        table.set_rows(len(self._runs), lambda row: self._cells(self._runs[row]))
        rows = {run.directory: row for row, run in enumerate(self._runs)}
        if self._target in rows:
            table.cursor, self._target = rows[self._target], None
        elif before is not None and before.directory in rows:
            table.cursor = rows[before.directory]
        self._describe()
        self._show_status()

    def _show_status(self) -> None:
        scan = self._scan or RunScan()
        self.query_one(StatusBar).set_content(_status(scan, len(self.marked)))

    def _cells(self, run: RunSummary) -> Mapping[str, Text]:
        return run_cells(run, self.inputs.paths, marked=run.directory in self.marked)

    def _describe(self) -> None:
        about = run_detail(self._run) if self._run else Text("")
        self.query_one("#about", Static).update(about)

    async def _run_demo(self) -> None:
        assert self.inputs.demo is not None
        button = self.query_one("#demo", Button)
        button.disabled, button.label = True, "The demo is running"
        self.browser.notify("the demo is running: its trees appear as they finish", markup=False)
        try:
            await self.inputs.demo(self._demo_directory())
        except SparError as error:
            self.browser.show_warning(str(error))
        finally:
            button.disabled, button.label = False, "Run the demo"

    def _demo_directory(self) -> Path:
        folders = [path for path in self.inputs.paths if not path.is_file()]
        return (folders[0] if folders else Path("runs")) / DEMO


def _status(scan: RunScan, num_marked: int) -> Text:
    running = sum(run.state == "running" for run in scan.runs)
    parts = [pluralize(len(scan.runs), "run")]
    parts += [f"{running:,} running"] if running else []
    parts += [f"{num_marked} marked"] if num_marked else []
    parts += [one_line(note, 200) for note in scan.notes]
    return Text(", ".join(parts if scan.complete else [*parts, "scanning"]))


def _welcome(paths: Sequence[Path]) -> Text:
    where = ", ".join(one_line(str(path), 60) for path in paths)
    text = Text(f"There are no runs in {where} yet.\n\n")
    text.append("To create one, run one of these commands in a shell:\n\n")
    for command, what in (
        ("spar decode --strategy bfs --budget 15", "the built-in prompts, the embedded model"),
        ("spar decode prompts.jsonl --model DIR", "your prompts, your model"),
        ("spar decode prompts.jsonl --base-url URL", "a server"),
    ):
        text.append(f"  {command}\n", style=PALETTE["head"]).append(f"      {what}\n")
    return text.append(
        "\nIt appears here as soon as it starts. Use spar tui DIR for another folder.\n"
    )
