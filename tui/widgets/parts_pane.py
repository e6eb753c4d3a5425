"""A pane with the parts of a node, each under a title line; a key or a click folds it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.style import Style
from rich.text import Text
from textual import events
from textual.widgets import Static

from spar.view.node_detail import Section
from spar.view.palette import PALETTE
from spar.view.text import one_line
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


def parts_text(sections: Sequence[Section], folds: Folds, width: int) -> Text:
    """The parts as one text, each title on a line of so many cells."""
    text = Text()
    has_one_list = sum(section.kind == "constraints" for section in sections) == 1
    for section in sections:
        is_open = folds.is_open(section, sections)
        if section.kind in KEYS:
            text.append_text(_title(section, width, is_open=is_open)).append("\n")
        elif section.kind == "constraints" and has_one_list:
            text.rstrip()
            text.append("\n")
        elif section.kind != "verdict":
            text.append(f"{section.title}\n", style=PALETTE["head"])
        if is_open:
            text.append_text(section.body).append("\n\n")
    text.rstrip()
    return text


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

    def show_parts(self, title: Text, sections: Sequence[Section]) -> None:
        """Show other parts from their start."""
        self.border_title, self.sections = title, sections
        self._draw()
        self.scroll_home(animate=False)

    def fold(self, folds: Folds) -> None:
        """Fold and open parts; what is in view stays there."""
        self.folds = folds
        self._draw()

    def on_resize(self) -> None:
        """Draw the titles as wide as the pane is now."""
        if self.scrollable_content_region.width != self._width:
            self._draw()

    def on_click(self, event: events.Click) -> None:
        """Fold or open the part whose title was clicked."""
        key = event.style.meta.get(_META)
        if key is not None:
            self.fold(self.folds.toggled(int(key), self.sections))

    def _draw(self) -> None:
        self._width = self.scrollable_content_region.width
        text = parts_text(self.sections, self.folds, max(self._width, 20))
        self.query_one("#text", Static).update(text)


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
