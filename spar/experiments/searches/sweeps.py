"""Strategies at several budgets over several seeds of the search: a sweep a seed, read as shares of each prompt.

Besides what the benchmark scores, each point has what its judge believed (`judged`), and whether any response of the tree
meets every constraint (`ceiling`): the share that a judge without errors would reach by choosing among the same responses.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from spar.config import default_recipe, load_eval
from spar.eval.runner import EvalRequest
from spar.eval.statistics import SeedMean, over_seeds
from spar.eval.sweep import Point
from spar.eval.sweep_runner import Sweep, sweep
from spar.eval.sweep_table import Row
from spar.experiments.experiment import Plan
from spar.record.evaluation import Share, read_examples, shares_of
from spar.store import read_trees
from spar.verifiers import passes

COSTS: Mapping[str, str] = {
    "nodes": "responses",
    "calls": "calls",
    "tokens": "tokens",
    "seconds": "seconds",
}
"""Field of a sweep's row to what it is called on a page."""
SECONDS_NOTE = (
    "Seconds are from a tree's admission to its end, while as many others run as the engine takes; smaller budgets are read "
    "out of the trees of larger ones where these contain them, and their seconds are estimated."
)
CEILING_NOTE = (
    "The ceiling counts a prompt as passed if any response of its tree meets every constraint: what a judge without errors would "
    "reach by choosing among the same responses."
)
UNTIMED_NOTE = "Seconds were not measured: the searches took replies from a response cache."


def seconds_note(points: Iterable[PointOverSeeds]) -> str:
    """What the seconds of points are, or why there are none."""
    return (
        UNTIMED_NOTE if any(math.isnan(point.cost("seconds")) for point in points) else SECONDS_NOTE
    )


@dataclass(slots=True)
class PointOverSeeds:
    """One strategy at one budget."""

    strategy: str
    budget: int
    rows: list[Row] = field(default_factory=list)
    """The sweep's row of each seed."""
    shares: dict[str, list[dict[str, Share]]] = field(default_factory=dict)
    """Metric to the share of each prompt, a mapping a seed."""

    def mean(self, metric: str) -> SeedMean:
        """A metric over seeds."""
        return over_seeds(self.shares[metric])

    def ahead_of(self, other: PointOverSeeds, metric: str) -> SeedMean:
        """How much more a metric is here, paired by prompt and seed."""
        return over_seeds(self.shares[metric], other.shares[metric])

    def costs(self, names: Iterable[str]) -> list[float | None]:
        """Several costs, rounded for a table; None for one that no seed knows."""
        values = [self.cost(name) for name in names]
        return [None if math.isnan(value) else round(value, 2) for value in values]

    def cost(self, name: str) -> float:
        """Mean of a cost over prompts and seeds; NaN where no seed knows it."""
        known = [value for row in self.rows if (value := getattr(row, name)) is not None]
        return fmean(known) if known else math.nan

    @property
    def judged(self) -> bool:
        """Whether a judge chose the answer."""
        return any(row.solved for row in self.rows)


@dataclass(frozen=True, slots=True)
class Grid:
    """The points of an experiment and the examples that they share."""

    benchmark: str
    strategies: tuple[str, ...]
    budgets: tuple[int, ...]
    limit: int
    prompt_seed: int = 0
    metrics: tuple[str, ...] = ("pass",)
    deepen: bool = True
    """As a sweep's."""

    @property
    def sizes(self) -> dict[str, Any]:
        """What decides the numbers besides the model and the seeds."""
        sizes = {
            "benchmark": self.benchmark,
            "prompts": self.limit,
            "prompt_seed": self.prompt_seed,
        }
        return {**sizes, "strategies": [*self.strategies], "budgets": [*self.budgets]}


async def search_over_seeds(
    plan: Plan, experiment: str, grid: Grid, **settings: object
) -> dict[tuple[str, int], PointOverSeeds]:
    """Sweep once a seed; (strategy, budget) to what was measured, in the order of the sweep's table.

    Raises
    ------
    UsageError, RunStopped
        As `spar.eval.sweep_runner.sweep`.
    """
    points: dict[tuple[str, int], PointOverSeeds] = {}
    for seed in plan.seed_values:
        folder = plan.folder(experiment) / f"seed-{seed}" / grid.benchmark
        values = plan.settings(
            seed=seed, limit=grid.limit, prompt_seed=grid.prompt_seed, **settings
        )
        config = load_eval(default_recipe(values), values)
        rows = await sweep(
            config,
            EvalRequest((grid.benchmark,)),
            Sweep(grid.strategies, grid.budgets, deepen=grid.deepen),
            directory=folder,
            listener=plan.listener,
        )
        for row in rows:
            key = row.strategy, row.budget
            point = points.setdefault(key, PointOverSeeds(*key))
            point.rows.append(row)
            run = folder / Point(row.strategy, row.budget, row.depth).name
            for metric, shares in _shares_of_run(run, grid.metrics).items():
                point.shares.setdefault(metric, []).append(shares)
    return points


def _shares_of_run(run: Path, metrics: Sequence[str]) -> dict[str, dict[str, Share]]:
    """Metric to the share of each prompt of a scored run, `judged` and `ceiling` among them."""
    examples = list(read_examples(run))
    shares = {metric: shares_of(examples, metric) for metric in metrics}
    known = {example.id for example in examples}
    judged: dict[str, Share] = {}
    ceiling: dict[str, Share] = {}
    for tree in read_trees(run):
        if tree.prompt.id in known:
            best = any(passes(node.response, tree.prompt) for node in tree.nodes)
            judged[tree.prompt.id] = (float(tree.solved), 1.0)
            ceiling[tree.prompt.id] = (float(best), 1.0)
    return {**shares, "judged": judged, "ceiling": ceiling}


def in_order(
    points: Mapping[tuple[str, int], PointOverSeeds], strategy: str
) -> list[PointOverSeeds]:
    """The points of a strategy, smallest budget first."""
    return [points[key] for key in sorted(points) if key[0] == strategy]


def largest(
    points: Mapping[tuple[str, int], PointOverSeeds], strategies: Sequence[str]
) -> dict[str, PointOverSeeds]:
    """Strategy to its point of the largest budget."""
    return {name: in_order(points, name)[-1] for name in strategies}
