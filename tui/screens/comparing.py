"""What the comparisons of two and of several runs have in common: the files that are read while their table is shown."""

from __future__ import annotations

import asyncio
import time
from abc import abstractmethod
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Generic, TypeVar

from rich.text import Text
from textual.widgets import Static
from textual.worker import Worker

from spar.errors import UsageError
from spar.record.standing import Standing
from spar.view.palette import PALETTE
from spar.view.text import one_line
from tui.compare.shared import SharedPrompts
from tui.index.run_index import TreeIndex
from tui.inputs import Inputs
from tui.run_view import SLICE_SECONDS, RunView
from tui.screens.background import start_work
from tui.screens.base import BrowserScreen
from tui.tables.runs import run_name
from tui.widgets.bars import StatusBar
from tui.widgets.line_list import LineList
from tui.widgets.table import Table

TICK_SECONDS = 0.25
WORK_SECONDS = 0.5
"""How often the files are checked for appended lines."""

Compared = TypeVar("Compared", bound=SharedPrompts)


class ComparingScreen(BrowserScreen[None], Generic[Compared]):
    """A table of the prompts that all of some runs have."""

    def __init__(self, inputs: Inputs, *paths: Path) -> None:
        super().__init__()
        self.inputs, self.paths = inputs, paths
        self.views: tuple[RunView, ...] = ()
        """Empty if one of the runs cannot be read."""
        self.comparison: Compared | None = None
        self.positions: array[int] = array("q")
        """Positions of the shown prompts, in order."""
        self.standings: Sequence[Standing] | None = None
        """How the runs stand, as of the last complete count."""
        self._problem = ""
        self._work: Worker[None] | None = None
        self._worked = float("-inf")

    @abstractmethod
    def compare(self, indexes: Sequence[TreeIndex]) -> Compared:
        """Begin the comparison of some runs."""

    @abstractmethod
    def passes(self) -> Sequence[Sequence[bool]]:
        """For each run, the prompts whose outcome is known, once all is read; else nothing."""

    @abstractmethod
    def order(self) -> array[int]:
        """Positions of the prompts to show."""

    @abstractmethod
    def show_rows(self) -> None:
        """Update the table and what counts prompts."""

    @abstractmethod
    def names_text(self) -> Text:
        """The names of the runs, and how they stand."""

    @abstractmethod
    def status_text(self) -> Text:
        """The line below the table."""

    def on_mount(self) -> None:
        """Open the runs and start to read."""
        self._open()
        self.query_one(Table).focus()
        self.set_interval(TICK_SECONDS, self.tick)

    def on_unmount(self) -> None:
        """Stop the work."""
        self._close()

    def on_line_list_opened(self, event: LineList.Opened) -> None:
        """Enter, or a double click."""
        self.action_open()

    @abstractmethod
    def action_open(self) -> None:
        """Open what is under the cursor."""

    def tick(self) -> None:
        """Show what is new; start the next work."""
        comparison = self.comparison
        if comparison is None:
            return
        if comparison.is_stale():
            before, table = self.position, self.query_one(Table)
            comparison.update()
            self.show()
            if table.cursor and before is not None and before in self.positions:
                table.cursor = self.positions.index(before)  # flips come first as they are known
        idle = self._work is None or self._work.is_finished
        if idle and time.monotonic() - self._worked > WORK_SECONDS:
            self._worked = time.monotonic()
            self._work = self.run_worker(
                lambda: self._read(comparison), thread=True, exit_on_error=True
            )
        self._update_status()

    def show(self) -> None:
        """Update the screen from the comparison."""
        self.positions = self.order() if self.comparison else array("q")
        self.show_rows()
        if self.comparison and self.passes():
            start_work(self, "test", self._test)
        self._update_status()

    def choose(self) -> None:
        """Show other prompts; the cursor stays on its prompt if it is still shown."""
        before = self.position
        self.show()
        if before is not None and before in self.positions:
            self.query_one(Table).cursor = self.positions.index(before)

    def action_flip(self, step: int) -> None:
        """Go to the next or previous prompt on which the runs differ."""
        table, comparison = self.query_one(Table), self.comparison
        flip = comparison.next_flip(self.positions, table.cursor, step) if comparison else None
        if flip is None:
            self.browser.show_warning(f"no flip {'below' if step > 0 else 'above'}")
        else:
            table.cursor = flip

    def action_reload(self) -> None:
        """Open the runs again."""
        self._close()
        self._open()

    def action_back(self) -> None:
        """Back to the runs."""
        self.dismiss(None)

    @property
    def position(self) -> int | None:
        """The position of the prompt under the cursor."""
        cursor = self.query_one(Table).cursor
        return self.positions[cursor] if cursor < len(self.positions) else None

    def name_of(self, path: Path) -> str:
        """A run's name on the screen."""
        return one_line(run_name(path, self.inputs.paths), 200)

    def show_names(self) -> None:
        """Update the names of the runs, and how they stand."""
        self.query_one("#names", Static).update(self.names_text())

    async def _test(self) -> None:
        """Compute how the runs stand in a thread: it takes a while with many prompts."""
        passes, test = self.passes(), self.inputs.standings
        known = bool(test and passes and passes[0])
        self.standings = await asyncio.to_thread(test, passes) if test and known else None
        self.show_names()

    def _open(self) -> None:
        opened: list[RunView] = []
        self._problem, self._worked = "", float("-inf")
        try:
            for path in self.paths:
                opened.append(RunView.open(path, self.inputs))
        except UsageError as error:
            for view in opened:
                view.close()
            # By its name on the screen: a long path would cut off what is wrong with it.
            self._problem = str(error).replace(str(path), self.name_of(path))
        else:
            self.views = tuple(opened)
            self.comparison = self.compare([view.index for view in opened])
        self.show()
        self.tick()
        self._update_status()

    def _close(self) -> None:
        for view in self.views:
            view.close()
        self.views, self.comparison = (), None

    def _read(self, comparison: Compared) -> None:
        """Read in the background until everything is read or the screen is closed."""
        while comparison is self.comparison and not comparison.work(SLICE_SECONDS):
            pass

    def _update_status(self) -> None:
        problem = self._problem or (self.comparison.problem if self.comparison else None)
        if problem:
            line = Text(one_line(problem, 300), style=PALETTE["fault"]).append(
                "; press R to reload"
            )
        else:
            line = self.status_text() if self.comparison else Text()
        self.query_one(StatusBar).set_content(line)
