"""A pane with the parts of a node, each under a title line; a key or a click folds it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from rich.cells import cell_len
from rich.style import Style
from rich.text import Text
from textual import events
from textual.content import Content
from textual.widgets import Static

from spar.view.node_detail import Section
from spar.view.palette import PALETTE
from spar.view.text import one_line
from tui.index.query import Query, SlowPattern
from tui.tree_search import Found, shown_around
from tui.widgets.node_pane import NodePane

KEYS: Mapping[str, int] = {
    "change": 1,
    "response": 2,
    "critique": 3,
    "votes": 4,
    "dissent": 4,
    "reflection": 5,
    "reply": 6,
    "strategy": 7,
    "prompt": 8,
    "source": 8,
    "cost": 9,
    "meta": 9,
}
"""Kind of a part to the key that folds it; the others are always open."""
DRAFT = "draft"
"""What the response is called here where there is nothing to compare it with, so that it is open at first."""
FOLDED, OPEN, RULE = "▸", "▾", "─"
_META = "fold"
"""Key of the style's metadata on a title, which a click finds."""


@dataclass(frozen=True, slots=True)
class Folds:
    """The parts that are open, by kind; the same for every node that is looked at."""

    open: frozenset[str] = frozenset({"change", DRAFT, "critique"})

    def is_open(self, section: Section, sections: Sequence[Section]) -> bool:
        """Whether a part is shown whole."""
        return section.kind not in KEYS or _fold(section, sections) in self.open

    def toggled(self, key: int, sections: Sequence[Section]) -> Folds:
        """The folds after the key of a part, or of several, was pressed."""
        kinds = {_fold(each, sections) for each in sections if KEYS.get(each.kind) == key}
        return Folds(self.open - kinds if kinds <= self.open else self.open | kinds)

    def with_diff_swapped(self) -> Folds:
        """The whole response in place of the diff, or the diff again."""
        shown = {"response"} if "change" in self.open else {"change"}
        return Folds((self.open - {"change", "response"}) | shown)

    def with_all_swapped(self) -> Folds:
        """Every part open, or those that are at first."""
        everything = frozenset({*KEYS, DRAFT})
        return Folds() if self.open == everything else Folds(everything)


class PartsText(NamedTuple):
    """The parts of a node as one text."""

    text: Text
    end: int | None
    """Where the current match of a search ends."""
    starts: Sequence[int]
    """Where each part starts."""


def parts_text(
    sections: Sequence[Section], folds: Folds, width: int, found: Found | None = None
) -> PartsText:
    """The parts as one text, each title on a line of so many cells.

    What a search found is highlighted, and the part with its current match is open.
    """
    text, end, starts = Text(), None, []
    current = found.current if found else None
    numbers: Counter[str] = Counter()
    has_one_list = sum(section.kind == "constraints" for section in sections) == 1
    for section in sections:
        place = (section.kind, numbers[section.kind])
        is_current = current is not None and place == (current.kind, current.number)
        numbers[section.kind] += 1
        starts.append(len(text))
        is_open = folds.is_open(section, sections) or is_current
        if section.kind in KEYS:
            text.append_text(_title(section, width, is_open=is_open)).append("\n")
        elif section.kind == "constraints" and has_one_list:
            text.rstrip()
            text.append("\n")
        elif section.kind != "verdict":
            text.append(f"{section.title}\n", style=PALETTE["head"])
        if is_open:
            body, start = section.body, len(text)
            if found:
                body, moved = shown_around(section, current if is_current else None)
                highlight(body, found.query, PALETTE["found"])
                if is_current and current is not None:
                    body.stylize(PALETTE["match"], current.start + moved, current.end + moved)
                    end = start + current.end + moved
            text.append_text(body).append("\n\n")
    text.rstrip()
    return PartsText(text, end, starts)


def highlight(text: Text, query: Query, style: str, *, start: int = 0) -> None:
    """Give every match in a text a style, from a position on; those that are not found in time have none."""
    with suppress(SlowPattern):
        for first, last in query.find_all(text.plain[start:]):
            text.stylize(style, start + first, start + last)


class PartsPane(NodePane):
    """The parts of a node, the first of them without a title."""

    DEFAULT_CSS = """
    PartsPane {
        border: round $foreground 35%; border-title-color: $foreground; scrollbar-gutter: stable;
    }
    PartsPane:focus { border: round $accent; }
    """

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  # as Textual names it
        super().__init__(id=id)
        self.sections: Sequence[Section] = ()
        """The parts of what is shown."""
        self.folds = Folds()
        self._width = 0
        self._found: Found | None = None

    @property
    def has_change(self) -> bool:
        """Whether what is shown is compared with something."""
        return any(section.kind == "change" for section in self.sections)

    def show_found(self, found: Found | None, *, at_once: bool) -> None:
        """Highlight what a search found, and scroll to its current match; not at once if other parts are on their way."""
        self._found = found
        if at_once:
            self._draw()

    def show_parts(self, title: Text, sections: Sequence[Section]) -> None:
        """Show other parts from their start."""
        self.border_title, self.sections = title, sections
        self.scroll_home(animate=False)
        self._draw()

    def stream_parts(self, title: Text, sections: Sequence[Section]) -> None:
        """Show the same parts as they grow; the end stays in view where it was."""
        at_end = self.scroll_offset.y >= self.max_scroll_y - 1
        self.border_title, self.sections = title, sections
        self._draw()
        if at_end:
            self.call_after_refresh(self.scroll_end, animate=False)

    def fold(self, folds: Folds) -> None:
        """Fold and open parts; the part that one key opens is scrolled into view, else what is in view stays there."""
        before, self.folds, parts = self.folds, folds, self.sections
        opened = [
            at
            for at, part in enumerate(parts)
            if folds.is_open(part, parts) and not before.is_open(part, parts)
        ]
        is_one = len({KEYS[parts[at].kind] for at in opened}) == 1
        self._draw(opened[0] if is_one else None)

    def on_resize(self) -> None:
        """Draw the titles as wide as the pane is now."""
        if self.scrollable_content_region.width != self._width:
            self._draw()

    def on_click(self, event: events.Click) -> None:
        """Fold or open the part whose title was clicked."""
        key = event.style.meta.get(_META)
        if key is not None:
            self.fold(self.folds.toggled(int(key), self.sections))

    def _draw(self, opened: int | None = None) -> None:
        """Draw all parts, and scroll to one that was opened, else to the current match."""
        self._width = self.scrollable_content_region.width
        text, end, starts = parts_text(self.sections, self.folds, max(self._width, 20), self._found)
        self.query_one("#text", Static).update(text)
        if opened is not None:
            ends = [*starts[1:], len(text)]
            first = self._num_lines(text.plain[: starts[opened]])
            last = self._num_lines(text.plain[: ends[opened]].rstrip()) - 1
            self.call_after_refresh(self._show_lines, first, last)
        elif end is not None:
            word_end = next((at for at in range(end, len(text)) if text.plain[at].isspace()), None)
            self.call_after_refresh(self._show_line, self._num_lines(text.plain[:word_end]) - 1)

    def _num_lines(self, text: str) -> int:
        """Lines that a text takes in the pane."""
        width = max(self.query_one("#text", Static).size.width, 1)
        return Content(text.removesuffix("\n")).get_height({}, width) if text else 0

    def _show_line(self, line: int) -> None:
        """Scroll until a line of the text is in view."""
        top, size = self.scroll_offset.y, self.page_lines()
        if not top <= line < top + size:
            self.scroll_to(y=max(line - size // 3, 0), animate=False)

    def _show_lines(self, first: int, last: int) -> None:
        """Scroll no further than until these lines are in view; half a pane of them is enough."""
        top, size = self.scroll_offset.y, self.page_lines()
        if first < top or (last >= top + size and first > top + size // 2):
            self.scroll_to(y=min(first, max(last - size + 1, 0)), animate=False)


def _fold(section: Section, sections: Sequence[Section]) -> str:
    if section.kind == "response" and not any(each.pieces for each in sections):
        return DRAFT
    return section.kind


def _title(section: Section, width: int, *, is_open: bool) -> Text:
    """`▾ Critique (no) ───────── 3`, and the summary of a part that is folded."""
    key = str(KEYS[section.kind])
    line = Text(f"{OPEN if is_open else FOLDED} {section.title} ", style=PALETTE["head"])
    room = width - line.cell_len - cell_len(key) - 4
    if not is_open and section.summary and room > 0:
        line.append(f"{one_line(section.summary, room)} ", style=f"not bold {PALETTE['note']}")
    rule = RULE * max(width - line.cell_len - cell_len(key) - 1, 0)
    line.append(rule, style=f"not bold {PALETTE['guide']}").append(f" {key}", style="not bold")
    line.stylize(Style(meta={_META: key}))
    return line
