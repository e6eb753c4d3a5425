"""Figure 5 and Table 10: strategies by what they cost, on fresh drafts and on failing ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import isnan

from spar.eval.paper import IFEVAL
from spar.experiments.evaluations import digests_of
from spar.experiments.experiment import (
    REFERENCE,
    Cost,
    Experiment,
    Plan,
    Wordings,
    as_number,
    line,
    paper_table,
)
from spar.experiments.searches.sweeps import (
    CEILING_NOTE,
    COSTS,
    Grid,
    PointOverSeeds,
    in_order,
    largest,
    search_over_seeds,
    seconds_note,
)
from spar.record.experiments import Cell, Measured, Panel, Plot, Series, Table

GREEDY, SAMPLED, STOPPING = "greedy", "best-of-n", "best-of-n:waves=growing"
ITERATIVE, BFS, DFS = "iterative", "bfs", "dfs"
NAMES: Mapping[str, str] = {
    GREEDY: "greedy",
    SAMPLED: "best-of-N",
    STOPPING: "best-of-N that stops",
    ITERATIVE: "iterative refinement",
    BFS: "BFS",
    DFS: "DFS",
}
"""Strategy to its name on a page."""

ENDS_HIGHER = Wordings(
    "At the same number of responses, tree search ends above best-of-N.",
    holds="It holds: at {budget} responses BFS is ahead of best-of-N by {difference}.",
    fails="It does not hold: at {budget} responses BFS is behind best-of-N, by {difference}.",
    open="Inconclusive: at {budget} responses BFS and best-of-N differ by {difference}.",
)
BEATS_GREEDY = Wordings(
    "Search at inference improves on greedy decoding.",
    holds="It holds: BFS at {budget} gains {difference} over greedy decoding.",
    fails="It does not hold: BFS at {budget} loses to greedy decoding, {difference}.",
    open="Inconclusive: BFS at {budget} and greedy decoding differ by {difference}.",
)
SLOWER_FIRST = Wordings(
    "Refinement grows slower than best-of-N at first.",
    holds="It holds: at {budget} responses best-of-N is ahead of BFS by {difference}.",
    fails="It does not hold: at {budget} responses best-of-N is already behind BFS, by {difference}.",
    open="Inconclusive: at {budget} responses best-of-N and BFS differ by {difference}.",
)
SAME_STOP = Wordings(
    "(Not in the paper.) Tree search is still ahead if best-of-N too stops at a draft that its judge accepts.",
    holds="It holds: BFS at {budget}, with {ours:.1f} calls a prompt, is ahead of best-of-N that stops, with {theirs:.1f}, by {difference}.",
    fails="It does not hold: BFS at {budget}, with {ours:.1f} calls a prompt, is behind best-of-N that stops, with {theirs:.1f}, by {difference}.",
    open="Inconclusive: BFS at {budget}, with {ours:.1f} calls a prompt, and best-of-N that stops, with {theirs:.1f}, differ by {difference}.",
)
FIXES_MORE = Wordings(
    "Tree search fixes more failing responses than as many independent refinements.",
    holds="It holds: BFS is ahead of best-of-N by {difference}.",
    fails="It does not hold: BFS is behind best-of-N, by {difference}.",
    open="Inconclusive: BFS and best-of-N differ by {difference}.",
)
FIXES_MORE_THAN_CHAIN = Wordings(
    "Tree search fixes more than iterative refinement.",
    holds="It holds: BFS is ahead of iterative refinement by {difference}.",
    fails="It does not hold: BFS is behind iterative refinement, by {difference}.",
    open="Inconclusive: BFS and iterative refinement differ by {difference}.",
)
FIXES_MORE_THAN_ONCE = Wordings(
    "A single greedy refinement fixes the fewest.",
    holds="It holds: BFS is ahead of one greedy refinement by {difference}.",
    fails="It does not hold: BFS is behind one greedy refinement, by {difference}.",
    open="Inconclusive: BFS and one greedy refinement differ by {difference}.",
)


def _figure5_grid(plan: Plan) -> Grid:
    return Grid(
        benchmark="nano-if-answers" if plan.embedded else "ifeval",
        strategies=(GREEDY, SAMPLED, STOPPING, ITERATIVE, BFS, DFS),
        budgets=plan.budgets((1, 3, 7, 15, 31), quick=(1, 3, 7)),
        limit=plan.num_prompts(200, quick=40),
        prompt_seed=3,
        metrics=("pass",) if plan.embedded else ("prompt_level_strict_acc",),
    )


async def measure_figure5(plan: Plan) -> Measured:
    """Every strategy at every budget, by responses, calls, tokens and seconds."""
    grid = _figure5_grid(plan)
    metric = grid.metrics[0]
    points = await search_over_seeds(plan, "figure5", grid)
    at_most = largest(points, grid.strategies)
    bfs, best, stopping = (at_most[name] for name in (BFS, SAMPLED, STOPPING))
    second = grid.budgets[1]
    gain = bfs.ahead_of(at_most[GREEDY], metric)
    claims = (
        ENDS_HIGHER.judge(bfs.ahead_of(best, metric), budget=bfs.budget),
        SLOWER_FIRST.judge(
            points[SAMPLED, second].ahead_of(points[BFS, second], metric), budget=second
        ),
        BEATS_GREEDY.judge(gain, budget=bfs.budget),
        SAME_STOP.judge(
            bfs.ahead_of(stopping, metric),
            budget=bfs.budget,
            ours=bfs.cost("calls"),
            theirs=stopping.cost("calls"),
        ),
    )
    table = _table("figure5", "One row a strategy and budget.", points, metric)
    plot = Plot(
        name="figure5",
        title=f"Strategies by what they cost, n = {bfs.mean(metric).n}",
        y="answers that meet every constraint, %",
        panels=tuple(
            _panel(points, grid, cost, metric) for cost in COSTS if not isnan(bfs.cost(cost))
        ),
    )
    return Measured(
        tables=(table,),
        plots=(plot,),
        claims=claims,
        notes=(
            CEILING_NOTE,
            "The judge's view is the share of prompts whose search ended with a response that the judge accepts; what it "
            "exceeds the truth by is the judge's optimism.",
            seconds_note(points.values()),
        ),
        headline=f"BFS at {bfs.budget} against greedy: {100 * gain.value:+.1f} points",
    )


def _table10_grid(plan: Plan) -> Grid:
    return Grid(
        benchmark="refinement",
        strategies=(GREEDY, SAMPLED, ITERATIVE, BFS, DFS),
        budgets=plan.budgets((REFERENCE,), quick=(7,)),
        limit=plan.num_prompts(200, quick=40),
        prompt_seed=3,
        metrics=("acc_verifier", "acc_self"),
    )


async def measure_table10(plan: Plan) -> Measured:
    """Every strategy from the same failing drafts."""
    grid = _table10_grid(plan)
    points = await search_over_seeds(plan, "table10", grid)
    at_most = largest(points, grid.strategies)
    metric = "acc_verifier"
    bfs = at_most[BFS]
    first = bfs.ahead_of(at_most[SAMPLED], metric)
    claims = (
        FIXES_MORE.judge(first),
        FIXES_MORE_THAN_CHAIN.judge(bfs.ahead_of(at_most[ITERATIVE], metric)),
        FIXES_MORE_THAN_ONCE.judge(bfs.ahead_of(at_most[GREEDY], metric)),
    )
    table = _table("table10", "One row a strategy.", points, metric, judged="acc_self")
    bars = tuple(
        Series(
            label=NAMES[name],
            x=(point.cost("calls"),),
            y=(100 * point.mean(metric).value,),
            error=(100 * (point.mean(metric).stderr or 0.0),),
        )
        for name, point in at_most.items()
    )
    plot = Plot(
        name="table10",
        title=f"Failing drafts fixed, by calls, n = {bfs.mean(metric).n}",
        y="fixed, by ground truth, %",
        panels=(Panel(x="calls a response, mean", series=bars),),
    )
    return Measured(
        tables=(table,),
        plots=(plot,),
        claims=claims,
        notes=(
            CEILING_NOTE,
            "The responses are greedy drafts that fail their verifiers, the same for every seed; every strategy refines them with the same "
            "judge and refiner. Best-of-N means independent refinements of the failing response.",
            "The judge's view is the share of answers that the refiner's own judge accepts.",
            "The given response counts among the responses, not against the budget.",
        ),
        headline=f"BFS at {bfs.budget} fixes {100 * bfs.mean(metric).value:.1f} %, best-of-N {100 * at_most[SAMPLED].mean(metric).value:.1f} %",
    )


def _table(
    name: str,
    title: str,
    points: Mapping[tuple[str, int], PointOverSeeds],
    metric: str,
    *,
    judged: str = "judged",
) -> Table:
    columns = ("strategy", "budget", "truth, %", "judge's view, %", "ceiling, %", *COSTS.values())
    rows: list[tuple[Cell, ...]] = [
        (
            NAMES[point.strategy],
            point.budget,
            as_number(point.mean(metric)),
            as_number(point.mean(judged)) if point.judged else None,
            as_number(point.mean("ceiling")),
            *point.costs(COSTS),
        )
        for point in points.values()
    ]
    return Table(name=name, title=title, columns=columns, rows=tuple(rows))


def _panel(
    points: Mapping[tuple[str, int], PointOverSeeds], grid: Grid, cost: str, metric: str
) -> Panel:
    by_budget = {name: in_order(points, name) for name in grid.strategies}
    lines = [_line(NAMES[name], found, cost, metric) for name, found in by_budget.items()]
    ceiling = _line("best-of-N, ceiling", by_budget[SAMPLED], cost, "ceiling")
    lines.append(ceiling.model_copy(update={"reference_of": NAMES[SAMPLED]}))
    return Panel(x=f"{COSTS[cost]} a prompt, mean", series=tuple(lines), log=True)


def _line(label: str, points: Iterable[PointOverSeeds], cost: str, metric: str) -> Series:
    return line(label, [(point.cost(cost), point.mean(metric)) for point in points])


def _figure5_cost(plan: Plan) -> Cost:
    grid = _figure5_grid(plan)
    largest_budget = grid.budgets[-1]
    # Best-of-N judges all it draws; what stops at a pass makes about a fifth of that on the embedded model.
    calls = plan.seeds * grid.limit * (6 * largest_budget + 4 * 1.2 * largest_budget)
    return Cost(
        calls, f"{grid.limit} prompts, {len(grid.strategies)} strategies, budgets {grid.budgets}"
    )


def _table10_cost(plan: Plan) -> Cost:
    grid = _table10_grid(plan)
    calls = plan.seeds * grid.limit * (10 + 4 * 2.2 * grid.budgets[0])
    return Cost(
        calls,
        f"{grid.limit} failing drafts, {len(grid.strategies)} strategies, budget {grid.budgets[0]}",
    )


FIGURE5 = Experiment(
    name="figure5",
    source="Figure 5",
    title="Strategies by what they cost",
    question="How much better do answers become with more responses at inference, and which strategy makes the most of them?",
    measure=measure_figure5,
    cost=_figure5_cost,
    sizes=lambda plan: _figure5_grid(plan).sizes,
    data=lambda plan: digests_of(plan, [_figure5_grid(plan).benchmark]),
    paper_numbers=lambda: (
        paper_table(IFEVAL, "SPaR-8B-DPO-iter3"),
        "The text at hand has no numbers of Figure 5 itself: there, refinement grows slower than best-of-N at first and ends higher.",
    ),
)

TABLE10 = Experiment(
    name="table10",
    source="Table 10",
    title="Failing drafts, refined by each strategy",
    question="Which strategy fixes most of the responses that fail?",
    measure=measure_table10,
    cost=_table10_cost,
    sizes=lambda plan: _table10_grid(plan).sizes,
    paper_numbers=lambda: (
        "The text at hand has no numbers of Table 10: there, BFS and DFS are best.",
    ),
    lacks=lambda plan: (
        "" if plan.embedded else "it drafts failing responses in the embedded model's language"
    ),
)
