"""The way to a tree from a screen that shows something else."""

from __future__ import annotations

from typing import Any

from spar.types import SearchTree
from spar.view.tree_lines import tree_lines
from tui.run_view import RunView, tree_of
from tui.screens.base import BrowserScreen
from tui.screens.tree import TreeScreen
from tui.session_state import Place


def show_tree(screen: BrowserScreen[Any], view: RunView, number: int, node: int | None) -> None:
    """Open a row's tree on top of a screen, the cursor on a node where one is named."""
    view.arrange()
    tree = tree_of(view, number)
    if isinstance(tree, SearchTree) and (line := line_of(tree, node)) is not None:
        place = Place(prompt_id=tree.prompt.id, line=line, open_tree=True)
        screen.browser.remember(view.path, place)
    screen.app.push_screen(TreeScreen(view, number))


def line_of(tree: SearchTree, node: int | None) -> int | None:
    """The line of a node in the drawn tree, whose line 0 is the prompt."""
    lines = enumerate(tree_lines(tree), start=1)
    found = (at for at, line in lines if line.node and line.node_id == node)
    return next(found, None) if node is not None else None
