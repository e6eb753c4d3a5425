"""The table of a sweep, one row a point, as CSV and as Markdown.

Accuracy is the benchmark's headline metric with its standard error. Nodes, calls, generated tokens, seconds and
dependent steps are means over the prompts; they are the cost of the answers, without that of grading. Optimism is
what the judge believed minus the truth: the share of solved prompts less the share of answers that pass as a whole.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import fmean
from types import MappingProxyType

from spar.errors import UsageError
from spar.eval.benchmark import declared_spec
from spar.eval.metric_names import without_metric
from spar.eval.sweep import Point
from spar.record.evaluation import Results
from spar.record.run_table import RunRow, RunTable, markdown_table, run_table
from spar.types import SearchTree


@dataclass(frozen=True, slots=True)
class Row:
    """One point of a sweep."""

    strategy: str
    budget: int
    depth: int
    n: int
    """Examples in the metric."""
    metric: str
    value: float
    stderr: float | None
    nodes: float
    """Mean number of responses per prompt; calls, tokens and seconds are means as well."""
    calls: float
    tokens: float
    """Generated tokens."""
    seconds: float | None
    """From the admission of a tree to its end; estimated for replayed trees, None with a response cache."""
    solved: float
    """Share of the prompts whose search ended with a node that passed its judge."""
    prompts: int
    """Number of trees."""
    replayed: int
    """Number of trees that were read out of those of a larger search."""
    steps: float | None = None
    """Requests that had to wait for one another (`spar.infer.replay.dependent_steps`); None where no tree tells."""
    optimism: float | None = None
    """`solved` minus the share whose answer passes as a whole (`Example.passed`), over the prompts of which the benchmark says it; None
    where it says it of none, or where no judge chose."""
    unit: str = ""
    """The metric's unit; "" for a fraction."""


def headline(results: Results, metric: str = "") -> str:
    """The metric that a sweep shows: `metric`, else the one that the benchmark declares, else its first.

    Raises
    ------
    UsageError
        The benchmark has no such metric, or no example was scored.
    """
    names = list(results.metrics)
    if not names:
        raise UsageError(
            f"{results.benchmark}: no example was scored, so there is no metric to show"
        )
    if metric and metric not in names:
        raise UsageError(f"--metric: {without_metric(results, metric)}")
    overall = [name for name in names if "/" not in name and name not in results.units]
    spec = declared_spec(results.benchmark)
    declared = spec.headline if spec else ""
    return metric or (declared if declared in names else (overall or names)[0])


def row(
    point: Point,
    results: Results,
    trees: Iterable[SearchTree],
    *,
    metric: str = "",
    replayed: int = 0,
    steps: float | None = None,
    timed: bool = True,
    passed: Mapping[str, bool | None] = MappingProxyType({}),
) -> Row:
    """The row of a point; trees are streamed, and their seconds count where they are `timed`.

    Parameters
    ----------
    passed:
        Prompt id to whether the answer passes as a whole, None where the benchmark does not say.
    """
    optimism: list[int] = []
    count, nodes, calls, tokens, solved, seconds = 0, 0, 0, 0, 0, 0.0
    for tree in trees:
        usage = tree.usage
        count += 1
        nodes += len(tree.nodes)
        calls += usage.calls
        tokens += usage.completion_tokens
        solved += tree.solved
        seconds += tree.seconds
        truth = passed.get(tree.prompt.id)
        if truth is not None:
            optimism.append(tree.solved - truth)
    name, each = headline(results, metric), 1 / max(count, 1)
    shown = results.metrics[name]
    return Row(
        strategy=point.shown_strategy,
        budget=point.budget,
        depth=point.depth,
        n=shown.n,
        metric=name,
        value=shown.value,
        stderr=shown.stderr,
        nodes=nodes * each,
        calls=calls * each,
        tokens=tokens * each,
        seconds=seconds * each if timed else None,
        solved=solved * each,
        prompts=count,
        replayed=min(replayed, count),
        steps=steps,
        optimism=fmean(optimism) if solved and optimism else None,
        unit=results.units.get(name, ""),
    )


def in_order(rows: Iterable[Row], strategies: Sequence[str]) -> list[Row]:
    """Rows by the order of the strategies, then by budget."""
    return sorted(rows, key=lambda row: (strategies.index(row.strategy), row.budget))


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """Write every field of every row; what is missing is blank."""
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, [field.name for field in fields(Row)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(map(asdict, rows))


_SECONDS = [
    "- seconds: from a tree's admission to its end, while as many others run as the engine takes"
]


def markdown(title: str, rows: Sequence[Row], facts: Sequence[str]) -> str:
    """The report: facts about the run as a list, then the table."""
    timed = any(row.seconds is not None for row in rows)
    lines = [
        f"# {title}",
        "",
        *(f"- {fact}" for fact in facts),
        "- plus or minus one standard error; nodes, calls, generated tokens"
        + (" and seconds" if timed else "")
        + " are means per prompt",
        "- steps: requests that had to wait for one another, however many the engine runs at once",
        "- optimism: what the judge believes minus the truth: solved, less the share of answers that pass as a whole",
        *(
            _SECONDS
            if timed
            else [
                "- a reply that several strategies asked for was generated once, so there are no seconds"
            ]
        ),
        "- replayed: trees that were read out of those of a larger search"
        + (
            "; their seconds are estimated from the recorded requests, at the load of that search"
            if timed
            else ""
        ),
        "",
        markdown_table(sweep_table(rows)),
    ]
    return "\n".join(lines) + "\n"


def sweep_table(rows: Sequence[Row], leave_out: Sequence[str] = ()) -> RunTable:
    """The points side by side, without the columns that are left out or that no point has."""
    return run_table(
        [
            RunRow(
                strategy=row.strategy,
                budget=row.budget,
                depth=row.depth,
                metric=row.metric,
                value=row.value,
                stderr=row.stderr,
                unit=row.unit,
                n=row.n,
                solved=row.solved,
                optimism=row.optimism,
                nodes=row.nodes,
                calls=row.calls,
                tokens=row.tokens,
                steps=row.steps,
                seconds=row.seconds,
                replayed=f"{row.replayed:,} of {row.prompts:,}",
            )
            for row in rows
        ],
        leave_out,
    )
