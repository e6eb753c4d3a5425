"""Every strategy at every budget, from fresh drafts and from failing ones: the table that the paper lacks.

A winner is chosen on one half of the prompts and its numbers are those of the other half: the best of seventy points, chosen and
reported on the same prompts, would be too good.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from spar.eval.statistics import SeedMean, over_seeds
from spar.eval.sweep import check_strategies
from spar.experiments.evaluations import digests_of
from spar.experiments.experiment import (
    NOT_IN_THE_PAPER,
    REFERENCE,
    Cost,
    Experiment,
    Plan,
    Wordings,
    as_number,
    line,
)
from spar.experiments.searches.figure5_table10 import BFS, TABLE10
from spar.experiments.searches.sweeps import (
    CEILING_NOTE,
    Grid,
    PointOverSeeds,
    in_order,
    search_over_seeds,
    seconds_note,
)
from spar.record.experiments import Cell, Claim, Measured, Panel, Plot, Series, Table

RESTARTS = "iterative:restart_after=3"
STRATEGIES = (
    *(BFS, "best-of-n:waves=growing", "best-first", RESTARTS, "beam", "ab-mcts"),
    *("iterative", "dfs", "merge", "mcts", "ab-mcts:posterior=gaussian", "greedy"),
)
"""All that stop at a response that passes, and greedy. Best-of-N that judges whatever it draws costs six calls a response: `figure5` has it."""
FEWER_VOTES = (BFS, "best-of-n:waves=growing", RESTARTS, "ab-mcts")
"""Strategies that are measured with every vote rule."""
QUICK = (BFS, "best-of-n:waves=growing", "ab-mcts", "greedy")
VOTE_RULES = ("posterior",)
"""Rules that end a round early and may change a verdict; `majority` saves fewer votes and changes none."""
PRICES = (0.4, 0.6, 0.8, 1.0, 1.5, 2.0, 4.0)
"""Prices at which a winner is named, as shares of the reference's tokens."""

CHEAPER = Wordings(
    "(Not in the paper.) Some strategy reaches the accuracy of BFS at {reference} responses with at most 0.6 of its tokens.",
    holds="It holds, with something to spare: {name} at {budget} with {share:.2f} of the tokens is ahead by {difference}.",
    fails="It does not hold: the best at that price, {name} at {budget} with {share:.2f} of the tokens, is behind by {difference}.",
    open="No difference is seen: {name} at {budget}, with {share:.2f} of the tokens, and BFS differ by {difference}.",
)
BETTER = Wordings(
    "(Not in the paper.) Some strategy at the tokens of BFS at {reference} responses is better.",
    holds="It holds: {name} at {budget}, with {share:.2f} of the tokens, is ahead by {difference}.",
    fails="It does not hold: the best at that price, {name} at {budget} with {share:.2f} of the tokens, is behind by {difference}.",
    open="Inconclusive: {name} at {budget}, with {share:.2f} of the tokens, and BFS differ by {difference}.",
)
WINNERS_NOTE = "A winner is chosen on the prompts of even rank and measured on those of odd rank, so that the choice does not flatter it."
OPTIMISM_NOTE = (
    "Optimism is what the judge believes minus the truth: the share of prompts whose search ended with a response that the judge accepts, "
    "less the share whose answer meets every constraint."
)
STEPS_NOTE = "Steps are requests that had to wait for one another: a wave of responses is one, its votes another."
WHOLE_NOTE = (
    "Every strategy but greedy stops at a response that passes. Best-of-N that judges all it draws, as in the paper, costs about six calls "
    "a response: `figure5` has it."
)
_ENVELOPE_NOTE = "The envelope is the best accuracy that was measured up to a price, over all points, chosen and shown on all prompts."

Points = Mapping[tuple[str, int], PointOverSeeds]


def reference_budget(plan: Plan) -> int:
    """Budget of the search that all are compared with."""
    return 7 if plan.quick else REFERENCE


def compared(plan: Plan) -> tuple[str, ...]:
    """The strategies of the tables: those of this module, and what the plan adds.

    Raises
    ------
    UsageError
        As `spar.eval.sweep.check_strategies`, for what the plan adds.
    """
    own = QUICK if plan.quick else STRATEGIES
    others = (name for name in own if name not in plan.strategies)
    check_strategies((*others, *plan.strategies), "--strategy")
    return (*own, *(name for name in plan.strategies if name not in own))


def drafts_grid(plan: Plan) -> Grid:
    """All strategies from fresh drafts."""
    return Grid(
        benchmark="nano-if-answers" if plan.embedded else "ifeval",
        strategies=compared(plan),
        budgets=plan.budgets((1, 3, 7, REFERENCE, 31, 63), quick=(1, 3, 7)),
        limit=plan.num_prompts(500, quick=12),
        prompt_seed=3,
        metrics=("pass",) if plan.embedded else ("prompt_level_strict_acc",),
    )


async def measure_strategies(plan: Plan) -> Measured:
    """Every strategy at every budget, and the winner at each price."""
    grid = drafts_grid(plan)
    metric = grid.metrics[0]
    points = await search_over_seeds(plan, "strategies", grid)
    reference = points[BFS, reference_budget(plan)]
    by_votes: dict[tuple[str, int], PointOverSeeds] = {}
    for rule in VOTE_RULES:
        budgets = tuple(budget for budget in grid.budgets if budget <= 31)
        fewer = replace(grid, strategies=FEWER_VOTES, budgets=budgets)
        measured = await search_over_seeds(plan, f"strategies/{rule}", fewer, vote_rule=rule)
        by_votes |= relabelled(measured, f", votes: {rule}")
    claims = tuple(
        claim_at(wordings, {**points, **by_votes}, reference, metric, price)
        for wordings, price in ((CHEAPER, 0.6), (BETTER, 1.0))
    )
    by_strategy = {name: in_order(points, name) for name in grid.strategies}
    plot = plot_by_cost(
        "strategies",
        f"Every strategy by what it costs, n = {reference.mean(metric).n}",
        "answers that meet every constraint, %",
        by_strategy,
        metric,
    )
    return Measured(
        tables=(
            points_table("strategies", points, metric, reference),
            points_table(
                "votes",
                by_votes,
                metric,
                reference,
                "Some of them with a vote rule that ends a round early; the reference casts all five.",
            ),
            winners({**points, **by_votes}, reference, metric),
        ),
        plots=(plot,),
        claims=claims,
        notes=(
            WINNERS_NOTE,
            CEILING_NOTE,
            OPTIMISM_NOTE,
            STEPS_NOTE,
            WHOLE_NOTE,
            _ENVELOPE_NOTE,
            seconds_note(points.values()),
        ),
        headline=claims[1].text,
    )


def relabelled(points: Points, suffix: str) -> dict[tuple[str, int], PointOverSeeds]:
    """The same points under the strategy's name with a suffix."""
    named = [replace(point, strategy=point.strategy + suffix) for point in points.values()]
    return {(point.strategy, point.budget): point for point in named}


async def measure_failing(plan: Plan) -> Measured:
    """Every strategy from the same failing drafts, at every budget."""
    grid, metric = _failing_grid(plan), "acc_verifier"
    points = await search_over_seeds(plan, "failing", grid)
    reference = points[BFS, reference_budget(plan)]
    by_strategy = {name: in_order(points, name) for name in grid.strategies}
    plot = plot_by_cost(
        "failing",
        f"Failing drafts fixed, n = {reference.mean(metric).n}",
        "fixed, by ground truth, %",
        by_strategy,
        metric,
    )
    claim = claim_at(BETTER, points, reference, metric, 1.0)
    return Measured(
        tables=(points_table("failing", points, metric, reference, judged="acc_self"),),
        plots=(plot,),
        claims=(claim,),
        notes=(
            "The responses are greedy drafts that fail their verifiers, the same for every seed; each strategy refines them, drafts "
            "again, or both. The given response counts among the responses, not against the budget.",
            *(WINNERS_NOTE, CEILING_NOTE, OPTIMISM_NOTE, STEPS_NOTE),
        ),
        headline=claim.text,
    )


def points_table(
    name: str,
    points: Points,
    metric: str,
    reference: PointOverSeeds,
    title: str = "One row a strategy and budget.",
    *,
    judged: str = "judged",
) -> Table:
    """One row a point: what it reaches, what its judge believes, what it costs, and its difference to a reference."""
    columns = (
        *("strategy", "budget", "truth, %", "judge's view, %", "optimism, points", "ceiling, %"),
        *("responses", "calls", "tokens", "steps", "seconds"),
        f"truth against {reference.strategy} at {reference.budget}, points",
    )
    rows: list[tuple[Cell, ...]] = []
    for point in points.values():
        optimism = over_seeds(point.shares[judged], point.shares[metric]) if point.judged else None
        difference = None if point is reference else point.ahead_of(reference, metric)
        rows.append(
            (
                *(point.strategy, point.budget, as_number(point.mean(metric))),
                as_number(point.mean(judged)) if point.judged else None,
                as_number(optimism, "points") if optimism else None,
                as_number(point.mean("ceiling")),
                *point.costs(("nodes", "calls", "tokens", "steps", "seconds")),
                as_number(difference, "points") if difference else None,
            )
        )
    return Table(name=name, title=title, columns=columns, rows=tuple(rows))


def _halves(point: PointOverSeeds, metric: str, half: int) -> list[dict[str, tuple[float, float]]]:
    """The shares of every second prompt, a mapping a seed."""
    ids = sorted(point.shares[metric][0])[half::2]
    return [{name: shares[name] for name in ids} for shares in point.shares[metric]]


def _best(points: Iterable[PointOverSeeds], metric: str, most_tokens: float) -> PointOverSeeds:
    """The point of highest accuracy on the first half of the prompts, of those within a price or else the cheapest; the cheaper of equals."""
    by_price = sorted(points, key=lambda point: point.cost("tokens"))
    affordable = [point for point in by_price if point.cost("tokens") <= most_tokens]
    return max(
        affordable or by_price[:1],
        key=lambda point: (over_seeds(_halves(point, metric, 0)).value, -point.cost("tokens")),
    )


def _on_the_rest(point: PointOverSeeds, other: PointOverSeeds, metric: str) -> SeedMean:
    return over_seeds(_halves(point, metric, 1), _halves(other, metric, 1))


def claim_at(
    wordings: Wordings, points: Points, reference: PointOverSeeds, metric: str, price: float
) -> Claim:
    """Whether the best strategy but BFS within a share of the reference's tokens is better, on the second half of the prompts."""
    tokens = reference.cost("tokens")
    others = [point for point in points.values() if not point.strategy.startswith(BFS)]
    best = _best(others, metric, price * tokens)
    return wordings.of(reference=f"{reference.budget}").judge(
        _on_the_rest(best, reference, metric),
        name=best.strategy,
        budget=best.budget,
        share=best.cost("tokens") / tokens,
    )


def winners(points: Points, reference: PointOverSeeds, metric: str) -> Table:
    """A row a price of `PRICES`."""
    tokens = reference.cost("tokens")
    rows: list[tuple[Cell, ...]] = []
    for price in PRICES:
        best = _best(points.values(), metric, price * tokens)
        if best.cost("tokens") > price * tokens:
            continue
        difference = None if best is reference else _on_the_rest(best, reference, metric)
        rows.append(
            (
                round(price * tokens),
                best.strategy,
                best.budget,
                round(best.cost("tokens")),
                as_number(over_seeds(_halves(best, metric, 1))),
                as_number(difference, "points") if difference else None,
            )
        )
    return Table(
        name="winners",
        title="The winner at each price, chosen on one half of the prompts and measured on the other.",
        columns=(
            *("tokens, at most", "strategy", "budget", "tokens", "truth, %"),
            f"against BFS at {reference.budget}, points",
        ),
        rows=tuple(rows),
    )


def plot_by_cost(
    name: str, title: str, y: str, lines: Mapping[str, Sequence[PointOverSeeds]], metric: str
) -> Plot:
    """Accuracy against tokens and against dependent steps, a line each with the envelope of all."""
    panels = tuple(panel_with_envelope(lines, metric, cost) for cost in ("tokens", "steps"))
    return Plot(name=name, title=title, y=y, panels=panels)


def panel_with_envelope(
    by_strategy: Mapping[str, Sequence[PointOverSeeds]], metric: str, cost: str
) -> Panel:
    """Accuracy against a cost, a line a strategy, and the envelope of all of them."""
    lines = [
        line(name, [(point.cost(cost), point.mean(metric)) for point in points])
        for name, points in by_strategy.items()
    ]
    lines.append(
        _envelope([point for found in by_strategy.values() for point in found], metric, cost)
    )
    return Panel(x=f"{cost} a prompt, mean", series=tuple(lines), log=True)


def _envelope(points: Iterable[PointOverSeeds], metric: str, cost: str) -> Series:
    """The best accuracy up to each price."""
    highest: list[tuple[float, float]] = []
    reached = [(point.cost(cost), 100 * point.mean(metric).value) for point in points]
    for x, y in sorted(reached, key=lambda pair: (pair[0], -pair[1])):
        if not highest or y > highest[-1][1]:
            highest.append((x, y))
    x_values, y_values = zip(*highest, strict=True)
    return Series(
        label="envelope", x=x_values, y=y_values, error=(None,) * len(highest), reference_of=BFS
    )


def _failing_grid(plan: Plan) -> Grid:
    return Grid(
        benchmark="refinement",
        strategies=compared(plan),
        budgets=plan.budgets((1, 3, 7, REFERENCE, 31, 63), quick=(3, 7)),
        limit=plan.num_prompts(200, quick=12),
        prompt_seed=3,
        metrics=("acc_verifier", "acc_self"),
    )


def stopping_cost(plan: Plan, grid: Grid, searches: float, calls: float) -> Cost:
    """`searches` of all prompts that stop at a pass, each with so many calls a prompt."""
    words = f"{grid.limit} prompts, {searches:.0f} searches a seed, budgets {grid.budgets}"
    return Cost(plan.seeds * grid.limit * searches * calls, words)


def _strategies_cost(plan: Plan) -> Cost:
    grid = drafts_grid(plan)
    stopping = len(grid.strategies) - 1 + len(VOTE_RULES) * len(FEWER_VOTES)
    # What stops at a pass makes about 20 calls a prompt on the embedded model.
    return stopping_cost(plan, grid, stopping, 20)


STRATEGIES_TABLE = Experiment(
    name="strategies",
    source=NOT_IN_THE_PAPER,
    title="Every strategy at every budget",
    question="Which strategy makes the most of a response, of a token, of a step?",
    measure=measure_strategies,
    cost=_strategies_cost,
    sizes=lambda plan: drafts_grid(plan).sizes,
    data=lambda plan: digests_of(plan, [drafts_grid(plan).benchmark]),
)
FAILING = Experiment(
    name="failing",
    source="Table 10, wider",
    title="Every strategy from failing drafts",
    question="Which strategy fixes most failing responses, and at what price?",
    measure=measure_failing,
    cost=lambda plan: stopping_cost(
        plan, _failing_grid(plan), len(_failing_grid(plan).strategies), 50
    ),
    sizes=lambda plan: _failing_grid(plan).sizes,
    lacks=TABLE10.lacks,
)
