"""What the comparisons of two and of several runs have in common: the files that are read while their table is shown."""

from __future__ import annotations

import asyncio
import time
from abc import abstractmethod
from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from rich.text import Text
from textual.widgets import Static
from textual.worker import Worker

from spar.errors import UsageError
from spar.record.run_names import path_labels
from spar.record.standing import Standing
from spar.view.palette import PALETTE
from spar.view.text import one_line
from tui.compare.shared import Kind, SharedPrompts
from tui.index.run_index import TreeIndex
from tui.inputs import Inputs
from tui.run_view import SLICE_SECONDS, RunView
from tui.screens.background import is_running, start_work
from tui.screens.base import BrowserScreen
from tui.tables.run_texts import run_name
from tui.widgets.bars import StatusBar
from tui.widgets.choices import Choice, Choices
from tui.widgets.line_list import LineList
from tui.widgets.table import Table, cut_apart

TICK_SECONDS = 0.25
WORK_SECONDS = 0.5
"""How often the files are checked for appended lines."""

Compared = TypeVar("Compared", bound=SharedPrompts[Any])


class ComparingScreen(BrowserScreen[None], Generic[Compared, Kind]):
    """A table of the prompts that all of some runs have."""

    filters: Mapping[Kind, str]
    """Filters of prompts to their names, in the order of their keys."""
    kind: Kind
    """The filter that is used."""

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
    def cells(self, comparison: Compared, position: int) -> Mapping[str, Text]:
        """A row of the table."""

    @abstractmethod
    def names_text(self) -> Text:
        """The names of the runs, and how they stand."""

    @abstractmethod
    def status_text(self, comparison: Compared) -> Text:
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

    def on_choices_chosen(self, event: Choices.Chosen) -> None:
        """Use the filter that was clicked."""
        self._filter(cast("Kind", event.name))

    @abstractmethod
    def action_open(self) -> None:
        """Open what is under the cursor."""

    def tick(self) -> None:
        """Show what is new; start the next work."""
        comparison = self.comparison
        if comparison is None:
            return
        if comparison.is_stale():
            keeps = comparison.is_read or bool(self.query_one(Table).cursor)
            prompt = self.prompt
            comparison.update()
            self.show()
            if keeps:  # else the first line stays the first, where flips come as they are known
                self.go_to(prompt)
            if comparison.is_read:
                start_work(self, "test", self._test, comparison)
        if not is_running(self._work) and time.monotonic() - self._worked > WORK_SECONDS:
            self._worked = time.monotonic()
            self._work = self.run_worker(
                lambda: self._read(comparison), thread=True, exit_on_error=True
            )
        self._update_status()

    def show(self) -> None:
        """Update the screen from the comparison."""
        comparison = self.comparison
        self.positions = comparison.order(self.kind) if comparison else array("q")
        self.query_one(Table).set_rows(len(self.positions), self._cells)
        if comparison:
            choices = [
                Choice(kind, name, comparison.count(kind)) for kind, name in self.filters.items()
            ]
            self.query_one(Choices).set_content(choices, self.kind)
        self._update_status()

    def action_kind(self, position: int) -> None:
        """Filter the prompts."""
        self._filter(tuple(self.filters)[position])

    def action_flips(self) -> None:
        """Show only the prompts on which the runs differ, or all again."""
        self._filter(cast("Kind", "all" if self.kind == "flips" else "flips"))

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

    @property
    def prompt(self) -> int | None:
        """The prompt under the cursor, which may have another position after an update."""
        if self.comparison is None or self.position is None:
            return None
        return self.comparison.prompt_at(self.position)

    def line_of(self, prompt: int | None) -> int | None:
        """The line of a prompt; None if it is not shown."""
        comparison = self.comparison
        at = None if comparison is None or prompt is None else comparison.position_of(prompt)
        return self.positions.index(at) if at is not None and at in self.positions else None

    def go_to(self, prompt: int | None) -> None:
        """Put the cursor on a prompt, if it is shown."""
        if (line := self.line_of(prompt)) is not None:
            self.query_one(Table).cursor = line

    def name_of(self, path: Path) -> str:
        """A run's name on the screen."""
        return one_line(run_name(path, path_labels(self.inputs.paths)), 200)

    def names_in(self, width: int) -> list[Text]:
        """The names of the runs in so many cells, as they are told apart."""
        return cut_apart([self.name_of(path) for path in self.paths], width)

    def show_names(self) -> None:
        """Update the names of the runs, and how they stand."""
        self.query_one("#names", Static).update(self.names_text())

    async def _test(self, comparison: Compared) -> None:
        """Compute how the runs stand in a thread: it takes a while with many prompts."""
        passes, test = comparison.passes(), self.inputs.standings
        self.standings = await asyncio.to_thread(test, passes) if test and passes[0] else None
        self.show_names()

    def _filter(self, kind: Kind) -> None:
        """Show other prompts; the cursor stays on its prompt if it is still shown."""
        prompt, self.kind = self.prompt, kind
        self.show()
        self.go_to(prompt)

    def _cells(self, line: int) -> Mapping[str, Text]:
        return self.cells(self.comparison, self.positions[line]) if self.comparison else {}

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
            line = self.status_text(self.comparison) if self.comparison else Text()
        self.query_one(StatusBar).set_content(line)
