"""A training run: scores, losses, and every example with its source."""

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
from textual.widgets import Static
from textual.worker import Worker

from spar.errors import UsageError
from spar.record.run_names import path_labels
from spar.view.node_detail import Section
from spar.view.palette import PALETTE
from spar.view.text import one_line
from tui.clipboard import copy
from tui.inputs import Inputs
from tui.screens.background import is_running, start_work
from tui.screens.base import BrowserScreen
from tui.screens.jump import show_tree
from tui.tables.run_texts import run_name
from tui.tables.training import (
    COLUMNS,
    KIND_NAMES,
    example_cells,
    example_sections,
    loss_curve_text,
    round_text,
    title_text,
)
from tui.tables.training_panes import (
    PANES,
    TrainingOverview,
    folded_training,
    metric_lines,
)
from tui.training.examples import TrainingExample
from tui.training.status import ExampleSource, read_status
from tui.training.view import TrainingView
from tui.widgets.bars import StatusBar
from tui.widgets.choices import Choice, Choices
from tui.widgets.dashboard import LOW, Dashboard
from tui.widgets.footer import KeyFooter
from tui.widgets.line_list import LineList
from tui.widgets.node_pane import (
    CHANGE,
    SOURCE_PROMPT,
    NodeOptions,
    NodePane,
    as_text,
    select_sections,
)
from tui.widgets.table import Table

TICK_SECONDS = 1.0


class TrainingScreen(BrowserScreen[None]):
    """One training run, updated live."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("l,right", "open", "Its tree", key_display="⏎"),
        Binding(
            "left_square_bracket",
            "round(-1)",
            "Previous",
            key_display="[",
            tooltip="Previous iteration",
        ),
        Binding(
            "right_square_bracket", "round(1)", "Next", key_display="]", tooltip="Next iteration"
        ),
        Binding("f", "next_kind", "Show the next kind", show=False),
        *(Binding(str(at + 1), f"kind({at})", "Show one kind", show=False) for at in range(7)),
        Binding("d", "diff", "Diff", tooltip="The diff or the whole responses"),
        Binding("p", "source_prompt", "Prompt", show=False),
        Binding("v", "chart", "Chart"),
        Binding("tab", "other_pane", "The other pane", show=False),
        Binding("J", "scroll(1)", "Scroll the example down", show=False),
        Binding("K", "scroll(-1)", "Scroll the example up", show=False),
        Binding("y", "copy", "Copy the target", show=False),
        Binding("Y", "copy_rejected", "Copy the rejected response", show=False),
        Binding("escape,h,left", "back", "Back", key_display="esc"),
    ]
    CSS = """
    TrainingScreen Dashboard.-in-a-row { grid-size: 3; grid-columns: 4fr 5fr 6fr; }
    TrainingScreen Dashboard.-narrow #pane-0 { column-span: 2; }
    TrainingScreen Dashboard.-narrow #pane-1 { display: none; }
    #pane-2 { column-span: 2; }
    .-in-a-row > #pane-2 { column-span: 1; }
    #scores, #loss-curves { height: auto; padding: 0 1; text-wrap: nowrap; text-overflow: ellipsis; }
    TrainingScreen #examples { height: 1fr; layout: vertical; }
    TrainingScreen #examples Table { height: 2fr; min-height: 5; }
    TrainingScreen #examples NodePane { height: 3fr; }
    TrainingScreen.-wide #examples { layout: horizontal; }
    TrainingScreen.-wide #examples Table { width: 2fr; height: 1fr; }
    TrainingScreen.-wide #examples NodePane { width: 3fr; height: 1fr; }
    """

    def __init__(self, inputs: Inputs, run: Path) -> None:
        super().__init__()
        self.inputs, self.view = inputs, TrainingView(run, inputs)
        self.chart = 0
        """0: the dashboard; i: the i-th metric by iteration; number of metrics + 1: neither.

        Where the dashboard is folded at first, it is unfolded before the first metric.
        """
        self._options = NodeOptions()
        self._example: TrainingExample | None = None
        """The example whose sections are shown."""
        self._sections: list[Section] = []
        self._reading: Worker[None] | None = None
        self._has_read = False
        """Whether the status was read before."""

    def compose(self) -> ComposeResult:
        """Scores, losses, the list, the example."""
        yield Static(id="name", classes="title")
        yield Dashboard(PANES, folded_training)
        yield Static(id="scores")
        yield Static(id="loss-curves")
        yield Choices()
        with Container(id="examples"):
            with Table(COLUMNS, classes="pane") as table:
                table.border_title = Text("what is learnt")
            with NodePane() as pane:
                pane.add_class("pane")
                pane.border_title = Text("the example")
        yield StatusBar()
        yield KeyFooter()

    def on_mount(self) -> None:
        """Start to read."""
        self.query_one(Table).focus()
        self.set_interval(TICK_SECONDS, self.tick)
        self.tick()

    def on_screen_resume(self) -> None:
        """Remember the loop as what is open, also after a tree of one of its stages was."""
        position = self.browser.session.position_in(self.view.path)
        self.browser.remember(self.view.path, position)

    def on_unmount(self) -> None:
        """Close the files."""
        self.view.close()

    def on_resize(self) -> None:
        """Fit the dashboard and the chart to the screen."""
        dashboard = self.query_one(Dashboard)
        dashboard.restore()
        dashboard.fit(self.app.size)
        self._show_chart()

    def tick(self) -> None:
        """Read the status again, unless a read is in progress."""
        if not is_running(self._reading):
            self._reading = start_work(self, "status", self._read_status)

    def action_open(self) -> None:
        """Open the tree of the example, with the cursor on its node."""
        if source := self.view.source(self._line):
            start_work(self, "jump", self._jump, source)
        elif self.view.numbers:
            self.browser.show_warning("this example does not name its source")

    def action_round(self, step: int) -> None:
        """Go to another round."""
        if self.view.round_index is None or not self.view.show_round(self.view.round_index + step):
            self.browser.show_warning("there are no more iterations")
            return
        self._show(top=True)
        self.tick()

    def action_kind(self, position: int) -> None:
        """Show one kind of examples, or all."""
        if position < len(self.view.kinds):
            self.view.show(self.view.kinds[position])
            self._show(top=True)

    def action_next_kind(self) -> None:
        """Show the next kind."""
        kinds = self.view.kinds
        self.action_kind((kinds.index(self.view.kind) + 1) % len(kinds))

    def action_diff(self) -> None:
        """Toggle between the diff and the whole responses."""
        if not any(section.title.startswith(CHANGE) for section in self._sections):
            self.browser.show_warning("this example has no diff")
        self._set_options(replace(self._options, diff=not self._options.diff))

    def action_source_prompt(self) -> None:
        """Show or hide the conversation before the target."""
        if not self._has_turns:
            self.browser.show_warning("there is no more of the prompt to show")
        self._set_options(replace(self._options, source_prompt=not self._options.source_prompt))

    def action_chart(self) -> None:
        """Show the next chart: the dashboard, unfolded where it is not yet, each metric by iteration, none."""
        dashboard = self.query_one(Dashboard)
        if self.chart == 0 and dashboard.is_folded:
            dashboard.toggle()
            self._show_chart()
            return
        self.chart = (self.chart + 1) % (len(self.view.status.scores.metrics) + 2)
        dashboard.restore()
        self._show_chart()

    def action_other_pane(self) -> None:
        """Focus the other pane."""
        table, pane = self.query_one(Table), self.query_one(NodePane)
        (pane if table.has_focus else table).focus()

    def action_scroll(self, lines: int) -> None:
        """Scroll the example while the list is focused."""
        self.query_one(NodePane).advance(lines)

    def action_copy(self) -> None:
        """Copy the whole target."""
        if example := self.view.example(self._line):
            copy(self.app, example.target, "target")
        else:
            self.browser.show_warning("there is no example to copy from")

    def action_copy_rejected(self) -> None:
        """Copy the whole rejected response."""
        example = self.view.example(self._line)
        if example and example.rejected is not None:
            copy(self.app, example.rejected, "rejected response")
        else:
            self.browser.show_warning("this example is not a pair")

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

    async def _read_status(self) -> None:
        """Read the status, then find the examples."""
        view = self.view
        # The stages take longest at first, so the rest is shown without them.
        stages_of = self.inputs.stages_of if self._has_read else None
        status = await asyncio.to_thread(read_status, view.path, stages_of)
        self._has_read = True
        changed = status != view.status
        opened = view.update_status(status)
        if changed:
            self._show_chart()
        if changed or opened:
            self._show()
        more = True
        while more:
            more = await asyncio.to_thread(view.work)
            if view.update():
                self._show()

    def _show(self, *, top: bool = False) -> None:
        """Update everything but the chart."""
        view, table = self.view, self.query_one(Table)
        table.set_rows(len(view.numbers), self._cells)
        if top:
            table.cursor = 0
        choices = [Choice("all", "all", sum(view.counts.values()))]
        choices += [Choice(k, KIND_NAMES[k], view.counts[k]) for k in view.kinds if k]
        self.query_one(Choices).set_content(choices, view.kind or "all")
        name = run_name(view.path, path_labels(self.inputs.paths))
        self.query_one("#name", Static).update(title_text(name, view.status, view.round_index))
        self._show_loss_curves()
        self._show_example()

    def _cells(self, line: int) -> Mapping[str, Text]:
        example = self.view.example(line)
        return example_cells(example) if example else {}

    def _show_chart(self) -> None:
        scores, width = self.view.status.scores, max(self.size.width - 2, 1)
        status = self.view.status
        dashboard = self.query_one(Dashboard)
        dashboard.display = self.chart == 0
        dashboard.set_content(TrainingOverview(status.stages, scores, status.health))
        lines: list[Text] = []
        if 0 < self.chart <= len(scores.metrics):
            lines = metric_lines(scores, scores.metrics[self.chart - 1], width)
        self.query_one("#scores", Static).update(Text("\n").join(lines))
        self.query_one("#scores").display = bool(lines)
        self._show_loss_curves()

    def _show_loss_curves(self) -> None:
        """Show the losses; the unfolded dashboard leaves no room for them on a low screen."""
        static, dashboard = self.query_one("#loss-curves", Static), self.query_one(Dashboard)
        static.update(Text("\n").join(map(loss_curve_text, self.view.loss_curves)))
        has_room = self.chart or dashboard.is_folded or self.app.size.height >= LOW
        static.display = bool(self.view.loss_curves and has_room)

    def _show_example(self) -> None:
        self._update_status()
        example = self.view.example(self._line)
        if example is not None and example is self._example:
            return
        self._example = example
        start_work(self, "example", self._render_sections)

    async def _render_sections(self) -> None:
        """Show the example; its tree and its diff may take a while, so they are computed in a thread."""
        example, source = self.view.example(self._line), self.view.source(self._line)
        if example is None:
            self._sections = []
        else:
            colour, tree = not self.app.no_color, None
            if example.rejected is None and source is not None:
                tree = await asyncio.to_thread(self.view.tree, source)
            self._sections = await asyncio.to_thread(
                example_sections, example, source, tree, colour=colour
            )
        self._set_options(self._options)

    @property
    def _has_turns(self) -> bool:
        return any(section.title == SOURCE_PROMPT for section in self._sections)

    def _set_options(self, options: NodeOptions) -> None:
        self._options = options
        shown = select_sections(
            self._sections,
            replace(options, source_prompt=options.source_prompt and self._has_turns),
        )
        self.query_one(NodePane).set_content(as_text(shown))

    async def _jump(self, source: ExampleSource) -> None:
        try:
            view, number = await asyncio.to_thread(self.view.find, source)
        except UsageError as error:
            self.browser.show_warning(str(error))
        else:
            show_tree(self, view, number, source.node)

    def _update_status(self) -> None:
        view, line = self.view, self._line
        if view.problem:
            text = Text(one_line(view.problem, 300), style=PALETTE["fault"])
        elif view.round is None:
            text = Text("no training data has been built yet", style=PALETTE["note"])
        elif not view.numbers:
            text = Text(f"{round_text(view.round)} has no examples yet", style=PALETTE["note"])
        else:
            text = Text(f"example {line + 1:,} of {len(view.numbers):,}")
            if source := view.source(line):
                text.append(f"  node #{source.node} of {one_line(str(source.directory), 200)}")
        self.query_one(StatusBar).set_content(text)
