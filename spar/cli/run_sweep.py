"""What `spar sweep` does once its settings are known: sweep, then print the table."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from spar.cli.interrupts import interruptible
from spar.config import EvalConfig
from spar.eval.runner import EvalRequest
from spar.eval.sweep_runner import Sweep, default_directory, sweep
from spar.eval.sweep_table import Row
from spar.progress import open_progress


def run(
    config: EvalConfig,
    request: EvalRequest,
    grid: Sweep,
    *,
    as_json: bool = False,
    display: str = "auto",
) -> list[Row]:
    """Sweep, write the table and the plot, and print the table."""
    directory = (request.out or default_directory(config)) / request.names[0]
    work = sweep(
        config,
        request,
        grid,
        directory=directory,
        listener=open_progress(display),
        command=f"spar {shlex.join(sys.argv[1:])}",
    )
    with interruptible():
        rows = asyncio.run(work)
    if as_json:
        print(json.dumps({"sweep": str(directory), "rows": [dataclasses.asdict(r) for r in rows]}))
    else:
        _print(rows, directory)
    return rows


def show_plan(config: EvalConfig, request: EvalRequest, grid: Sweep) -> None:
    """Print what `run` would do, and its cost."""
    from spar.cli.report import visible
    from spar.estimate.evaluation import sweep_text

    print(visible(sweep_text(config, request, grid)))


def _print(rows: Sequence[Row], directory: Path) -> None:
    from rich.table import Table

    from spar.cli.report import as_text, open_console

    console = open_console(piped_width=120)
    table = Table()
    heads = ("strategy", "budget", rows[0].metric, "error", "nodes", "calls", "tokens", "seconds")
    for head in heads:
        table.add_column(as_text(head), justify="left" if head == "strategy" else "right")
    for one in rows:
        error = "-" if one.stderr is None else f"{one.stderr:.4f}"
        costs = (f"{one.nodes:.1f}", f"{one.calls:.1f}", f"{one.tokens:,.0f}", f"{one.seconds:.2f}")
        table.add_row(as_text(one.strategy), f"{one.budget}", f"{one.value:.4f}", error, *costs)
    console.print(table)
    for name in ("sweep.csv", "sweep.md", "sweep.png"):
        console.print(as_text(f"{directory / name}"), soft_wrap=True)
