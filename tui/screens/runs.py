"""The first screen: all runs, or instructions if there are none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.widgets import Button, Input, Static
from textual.worker import Worker

from spar.errors import SparError
from spar.record.run_names import path_labels
from spar.view.palette import PALETTE
from spar.view.text import one_line
from tui.index.run_summary import RunSummary
from tui.index.watcher import RunScan, RunWatcher, is_openable, why_no_trees
from tui.inputs import Inputs
from tui.screens.background import is_running
from tui.screens.base import BrowserScreen
from tui.screens.kept_row import KeptRow
from tui.screens.keys import RUNS_KEYS
from tui.screens.lazy import open_screen
from tui.tables.run_lines import RunLine, RunOrder, run_lines
from tui.tables.run_list import scan_status, welcome_text
from tui.tables.run_texts import run_name
from tui.tables.runs import COLUMNS, name_cell, run_cells
from tui.widgets.bars import SearchBar, StatusBar
from tui.widgets.footer import KeyFooter
from tui.widgets.line_list import LineList
from tui.widgets.run_details import RunDetails
from tui.widgets.table import Table

TICK_SECONDS = 0.25
MOST = 12
"""Runs that are compared at once."""
DEMO = "demo"
"""Name of the demo's run directory."""
OTHER_LINES = 5
"""Lines of the screen that are neither runs nor details: the table's frame and head, the status and the footer."""
RUN_ACTIONS = frozenset(
    {"open", "mark", "compare", "training", "sort", "reverse", "fold", "unfold", "search", "clear"}
)
"""Actions that need a run."""


class RunsScreen(BrowserScreen[None]):
    """A table of runs; those in progress are updated live."""

    BINDINGS: ClassVar[list[BindingType]] = RUNS_KEYS

    def __init__(self, inputs: Inputs, last: Path | None = None) -> None:
        super().__init__()
        self.inputs, self._labels = inputs, path_labels(inputs.paths)
        self.marked: list[Path] = []
        """The marked runs, in the order in which they were marked."""
        self._watcher = RunWatcher(inputs.paths, inputs.authority)
        self._scan: RunScan | None = None
        self._lines: list[RunLine] = []
        self._opened: set[Path] = set()
        """Runs whose stages are shown."""
        self._text = ""
        self._kept = KeptRow[Path]()
        """What the shown runs must contain."""
        self._order = RunOrder()
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
        yield Table(COLUMNS, classes="pane")
        with Vertical(id="welcome"):
            yield Static(welcome_text(self.inputs.paths), id="hint")
            yield Button("Run the demo", id="demo", variant="primary")
        yield RunDetails()
        yield SearchBar(has_regex=False)
        yield StatusBar()
        yield KeyFooter()

    def on_mount(self) -> None:
        """Start to watch for runs."""
        self.query_one("#demo").display = self.inputs.demo is not None
        self.query_one(Table).border_title = Text("runs")
        self._show(RunScan())
        self.set_interval(TICK_SECONDS, self.tick)
        self.tick()

    def on_resize(self) -> None:
        """Fit the details to the screen."""
        self._describe()

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
        if not is_running(self._scan_worker) and self._watcher.is_due():
            self._scan_worker = self.run_worker(self._watcher.scan, thread=True, group="scan")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Disable the actions that need a run, or an input that was not passed."""
        if action in RUN_ACTIONS and not (self._scan and self._scan.runs):
            return False
        if action == "demo":
            return self.inputs.demo is not None
        if action == "play":
            return self.inputs.play is not None
        return super().check_action(action, parameters)

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
            self.browser.show_warning(why_no_trees(run))

    def action_unfold(self) -> None:
        """Show the stages of the run; open a run without any."""
        line = self._line
        if line is None or not line.num_stages or line.is_open:
            self.action_open()
            return
        self._opened.add(line.run.directory)
        self._update_table()

    def action_fold(self) -> None:
        """Hide the stages of the run, or those of the run that it is a stage of."""
        line = self._line
        if line is None:
            return
        folded = line.run.directory if line.is_open else line.run.parent
        if folded in self._opened:
            self._opened.discard(folded)
            self._target = folded
            self._update_table()

    def action_search(self) -> None:
        """Open the search bar."""
        self._kept.begin(self._directory, 0)
        self.query_one(SearchBar).open(self._text)

    def action_clear(self) -> None:
        """Show all runs."""
        self._filter("")

    def action_mark(self) -> None:
        """Mark or unmark the run; of more marks than can be compared, the most recent ones stay."""
        run = self._run
        if run is None:
            return
        directory = run.directory
        if directory in self.marked:
            self.marked.remove(directory)
        elif not is_openable(run):
            self.browser.show_warning(why_no_trees(run))
            return
        else:
            self.marked = [*self.marked, directory][-MOST:]
        self.query_one(Table).refresh()
        self._show_status()
        self.query_one(Table).advance(1)

    def action_compare(self) -> None:
        """Compare the marked runs."""
        if len(self.marked) < 2:
            self.browser.show_warning("mark two runs or more with the space bar, then compare them")
            return
        name = "compare" if len(self.marked) == 2 else "several"
        self.browser.push_screen(open_screen(name, self.inputs, *self.marked))

    def action_training(self) -> None:
        """Show the scores and training data of a training run."""
        run = self._run
        if run is None or run.kind != "training":
            self.browser.show_warning("this is not a training run")
            return
        self.browser.push_screen(open_screen("training", self.inputs, run.directory))

    def action_scroll(self, lines: int) -> None:
        """Scroll the details while the list is focused."""
        self.query_one(RunDetails).scroll_relative(y=lines, animate=False)

    def action_play(self) -> None:
        """Open the play screen."""
        self.browser.push_screen(open_screen("play", self.inputs))

    def action_demo(self) -> None:
        """Start a small run with the embedded model."""
        if not is_running(self._demo):
            self._demo = self.run_worker(self._run_demo(), group="demo")

    async def leave(self) -> None:
        """Quit; a running demo is stopped only when asked twice."""
        if not is_running(self._demo) or self._leaving:
            self.app.exit()
            return
        self._leaving = True
        self.browser.show_warning(
            f"the demo is running; press {self.browser.key_of('leave', 'q')} again to stop it and to quit"
        )

    def action_sort(self) -> None:
        """Sort by the next column."""
        names = [None, *(column.name for column in COLUMNS if column.sortable)]
        following = names[(names.index(self._order.column) + 1) % len(names)]
        self._sort(RunOrder(following))

    def action_reverse(self) -> None:
        """Sort the other way."""
        order = self._order
        # Without a column, the newest run is the first one.
        self._sort(
            RunOrder(order.column, not order.descending) if order.column else RunOrder("date")
        )

    def on_table_sorted(self, event: Table.Sorted) -> None:
        """Sort by the clicked column; a second click reverses the order."""
        again = event.column == self._order.column
        self._sort(RunOrder(event.column, again and not self._order.descending))

    def on_search_bar_changed(self, event: SearchBar.Changed) -> None:
        """Show the runs with the text while it is typed."""
        self._filter(event.text)

    def on_search_bar_submitted(self, event: SearchBar.Submitted) -> None:
        """Keep to the runs with the text."""
        self._filter(event.text)
        self.query_one(SearchBar).close()

    def on_input_bar_closed(self) -> None:
        """Focus the table."""
        self.query_one(Table).focus()

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
    def _line(self) -> RunLine | None:
        cursor = self.query_one(Table).cursor
        return self._lines[cursor] if cursor < len(self._lines) else None

    @property
    def _run(self) -> RunSummary | None:
        return self._line.run if self._line else None

    @property
    def _directory(self) -> Path | None:
        return self._run.directory if self._run else None

    def _show(self, scan: RunScan) -> None:
        self._scan = scan
        self._had_runs = self._had_runs or bool(scan.runs)
        self._update_table()
        self.refresh_bindings()
        empty = scan.complete and not scan.runs
        self.query_one("#welcome").display = empty
        self.query_one(Table).display = not empty
        self.query_one(RunDetails).display = not empty
        if empty and self.inputs.demo and not self._had_runs:
            self.query_one("#demo").focus()
        elif empty:
            self.set_focus(None)
        elif self.is_current and not isinstance(self.focused, Input):
            self.query_one(Table).focus()

    def _filter(self, text: str) -> None:
        self._text = text
        self._update_table()

    def _sort(self, order: RunOrder) -> None:
        self._order = order
        self._update_table()

    def _update_table(self) -> None:
        """Arrange the rows; the cursor stays on its run."""
        before, scan = self._directory, self._scan or RunScan()
        wanted, _ = self._kept.wanted(before, 0)
        if self._target is not None:
            self._opened.update(_above(self._target, scan.runs))
        self._lines = run_lines(
            scan.runs, self._opened, self._text, self._order, labels=self._labels
        )
        table = self.query_one(Table)
        table.mark_sorted(self._order.column, descending=self._order.descending)
        now = datetime.now(UTC)
        names = [name_cell(line, self._labels).plain for line in self._lines]
        table.set_rows(
            len(self._lines), lambda row: self._cells(self._lines[row], now), names=names
        )
        rows = {line.run.directory: row for row, line in enumerate(self._lines)}
        directories = (each for each in (self._target, wanted, before) if each in rows)
        if (directory := next(directories, None)) is not None:
            table.cursor = rows[directory]
        if self._target in rows:
            self._target = None
        is_searching = bool(self._text) or self.query_one(SearchBar).is_open
        self._kept.placed(self._directory, is_searching=is_searching)
        self._describe()
        self._show_status()

    def _show_status(self) -> None:
        scan = self._scan or RunScan()
        line = scan_status(scan, len(self.marked))
        if self._text:
            line.append(f", {len(self._lines):,} shown with ")
            line.append(one_line(self._text, 40), style=PALETTE["head"])
        self.query_one(StatusBar).set_content(line)

    def _cells(self, line: RunLine, now: datetime) -> Mapping[str, Text]:
        marked = line.run.directory in self.marked
        return run_cells(line, self._labels, marked=marked, now=now)

    def _describe(self) -> None:
        run, details = self._run, self.query_one(RunDetails)
        details.show_run(run, run_name(run.directory, self._labels) if run else "")
        details.fit(self.size.height - OTHER_LINES - len(self._lines))
        self.refresh_bindings()

    async def _run_demo(self) -> None:
        assert self.inputs.demo is not None
        button = self.query_one("#demo", Button)
        button.disabled, button.label = True, "Demo running"
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


def _above(directory: Path, runs: Sequence[RunSummary]) -> set[Path]:
    """The runs that a run is a stage of."""
    parents = {run.directory: run.parent for run in runs}
    above, parent = set(), parents.get(directory)
    while parent is not None and parent not in above:
        above.add(parent)
        parent = parents.get(parent)
    return above
