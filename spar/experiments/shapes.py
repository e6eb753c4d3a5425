"""Depth, branch and keep of a breadth-first search, each varied alone."""

from __future__ import annotations

from dataclasses import replace

from spar.experiments.experiment import REFERENCE, Experiment, Plan
from spar.experiments.search_cost import BFS
from spar.experiments.searches import Grid, PointOverSeeds, in_order, search_over_seeds
from spar.experiments.strategies import (
    OPTIMISM_NOTE,
    STEPS_NOTE,
    Points,
    drafts_grid,
    plot_by_cost,
    points_table,
    reference_budget,
    relabelled,
    stopping_cost,
)
from spar.record.experiments import Measured

SHAPES: tuple[dict[str, int], ...] = (
    *({"depth": depth} for depth in (2, 5, 10)),
    *({"branch": branch} for branch in (1, 2, 5)),
    *({"keep": keep} for keep in (1, 4)),
)
"""Shapes of a breadth-first search, each one setting away from the paper's: depth 3, branch 3, keep 2."""


async def measure_shapes(plan: Plan) -> Measured:
    """Depth, branch and keep of a breadth-first search, each varied alone."""
    grid = _shapes_grid(plan)
    metric = grid.metrics[0]
    points: dict[tuple[str, int], PointOverSeeds] = {}
    for shape in ({}, *_shapes(plan)):
        name = "-".join(f"{key}-{value}" for key, value in shape.items()) or "paper"
        words = "".join(f", {key} {value}" for key, value in shape.items())
        points |= relabelled(await search_over_seeds(plan, f"shapes/{name}", grid, **shape), words)
    reference = points[BFS, reference_budget(plan)]
    names = list(dict.fromkeys(name for name, _ in points))
    by_shape = {name: in_order(points, name) for name in names}
    plot = plot_by_cost(
        "shapes",
        f"Shapes of a breadth-first search, n = {reference.mean(metric).n}",
        "answers that meet every constraint, %",
        by_shape,
        metric,
    )
    return Measured(
        tables=(
            points_table(
                "shapes",
                points,
                metric,
                reference,
                "One row a shape and budget; what is not named is the paper's: depth 3, branch 3, keep 2.",
            ),
        ),
        plots=(plot,),
        notes=(
            "A shape ends where it has no more levels, whatever is left of the budget; read the table and the plot at equal tokens.",
            OPTIMISM_NOTE,
            STEPS_NOTE,
        ),
        headline=_spread(points, metric),
    )


def _spread(points: Points, metric: str) -> str:
    """The highest and the lowest point in words."""
    ranked = sorted(points.values(), key=lambda point: point.mean(metric).value)
    low, high = (
        f"{point.strategy} at {point.budget}: {100 * point.mean(metric).value:.1f} %"
        for point in (ranked[0], ranked[-1])
    )
    return f"from {low} to {high}"


def _shapes(plan: Plan) -> tuple[dict[str, int], ...]:
    return SHAPES[:1] if plan.quick else SHAPES


def _shapes_grid(plan: Plan) -> Grid:
    grid = drafts_grid(plan)
    budgets = plan.budgets((7, REFERENCE, 31), quick=(3, 7))
    limit = plan.num_prompts(500, quick=12)
    return replace(grid, strategies=(BFS,), budgets=budgets, limit=limit, deepen=False)


SHAPES_TABLE = Experiment(
    name="shapes",
    source="not in the paper",
    title="Depth, branch and keep of a breadth-first search",
    question="How much does the shape of the tree matter at equal tokens?",
    measure=measure_shapes,
    cost=lambda plan: stopping_cost(plan, _shapes_grid(plan), 1 + len(_shapes(plan)), 20),
    sizes=lambda plan: {
        **_shapes_grid(plan).sizes,
        "shapes": [dict(shape) for shape in _shapes(plan)],
    },
)
