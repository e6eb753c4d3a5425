"""Write a tree, or the run as a page, to a file in the run directory, and open it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from spar.errors import UsageError
from spar.export import SUFFIXES, TREE_FORMATS, TreeFormat, export_tree
from spar.types import SearchTree
from spar.view.node_detail import Annotations
from spar.view.palette import PALETTE
from tui.clipboard import file_name, write_file
from tui.opening import open_file
from tui.run_view import RunView
from tui.screens.background import start_work
from tui.screens.base import BrowserScreen, PickingScreen, Result

FOLDER = "exports"
"""Folder in the run directory for exported files."""


class ExportScreen(PickingScreen[TreeFormat]):
    """A list of formats; the result is the selected one."""

    def compose(self) -> ComposeResult:
        """The list."""
        with Vertical(id="export"):
            yield Static(Text("export as  (esc cancels)", style=PALETTE["head"]), classes="title")
            yield OptionList(
                *(Option(Text(file_format), id=file_format) for file_format in TREE_FORMATS)
            )

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Return the selected format."""
        self.dismiss(TREE_FORMATS[event.option_index])


class ExportingScreen(BrowserScreen[Result]):
    """A screen that exports, and opens what it has exported."""

    view: RunView
    _exported: Path | None = None
    """The file that was exported last."""

    def start_export(self, write: Callable[[], Path]) -> None:
        """Write a file in the background, then say where it is; a `UsageError` is shown."""
        start_work(self, "export", self._export_file, write)

    def action_export_run(self) -> None:
        """Write the whole run as a page for a browser."""
        self.start_export(partial(write_page, self.view))

    def action_open_export(self) -> None:
        """Open the last exported file."""
        if self._exported is None:
            self.browser.show_warning("nothing was exported here yet")
        else:
            start_work(self, "open", open_file, self.app, self._exported)

    async def _export_file(self, write: Callable[[], Path]) -> None:
        try:
            path = await asyncio.to_thread(write)
        except UsageError as error:
            self.browser.show_warning(str(error))
        else:
            self._exported = path
            key = self.browser.key_of("open-export", "O")
            self.browser.show_message(f"exported to {path}; {key} opens it")


def write_page(view: RunView) -> Path:
    """Write the run as a page and return its path; raises `UsageError` if that is not possible."""
    from spar.export.page.run_page import PAGE, run_pages

    if len(view.index) > PAGE:
        raise UsageError(
            f"this run has {len(view.index):,} trees, more than fit into one page: use spar view, or "
            "spar export --format html"
        )
    pages = run_pages(view.path, Annotations(view.annotations.check))
    path = view.directory / FOLDER / "run.html"
    ((_, parts),) = pages.files(path.name)
    write_file(path, "".join(parts))
    return path


def write_tree(view: RunView, number: int, tree: SearchTree, file_format: TreeFormat) -> Path:
    """Write a tree to a file and return its path; raises `UsageError` if it cannot be written."""
    name = file_name(number, tree.prompt.id, SUFFIXES[file_format])
    path = view.directory / FOLDER / name
    write_file(path, export_tree(tree, file_format, view.annotations))
    return path
