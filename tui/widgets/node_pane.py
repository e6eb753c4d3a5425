"""A scrollable pane with the sections of a node."""

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

CHANGE, RESPONSE, SOURCE_PROMPT = "Change from", "Response", "Prompt that produced it"
"""Prefixes of the titles of these sections."""
UNKNOWN = "not available: the run's templates have changed, or the response was supplied"


@dataclass(frozen=True, slots=True)
class NodeOptions:
    """Which sections of a node to show."""

    diff: bool = True
    """The diff in place of the response, if there is a parent."""
    source_prompt: bool = False
    """The prompt that produced the response, at the top."""


def select_sections(sections: Sequence[Section], options: NodeOptions) -> list[Section]:
    """The sections to show, in order."""
    source_prompt = [section for section in sections if section.title.startswith(SOURCE_PROMPT)]
    others = [section for section in sections if not section.title.startswith(SOURCE_PROMPT)]
    if any(section.title.startswith(CHANGE) for section in others):
        hidden = RESPONSE if options.diff else CHANGE
        others = [section for section in others if not section.title.startswith(hidden)]
    if not options.source_prompt:
        return others
    return [
        *(source_prompt or [Section(SOURCE_PROMPT, Text(UNKNOWN, PALETTE["note"]), UNKNOWN)]),
        *others,
    ]


def as_text(sections: Sequence[Section]) -> Text:
    """The sections as one text, each under its title."""
    text = Text()
    for section in sections:
        text.append(f"── {section.title} ──", style=PALETTE["head"]).append("\n")
        text.append_text(section.body).append("\n\n")
    text.rstrip()
    return text


class NodePane(Motions, VerticalScroll, can_focus=True, inherit_bindings=False):
    """A scrollable text."""

    BINDINGS: ClassVar[list[BindingType]] = MOTIONS
    DEFAULT_CSS = """
    NodePane { background: $background; scrollbar-size-vertical: 1; padding: 0 1; }
    NodePane > Static { width: 1fr; }
    """

    def compose(self) -> ComposeResult:
        """The text."""
        yield Static(id="text")

    def set_content(self, text: Text) -> None:
        """Show another text from its start."""
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
