"""What a training learns from, and what came of it: scores, losses, and every example with its way back."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.widgets import Footer, Static
from textual.worker import Worker

from spar.errors import UsageError
from spar.view.node_detail import Section
from spar.view.palette import PALETTE
from spar.view.text import one_line
from tui.clipboard import copy
from tui.inputs import Inputs
from tui.screens.base import BrowserScreen
from tui.screens.jump import show_tree
from tui.screens.work import begin
from tui.tables.runs import run_name
from tui.tables.training import (
    COLUMNS,
    KIND_NAMES,
    bar_lines,
    course_text,
    example_cells,
    example_sections,
    round_text,
    score_lines,
    title_text,
)
from tui.training.examples import TrainingExample
from tui.training.status import Origin, standing_of
from tui.training.view import TrainingView
from tui.widgets.bars import StatusBar
from tui.widgets.choices import Choice, Choices
from tui.widgets.line_list import LineList
from tui.widgets.node_pane import ASKED, Chosen, NodePane, as_text, choose
from tui.widgets.table import Table

TICK_SECONDS = 1.0


class TrainingScreen(BrowserScreen[None]):
    """One training run, followed while it goes on."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("l,right", "open", "Its tree", key_display="⏎"),
        Binding("left_square_bracket", "round(-1)", "Previous", key_display="["),
        Binding("right_square_bracket", "round(1)", "Next round", key_display="]"),
        Binding("f", "next_kind", "Filter"),
        *(Binding(str(at + 1), f"kind({at})", "Show one kind", show=False) for at in range(7)),
        Binding("d", "diff", "Diff/full"),
        Binding("p", "asked", "Prompt", show=False),
        Binding("v", "chart", "Chart"),
        Binding("tab", "other_pane", "The other pane", show=False),
        Binding("J", "scroll(1)", "Scroll the example down", show=False),
        Binding("K", "scroll(-1)", "Scroll the example up", show=False),
        Binding("y", "copy", "Copy what is learnt", show=False),
        Binding("Y", "copy_rejected", "Copy what is rejected", show=False),
        Binding("escape,h,left", "back", "Back", key_display="esc"),
    ]
    CSS = """
    #scores, #courses { height: auto; padding: 0 1; text-wrap: nowrap; text-overflow: ellipsis; }
    TrainingScreen #examples { height: 1fr; layout: vertical; }
    TrainingScreen #examples Table { height: 2fr; border-top: solid $panel; }
    TrainingScreen #examples NodePane { height: 3fr; border-top: solid $panel; }
    TrainingScreen.-wide #examples { layout: horizontal; }
    TrainingScreen.-wide #examples Table { width: 2fr; height: 1fr; }
    TrainingScreen.-wide #examples NodePane { width: 3fr; height: 1fr; border-left: solid $panel; }
    #examples Table:focus, #examples NodePane:focus { border-top: solid $accent; }
    """

    def __init__(self, inputs: Inputs, run: Path) -> None:
        super().__init__()
        self.inputs, self.view = inputs, TrainingView(run, inputs)
        self.chart = 0
        """0: every metric as a line; i: the i-th as bars; one more than there are metrics: none."""
        self._chosen = Chosen()
        self._example: TrainingExample | None = None
        """The one whose sections are shown."""
        self._sections: list[Section] = []
        self._reading: Worker[None] | None = None

    def compose(self) -> ComposeResult:
        """Scores, losses, the list, the example."""
        yield Static(id="name", classes="title")
        yield Static(id="scores")
        yield Static(id="courses")
        yield Choices()
        with Container(id="examples"):
            yield Table(COLUMNS)
            yield NodePane()
        yield StatusBar()
        yield Footer()

    def on_mount(self) -> None:
        """Begin to read."""
        self.query_one(Table).focus()
        self.set_interval(TICK_SECONDS, self.tick)
        self.tick()

    def on_unmount(self) -> None:
        """Let go of the files."""
        self.view.close()

    def on_resize(self) -> None:
        """Draw the chart as wide as there is room."""
        self._show_chart()

    def tick(self) -> None:
        """Look at the folder again, unless a look goes on."""
        if self._reading is None or self._reading.is_finished:
            self._reading = begin(self, "look", self._look)

    def action_open(self) -> None:
        """Show the tree that the example came from, the cursor on its node."""
        if origin := self.view.origin(self._line):
            begin(self, "jump", self._jump, origin)
        elif self.view.numbers:
            self.browser.warn("this example does not say where it came from")

    def action_round(self, step: int) -> None:
        """Go to another round."""
        if self.view.at is None or not self.view.go_to(self.view.at + step):
            self.browser.warn("there is no round further on")
            return
        self._show(top=True)
        self.tick()

    def action_kind(self, place: int) -> None:
        """Show one kind of examples, or all."""
        if place < len(self.view.kinds):
            self.view.show(self.view.kinds[place])
            self._show(top=True)

    def action_next_kind(self) -> None:
        """Show the next kind."""
        kinds = self.view.kinds
        self.action_kind((kinds.index(self.view.kind) + 1) % len(kinds))

    def action_diff(self) -> None:
        """Show what differs, or both responses whole."""
        self._choose(replace(self._chosen, diff=not self._chosen.diff))

    def action_asked(self) -> None:
        """Show or hide the conversation before what is learnt."""
        self._choose(replace(self._chosen, asked=not self._chosen.asked))

    def action_chart(self) -> None:
        """Another chart of the scores: all, each alone as bars, none."""
        self.chart = (self.chart + 1) % (len(self.view.standing.scores.metrics) + 2)
        self._show_chart()

    def action_other_pane(self) -> None:
        """Give the keys to the other pane."""
        table, pane = self.query_one(Table), self.query_one(NodePane)
        (pane if table.has_focus else table).focus()

    def action_scroll(self, lines: int) -> None:
        """Scroll the example while the list has the keys."""
        self.query_one(NodePane).advance(lines)

    def action_copy(self) -> None:
        """Copy what is learnt, uncut."""
        if example := self.view.example(self._line):
            copy(self.app, example.learnt, "what is learnt")

    def action_copy_rejected(self) -> None:
        """Copy the rejected response, uncut."""
        example = self.view.example(self._line)
        if example and example.rejected is not None:
            copy(self.app, example.rejected, "what is rejected")
        else:
            self.browser.warn("this is no pair")

    def action_back(self) -> None:
        """Back to the runs."""
        self.dismiss(None)

    def on_line_list_moved(self, event: LineList.Moved) -> None:
        """Show the example under the cursor."""
        self._show_example()

    def on_line_list_opened(self, event: LineList.Opened) -> None:
        """Enter, or a double click."""
        self.action_open()

    def on_choices_chosen(self, event: Choices.Chosen) -> None:
        """Show the kind that was clicked."""
        names: list[str] = [kind or "all" for kind in self.view.kinds]
        self.action_kind(names.index(event.name))

    @property
    def _line(self) -> int:
        return self.query_one(Table).cursor

    async def _look(self) -> None:
        """See how the run stands, and find the examples that are there."""
        view = self.view
        standing = await asyncio.to_thread(standing_of, view.path)
        changed = standing != view.standing
        opened = view.take(standing)
        if changed:
            self._show_chart()
        if changed or opened:
            self._show()
        more = True
        while more:
            more = await asyncio.to_thread(view.work)
            if view.arrange():
                self._show()

    def _show(self, *, top: bool = False) -> None:
        """Bring everything but the chart up to the view."""
        view, table = self.view, self.query_one(Table)
        table.set_rows(len(view.numbers), self._cells)
        if top:
            table.cursor = 0
        choices = [Choice("all", "all", sum(view.counts.values()))]
        choices += [Choice(k, KIND_NAMES[k], view.counts[k]) for k in view.kinds if k]
        self.query_one(Choices).say(choices, view.kind or "all")
        name = run_name(view.path, self.inputs.paths)
        self.query_one("#name", Static).update(title_text(name, view.standing, view.at))
        courses = Text("\n").join(map(course_text, view.courses))
        self.query_one("#courses", Static).update(courses)
        self.query_one("#courses").display = bool(courses)
        self._show_example()

    def _cells(self, line: int) -> Mapping[str, Text]:
        example = self.view.example(line)
        return example_cells(example) if example else {}

    def _show_chart(self) -> None:
        scores, width = self.view.standing.scores, max(self.size.width - 2, 1)
        lines: list[Text] = []
        if self.chart == 0:
            lines = score_lines(scores, width)
        elif self.chart <= len(scores.metrics):
            lines = bar_lines(scores, scores.metrics[self.chart - 1], width)
        self.query_one("#scores", Static).update(Text("\n").join(lines))
        self.query_one("#scores").display = bool(lines)

    def _show_example(self) -> None:
        self._say_status()
        example = self.view.example(self._line)
        if example is not None and example is self._example:
            return
        self._example = example
        begin(self, "example", self._work_out)

    async def _work_out(self) -> None:
        """Show the example; its tree and its diff take a while, so they are made elsewhere."""
        example, origin = self.view.example(self._line), self.view.origin(self._line)
        if example is None:
            self._sections = []
        else:
            colour, tree = not self.app.no_color, None
            if example.kind == "refine" and origin is not None:
                tree = await asyncio.to_thread(self.view.tree, origin)
            self._sections = await asyncio.to_thread(
                example_sections, example, origin, tree, colour=colour
            )
        self._choose(self._chosen)

    def _choose(self, chosen: Chosen) -> None:
        self._chosen = chosen
        has_turns = any(section.title == ASKED for section in self._sections)
        shown = choose(self._sections, replace(chosen, asked=chosen.asked and has_turns))
        self.query_one(NodePane).say(as_text(shown))

    async def _jump(self, origin: Origin) -> None:
        try:
            view, number = await asyncio.to_thread(self.view.find, origin)
        except UsageError as error:
            self.browser.warn(str(error))
        else:
            show_tree(self, view, number, origin.node)

    def _say_status(self) -> None:
        view, line = self.view, self._line
        if view.problem:
            text = Text(one_line(view.problem, 300), style=PALETTE["fault"])
        elif view.round is None:
            text = Text("nothing is learnt yet: no examples are built", style=PALETTE["note"])
        elif not view.numbers:
            text = Text(f"{round_text(view.round)} has no examples yet", style=PALETTE["note"])
        else:
            text = Text(f"example {line + 1:,} of {len(view.numbers):,}")
            if origin := view.origin(line):
                text.append(f"  node #{origin.node} of {one_line(str(origin.directory), 200)}")
        self.query_one(StatusBar).say(text)
