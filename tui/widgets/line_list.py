"""A list of lines with a cursor; only the visible lines are drawn, and only those that changed are drawn again."""

from __future__ import annotations

from typing import ClassVar, Self

from rich.cells import cell_len
from rich.style import Style
from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tui.widgets.motions import MOTIONS, Motions

DRAWN_LINES = 1_000
"""Lines that are kept as they were drawn, at most."""
CURSOR = "▸"
"""Marks the line under the cursor, in addition to its colour."""


class LineList(Motions, ScrollView, can_focus=True, inherit_bindings=False):
    """A list of any length. Subclasses draw its lines."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *MOTIONS,
        Binding("enter", "open", "Open", show=False),
    ]
    COMPONENT_CLASSES: ClassVar[set[str]] = {"lines--cursor", "lines--head"}
    DEFAULT_CSS = """
    LineList {
        background: $background;
        overflow-x: hidden;
        overflow-y: auto;
        scrollbar-size-vertical: 1;
        & > .lines--head { text-style: bold; background: $panel; color: $foreground; }
        & > .lines--cursor { background: $panel; }
        &:focus > .lines--cursor { background: $primary 30%; text-style: bold; }
    }
    """

    cursor: reactive[int] = reactive(0, repaint=False)
    """The line under the cursor, from 0."""

    class Moved(Message):
        """The cursor moved to another line."""

        def __init__(self, sender: LineList, line: int) -> None:
            super().__init__()
            self.sender, self.line = sender, line

        @property
        def control(self) -> LineList:
            """The list."""
            return self.sender

    class Opened(Moved):
        """A line was opened with Enter or a second click."""

    def __init__(self, *, head: bool = False, classes: str = "") -> None:
        self._drawn: dict[tuple[int, bool, int, Style], Strip] = {}
        """Lines by number, whether the cursor is there, width and style, until something but the cursor or the scroll position changes."""
        self._plain = Style()
        super().__init__(classes=classes)
        self._num_head = int(head)
        self._count = 0

    def draw(self, line: int, width: int) -> Text:
        """Draw a line in at most `width` cells."""
        raise NotImplementedError

    def draw_head(self, width: int) -> Text:
        """Draw the header, if there is one."""
        return Text()

    def clicked_head(self, x: int) -> None:
        """The header was clicked."""

    @property
    def count(self) -> int:
        """The number of lines."""
        return self._count

    def set_count(self, count: int) -> None:
        """Set the number of lines; the cursor stays on its line if it still exists."""
        self._count = count
        self.virtual_size = Size(1, count + self._num_head)
        self.cursor = self.validate_cursor(self.cursor)
        self.refresh()

    def validate_cursor(self, cursor: int) -> int:
        """Limit the cursor to the lines."""
        return max(0, min(cursor, self._count - 1))

    def watch_cursor(self, before: int, cursor: int) -> None:
        """Scroll to the cursor and post `Moved`."""
        self.show_line(cursor)
        top = self.scroll_offset.y
        for line in (before, cursor):
            self.refresh(Region(0, line - top + self._num_head, self.size.width, 1))
        if before != cursor:
            self.post_message(self.Moved(self, cursor))

    def show_line(self, line: int) -> None:
        """Scroll until a line is visible."""
        top = round(self.scroll_target_y)
        if line < top:
            self.scroll_to(y=line, animate=False, force=True)
        elif line >= top + self.page_lines():
            self.scroll_to(y=line - self.page_lines() + 1, animate=False, force=True)

    def refresh(
        self,
        *regions: Region,
        repaint: bool = True,
        layout: bool = False,
        recompose: bool = False,
    ) -> Self:
        """Draw again, all lines unless regions are given, as they are when the list is scrolled."""
        if not regions:
            self._drawn.clear()
        return super().refresh(*regions, repaint=repaint, layout=layout, recompose=recompose)

    def notify_style_update(self) -> None:
        """Forget how lines looked in another theme."""
        self._drawn.clear()
        super().notify_style_update()

    def render_lines(self, crop: Region) -> list[Strip]:
        """Render the lines of the screen that changed; their common style is looked up once."""
        self._plain = self.rich_style
        return super().render_lines(crop)

    def render_line(self, y: int) -> Strip:
        """Render a line of the screen."""
        width = self.scrollable_content_region.width
        line = self.scroll_offset.y + y - self._num_head
        if y < self._num_head:
            style = self.get_component_rich_style("lines--head")
            text = Text(" ").append_text(self.draw_head(width - 1))
        elif 0 <= line < self._count:
            on = line == self.cursor
            style = self.get_component_rich_style("lines--cursor") if on else self._plain
            place = (line, on, width, style)
            if place not in self._drawn:
                if len(self._drawn) >= DRAWN_LINES:
                    self._drawn.clear()
                text = Text(CURSOR if on else " ").append_text(self.draw(line, width - 1))
                self._drawn[place] = self._strip(text, width, style)
            return self._drawn[place]
        else:
            return Strip.blank(width, self._plain)
        return self._strip(text, width, style)

    def _strip(self, text: Text, width: int, style: Style) -> Strip:
        text.end = ""
        strip = Strip(text.render(self.app.console), cell_len(text.plain))
        return strip.adjust_cell_length(width).apply_style(style)

    def page_lines(self) -> int:
        """Number of visible lines."""
        return max(self.scrollable_content_region.height - self._num_head, 1)

    def advance(self, lines: int) -> None:
        """Move the cursor."""
        self.cursor += lines

    def jump_to(self, *, end: bool) -> None:
        """Move the cursor to the start or the end."""
        self.cursor = self._count - 1 if end else 0

    def action_open(self) -> None:
        """Open the line under the cursor."""
        if self._count:
            self.post_message(self.Opened(self, self.cursor))

    def on_resize(self) -> None:
        """Scroll to the cursor, once the new size is known."""
        self.call_after_refresh(self.show_line, self.cursor)

    def on_click(self, event: events.Click) -> None:
        """Move the cursor to the clicked line; open it on a second click."""
        place = event.get_content_offset(self)
        if place is None:
            return
        if place.y < self._num_head:
            self.clicked_head(place.x - 1)
            return
        line = self.scroll_offset.y + place.y - self._num_head
        if line >= self._count:
            return
        if event.chain > 1 and line == self.cursor:
            self.action_open()
        self.cursor = line
