"""The models that are loaded, shared by every run of a command."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from spar.infer.deploy import close_all
from spar.infer.engine import Deployment, Tell
from spar.infer.meter import Meter


@dataclass(slots=True)
class Pool:
    """Open engines, for several runs after each other."""

    meters: dict[Deployment, Meter] = field(default_factory=dict)
    told: set[str] = field(default_factory=set)
    """What was said of the choice of engine and models, which is the same for most stages."""

    def once(self, tell: Tell) -> Tell:
        """`tell`, but for what was said before."""

        def told(line: str) -> None:
            if line not in self.told:
                self.told.add(line)
                tell(line)

        return told

    async def make_room(self, wanted: Collection[Deployment], tell: Tell) -> None:
        """Free the models in this process that are not wanted, if another one has to be loaded."""
        local = [one for one in wanted if not one.urls]
        if all(any(held.serves(one) for held in self.meters) for one in local):
            return
        idle = [
            held
            for held in self.meters
            if not held.urls and not any(held.serves(one) for one in local)
        ]
        await close_all({held: self.meters.pop(held) for held in idle}, tell)

    async def aclose(self, tell: Tell) -> None:
        """Free all."""
        await close_all(self.meters, tell)
