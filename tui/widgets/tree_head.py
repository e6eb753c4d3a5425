"""The head of a tree: the instruction, the judge's verdict beside ground truth, and what the search did."""

from __future__ import annotations

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.widgets import Static

from spar.record.marks import NOTE_CHARACTERS, Mark
from spar.record.outcomes import pluralize
from spar.types import SearchTree
from spar.view.layout import layout_of
from spar.view.node_detail import truth_text, verdict_text
from spar.view.palette import PALETTE
from spar.view.present import stop_text, story_text
from spar.view.text import one_line, safe_text
from tui.node_facts import NodeFacts
from tui.tables.trees import mark_text

_ID = 60
_SHOWN = 20_000


class TreeHead(Vertical):
    """A titled box: the instruction may be cut, the lines below it are always whole."""

    DEFAULT_CSS = """
    TreeHead { height: auto; max-height: 40%; padding: 0 1; border: round $foreground 35%;
               border-title-color: $foreground; }
    TreeHead #instruction { height: auto; max-height: 2; scrollbar-size-vertical: 0; }
    .-high TreeHead #instruction { max-height: 4; margin-bottom: 1; }
    TreeHead.-whole { max-height: 75%; }
    TreeHead.-whole #instruction { max-height: 100%; scrollbar-size-vertical: 1; }
    TreeHead #outcome { height: auto; }
    """

    def compose(self) -> ComposeResult:
        """The instruction, then the outcome."""
        with VerticalScroll(id="instruction", can_focus=False):
            yield Static(id="text")
        yield Static(id="outcome")

    def __init__(self) -> None:
        super().__init__()
        self._instruction, self._place = Text(), Text()

    def show(
        self,
        tree: SearchTree | None,
        facts: NodeFacts | None,
        place: Text,
        mark: Mark = Mark(),
    ) -> None:
        """Show a tree as far as it is known, its place in the list, and what a reader noted."""
        self._place, self._instruction, outcome = place, Text(), Text()
        self.border_title = Text("no tree", style=PALETTE["fault"])
        if tree is not None:
            title = mark_text(mark, has_note=False)
            title.append(one_line(tree.prompt.id, _ID), style=PALETTE["head"])
            self.border_title = title.append(f", {one_line(tree.strategy, 40)}", style="not bold")
            self._instruction = safe_text(tree.prompt.messages[-1].content, limit=_SHOWN)
            outcome = outcome_text(tree, facts)
            if mark.note:
                outcome.append("\nnote    ", style=PALETTE["note"])
                outcome.append(one_line(mark.note, NOTE_CHARACTERS), style=PALETTE["mark"])
        self.query_one("#text", Static).update(self._instruction)
        self.query_one("#outcome", Static).update(outcome)
        self._say_if_cut()

    def toggle_whole(self) -> None:
        """Show the whole instruction, or its start."""
        self.toggle_class("-whole")
        self._say_if_cut()

    def on_resize(self) -> None:
        """Count again the lines that are cut."""
        self._say_if_cut()

    def _say_if_cut(self) -> None:
        """Name the key for the rest of an instruction that is cut."""
        most = self.query_one("#instruction").styles.max_height
        lines = self._instruction.wrap(self.app.console, max(self.content_size.width, 1))
        hidden = len(lines) - int(most.value) if most and not self.has_class("-whole") else 0
        hint = f"i: {pluralize(hidden, 'line')} more  " if hidden > 0 else ""
        self.border_subtitle = Text(hint, style=PALETTE["note"]).append_text(self._place)


def outcome_text(tree: SearchTree, facts: NodeFacts | None) -> Text:
    """The judge's verdict on the answer, ground truth beside it, and below what the search did."""
    selected = layout_of(tree).selected
    answer = None if selected is None else tree.nodes[selected]
    judgement = answer.judgement if answer else None
    text = Text().append("judge   ", style=PALETTE["note"])
    text.append_text(verdict_text(judgement, tree.gate, with_gate=False))
    if judgement is not None and not tree.solved:
        text.append(f", {stop_text(tree).partition(': ')[2]}")
    outcome = facts.outcome if facts else None
    if outcome and outcome.after.truth is not None:
        text.append("    truth  ", style=PALETTE["note"])
        text.append_text(truth_text(outcome.after.truth, judgement, tree.gate))
    text.append("\nsearch  ", style=PALETTE["note"])
    return text.append_text(story_text(outcome) if outcome else Text("..."))
