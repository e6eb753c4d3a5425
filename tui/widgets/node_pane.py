"""All about one node: its sections below each other, to be scrolled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.widgets import Static

from spar.view.node_detail import Section
from spar.view.palette import PALETTE
from tui.widgets.motions import MOTIONS, Motions

CHANGE, RESPONSE, ASKED = "Change from", "Response", "Prompt that produced it"
"""How the titles of these sections begin."""
UNKNOWN = "not at hand: the run's templates have changed, or the text was given"


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a person wants to see of a node."""

    diff: bool = True
    """What changed, in place of the response, where there is a parent."""
    asked: bool = False
    """The prompt that produced the response, at the top."""


def choose(sections: Sequence[Section], chosen: Chosen) -> list[Section]:
    """The sections to show, in order."""
    asked = [section for section in sections if section.title.startswith(ASKED)]
    others = [section for section in sections if not section.title.startswith(ASKED)]
    if any(section.title.startswith(CHANGE) for section in others):
        hidden = RESPONSE if chosen.diff else CHANGE
        others = [section for section in others if not section.title.startswith(hidden)]
    if not chosen.asked:
        return others
    return [*(asked or [Section(ASKED, Text(UNKNOWN, PALETTE["note"]), UNKNOWN)]), *others]


def as_text(sections: Sequence[Section]) -> Text:
    """Sections below each other, each under its title."""
    text = Text()
    for section in sections:
        text.append(f"── {section.title} ──", style=PALETTE["head"]).append("\n")
        text.append_text(section.body).append("\n\n")
    text.rstrip()
    return text


class NodePane(Motions, VerticalScroll, can_focus=True, inherit_bindings=False):
    """A text that is longer than the screen."""

    BINDINGS: ClassVar[list[BindingType]] = MOTIONS
    DEFAULT_CSS = """
    NodePane { background: $background; scrollbar-size-vertical: 1; padding: 0 1; }
    NodePane > Static { width: 1fr; }
    """

    def compose(self) -> ComposeResult:
        """The text."""
        yield Static(id="text")

    def say(self, text: Text) -> None:
        """Show another text, from its beginning."""
        self.query_one("#text", Static).update(text)
        self.scroll_home(animate=False)

    def advance(self, lines: int) -> None:
        """Scroll."""
        self.scroll_relative(y=lines, animate=False)

    def jump_to(self, *, end: bool) -> None:
        """Scroll to the beginning or the end."""
        if end:
            self.scroll_end(animate=False)
        else:
            self.scroll_home(animate=False)

    def page_lines(self) -> int:
        """Lines on the screen at once."""
        return self.scrollable_content_region.height
