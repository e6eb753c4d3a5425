"""The runs of a sweep over strategies and budgets, and how later ones use what earlier ones made.

    bfs at 31 is searched; bfs at 15, 7, 3 and 1 are replayed from it where its trees hold them

Every point is an evaluation in a directory of its own. Before a stage of one is run, its directory is
filled with the trees that earlier points hold (`spar.infer.replay`); the rest is really searched. Whether
a tree is held is never assumed: a shallower depth-first search, for one, is not part of a deeper one
once it turns back.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from spar.config import FREE
from spar.errors import UsageError
from spar.infer.replay import replay
from spar.infer.search import SearchSettings
from spar.infer.strategy import SearchConfig
from spar.manifest import Manifest, config_digest
from spar.plugins import STRATEGIES, safe_name
from spar.run.job import Job
from spar.store import MANIFEST, TREES, RunStore, read_manifest, read_trees
from spar.types import Prompt

BUDGETS = (1, 3, 7, 15, 31)
"""Responses a prompt; powers of two less one."""

SEARCH = (
    *("strategy", "budget", "branch", "keep", "depth", "gate", "stop"),
    *("max_calls", "max_tokens", "max_seconds"),
)
"""Settings that decide which requests a search makes, not the reply to a request."""
_OF_ROLES = ("actor_model", "judge_model", "refiner_model")
"""Settings that a run fills in for the roles that it asks, so they may be blank in one and not in another."""


@dataclass(frozen=True, slots=True)
class Point:
    """One run of a sweep."""

    strategy: str
    budget: int
    depth: int
    """Levels of refinement; more than the settings' own where these could not spend the budget."""

    @property
    def name(self) -> str:
        """Its directory's name."""
        return f"{safe_name(self.strategy)}-{self.budget}"


def plan(
    strategies: Sequence[str],
    budgets: Sequence[int],
    shape: SearchConfig,
    *,
    deepen: bool = True,
) -> list[Point]:
    """The points in the order in which they are run: large budgets first, greedy last.

    Greedy has one point, since it makes one response whatever the budget.

    Parameters
    ----------
    deepen:
        Double the depth until a tree search can spend its budget; the paper's shape ends after 16
        responses breadth-first and 22 depth-first.

    Raises
    ------
    UsageError
        An unknown strategy, a budget below 1, none at all, or one that is given twice.
    """
    _check(strategies, budgets)
    return [
        point
        for name in sorted(strategies, key=lambda name: _fixed(name, shape) is not None)
        for point in _points(name, budgets, shape, deepen=deepen)
    ]


def _points(
    strategy: str, budgets: Sequence[int], shape: SearchConfig, *, deepen: bool
) -> list[Point]:
    fixed = _fixed(strategy, shape)
    if fixed is not None:
        return [Point(strategy, fixed, shape.depth)]
    return [
        Point(strategy, budget, _deepened(strategy, budget, shape) if deepen else shape.depth)
        for budget in sorted(budgets, reverse=True)
    ]


def _fixed(strategy: str, shape: SearchConfig) -> int | None:
    """The responses of a strategy that makes as many whatever its depth, such as greedy; else None."""
    most = STRATEGIES.spec(strategy).max_responses
    deeper = replace(shape, depth=2 * shape.depth)
    return most(shape) if most and most(shape) == most(deeper) else None


def sources(points: Sequence[Point], point: Point) -> list[Point]:
    """The earlier points, those most alike first: the same strategy, then the smallest budget."""
    earlier = points[: points.index(point)]
    return sorted(earlier, key=lambda one: (one.strategy != point.strategy, one.budget))


async def fill(store: RunStore, job: Job, settings: SearchSettings, folders: Sequence[Path]) -> int:
    """Write every tree of a stage that an earlier point's stage holds; returns how many.

    Parameters
    ----------
    store:
        The stage's run directory.
    settings:
        Its search.
    folders:
        Run directories of the same stage, tried in order; one of other settings or prompts is passed over.
    """
    missing = {prompt.id: prompt for prompt in job.prompts if prompt.id not in store.done}
    num_made = 0
    for folder in folders:
        if not missing or not _answers_alike(folder, store.manifest):
            continue
        for tree in read_trees(folder):
            prompt = missing.get(tree.prompt.id)
            if prompt is None or not _same(prompt, tree.prompt):
                continue
            made = await replay(tree, settings, roots=job.roots)
            if made is not None:
                store.append(made)
                del missing[prompt.id]
                num_made += 1
    return num_made


def _check(strategies: Sequence[str], budgets: Sequence[int]) -> None:
    for what, values in (("strategies", strategies), ("budgets", budgets)):
        twice = [value for index, value in enumerate(values) if value in values[:index]]
        if twice or not values:
            problem = f"{twice[0]} is given twice" if twice else "none is given"
            raise UsageError(f"--{what}: {problem}; give each once, separated by commas")
    for name in strategies:
        STRATEGIES.check(name)
    if min(budgets) < 1:
        raise UsageError(f"--budgets: {min(budgets)} is no budget; give numbers from 1 on")


def _deepened(strategy: str, budget: int, shape: SearchConfig) -> int:
    spec = STRATEGIES.spec(strategy)
    while spec.num_responses(shape, budget) < budget:
        shape = replace(shape, depth=2 * shape.depth)
    return shape.depth


def _answers_alike(folder: Path, manifest: Manifest) -> bool:
    """Whether a run exists that would get the same answer to the same request."""
    if not (folder / MANIFEST).is_file() or not (folder / TREES).is_file():
        return False
    stored = read_manifest(folder)
    blank = [
        name for name in _OF_ROLES if not stored.config.get(name) or not manifest.config.get(name)
    ]
    mine, other = (_deciding(one, (*FREE, *SEARCH, *blank)) for one in (manifest, stored))
    return mine == other


def _deciding(manifest: Manifest, free: Sequence[str]) -> str:
    whole: dict[str, Any] = {**manifest.config, "templates": manifest.templates}
    return config_digest(whole, free=free)


def _same(one: Prompt, other: Prompt) -> bool:
    # As JSON, since a tuple in a prompt's meta is a list once it was written.
    return json.dumps(one.model_dump()) == json.dumps(other.model_dump())
