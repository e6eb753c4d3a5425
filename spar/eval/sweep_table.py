"""A sweep in numbers: a row a point, as CSV and as Markdown.

Accuracy is the benchmark's headline metric with its standard error. Nodes, calls, generated tokens and
seconds are means over the prompts, of the answers alone: what a grader costs does not count.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from spar.errors import UsageError
from spar.eval.benchmark import declared_spec
from spar.eval.sweep import Point
from spar.record.evaluation import Results
from spar.types import SearchTree


@dataclass(frozen=True, slots=True)
class Row:
    """One point of a sweep."""

    strategy: str
    budget: int
    depth: int
    n: int
    """Examples that count in the metric."""
    metric: str
    value: float
    stderr: float | None
    nodes: float
    """Responses a prompt, the mean; likewise calls, tokens and seconds."""
    calls: float
    tokens: float
    """Generated ones."""
    seconds: float
    """From a tree's admission to its end; of a replayed tree it is estimated."""
    solved: float
    """Share of the prompts whose search ended with a node that passed its judge."""
    prompts: int
    """Trees."""
    replayed: int
    """Trees of these that an earlier run held, so that they were not searched again."""


def headline(results: Results, wanted: str = "") -> str:
    """The metric that a sweep shows: `wanted`, else the benchmark's own.

    Raises
    ------
    UsageError
        The benchmark has no such metric, or no example at all.
    """
    known = list(results.metrics)
    if not known:
        raise UsageError(f"{results.benchmark}: no example was scored, so there is nothing to show")
    if wanted and wanted not in known:
        accepted = ", ".join(name for name in known if "/" not in name) or ", ".join(known)
        raise UsageError(
            f"--metric: {results.benchmark} has no metric {wanted!r} (accepted: {accepted})"
        )
    plain = [name for name in known if "/" not in name and name not in results.units]
    spec = declared_spec(results.benchmark)
    declared = spec.headline if spec else ""
    return wanted or (declared if declared in known else (plain or known)[0])


def row(
    point: Point,
    results: Results,
    trees: Iterable[SearchTree],
    *,
    metric: str = "",
    replayed: int = 0,
) -> Row:
    """Sum up a point; trees are streamed."""
    count, nodes, calls, tokens, solved, seconds = 0, 0, 0, 0, 0, 0.0
    for tree in trees:
        usage = tree.usage
        count += 1
        nodes += len(tree.nodes)
        calls += usage.calls
        tokens += usage.completion_tokens
        solved += tree.solved
        seconds += tree.seconds
    name, each = headline(results, metric), 1 / max(count, 1)
    shown = results.metrics[name]
    return Row(
        strategy=point.strategy,
        budget=point.budget,
        depth=point.depth,
        n=shown.n,
        metric=name,
        value=shown.value,
        stderr=shown.stderr,
        nodes=nodes * each,
        calls=calls * each,
        tokens=tokens * each,
        seconds=seconds * each,
        solved=solved * each,
        prompts=count,
        replayed=min(replayed, count),
    )


def in_order(rows: Iterable[Row], strategies: Sequence[str]) -> list[Row]:
    """Strategies as they were given, small budgets first."""
    return sorted(rows, key=lambda one: (strategies.index(one.strategy), one.budget))


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """Every field of every row; an unknown standard error is blank."""
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, [field.name for field in fields(Row)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(one) for one in rows)


def markdown(title: str, rows: Sequence[Row], facts: Sequence[str], unit: str = "") -> str:
    """The report: facts about the run as a list, then the table.

    Parameters
    ----------
    unit:
        The metric's own unit; "" for a fraction, which is shown in percent.
    """
    heads = (
        *("strategy", "budget", "depth", f"{rows[0].metric}, {unit or '%'}", "n"),
        *("nodes", "calls", "tokens", "seconds", "solved, %", "replayed"),
    )
    scale = 1.0 if unit else 100.0
    lines = [
        f"# {title}",
        "",
        *(f"- {fact}" for fact in facts),
        "- plus or minus one standard error; nodes, calls, generated tokens and seconds are means of a prompt",
        "- seconds: from a tree's admission to its end, while as many others run as the engine takes",
        "- replayed: trees that the strategy's larger runs held, so that they were not searched again; their "
        "seconds are estimated from the recorded requests, at the load of the run that made them",
        "",
        _line(heads),
        _line(["---"] * len(heads)),
        *(_line(_cells(one, scale)) for one in rows),
    ]
    return "\n".join(lines) + "\n"


def _cells(one: Row, scale: float) -> list[str]:
    error = "-" if one.stderr is None else f"{scale * one.stderr:.1f}"
    return [
        *(one.strategy, f"{one.budget}", f"{one.depth}"),
        *(f"{scale * one.value:.1f} +- {error}", f"{one.n:,}"),
        *(f"{one.nodes:.1f}", f"{one.calls:.1f}", f"{one.tokens:,.0f}", f"{one.seconds:.2f}"),
        *(f"{100 * one.solved:.1f}", f"{one.replayed:,} of {one.prompts:,}"),
    ]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
