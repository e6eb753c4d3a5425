"""Depth, branching and beam width of a breadth-first search, each varied alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from spar.eval.statistics import over_seeds
from spar.experiments.evaluations import digests_of
from spar.experiments.experiment import NOT_IN_THE_PAPER, REFERENCE, Experiment, Plan, as_number
from spar.experiments.searches.figure5_table10 import BFS
from spar.experiments.searches.strategies import (
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
from spar.experiments.searches.sweeps import (
    CEILING_NOTE,
    Grid,
    PointOverSeeds,
    in_order,
    search_over_seeds,
)
from spar.record.evaluation import Share
from spar.record.experiments import Cell, Measured, Table

SHAPES: tuple[dict[str, int], ...] = (
    *({"depth": depth} for depth in (2, 5, 10)),
    *({"branch": branch} for branch in (1, 2, 5)),
    *({"keep": keep} for keep in (1, 4)),
    {"depth": 2, "branch": 5},
    *({"depth": depth, "branch": 1} for depth in (5, 10, 15)),
)
"""Shapes of a breadth-first search, most of them one setting away from the paper's: depth 3, branching 3, beam width 2. With depth 2 and
branching 5 there are as many responses at a budget of 15 in six dependent steps, where the paper's has eight. With branching 1 a
budget of 15 reaches the deepest levels, which it does not with 3."""
_WORDS = {"depth": "depth", "branch": "branching", "keep": "beam width"}
_SLACK = 0.03
"""How far outside the reference's tokens its end still stands for them."""


async def measure_shapes(plan: Plan) -> Measured:
    """Depth, branching and beam width of a breadth-first search, each varied alone."""
    grid = _shapes_grid(plan)
    metric = grid.metrics[0]
    points: dict[tuple[str, int], PointOverSeeds] = {}
    for shape in ({}, *_shapes(plan)):
        name = "-".join(f"{key}-{value}" for key, value in shape.items()) or "paper"
        words = "".join(f", {_WORDS[key]} {value}" for key, value in shape.items())
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
                "One row a shape and budget; what is not named is the paper's: depth 3, branching 3, beam width 2.",
            ),
            _equal_tokens(points, metric),
        ),
        plots=(plot,),
        notes=(
            "A shape ends where it has no more levels, whatever is left of the budget, so the second table compares at equal tokens.",
            "With the paper's branching and beam width a budget of 15 ends on the third level and one of 31 on the sixth, so there deeper trees are the "
            "same search: what they add shows where a level is narrow, with branching 1: a chain, one refinement a level.",
            CEILING_NOTE,
            OPTIMISM_NOTE,
            STEPS_NOTE,
        ),
        headline=_spread(points, metric),
    )


def _equal_tokens(points: Points, metric: str) -> Table:
    """Each shape against the paper's at the same tokens, between two of its budgets by a straight line."""
    paper = sorted(in_order(points, BFS), key=lambda point: point.cost("tokens"))
    rows: list[tuple[Cell, ...]] = []
    for point in points.values():
        if point.strategy == BFS:
            continue
        tokens = point.cost("tokens")
        expected = shares_at(paper, tokens, metric)
        difference = over_seeds(point.shares[metric], expected) if expected else None
        rows.append(
            (
                *(point.strategy, point.budget, round(tokens), as_number(point.mean(metric))),
                as_number(over_seeds(expected)) if expected else None,
                as_number(difference, "points") if difference else None,
            )
        )
    return Table(
        name="shapes-equal",
        title="Each shape against the paper's at the same tokens, interpolated between the paper's budgets for each prompt; empty where the paper's "
        "shape was measured at no such price.",
        columns=(
            *("strategy", "budget", "tokens", "truth, %", "the paper's shape, %"),
            "difference, points",
        ),
        rows=tuple(rows),
    )


def shares_at(line: Sequence[PointOverSeeds], tokens: float, metric: str) -> list[dict[str, Share]]:
    """What a strategy would reach at a price, a mapping a seed: interpolated between its two neighbouring points for each prompt.

    Parameters
    ----------
    line:
        The strategy's points, cheapest first.
    tokens:
        The price; [] is returned where no point lies on one of its sides.
    """
    import numpy as np

    prices = [point.cost("tokens") for point in line]
    if not prices[0] * (1 - _SLACK) <= tokens <= prices[-1] * (1 + _SLACK):
        return []
    place = float(np.interp(tokens, prices, range(len(prices))))
    before, weight = int(place), place % 1
    after = min(before + 1, len(line) - 1)
    return [
        {
            name: (
                (1 - weight) * first[name][0] + weight * value,
                (1 - weight) * first[name][1] + weight * of,
            )
            for name, (value, of) in second.items()
        }
        for first, second in zip(
            line[before].shares[metric], line[after].shares[metric], strict=True
        )
    ]


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
    budgets = plan.budgets((3, 7, REFERENCE, 31), quick=(3, 7))
    limit = plan.num_prompts(500, quick=12)
    return replace(grid, strategies=(BFS,), budgets=budgets, limit=limit, deepen=False)


SHAPES_TABLE = Experiment(
    name="shapes",
    source=NOT_IN_THE_PAPER,
    title="Depth, branching and beam width of a breadth-first search",
    question="How much does the shape of the tree matter at equal tokens?",
    measure=measure_shapes,
    cost=lambda plan: stopping_cost(plan, _shapes_grid(plan), 1 + len(_shapes(plan)), 20),
    sizes=lambda plan: {
        **_shapes_grid(plan).sizes,
        "shapes": [{_WORDS[key]: value for key, value in one.items()} for one in _shapes(plan)],
    },
    data=lambda plan: digests_of(plan, [_shapes_grid(plan).benchmark]),
)
