"""Choose a format and write a tree as a file in its run directory."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from spar.export import SUFFIXES, TREE_FORMATS, TreeFormat, export_tree
from spar.types import SearchTree
from spar.view.palette import PALETTE
from tui.clipboard import file_name, write_file
from tui.run_view import RunView

FOLDER = "exports"
"""Folder in the run directory for exported files."""


class ExportScreen(ModalScreen[TreeFormat]):
    """A list of formats; the result is the selected one."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "leave", "Cancel", show=False),
        Binding("j", "cursor(1)", "Down", show=False),
        Binding("k", "cursor(-1)", "Up", show=False),
    ]

    def compose(self) -> ComposeResult:
        """The list."""
        with Vertical(id="export"):
            yield Static(Text("export as  (esc cancels)", style=PALETTE["head"]), classes="title")
            yield OptionList(
                *(Option(Text(file_format), id=file_format) for file_format in TREE_FORMATS)
            )

    def action_leave(self) -> None:
        """Export nothing."""
        self.dismiss(None)

    def action_cursor(self, step: int) -> None:
        """Move the cursor with vim's keys."""
        forms = self.query_one(OptionList)
        if step > 0:
            forms.action_cursor_down()
        else:
            forms.action_cursor_up()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Return the selected format."""
        self.dismiss(TREE_FORMATS[event.option_index])


async def write_export(
    view: RunView, number: int, tree: SearchTree, file_format: TreeFormat
) -> str:
    """Write the file and return its path; raises `UsageError` if it cannot be written."""
    name = file_name(number, tree.prompt.id, SUFFIXES[file_format])
    path = view.directory / FOLDER / name
    text = await asyncio.to_thread(export_tree, tree, file_format, view.annotations)
    await asyncio.to_thread(write_file, path, text)
    return str(path)
