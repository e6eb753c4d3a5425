"""Streaming: a completion's text, piece by piece, while an engine generates it.

    completion = await stream(engine, request, lambda delta: print(delta.text, end=""))

The pieces since the last restart, joined, are the completion's text, whatever the engine: one that cannot stream, a
replica of another machine or a stored reply gives all of it in one piece. A restart says that what came before is void:
a server failed in the middle and the reply was generated anew, or what looked like an answer was thinking.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from spar.infer.engine import Completion, Engine, Request


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of a text that grows."""

    text: str
    restarts: bool = False
    """Whether all pieces before this one are void."""


OnDelta = Callable[[TextDelta], None]
"""Takes each piece as it comes; must return at once and raise nothing."""


class TextDeltas:
    """An `OnText` that passes on only what is new.

    Parameters
    ----------
    on_delta:
        Called with each piece that is not empty, and with a restart.
    """

    def __init__(self, on_delta: OnDelta) -> None:
        self._on_delta = on_delta
        self.text = ""
        """What the pieces so far make."""

    def __call__(self, text: str) -> None:
        """Take the text so far. One that is shorter than before may be on the way to the same again."""
        if not self.text.startswith(text):
            self._show(text)

    def finish(self, text: str) -> None:
        """Take the whole text."""
        if text != self.text:
            self._show(text)

    def _show(self, text: str) -> None:
        restarts = not text.startswith(self.text)
        delta = TextDelta(text if restarts else text[len(self.text) :], restarts)
        self.text = text
        self._on_delta(delta)


async def stream(engine: Engine, request: Request, on_delta: OnDelta) -> Completion:
    """Generate one completion, whose text `on_delta` receives in pieces; raises as `Engine.generate`."""
    deltas = TextDeltas(on_delta)
    (completion,) = await engine.generate([replace(request, on_text=deltas)])
    deltas.finish(completion.text)
    return completion
