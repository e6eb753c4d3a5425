"""Open a tree from a screen that does not list the trees of its run."""

from __future__ import annotations

import asyncio
from typing import Any

from spar.types import SearchTree
from spar.view.tree_lines import tree_lines
from tui.run_view import RunView, tree_of
from tui.screens.background import start_work
from tui.screens.base import BrowserScreen
from tui.screens.tree import TreeScreen
from tui.session_state import Position


def show_tree(screen: BrowserScreen[Any], view: RunView, number: int, node: int | None) -> None:
    """Open a row's tree on top of a screen, with the cursor on a node if one is passed."""
    view.update()
    tree = tree_of(view, number)
    if isinstance(tree, SearchTree) and (line := line_of(tree, node)) is not None:
        position = Position(prompt_id=tree.prompt.id, line=line, open_tree=True)
        screen.browser.remember(view.path, position)
    screen.app.push_screen(TreeScreen(view, number))
    _read_rest(screen, view)


def _read_rest(screen: BrowserScreen[Any], view: RunView) -> None:
    """Read the trees that the screen below has no need of: the screen of a tree goes from tree to tree."""
    group = f"read {view.path}"
    if any(worker.group == group and not worker.is_finished for worker in screen.workers):
        return

    async def read() -> None:
        await asyncio.to_thread(view.work)
        view.update()
        current = screen.app.screen
        if isinstance(current, TreeScreen) and current.view is view:
            current.show_place()

    start_work(screen, group, read)


def line_of(tree: SearchTree, node: int | None) -> int | None:
    """The line of a node in the drawn tree, whose line 0 is the prompt."""
    lines = enumerate(tree_lines(tree), start=1)
    matches = (at for at, line in lines if line.node and line.node_id == node)
    return next(matches, None) if node is not None else None
