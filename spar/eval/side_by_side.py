"""The points of a sweep at the same time: when that is possible, and as one activity for a listener."""

from __future__ import annotations

from dataclasses import replace

from spar.config import EvalConfig
from spar.listener import Activity, Listener, follows
from spar.run.resolve import deployments
from spar.types import Node, Prompt, SearchTree


def may_run_side_by_side(config: EvalConfig) -> bool:
    """Whether strategies may be searched at the same time: all with one model, and with a response cache, so that no seconds are measured."""
    return bool(config.response_cache) and len({*deployments(config).values()}) == 1


class SideBySide:
    """Runs at the same time, which a listener sees as one: their trees are counted together, equal lines are said once."""

    def __init__(self, listener: Listener) -> None:
        self.listener = listener
        self._activity: Activity | None = None
        self._said: set[str] = set()

    def started(self, activity: Activity) -> None:
        """One of them starts; the first starts all."""
        if self._activity is None:
            self._activity = activity
            self.listener.started(activity)
            return
        total = (self._activity.total or 0) + (activity.total or 0)
        self._activity = replace(
            self._activity, total=total, done=self._activity.done + activity.done
        )
        self.listener.progress(self._activity)

    def tree(self, tree: SearchTree) -> None:
        """Count and pass on."""
        if self._activity is not None:
            self._activity = replace(self._activity, done=self._activity.done + 1)
        self.listener.tree(tree)

    def note(self, line: str) -> None:
        """Pass on what none of them has said before."""
        if line not in self._said:
            self._said.add(line)
            self.listener.note(line)

    def finished(self) -> None:
        """All of them have ended, successfully or not."""
        if self._activity is not None:
            self.listener.finished(self._activity)
            self._activity = None


class OneOfSeveral(Listener):
    """The listener of one run among several."""

    def __init__(self, runs: SideBySide) -> None:
        self._runs = runs
        if follows(runs.listener):
            self.attempt = runs.listener.attempt  # type: ignore[method-assign]  # what `follows` looks for

    def started(self, activity: Activity) -> None:
        """Add it to the others."""
        self._runs.started(activity)

    def admitted(self, prompt: Prompt) -> None:
        """Pass on."""
        self._runs.listener.admitted(prompt)

    def node(self, prompt: Prompt, node: Node) -> None:
        """Pass on."""
        self._runs.listener.node(prompt, node)

    def tree(self, tree: SearchTree) -> None:
        """Count and pass on."""
        self._runs.tree(tree)

    def note(self, line: str) -> None:
        """Pass on what is new."""
        self._runs.note(line)
