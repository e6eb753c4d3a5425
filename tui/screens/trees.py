"""The trees of a run: a table of any length, filtered, sorted and searched, growing while it is looked at."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import ClassVar, cast, get_args

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Footer, Static
from textual.worker import Worker

from spar.errors import UsageError
from spar.view.palette import PALETTE
from spar.view.text import one_line
from tui.index.rows import Column, Filter, Show, Sort
from tui.inputs import Inputs
from tui.run_view import RunView
from tui.screens.base import BrowserScreen
from tui.screens.tree import TreeScreen
from tui.session_state import Place
from tui.tables.runs import run_name
from tui.tables.trees import COLUMNS, KINDS, kind_choices, status, tree_cells
from tui.widgets.bars import SearchBar, StatusBar
from tui.widgets.choices import Choices
from tui.widgets.line_list import LineList
from tui.widgets.table import Table

TICK_SECONDS = 0.25
WORK_SECONDS = 0.5
"""How often a file is looked at for what was appended."""
SORTS: tuple[Column, ...] = get_args(Column)
LARGEST_FIRST = frozenset({"nodes", "depth", "tokens", "faults", "seconds"})


class TreesScreen(BrowserScreen[None]):
    """One run's table."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("l,right", "open", "Open", key_display="⏎"),
        Binding("slash", "search", "Search", key_display="/", tooltip="Look for a text"),
        Binding("f", "next_kind", "Filter", tooltip="Show the next kind"),
        Binding("1", "kind(0)", "Show all", show=False),
        Binding("2", "kind(1)", "Show solved", show=False),
        Binding("3", "kind(2)", "Show unsolved", show=False),
        Binding("4", "kind(3)", "Show those with faults", show=False),
        Binding("5", "kind(4)", "Show where the judge is wrong by ground truth", show=False),
        Binding("s", "sort", "Sort", tooltip="Sort by the next column"),
        Binding("S", "reverse", "Sort the other way", show=False),
        Binding("n", "failure(1)", "Failure", tooltip="Next failure"),
        Binding("N", "failure(-1)", "Previous failure", show=False),
        Binding("R", "reload", "Read the run again", show=False),
        Binding("escape,h,left", "back", "Back", key_display="esc"),
    ]

    def __init__(self, inputs: Inputs, view: RunView, *, reopen: bool = False) -> None:
        super().__init__()
        self.inputs, self.view = inputs, view
        self._work: Worker[None] | None = None
        self._worked = float("-inf")
        self._wanted: str | None = None
        """Prompt whose tree the cursor is to go to once its line is found."""
        self._reopen = reopen
        """Whether to open that tree, if it was on the screen."""

    def compose(self) -> ComposeResult:
        """The run's name, the kinds, the table, how it stands."""
        name = one_line(run_name(self.view.path, self.inputs.paths), 200)
        title = Text.assemble(("spar  ", PALETTE["note"]), (name, PALETTE["head"]))
        yield Static(title, classes="title")
        yield Choices()
        yield Table(COLUMNS)
        yield SearchBar()
        yield StatusBar()
        yield Footer()

    def on_mount(self) -> None:
        """Show what is known, go to the last place, and begin to work."""
        place = self.browser.memory.place(self.view.path)
        self._wanted, self._reopen = place.prompt_id, self._reopen and place.open_tree
        self.show()
        self.query_one(Table).focus()
        self._go_to_wanted()
        self.set_interval(TICK_SECONDS, self.tick)
        self.tick()

    def on_unmount(self) -> None:
        """End the work."""
        self.view.close()

    def tick(self) -> None:
        """Show what is new; look for more."""
        if self.view.is_stale():
            self._keeping_place(self.view.arrange)
            self._go_to_wanted()
        idle = self._work is None or self._work.is_finished
        if idle and time.monotonic() - self._worked > WORK_SECONDS:
            self.work()
        self._say_status()

    def work(self) -> None:
        """Begin the work in the background, unless it goes on."""
        if self._work is None or self._work.is_finished:
            self._worked = time.monotonic()
            self._work = self.run_worker(self.view.work, thread=True, group="work")

    def show(self) -> None:
        """Bring everything on the screen up to the view."""
        table, sort = self.query_one(Table), self.view.sort
        table.mark_sorted(sort.column, descending=sort.descending)
        table.set_rows(len(self.view.numbers), lambda place: tree_cells(self.view.row(place)))
        choices = kind_choices(self.view.counts)
        self.query_one(Choices).say(choices, self.view.shown.show)
        self._say_status()

    def go_to(self, number: int) -> None:
        """Put the cursor on a row."""
        place = self.view.place_of(number)
        if place is not None:
            self.query_one(Table).cursor = place

    def action_open(self) -> None:
        """Show the tree under the cursor."""
        self._wanted = None
        if (number := self._number) is not None:
            self.browser.push_screen(TreeScreen(self.view, number), self._returned)

    def action_search(self) -> None:
        """Type what to look for."""
        self.query_one(SearchBar).open(self.view.shown.text, regex=self.view.shown.regex)

    def action_kind(self, place: int) -> None:
        """Show one kind of trees."""
        self._filter(KINDS[place], self.view.shown.text, regex=self.view.shown.regex)

    def action_next_kind(self) -> None:
        """Show the next kind."""
        self.action_kind((KINDS.index(self.view.shown.show) + 1) % len(KINDS))

    def action_sort(self) -> None:
        """Sort by the next column."""
        following = SORTS[(SORTS.index(self.view.sort.column) + 1) % len(SORTS)]
        self._sort(Sort(following, following in LARGEST_FIRST))

    def action_reverse(self) -> None:
        """Sort the other way."""
        self._sort(Sort(self.view.sort.column, not self.view.sort.descending))

    def action_failure(self, step: int) -> None:
        """Go to the next failure in a direction."""
        place = self.view.failure(self.query_one(Table).cursor, step)
        if place is None:
            self.browser.warn(f"no failure {'below' if step > 0 else 'above'}")
        else:
            self.query_one(Table).cursor = place

    def action_reload(self) -> None:
        """Open the run again, after it was replaced."""
        try:
            view = RunView.open(self.view.path, self.inputs)
        except UsageError as error:
            self.browser.warn(str(error))
            return
        shown, sort = self.view.shown, self.view.sort
        self.view.close()
        self.view, self._worked = view, float("-inf")
        view.sort = sort
        view.show(shown)
        self.show()
        self.tick()

    def action_back(self) -> None:
        """Stop looking for a text; where none is looked for, go back to the runs."""
        if self.view.shown.text:
            self._filter(self.view.shown.show, "", regex=False)
        else:
            self.dismiss(None)

    def on_line_list_opened(self, event: LineList.Opened) -> None:
        """Enter, or a double click."""
        self.action_open()

    def on_line_list_moved(self, event: LineList.Moved) -> None:
        """Remember the place."""
        row = self.view.row(event.line) if event.line < len(self.view.numbers) else None
        known = self.browser.memory.place(self.view.path)
        if row and self._wanted is None and row.prompt_id != known.prompt_id:
            self.browser.remember(self.view.path, Place(prompt_id=row.prompt_id))

    def on_table_sorted(self, event: Table.Sorted) -> None:
        """Sort by the column that was clicked, the other way at the second click."""
        column = cast("Column", event.column)
        if column == self.view.sort.column:
            self.action_reverse()
        else:
            self._sort(Sort(column, column in LARGEST_FIRST))

    def on_choices_chosen(self, event: Choices.Chosen) -> None:
        """Show the kind that was clicked."""
        self.action_kind(KINDS.index(cast("Show", event.name)))

    def on_search_bar_asked(self, event: SearchBar.Asked) -> None:
        """Look for a text."""
        self._filter(self.view.shown.show, event.text, regex=event.regex)

    def on_search_bar_closed(self) -> None:
        """Give the table the keys again."""
        self.query_one(Table).focus()

    @property
    def _number(self) -> int | None:
        cursor = self.query_one(Table).cursor
        return self.view.numbers[cursor] if cursor < len(self.view.numbers) else None

    def _filter(self, kind: Show, text: str, *, regex: bool) -> None:
        number = self._number
        try:
            self.view.show(Filter(kind, text, regex))
        except UsageError as error:
            self.browser.warn(str(error))
            return
        self.show()
        if number is not None:
            self.go_to(number)
        self.work()

    def _sort(self, sort: Sort) -> None:
        self.view.sort = sort
        self._keeping_place(self.view.arrange)

    def _keeping_place(self, change: Callable[[], None]) -> None:
        """Change what is shown; the cursor stays on its row, and the row where it was on the screen."""
        table, number = self.query_one(Table), self._number
        above = table.cursor - table.scroll_offset.y
        change()
        self.show()
        place = None if number is None else self.view.place_of(number)
        if place is not None and place != table.cursor:
            table.cursor = place
            table.scroll_to(y=place - above, animate=False, force=True)

    def _go_to_wanted(self) -> None:
        """Go to the tree where a person was the last time, as soon as its line is found."""
        if self._wanted is None:
            return
        number = self.view.index.find(self._wanted)
        if number is not None:
            self.go_to(number)
        elif not self.view.progress.done:
            return
        self._wanted = None
        if number is not None and self._reopen and self.is_current:
            self.action_open()

    def _returned(self, number: int | None) -> None:
        """Back from a tree: the cursor goes to the last one that was looked at."""
        place = self.browser.memory.place(self.view.path)
        self.browser.remember(self.view.path, place.model_copy(update={"open_tree": False}))
        if number is not None:
            self.go_to(number)

    def _say_status(self) -> None:
        view = self.view
        line = status(view.progress, view.shown, view.sort, len(view.numbers))
        if view.problem:
            line = Text(one_line(view.problem, 200), style=PALETTE["fault"])
            line.append("; R reads it again")
        self.query_one(StatusBar).say(line)
