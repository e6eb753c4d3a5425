"""The models that are loaded, shared by every run of a command."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from spar.infer.engine import Deployment, NoteCallback
from spar.infer.engine_wrappers import InstrumentedEngine
from spar.run.resolve import close_all


@dataclass(slots=True)
class EnginePool:
    """Open engines, reused by several runs one after the other."""

    engines: dict[Deployment, InstrumentedEngine] = field(default_factory=dict)
    notes: set[str] = field(default_factory=set)
    """Notes on the choice of engine and models so far; they are the same for most runs."""

    def once(self, note: NoteCallback) -> NoteCallback:
        """`note`, except for lines that were passed to it before."""

        def note_once(line: str) -> None:
            if line not in self.notes:
                self.notes.add(line)
                note(line)

        return note_once

    async def make_room(self, needed: Collection[Deployment], note: NoteCallback) -> None:
        """Free the models in this process that are not needed, if another one has to be loaded."""
        local = [deployment for deployment in needed if not deployment.urls]
        if all(any(opened.serves(deployment) for opened in self.engines) for deployment in local):
            return
        idle = [
            opened
            for opened in self.engines
            if not opened.urls and not any(opened.serves(deployment) for deployment in local)
        ]
        await close_all({deployment: self.engines.pop(deployment) for deployment in idle}, note)

    async def aclose(self, note: NoteCallback) -> None:
        """Free all models."""
        await close_all(self.engines, note)
