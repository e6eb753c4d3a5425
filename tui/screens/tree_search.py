"""`/` on the screen of a tree: look for a text in all its nodes, go from match to match."""

from __future__ import annotations

from dataclasses import replace

from rich.text import Text
from textual import on

from spar.errors import UsageError
from spar.types import SearchTree
from spar.view.palette import PALETTE
from spar.view.text import one_line
from tui.index.query import SlowPattern, query
from tui.run_view import searched_text
from tui.screens.base import Result
from tui.screens.marking import MarkingScreen
from tui.tree_search import Found, TreeSearch
from tui.widgets.bars import SearchBar
from tui.widgets.input_bar import InputBar
from tui.widgets.parts_pane import PartsPane
from tui.widgets.tree_pane import TreePane


class TreeSearchScreen(MarkingScreen[Result]):
    """A screen with a `TreePane`, a `PartsPane` and a `SearchBar`."""

    record: SearchTree | None
    found: Found | None = None
    """What is searched for; None while nothing is."""
    _texts: TreeSearch | None = None

    def action_search(self) -> None:
        """Open the search bar, with the text that was searched for in the list."""
        before = self.found.query if self.found else None
        shown = self.view.shown
        text, regex = searched_text(shown), shown.regex
        if before is not None:
            text, regex = before.text, before.pattern is not None
        self.query_one(SearchBar).open(text, regex=regex, before=before.text if before else "")

    def go_to_match(self, step: int) -> None:
        """Show the next or previous match."""
        assert self.found is not None
        self.show_found(self.found.step(step, self.query_one(TreePane).cursor))

    def end_search(self) -> None:
        """Highlight nothing."""
        self.show_found(None)

    def search_again(self) -> None:
        """Look for the text in the tree that is shown now."""
        self._texts = TreeSearch(self.record) if self.record else None
        if self.found is not None and self._texts is not None:
            try:
                self.show_found(self._texts.find(self.found.query))
            except SlowPattern as error:
                self.end_search()
                self.browser.show_warning(str(error))

    def show_found(self, found: Found | None) -> None:
        """Highlight what was found in both panes, and move to the current match."""
        self.found = found
        pane = self.query_one(TreePane)
        pane.show_found(found, _count_text(found))
        line = pane.cursor
        if found and found.current:
            pane.cursor = found.current.line
        self.highlight_node(at_once=pane.cursor == line)

    def highlight_node(self, *, at_once: bool) -> None:
        """Highlight what was found in the node under the cursor."""
        found = self.found
        if found and found.current and found.current.line != self.query_one(TreePane).cursor:
            found = replace(found, at=None)
        self.query_one(PartsPane).show_found(found, at_once=at_once)

    @on(SearchBar.Changed)
    def search_while_typing(self, event: SearchBar.Changed) -> None:
        """Search while the text is typed; what is no regular expression yet changes nothing."""
        try:
            self._look_for(event.text, regex=event.regex)
        except SlowPattern as error:
            self.query_one(SearchBar).reject(str(error))
        except UsageError:
            pass

    @on(SearchBar.Submitted)
    def search_for(self, event: SearchBar.Submitted) -> None:
        """Search for a text; one that is not a regular expression can be corrected."""
        bar = self.query_one(SearchBar)
        try:
            self._look_for(event.text, regex=event.regex)
        except UsageError as error:
            bar.reject(str(error))
        else:
            bar.close()

    @on(InputBar.Closed)
    def focus_pane(self) -> None:
        """Focus the tree; the node while it has the whole screen, which hides the tree."""
        self.query_one(PartsPane if self.has_class("-zoomed") else TreePane).focus()

    def _look_for(self, text: str, *, regex: bool) -> None:
        if not text:
            self.end_search()
        elif self._texts is not None:
            wanted = query(text, regex)
            if self.found is None or self.found.query != wanted:
                line = self.query_one(TreePane).cursor
                self.show_found(self._texts.find(wanted).first_from(line))


def _count_text(found: Found | None) -> Text | None:
    if found is None:
        return None
    text = Text.assemble("/", (one_line(found.query.text, 30), PALETTE["head"]))
    style = "" if found.matches else PALETTE["fail"]
    return text.append(f"  {found.count}", style=style)
