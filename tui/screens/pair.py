"""One prompt in two runs: both answers, their word diff, and both trees."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widgets import Static

from spar.view.node_detail import Section
from tui.clipboard import copy
from tui.compare.comparison import Comparison, PromptPair
from tui.compare.pair import LETTERS, Trees, legend, pair_sections, pair_title
from tui.run_view import RunView, tree_of
from tui.screens.background import start_work
from tui.screens.base import BrowserScreen
from tui.screens.jump import show_tree
from tui.widgets.bars import StatusBar
from tui.widgets.footer import KeyFooter
from tui.widgets.node_pane import NodePane, as_text

_MARGIN = 4
"""Cells of a pane beside its text."""


class PromptTable(Protocol):
    """The table of prompts that a pair was opened from, as it is now."""

    positions: array[int]
    """Positions of the shown prompts, in order."""

    def line_of(self, prompt: int | None) -> int | None:
        """The line of a prompt; None if it is not shown."""


@dataclass(frozen=True, slots=True)
class Sides:
    """The two compared runs."""

    comparison: Comparison
    views: tuple[RunView, RunView]
    names: tuple[str, str]
    table: PromptTable


class PairScreen(BrowserScreen[int]):
    """Both answers to one prompt; the screen's result is the last prompt that was viewed.

    The runs may grow meanwhile: prompts are known by the `hash` of their ids, since positions and lines change.
    """

    AUTO_FOCUS = ""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left_square_bracket", "step(-1)", "Prev", key_display="[", tooltip="Previous"),
        Binding("right_square_bracket", "step(1)", "Next", key_display="]"),
        Binding("n", "flip(1)", "Flip", tooltip="Next flip"),
        Binding("N", "flip(-1)", "Previous flip", show=False),
        Binding("a", "tree(0)", "Tree A"),
        Binding("b", "tree(1)", "Tree B"),
        Binding("y", "copy(0)", "Copy A's answer", show=False),
        Binding("Y", "copy(1)", "Copy B's answer", show=False),
        Binding("tab", "other_pane(1)", "Other pane", show=False),
        Binding("shift+tab", "other_pane(-1)", "The pane before", show=False),
        Binding("escape,h,left", "back", "Back", key_display="esc"),
    ]
    CSS = """
    PairScreen #prompt { height: auto; max-height: 3; padding: 0 1; }
    PairScreen #sides { height: 2fr; }
    PairScreen #sides NodePane { width: 1fr; border-top: solid $panel; }
    PairScreen #change { height: 1fr; border-top: solid $panel; }
    PairScreen NodePane:focus { border-top: solid $accent; }
    PairScreen #stacked { height: 1fr; border-top: solid $panel; }
    PairScreen.-narrow #sides, PairScreen.-narrow #change { display: none; }
    PairScreen.-wide #stacked { display: none; }
    """

    def __init__(self, sides: Sides, prompt: int) -> None:
        super().__init__()
        self.sides, self.prompt = sides, prompt
        self._pair: PromptPair | None = None
        self._sections: Sequence[Sequence[Section]] = ((), (), ())
        """The sections of the diff, of the left side and of the right side."""

    def compose(self) -> ComposeResult:
        """The prompt, and both sides next to each other, or stacked on a narrow screen."""
        yield Static(id="prompt")
        with Horizontal(id="sides"):
            yield NodePane(id="left")
            yield NodePane(id="right")
        yield NodePane(id="change")
        yield NodePane(id="stacked")
        yield StatusBar()
        yield KeyFooter()

    def on_mount(self) -> None:
        """Show the pair."""
        self._load()

    def on_resize(self) -> None:
        """Focus a visible pane, and draw the trees in its width."""
        self.call_after_refresh(self._focus)
        if self._pair:
            self._load()

    def action_step(self, step: int) -> None:
        """Go to the next or previous pair of the table."""
        line = self.line
        following = (0 if step > 0 else -1) if line is None else line + step
        if 0 <= following < len(self.sides.table.positions):
            self._go_to(following)
        else:
            self.browser.show_warning("there are no more prompts")

    def action_flip(self, step: int) -> None:
        """Go to the next or previous pair of the table that flipped."""
        positions, line = self.sides.table.positions, -1 if self.line is None else self.line
        flip = self.sides.comparison.next_flip(positions, line, step)
        if flip is None:
            self.browser.show_warning(f"no flip {'below' if step > 0 else 'above'}")
        else:
            self._go_to(flip)

    def action_tree(self, side: int) -> None:
        """Show one side's tree."""
        if self._pair:
            row = (self._pair.left, self._pair.right)[side]
            show_tree(self, self.sides.views[side], row.number, None)

    def action_copy(self, side: int) -> None:
        """Copy a whole answer."""
        section = next(iter(self._sections[side + 1]), None)
        if section is not None:
            copy(self.app, section.raw, f"answer of {LETTERS[side]}")

    def action_other_pane(self, step: int) -> None:
        """Focus the next visible pane."""
        panes = self._panes
        at = next((at for at, pane in enumerate(panes) if pane.has_focus), -1)
        panes[(at + step) % len(panes)].focus()

    def action_back(self) -> None:
        """Back to the table."""
        self.dismiss(self.prompt)

    @property
    def _panes(self) -> list[NodePane]:
        names = ("#stacked",) if self.has_class("-narrow") else ("#change", "#left", "#right")
        return [self.query_one(name, NodePane) for name in names]

    def _focus(self) -> None:
        if not any(pane.has_focus for pane in self._panes):
            self._panes[0].focus()

    @property
    def line(self) -> int | None:
        """The line of the prompt in the table; None if its filter hides it now."""
        return self.sides.table.line_of(self.prompt)

    def _go_to(self, line: int) -> None:
        self.prompt = self.sides.comparison.prompt_at(self.sides.table.positions[line])
        self._load()

    def _load(self) -> None:
        position = self.sides.comparison.position_of(self.prompt)
        if position is None:  # one of the runs was replaced; what is shown stays
            return
        self._pair = self.sides.comparison.pair(position)
        start_work(self, "pair", self._render_sections, self._pair)

    async def _render_sections(self, pair: PromptPair) -> None:
        """Show a pair; its trees and their diff may take a while, so they are computed in a thread."""
        colour = not self.app.no_color
        width = (self.size.width if self.has_class("-narrow") else self.size.width // 2) - _MARGIN
        trees, self._sections = await asyncio.to_thread(
            _load_sections, self.sides, pair, width, colour
        )
        change, left, right = map(as_text, self._sections)
        self.query_one("#prompt", Static).update(pair_title(pair, trees))
        self.query_one("#change", NodePane).set_content(change)
        self.query_one("#left", NodePane).set_content(left)
        self.query_one("#right", NodePane).set_content(right)
        self.query_one("#stacked", NodePane).set_content(Text("\n\n").join([change, left, right]))
        line, number = self.line, len(self.sides.table.positions)
        where = "not shown in the table" if line is None else f"{line + 1:,}"
        text = Text(f"prompt {where} of {number:,}  ")
        text.append_text(legend(colour=colour))
        self.query_one(StatusBar).set_content(text)


def _load_sections(
    sides: Sides, pair: PromptPair, width: int, colour: bool
) -> tuple[Trees, Sequence[Sequence[Section]]]:
    left, right = sides.views
    trees = tree_of(left, pair.left.number), tree_of(right, pair.right.number)
    return trees, pair_sections(pair, trees, sides.names, width=width, colour=colour)
