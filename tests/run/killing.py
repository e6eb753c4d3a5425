"""Kills runs of every strategy at several places, resumes them, and compares them with runs that were left alone.

    python -m tests.run.killing DIRECTORY

A run is plain, has a total budget, or has one and two models that take turns. Each start is a forked child of this process, which
needs no second import, and ends itself with SIGKILL: with an answer that it has just got, or before or after it stores
a tree that a later round has raised. A total budget is smaller until the first kill. Prints a JSON line for each run.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from spar.config import DecodeConfig
from spar.infer.engine import Completion, Request
from spar.infer.summary import responses_spent
from spar.store import RunStore
from spar.types import SearchTree
from tests.forked import in_child
from tests.run.test_total_budget import MortalEngine, config_of, in_turn_config, start, trees_of
from tests.strategies import SEARCHED

TOTAL, SMALLER = 26, 20
KINDS = ("plain", "total", "in turn")


@dataclass(frozen=True, slots=True)
class Kill:
    """Where a start ends."""

    calls: int = 10**9
    """With the answer to this call."""
    raised: int = 0
    """At this one of the trees of later rounds, drafts of models that take turns included; 0 for none."""
    when: Literal["before", "after"] = "before"
    """Whether that tree is lost or stored."""


class DyingEngine(MortalEngine):
    """Ends the process with an answer."""

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """One completion per request, or the end."""
        replies = await super().generate(requests)
        if self.num_calls >= self.kill.calls:
            die()
        return replies

    def __init__(self, order: int, kill: Kill) -> None:
        super().__init__(order)
        self.kill = kill


def die() -> None:
    """Kill -9."""
    os.kill(os.getpid(), signal.SIGKILL)


def run_until(kill: Kill, directory: Path, config: DecodeConfig) -> bool:
    """A start in a child; whether it was killed."""

    def work() -> None:
        _die_at_raised(kill)
        engine = DyingEngine(os.getpid(), kill)
        asyncio.run(start(directory, config, engine, in_turn=bool(config.actor_model)))

    code = in_child(work)
    assert code in (0, -signal.SIGKILL), f"{config.strategy} ended with {code}"
    return code != 0


def _die_at_raised(kill: Kill) -> None:
    append, num_raised = RunStore.append, 0

    def dying(store: RunStore, tree: SearchTree) -> None:
        nonlocal num_raised
        num_raised += bool(tree.rounds)
        is_last = bool(tree.rounds) and num_raised == kill.raised
        if is_last and kill.when == "before":
            die()
        append(store, tree)
        if is_last:
            die()

    vars(sys.modules[RunStore.__module__])["RunStore"].append = dying


def kill_and_resume(
    home: Path, kind: str, changes: dict[str, Any], dice: random.Random
) -> dict[str, Any]:
    """Kill a run again and again, let it end, and compare it."""
    make = in_turn_config if kind == "in turn" else config_of
    total = None if kind == "plain" else TOTAL
    config = make(**changes, budget=4 if total is None else 2, total_budget=total)
    engine = MortalEngine(1)
    asyncio.run(start(home / "whole", config, engine))
    # The first round asks for more than a third of all that it and the later ones ask for.
    kills = [(Kill(dice.randrange(1, engine.num_calls // 3)), SMALLER if total else None)]
    if total is not None:
        kills += [(Kill(raised=n, when=dice.choice(["before", "after"])), total) for n in (1, 2)]
    killed = [
        run_until(kill, home / "killed", config.model_copy(update={"total_budget": limit}))
        for kill, limit in kills
    ]
    assert not run_until(Kill(), home / "killed", config)
    trees = trees_of(home / "killed")
    return {
        **changes,
        "kind": kind,
        "killed": killed,
        "same": trees == trees_of(home / "whole"),
        "spent": sum(map(responses_spent, trees.values())),
        "raised": any(tree.rounds for tree in trees.values()),
    }


def main(home: Path) -> None:
    """Every strategy in every kind of run."""
    dice = random.Random(7)
    # What children would import is imported here.
    asyncio.run(start(home / "first", in_turn_config(), MortalEngine(1), in_turn=True))
    for number, (strategy, options) in enumerate(SEARCHED):
        for kind in KINDS:
            changes = {"strategy": strategy, "strategy_args": options}
            folder = home / f"{number}-{kind.replace(' ', '-')}"
            print(json.dumps(kill_and_resume(folder, kind, changes, dice)), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
