"""A tree while it is searched, and the node under the cursor: what is written and voted appears as it comes."""

from __future__ import annotations

import asyncio

from textual.app import ComposeResult
from textual.containers import Container

from spar.listener import AttemptProgress
from spar.types import Node, Prompt, SearchTree
from spar.view.node_detail import Annotations, ConstraintCheck, Section
from spar.view.tree_lines import TreeLine
from tui.node_facts import NodeFacts
from tui.play import PlaySettings
from tui.play_attempts import GrowingTree, attempt_sections, attempt_title, growing_tree
from tui.screens.background import start_work
from tui.screens.tree import WORK_SECONDS, part_title, sections_of
from tui.widgets.parts_pane import PartsPane
from tui.widgets.tree_pane import TreePane


class PlayPanes(Container):
    """The two panes. Texts arrive with each token; `draw_news` draws what has come, a few times a second."""

    def __init__(self, check: ConstraintCheck | None) -> None:
        super().__init__(id="panes")
        self.shown_tree: SearchTree | None = None
        """The displayed tree, None before the first search."""
        self.instruction = ""
        self.sections: list[Section] = []
        """What is shown of the node under the cursor."""
        self._settings, self._gate = PlaySettings("", 1), 0.5
        self._annotations = Annotations(check=check)
        self._prompt: Prompt | None = None
        self._joined: list[Node] = []
        self._attempts: dict[int, AttemptProgress] = {}
        """Attempts of the wave that runs, by number."""
        self._growing: GrowingTree | None = None
        self._facts: NodeFacts | None = None
        self._target: int | None = None
        """The node that the cursor was put on; it follows the search until somebody moves it."""
        self._has_news = False

    def compose(self) -> ComposeResult:
        """The tree and the node."""
        yield TreePane()
        yield PartsPane()

    @property
    def num_nodes(self) -> int:
        """Nodes in the tree."""
        return len(self._joined)

    @property
    def has_begun(self) -> bool:
        """Whether anything has come of the search."""
        return bool(self._joined or self._attempts)

    def begin(self, instruction: str, settings: PlaySettings, gate: float) -> None:
        """Show the empty tree of a search that starts."""
        self.instruction, self._settings, self._gate = instruction, settings, gate
        self._joined, self._attempts, self._target = [], {}, None
        self._prompt = None
        self._draw_growing()

    def add_node(self, prompt: Prompt, node: Node) -> None:
        """A node joined the tree, as all of its wave do."""
        self._prompt = prompt
        self._attempts.clear()
        self._joined.append(node)
        self._draw_growing()

    def add_attempt(self, attempt: AttemptProgress) -> None:
        """Note what an attempt has written by now."""
        if any(each.wave != attempt.wave for each in self._attempts.values()):
            self._attempts.clear()
        self._attempts[attempt.number] = attempt
        self._has_news = True

    def stop(self) -> None:
        """The search was cancelled, or failed: what was written stays, as unfinished."""
        if self._attempts:
            self._draw_growing(is_over=True)

    def finish(self, tree: SearchTree) -> None:
        """Show the whole tree, the cursor on its answer."""
        self._attempts.clear()
        self._has_news = False
        self._draw(GrowingTree(tree), tree.selected)

    def draw_news(self) -> None:
        """Draw what attempts have written since the last time."""
        if self._has_news:
            self._draw_growing()

    def show_node(self) -> None:
        """Show the node under the cursor."""
        if self.shown_tree is None:
            return
        line = self.query_one(TreePane).under_cursor
        attempt = self._attempt_of(line)
        if attempt is not None and attempt.judgement is None:
            self.workers.cancel_group(self.screen, "node")
            is_over = self._growing is not None and self._growing.is_over
            self.sections = attempt_sections(attempt, is_over=is_over)
            self.query_one(PartsPane).stream_parts(attempt_title(attempt), self.sections)
        else:
            start_work(self.screen, "node", self._render_sections, self.shown_tree, line)

    def _draw_growing(self, *, is_over: bool = False) -> None:
        self._has_news = False
        growing = growing_tree(
            self.instruction,
            self._joined,
            self._attempts.values(),
            self._settings,
            self._gate,
            self._prompt,
            is_over=is_over,
        )
        self._draw(growing, _newest(growing))

    def _draw(self, growing: GrowingTree, newest: int | None) -> None:
        """Draw a tree; the cursor goes to its newest node, or stays where somebody put it."""
        pane, tree = self.query_one(TreePane), growing.tree
        line = pane.under_cursor
        follows = line is None or line.node_id == self._target or not tree.nodes
        facts = NodeFacts(tree, self._annotations)
        if self._facts is not None:
            facts.take_over(self._facts)
        pane.load(facts, growing.pending)
        self._facts, self.shown_tree, self._growing = facts, tree, growing
        if not growing.running:
            start_work(self.screen, "facts", self._find_out, facts)
        before = self._target
        self._target = newest if follows else before
        goal = newest if follows or line is None else line.node_id
        pane.cursor = pane.line_of(goal) or 0
        is_streaming = self._attempt_of(pane.under_cursor) is not None
        if is_streaming or not growing.running or before != self._target:
            self.show_node()

    def _attempt_of(self, line: TreeLine | None) -> AttemptProgress | None:
        """The attempt on a line, None for a node that is in the tree."""
        if self._growing is None or line is None or line.node_id is None:
            return None
        return self._growing.running.get(line.node_id)

    async def _render_sections(self, tree: SearchTree, line: TreeLine | None) -> None:
        """Show a node; its diff may take a while, so it is computed in a thread."""
        colour = not self.app.no_color
        self.sections = await asyncio.to_thread(sections_of, self._annotations, tree, line, colour)
        self.query_one(PartsPane).show_parts(part_title(line), self.sections)

    async def _find_out(self, facts: NodeFacts) -> None:
        """Draw changes as they become known."""
        while not facts.is_done:
            await asyncio.to_thread(facts.work, WORK_SECONDS)
            if self._facts is not None and self._facts is not facts:  # the tree has grown meanwhile
                self._facts.take_over(facts)
            self.query_one(TreePane).refresh()


def _newest(growing: GrowingTree) -> int | None:
    """The first node that is being written or judged, else the last one."""
    unjudged = [number for number in growing.running if growing.running[number].judgement is None]
    if unjudged:
        return unjudged[0]
    return growing.tree.nodes[-1].id if growing.tree.nodes else None
