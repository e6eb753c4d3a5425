"""Two runs on the same prompts: which answers pass in each, and which prompts flipped."""

from __future__ import annotations

import asyncio
import time
from array import array
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, cast

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Footer, Static
from textual.worker import Worker

from spar.errors import UsageError
from spar.view.palette import PALETTE
from spar.view.text import one_line
from tui.compare.comparison import PAIR_FILTERS, Comparison, OutcomeCounts, PairFilter, count_of
from tui.inputs import Inputs, PairedChange
from tui.run_view import SLICE_SECONDS, RunView
from tui.screens.background import start_work
from tui.screens.base import BrowserScreen
from tui.screens.jump import show_tree
from tui.screens.pair import PairScreen, Sides
from tui.tables.comparison import COLUMNS, FILTER_NAMES, change_text, counts_text, pair_cells
from tui.tables.runs import run_name
from tui.widgets.bars import StatusBar
from tui.widgets.choices import Choice, Choices
from tui.widgets.line_list import LineList
from tui.widgets.table import Table

TICK_SECONDS = 0.25
WORK_SECONDS = 0.5
"""How often the files are checked for appended lines."""


class CompareScreen(BrowserScreen[None]):
    """A table of the prompts that both runs have."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("l,right", "open", "Open", key_display="⏎"),
        Binding("f", "flips", "Flips"),
        Binding("n", "flip(1)", "Next", tooltip="Next flip"),
        Binding("N", "flip(-1)", "Previous flip", show=False),
        Binding("1", "kind(0)", "Show all", show=False),
        Binding("2", "kind(1)", "Show what flipped", show=False),
        Binding("3", "kind(2)", "Show what only A passes", show=False),
        Binding("4", "kind(3)", "Show what only B passes", show=False),
        Binding("5", "kind(4)", "Show what both pass", show=False),
        Binding("6", "kind(5)", "Show what neither passes", show=False),
        Binding("a", "tree(0)", "Tree A"),
        Binding("b", "tree(1)", "Tree B"),
        Binding("R", "reload", "Read both runs again", show=False),
        Binding("escape,h,left", "back", "Back", key_display="esc"),
    ]
    CSS = """
    CompareScreen #names { height: 3; padding: 0 1; text-wrap: nowrap; text-overflow: ellipsis; }
    """

    def __init__(self, inputs: Inputs, left: Path, right: Path) -> None:
        super().__init__()
        self.inputs, self.paths = inputs, (left, right)
        self.views: tuple[RunView, RunView] | None = None
        """None if one of the runs cannot be read."""
        self.comparison: Comparison | None = None
        self.kind: PairFilter = "all"
        self.positions: array[int] = array("q")
        """Positions of the shown prompts, in order."""
        self._problem = ""
        self._change: PairedChange | None = None
        """The difference of the two, as of the last complete count."""
        self._work: Worker[None] | None = None
        self._worked = float("-inf")

    def compose(self) -> ComposeResult:
        """Both names, the filters, the table and the status."""
        yield Static(self._names(), id="names")
        yield Choices()
        yield Table(COLUMNS)
        yield StatusBar()
        yield Footer()

    def on_mount(self) -> None:
        """Open both runs and start to read."""
        self._open()
        self.query_one(Table).focus()
        self.set_interval(TICK_SECONDS, self.tick)

    def on_unmount(self) -> None:
        """Stop the work."""
        self._close()

    def tick(self) -> None:
        """Show what is new; start the next work."""
        comparison = self.comparison
        if comparison is None:
            return
        if comparison.is_stale():
            before, table = self._position, self.query_one(Table)
            comparison.update()
            self._show()
            if (
                table.cursor and before is not None and before in self.positions
            ):  # flips come first as they become known
                table.cursor = self.positions.index(before)
        idle = self._work is None or self._work.is_finished
        if idle and time.monotonic() - self._worked > WORK_SECONDS:
            self._worked = time.monotonic()
            self._work = self.run_worker(
                lambda: self._read(comparison), thread=True, exit_on_error=True
            )
        self._update_status()

    def action_open(self) -> None:
        """Show both answers to the prompt under the cursor."""
        table = self.query_one(Table)
        if self.views and self.comparison and table.count:
            names = cast("tuple[str, str]", tuple(map(self._run_name, self.paths)))
            sides = Sides(self.comparison, self.views, names)
            self.app.push_screen(PairScreen(sides, self.positions, table.cursor), self._on_return)

    def action_kind(self, position: int) -> None:
        """Filter the prompts; the cursor stays on its prompt if it is still shown."""
        before = self._position
        self.kind = PAIR_FILTERS[position]
        self._show()
        if before is not None and before in self.positions:
            self.query_one(Table).cursor = self.positions.index(before)

    def action_flips(self) -> None:
        """Show only the prompts that flipped, or all again."""
        self.action_kind(PAIR_FILTERS.index("all" if self.kind == "flips" else "flips"))

    def action_flip(self, step: int) -> None:
        """Go to the next or previous prompt that flipped."""
        table, comparison = self.query_one(Table), self.comparison
        flip = comparison.next_flip(self.positions, table.cursor, step) if comparison else None
        if flip is None:
            self.browser.show_warning(f"no flip {'below' if step > 0 else 'above'}")
        else:
            table.cursor = flip

    def action_tree(self, side: int) -> None:
        """Show one side's tree."""
        if self.views and self.comparison and self._position is not None:
            pair = self.comparison.pair(self._position)
            row = (pair.left, pair.right)[side]
            show_tree(self, self.views[side], row.number, None)

    def action_reload(self) -> None:
        """Open both runs again."""
        self._close()
        self._open()

    def action_back(self) -> None:
        """Back to the runs."""
        self.dismiss(None)

    def on_line_list_opened(self, event: LineList.Opened) -> None:
        """Enter, or a double click."""
        self.action_open()

    def on_choices_chosen(self, event: Choices.Chosen) -> None:
        """Use the filter that was clicked."""
        self.action_kind(PAIR_FILTERS.index(cast("PairFilter", event.name)))

    @property
    def _position(self) -> int | None:
        cursor = self.query_one(Table).cursor
        return self.positions[cursor] if cursor < len(self.positions) else None

    def _open(self) -> None:
        opened: list[RunView] = []
        self._problem, self._worked = "", float("-inf")
        try:
            for path in self.paths:
                opened.append(RunView.open(path, self.inputs))
        except UsageError as error:
            for view in opened:
                view.close()
            self._problem = str(error)
        else:
            self.views = (opened[0], opened[1])
            self.comparison = Comparison(opened[0].index, opened[1].index)
        self._show()
        self.tick()
        self._update_status()

    def _close(self) -> None:
        for view in self.views or ():
            view.close()
        self.views = self.comparison = None

    def _read(self, comparison: Comparison) -> None:
        """Read in the background until everything is read or the screen is closed."""
        while comparison is self.comparison and not comparison.work(SLICE_SECONDS):
            pass

    def _show(self) -> None:
        """Update the screen from the comparison."""
        comparison = self.comparison
        self.positions = comparison.order(self.kind) if comparison else array("q")
        self.query_one(Table).set_rows(len(self.positions), self._cells)
        if comparison:
            choices = [
                Choice(kind, FILTER_NAMES[kind], count_of(comparison.outcome_counts, kind))
                for kind in PAIR_FILTERS
            ]
            self.query_one(Choices).set_content(choices, self.kind)
            if comparison.outcome_counts.done:
                start_work(self, "test", self._test, comparison)
        self._update_status()

    async def _test(self, comparison: Comparison) -> None:
        """Compute the difference in a thread: it takes a while with many prompts."""
        passes, test = comparison.passes(), self.inputs.paired_test
        self._change = await asyncio.to_thread(test, passes) if test and passes else None
        self.query_one("#names", Static).update(self._names())

    def _cells(self, line: int) -> Mapping[str, Text]:
        if self.comparison is None:
            return {}
        position = self.positions[line]
        return pair_cells(position, self.comparison.pair(position))

    def _update_status(self) -> None:
        problem = self._problem or (self.comparison.problem if self.comparison else None)
        if problem:
            line = Text(one_line(problem, 300), style=PALETTE["fault"]).append(
                "; press R to reload"
            )
        else:
            line = counts_text(self.comparison.outcome_counts) if self.comparison else Text()
        self.query_one(StatusBar).set_content(line)

    def _on_return(self, line: int | None) -> None:
        """On return from a pair, move the cursor to the last one that was viewed."""
        if line is not None:
            self.query_one(Table).cursor = line

    def _names(self) -> Text:
        text = Text("A  ", style=PALETTE["head"]).append(self._run_name(self.paths[0]))
        text.append("\nB  ", style=PALETTE["head"]).append(self._run_name(self.paths[1]))
        counts = self.comparison.outcome_counts if self.comparison else OutcomeCounts()
        return text.append("\n").append_text(change_text(self._change, counts))

    def _run_name(self, path: Path) -> str:
        return one_line(run_name(path, self.inputs.paths), 200)
