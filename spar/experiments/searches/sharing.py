"""A budget across prompts (`--total-budget`) against the same budget for each prompt, at the same number of responses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from spar.config import default_recipe, load_eval
from spar.eval.statistics import SeedMean, over_seeds
from spar.eval.sweep import parse_strategy
from spar.experiments.evaluations import digests_of, run_evaluation
from spar.experiments.experiment import (
    NOT_IN_THE_PAPER,
    REFERENCE,
    Cost,
    Experiment,
    Plan,
    Wordings,
    as_number,
)
from spar.experiments.searches.strategies import RESTARTS, drafts_grid
from spar.experiments.searches.sweeps import Grid, PointOverSeeds, search_over_seeds
from spar.infer.summary import responses_spent
from spar.record.evaluation import Share, shares_of
from spar.record.experiments import Cell, Claim, Measured, Table
from spar.store import read_trees

FIRST = 1
"""Responses of a prompt in the first round, and in each later one."""

SAME_SPENT = Wordings(
    "(Not in the paper.) At the same number of responses, a budget across prompts passes as many as the best budget for each prompt.",
    holds="It passes more: {spent:,.0f} responses across the prompts are ahead of {budget} for each by {difference}.",
    fails="It does not hold: {spent:,.0f} responses across the prompts are behind {budget} for each, by {difference}.",
    open="No difference is seen between {spent:,.0f} responses across the prompts and {budget} for each: {difference}.",
)
SAME_LIMIT = Wordings(
    "(Not in the paper.) At the same limit, a budget across prompts passes more, since it spends what prompts that pass early leave.",
    holds="It holds: with at most {limit:,} responses it is ahead of {budget} for each prompt by {difference}.",
    fails="It does not hold: with at most {limit:,} responses it is behind {budget} for each prompt, by {difference}.",
    open="Inconclusive: with at most {limit:,} responses it and {budget} for each prompt differ by {difference}.",
)


@dataclass(frozen=True, slots=True)
class _Searches:
    """The searches of one seed that share a number of responses."""

    limit: int
    """Responses that they may make."""
    spent: int
    """Responses that they made."""
    tokens: float
    """Generated tokens a prompt."""
    rounds: int
    shares: dict[str, Share]


@dataclass(frozen=True, slots=True)
class _Arm:
    """Searches that share a number of responses, over seeds."""

    uniform: PointOverSeeds
    """The searches that they are compared with: each prompt has the same budget."""
    searches: tuple[_Searches, ...]
    """Of each seed."""

    def mean(self, field: str) -> float:
        """A cost over seeds."""
        return fmean(getattr(one, field) for one in self.searches)

    def share(self, metric: str, *, less_uniform: bool) -> SeedMean:
        """The share of prompts that pass, or by how much it is more than with the same budget for each prompt."""
        shares = [one.shares for one in self.searches]
        return (
            over_seeds(shares, self.uniform.shares[metric]) if less_uniform else over_seeds(shares)
        )

    def judge(self, wordings: Wordings, metric: str) -> Claim:
        """A claim about the difference."""
        return wordings.judge(
            self.share(metric, less_uniform=True),
            spent=self.mean("spent"),
            limit=round(self.mean("limit")),
            budget=self.uniform.budget,
        )


async def measure_sharing(plan: Plan) -> Measured:
    """Responses that prompts share: as many as a budget for each prompt spends, and as many as it permits."""
    grid = _grid(plan)
    metric = grid.metrics[0]
    points = (await search_over_seeds(plan, "strategies", grid)).values()
    uniform = sorted(points, key=lambda point: point.budget)
    same_spent = [
        await _share(plan, grid, point, _responses(point), "as-spent") for point in uniform[1:]
    ]
    limits = [uniform[0].budget * grid.limit] * plan.seeds
    same_limit = await _share(plan, grid, uniform[0], limits, "as-permitted")
    claims = (
        *(arm.judge(SAME_SPENT, metric) for arm in same_spent),
        same_limit.judge(SAME_LIMIT, metric),
    )
    table = Table(
        name="sharing",
        title=f"`{RESTARTS}` on {grid.limit} prompts. What is shared is spent in rounds, one response a prompt in each.",
        columns=(
            *("responses", "at most", "spent", "tokens a prompt", "rounds"),
            *("truth, %", "against the same for each, points"),
        ),
        rows=(
            *(_uniform_row(point, metric) for point in uniform),
            *(_shared_row(arm, metric) for arm in (*same_spent, same_limit)),
        ),
    )
    return Measured(
        tables=(table,),
        claims=claims,
        notes=(
            "A search stops at a response that its judge accepts, so a budget for each prompt is not spent on prompts that pass early either: "
            "its searches make fewer responses than they may.",
            "A round ends before the next begins, so rounds follow one another as steps do.",
        ),
        headline=claims[-1].text,
    )


async def _share(
    plan: Plan, grid: Grid, uniform: PointOverSeeds, limits: Sequence[int], name: str
) -> _Arm:
    """The searches of each seed that share its number of responses."""
    strategy, options = parse_strategy(RESTARTS)
    searches = []
    for seed, limit in zip(plan.seed_values, limits, strict=True):
        out = plan.folder("sharing") / f"{name}-{uniform.budget}" / f"seed-{seed}"
        values = plan.settings(
            seed=seed,
            limit=grid.limit,
            prompt_seed=grid.prompt_seed,
            strategy=strategy,
            strategy_args=options,
            budget=FIRST,
            total_budget=limit,
        )
        config = load_eval(default_recipe(values), values)
        examples = await run_evaluation(plan, grid.benchmark, config, out)
        trees = list(read_trees(out / grid.benchmark))
        searches.append(
            _Searches(
                limit=limit,
                spent=sum(map(responses_spent, trees)),
                tokens=fmean(tree.usage.completion_tokens for tree in trees),
                rounds=max(len(tree.rounds) or 1 for tree in trees),
                shares=shares_of(examples, grid.metrics[0]),
            )
        )
    return _Arm(uniform, tuple(searches))


def _uniform_row(point: PointOverSeeds, metric: str) -> tuple[Cell, ...]:
    most = point.budget * point.rows[0].prompts
    costs = (most, round(fmean(_responses(point))), round(point.cost("tokens")))
    return (f"{point.budget} for each", *costs, 1, as_number(point.mean(metric)), None)


def _shared_row(arm: _Arm, metric: str) -> tuple[Cell, ...]:
    return (
        f"shared, against {arm.uniform.budget} for each",
        *(round(arm.mean(field)) for field in ("limit", "spent", "tokens")),
        round(arm.mean("rounds"), 1),
        as_number(arm.share(metric, less_uniform=False)),
        as_number(arm.share(metric, less_uniform=True), "points"),
    )


def _responses(point: PointOverSeeds) -> list[int]:
    """Responses of all prompts, a number a seed."""
    return [round(row.nodes * row.prompts) for row in point.rows]


def _grid(plan: Plan) -> Grid:
    budgets = plan.budgets((3, 7, REFERENCE), quick=(3, 7))
    return replace(drafts_grid(plan), strategies=(RESTARTS,), budgets=budgets)


def _cost(plan: Plan) -> Cost:
    grid = _grid(plan)
    num_shared = len(grid.budgets)
    words = f"{grid.limit} prompts, budgets {grid.budgets}, {num_shared} times a shared number of responses"
    return Cost(plan.seeds * grid.limit * (20 + 20 * num_shared), words)


SHARING = Experiment(
    name="sharing",
    source=NOT_IN_THE_PAPER,
    title="A budget across prompts",
    question="Does `--total-budget` pass more prompts than the same budget for each of them?",
    measure=measure_sharing,
    cost=_cost,
    sizes=lambda plan: {**_grid(plan).sizes, "first": FIRST},
    data=lambda plan: digests_of(plan, [_grid(plan).benchmark]),
)
