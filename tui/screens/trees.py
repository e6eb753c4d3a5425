"""The trees of a run: a table of any length that can be filtered, sorted and searched, updated live."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import ClassVar, cast, get_args

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.timer import Timer
from textual.widgets import Static
from textual.worker import Worker

from spar.errors import UsageError
from spar.record.marks import Mark
from spar.view.palette import PALETTE
from spar.view.text import one_line
from tui.index.rows import Category, Filter, Sort, SortKey
from tui.inputs import Inputs
from tui.run_view import COUNT_SECONDS, NOTED, RunView
from tui.screens.background import is_running, start_work
from tui.screens.constraints import ConstraintScreen
from tui.screens.export import ExportingScreen
from tui.screens.kept_row import KeptRow
from tui.screens.keys import TREES_KEYS
from tui.screens.marking import MarkingScreen
from tui.screens.tree import TreeScreen
from tui.session_state import Position
from tui.tables.dashboard import PANES, folded_text
from tui.tables.runs import run_title
from tui.tables.trees import COLUMNS, kind_choices, kind_of, status, tree_cells
from tui.widgets.bars import SearchBar, StatusBar
from tui.widgets.choices import Choice, Choices
from tui.widgets.dashboard import Dashboard
from tui.widgets.footer import KeyFooter
from tui.widgets.input_bar import InputBar
from tui.widgets.line_list import LineList
from tui.widgets.note_bar import NoteBar
from tui.widgets.table import Table

TICK_SECONDS = 0.25
REST_SECONDS = 0.1
"""How long the cursor rests on a tree before its story is read."""
WORK_SECONDS = 0.5
"""How often a file is checked for appended lines."""
SORT_KEYS: tuple[SortKey, ...] = get_args(SortKey)
LARGEST_FIRST = frozenset({"nodes", "depth", "tokens", "faults", "seconds"})


class TreesScreen(ExportingScreen[None], MarkingScreen[None]):
    """One run's table."""

    BINDINGS: ClassVar[list[BindingType]] = TREES_KEYS

    def __init__(self, inputs: Inputs, view: RunView, *, reopen: bool = False) -> None:
        super().__init__()
        self.inputs, self.view = inputs, view
        self._work: Worker[None] | None = None
        self._worked = float("-inf")
        self._kept = KeptRow[int]()
        self._target: str | None = None
        """The prompt to move the cursor to once its line is found."""
        self._counted = float("-inf")
        """When the dashboard was updated."""
        self._story_timer: Timer | None = None
        """Runs out when the cursor has rested for a while."""
        self._story_number: int | None = None
        """The tree whose story is shown below the table, or will be."""
        self._reopen = reopen
        """Whether to open that tree, if it was open."""

    def compose(self) -> ComposeResult:
        """The run's name, the categories, the table and the status."""
        yield Static(run_title(self.view.path, self.inputs.paths), classes="title")
        yield Dashboard(PANES, folded_text)
        yield Choices()
        with Table(COLUMNS, classes="pane") as table:
            table.border_title = Text("trees")
        yield SearchBar()
        yield NoteBar()
        yield StatusBar()
        yield KeyFooter()

    def on_mount(self) -> None:
        """Show the rows, restore the position, and start to work."""
        position = self.browser.session.position_in(self.view.path)
        self._target, self._reopen = position.prompt_id, self._reopen and position.open_tree
        self.show()
        self.query_one(Table).focus()
        self._go_to_target()
        self.set_interval(TICK_SECONDS, self.tick)
        self.tick()

    def on_unmount(self) -> None:
        """Stop the work."""
        self.view.close()

    def on_resize(self) -> None:
        """Fold the dashboard on a small screen."""
        self.query_one(Dashboard).fit(self.app.size)

    def tick(self) -> None:
        """Show what is new; start the next work."""
        if self.view.is_stale() or self.view.marks.refresh():
            self._keep_position(self.view.update)
            self._go_to_target()
        if time.monotonic() - self._worked > WORK_SECONDS:
            self.work()
        if self.view.progress.done or time.monotonic() - self._counted > COUNT_SECONDS:
            self._show_totals()
        self._update_status()

    def work(self) -> None:
        """Start the background work unless it is running."""
        if not is_running(self._work):
            self._worked = time.monotonic()
            self._work = self.run_worker(self.view.work, thread=True, group="work")

    def show(self) -> None:
        """Update the screen from the view."""
        table, sort = self.query_one(Table), self.view.sort
        table.mark_sorted(sort.key, descending=sort.descending)
        table.set_rows(len(self.view.numbers), self._cells)
        shown = self.view.shown.category
        self.query_one(Choices).set_content(self._choices(), shown)
        self._update_story()
        self._update_status()

    def go_to(self, number: int) -> None:
        """Put the cursor on a row."""
        position = self.view.position_of(number)
        if position is not None:
            self.query_one(Table).cursor = position

    def action_open(self) -> None:
        """Show the tree under the cursor."""
        self._target = None
        if (number := self._number) is not None:
            self.browser.push_screen(TreeScreen(self.view, number), self._on_return)

    def action_search(self) -> None:
        """Open the search bar."""
        self._kept.begin(self._number, self._above)
        self.query_one(SearchBar).open(self.view.shown.text, regex=self.view.shown.regex)

    def action_kind(self, key: int) -> None:
        """Show one category of trees."""
        self._show_kind(kind_of(key, self.view.counts))

    def action_next_kind(self) -> None:
        """Show the next category."""
        kinds = [cast("Category", choice.name) for choice in self._choices()]
        self._show_kind(kinds[(kinds.index(self.view.shown.category) + 1) % len(kinds)])

    def action_constraint(self) -> None:
        """Choose a type of constraints whose failures are shown."""
        types = [(name, each) for name, each in self.view.totals().failing_types() if each.after]
        if not types:
            self.browser.show_warning("no answer of this run is known to fail a constraint")
            return
        self.app.push_screen(ConstraintScreen(types, self.view.shown.constraint), self._show_type)

    def action_dashboard(self) -> None:
        """Fold or unfold the dashboard."""
        self.query_one(Dashboard).toggle()

    def action_sort(self) -> None:
        """Sort by the next column."""
        following = SORT_KEYS[(SORT_KEYS.index(self.view.sort.key) + 1) % len(SORT_KEYS)]
        self._sort(Sort(following, following in LARGEST_FIRST))

    def action_reverse(self) -> None:
        """Sort the other way."""
        self._sort(Sort(self.view.sort.key, not self.view.sort.descending))

    def action_failure(self, step: int) -> None:
        """Go to the next failure in a direction; while a text is searched for, to the next match."""
        if self.view.shown.text:
            self.query_one(Table).advance(step)
            return
        position = self.view.failure(self.query_one(Table).cursor, step)
        if position is None:
            self.browser.show_warning(self.view.none_text("failure", step))
        else:
            self.query_one(Table).cursor = position

    def action_reload(self) -> None:
        """Open the run again, after it was replaced."""
        try:
            view = RunView.open(self.view.path, self.inputs)
        except UsageError as error:
            self.browser.show_warning(str(error))
            return
        shown, sort = self.view.shown, self.view.sort
        self.view.close()
        self.view, self._worked = view, float("-inf")
        view.sort = sort
        view.show(shown)
        self.show()
        self.tick()

    async def leave(self) -> None:
        """Back to the runs, even while there is a search text."""
        self.dismiss(None)

    def action_back(self) -> None:
        """Clear the search text, then the type of constraints; without one, go back to the runs."""
        shown = self.view.shown
        if shown.text:
            self._filter(replace(shown, text="", regex=False))
        elif shown.constraint:
            self._filter(replace(shown, constraint=""))
        else:
            self.dismiss(None)

    def on_line_list_opened(self, event: LineList.Opened) -> None:
        """Enter, or a double click."""
        self.action_open()

    def on_line_list_moved(self, event: LineList.Moved) -> None:
        """Record the position, and say what the search of the tree did."""
        self._update_story()
        row = self.view.row(event.line) if event.line < len(self.view.numbers) else None
        stored = self.browser.session.position_in(self.view.path)
        if row and self._target is None and row.prompt_id != stored.prompt_id:
            self.browser.remember(self.view.path, Position(prompt_id=row.prompt_id))

    def on_table_sorted(self, event: Table.Sorted) -> None:
        """Sort by the clicked column; a second click reverses the order."""
        key = cast("SortKey", event.column)
        if key == self.view.sort.key:
            self.action_reverse()
        else:
            self._sort(Sort(key, key in LARGEST_FIRST))

    def on_choices_chosen(self, event: Choices.Chosen) -> None:
        """Show the category that was clicked."""
        self._show_kind(cast("Category", event.name))

    def on_search_bar_changed(self, event: SearchBar.Changed) -> None:
        """Search while the text is typed; what is no regular expression yet changes nothing."""
        with suppress(UsageError):
            self._filter(replace(self.view.shown, text=event.text, regex=event.regex))

    def on_search_bar_submitted(self, event: SearchBar.Submitted) -> None:
        """Search for a text; one that is not a regular expression can be corrected."""
        bar = self.query_one(SearchBar)
        try:
            self._filter(replace(self.view.shown, text=event.text, regex=event.regex))
        except UsageError as error:
            bar.reject(str(error))
        else:
            bar.close()

    @on(InputBar.Closed)
    def focus_table(self) -> None:
        """Focus the table."""
        self.query_one(Table).focus()

    def marked_tree(self) -> str | None:
        """The tree under the cursor."""
        row = None if self._number is None else self.view.index.row(self._number)
        return None if row is None or row.error is not None else row.prompt_id

    def show_marks(self) -> None:
        """Update the table."""
        self._keep_position(self.view.update)
        self._start_story()

    def _cells(self, position: int) -> Mapping[str, Text]:
        row, view = self.view.row(position), self.view
        return tree_cells(row, view.match(view.numbers[position]), view.mark(row))

    def _choices(self) -> list[Choice]:
        view = self.view
        return kind_choices(view.counts, view.shown.category, view.num_starred())

    @property
    def _number(self) -> int | None:
        cursor = self.query_one(Table).cursor
        return self.view.numbers[cursor] if cursor < len(self.view.numbers) else None

    @property
    def _above(self) -> int:
        """Lines of the table above the cursor on the screen."""
        table = self.query_one(Table)
        return table.cursor - table.scroll_offset.y

    def _show_kind(self, kind: Category) -> None:
        self._filter(replace(self.view.shown, category=kind))

    def _show_type(self, constraint: str | None) -> None:
        if constraint is not None:
            self._filter(replace(self.view.shown, constraint=constraint))

    def _filter(self, shown: Filter) -> None:
        self._keep_position(lambda: self.view.show(shown))
        self.work()

    def _sort(self, sort: Sort) -> None:
        self.view.sort = sort
        self._keep_position(self.view.update)

    def _keep_position(self, change: Callable[[], None]) -> None:
        """Change what is shown; the cursor stays on its row, and the row at its place on the screen.

        After a search that hid the row, the cursor comes back to it.
        """
        table, number = self.query_one(Table), self._number
        wanted, above = self._kept.wanted(number, self._above)
        change()
        self.show()
        positions = (self.view.position_of(row) for row in (wanted, number) if row is not None)
        position = next((each for each in positions if each is not None), None)
        if position is not None and position != table.cursor:
            table.cursor = position
            table.scroll_to(y=position - above, animate=False, force=True)
        is_searching = bool(self.view.shown.text) or self.query_one(SearchBar).is_open
        self._kept.placed(self._number, is_searching=is_searching)

    def _go_to_target(self) -> None:
        """Move the cursor to the tree of the last session once its line is found."""
        if self._target is None:
            return
        number = self.view.index.find(self._target)
        if number is not None:
            self.go_to(number)
        elif not self.view.progress.done:
            return
        self._target = None
        if number is not None and self._reopen and self.is_current:
            self.action_open()

    def _on_return(self, number: int | None) -> None:
        """On return from a tree, move the cursor to the last one that was viewed."""
        position = self.browser.session.position_in(self.view.path)
        self.browser.remember(self.view.path, position.model_copy(update={"open_tree": False}))
        if number is not None:
            self.go_to(number)

    def _show_totals(self) -> None:
        """Update the dashboard; while trees are read, their totals change all the time."""
        self._counted = time.monotonic()
        self.query_one(Dashboard).set_content(self.view.run_progress())

    def _update_story(self) -> None:
        """Show below the table what the search of the tree under the cursor did, once the cursor rests there."""
        if self._number != self._story_number:
            self._story_number = self._number
            if self._story_timer is not None:
                self._story_timer.stop()
            self._story_timer = self.set_timer(REST_SECONDS, self._start_story)

    def _start_story(self) -> None:
        start_work(self, "story", self._show_story, self._number)

    async def _show_story(self, number: int | None) -> None:
        story = "" if number is None else await asyncio.to_thread(self.view.story, number)
        mark = Mark() if number is None else self.view.mark(self.view.index.row(number))
        text = Text()
        if mark.note:
            text.append(one_line(f"{NOTED}{mark.note}  ", 200), style=PALETTE["mark"])
        self.query_one(Table).border_subtitle = text.append(one_line(story, 300)) or ""

    def _update_status(self) -> None:
        view = self.view
        line = status(view.progress, view.shown, view.sort, len(view.numbers))
        if view.problem:
            line = Text(one_line(view.problem, 200), style=PALETTE["fault"])
            line.append(f"; press {self.browser.key_of('reload', 'R')} to reload")
        self.query_one(StatusBar).set_content(line)
