"""Listeners: how a run reports what happens.

    class Counter(spar.Listener):
        num_trees = 0

        def tree(self, tree):
            self.num_trees += 1

    spar.decode(prompts, listener=Counter())

Every method does nothing unless it is overridden. Methods must return at once; they are called in the
thread that runs the searches, and `note` also in the thread that loads a model. `spar.progress` has progress bars; `LogListener`, the default of the
Python API, writes to the logger "spar".
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from spar.errors import UsageError
from spar.sanitize import printable
from spar.types import Judgement, Node, Prompt, SearchTree

LOGGER = logging.getLogger("spar")


@dataclass(frozen=True, slots=True)
class Activity:
    """What started: the searches of a run, or one stage of a training pipeline."""

    name: str = ""
    """The stage's title, such as `2/search`; "" for a plain run."""
    total: int | None = None
    """Trees, or whatever `unit` says, when all is done; None where that is unknown."""
    done: int = 0
    """How many of them an earlier start has left."""
    unit: str = "trees"
    tokens: Callable[[], int] = lambda: 0
    """Completion tokens generated so far by the engines in use."""


@dataclass(frozen=True, slots=True)
class AttemptProgress:
    """How far a running search has got with one of its attempts at a node."""

    number: int
    """Counts the attempts of the tree, from 0."""
    wave: int
    """Counts its waves: those of one run side by side, and have all ended once one of the next is reported."""
    parents: tuple[int, ...] = ()
    """Ids of the nodes that are refined; () for a draft."""
    text: str = ""
    """What the model has written so far, with a refiner's reflection; "" where the engine does not stream."""
    response: str | None = None
    """The whole response, once it is written; it is judged from then on."""
    verdicts: tuple[bool | None, ...] = ()
    """Of the votes on it that are in, by order of arrival; None where no verdict can be read."""
    judgement: Judgement | None = None
    """Once it is judged; the node joins the tree with the rest of its wave."""
    fault: str = ""
    """Why it failed, if it has."""


class Listener:
    """Receives the events of a run, and ignores those that a subclass does not override."""

    def started(self, activity: Activity) -> None:
        """The models are loaded and the searches start, or a stage starts."""

    def admitted(self, prompt: Prompt) -> None:
        """The search of a prompt starts."""

    def node(self, prompt: Prompt, node: Node) -> None:
        """A node joined the tree of a prompt."""

    def attempt(self, prompt: Prompt, attempt: AttemptProgress) -> None:
        """An attempt of a running search has more text, another vote, or its end; up to once a token.

        Overriding this has engines stream their replies and votes sent one by one; otherwise it costs nothing.
        """

    def tree(self, tree: SearchTree) -> None:
        """A search ended, and its tree is stored; a session stores none by itself."""

    def progress(self, activity: Activity) -> None:
        """About once a second while a stage runs; when another run starts beside one, with the totals of both."""

    def note(self, line: str) -> None:
        """A human-readable line: a choice that was made, a warning."""

    def finished(self, activity: Activity) -> None:
        """The activity ended, successfully or not."""


def follows(listener: Listener) -> bool:
    """Whether a listener wants to know of attempts."""
    if isinstance(listener, Broadcast):
        return any(map(follows, listener.listeners))
    return type(listener).attempt is not Listener.attempt or "attempt" in vars(listener)


class LogListener(Listener):
    """Writes notes to a logger at level INFO, and finished trees at level DEBUG.

    Parameters
    ----------
    logger:
        The logger named "spar" by default.
    """

    def __init__(self, logger: logging.Logger = LOGGER) -> None:
        self._logger = logger

    def tree(self, tree: SearchTree) -> None:
        """Log the id of the prompt and why its search ended."""
        self._logger.debug(
            "%s: %s, %d nodes", printable(tree.prompt.id), tree.stop, len(tree.nodes)
        )

    def note(self, line: str) -> None:
        """Log the line."""
        self._logger.info("%s", printable(line))


class Broadcast(Listener):
    """Passes every event on to several listeners, in order."""

    def __init__(self, *listeners: Listener) -> None:
        self.listeners = listeners

    def started(self, activity: Activity) -> None:
        """Pass on."""
        for listener in self.listeners:
            listener.started(activity)

    def admitted(self, prompt: Prompt) -> None:
        """Pass on."""
        for listener in self.listeners:
            listener.admitted(prompt)

    def node(self, prompt: Prompt, node: Node) -> None:
        """Pass on."""
        for listener in self.listeners:
            listener.node(prompt, node)

    def attempt(self, prompt: Prompt, attempt: AttemptProgress) -> None:
        """Pass on."""
        for listener in self.listeners:
            listener.attempt(prompt, attempt)

    def tree(self, tree: SearchTree) -> None:
        """Pass on."""
        for listener in self.listeners:
            listener.tree(tree)

    def progress(self, activity: Activity) -> None:
        """Pass on."""
        for listener in self.listeners:
            listener.progress(activity)

    def note(self, line: str) -> None:
        """Pass on."""
        for listener in self.listeners:
            listener.note(line)

    def finished(self, activity: Activity) -> None:
        """Pass on."""
        for listener in self.listeners:
            listener.finished(activity)


def checked_listener(listener: Listener | None) -> Listener:
    """A listener as a caller passed it, the default for None.

    Raises
    ------
    UsageError
        It is none, such as a class or a function.
    """
    if listener is None:
        return LogListener()
    methods = [name for name in vars(Listener) if not name.startswith("_")]
    missing = [name for name in methods if not callable(getattr(listener, name, None))]
    if isinstance(listener, type) or missing:
        kind = "the class " if isinstance(listener, type) else ""
        raise UsageError(
            f"listener is {kind}{listener!r}; pass an object of a class that is derived from spar.Listener, such as "
            "spar.ProgressBar()"
        )
    return listener
