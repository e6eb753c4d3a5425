"""`spar report`: the paper's experiments, each as a page with table, plot, CSV and what came of its claims.

spar report list
spar report all --quick
spar report figure5 table10 --seeds 3 --out reports/
spar report figure5 --model DIR --engine vllm
spar report figure3 --share 0.2 --iterations 2
spar report table7 --loop runs/seed-0 --loop runs/seed-1
"""

from __future__ import annotations

import asyncio
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from spar.cli.flags import AllowCode, Display, DryRun
from spar.cli.interrupts import interruptible
from spar.cli.show.report import as_text, open_console
from spar.errors import UsageError
from spar.eval.sweep import strategy_spec
from spar.experiments.experiment import QUICK_SEEDS, REFERENCE, SEEDS, Plan
from spar.experiments.loops.general_tasks import read_loops
from spar.experiments.registry import EXPERIMENTS
from spar.experiments.runner import plan_lines
from spar.experiments.runner import report as run_report
from spar.progress import open_progress
from spar.record.experiments import ExperimentResult
from spar.sanitize import printable

LIST = "list"


def report(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="EXPERIMENT",
            help="Names of experiments; all runs all of them, list prints them.",
        ),
    ],
    model: Annotated[
        str,
        typer.Option(
            help="Hugging Face folder, hub name, GGUF file, or a name of `spar models list`; empty for the embedded model."
        ),
    ] = "",
    engine: Annotated[str, typer.Option(help="Engine of the searches.")] = "auto",
    seeds: Annotated[
        int | None,
        typer.Option(
            min=1,
            help=f"How often everything is measured, with a seed each [dim]\\[default: {SEEDS}, or {QUICK_SEEDS} with --quick][/dim]",
        ),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer prompts, budgets and iterations.")
    ] = False,
    share: Annotated[
        float,
        typer.Option(max=1, help="Share of the full report's prompts that are used, such as 0.2."),
    ] = 1.0,
    iterations: Annotated[
        int | None,
        typer.Option(
            min=1, help="Iterations of training loops [dim]\\[default: 3, or 2 with --quick][/dim]"
        ),
    ] = None,
    max_budget: Annotated[
        int | None,
        typer.Option(min=REFERENCE, help="Leave out searches with more responses than this."),
    ] = None,
    strategy: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Another strategy for the tables strategies and failing: a name or module:attribute, with options behind colons as in `spar sweep`. Repeatable.",
        ),
    ] = None,
    parallel_loops: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Training loops that run at once, of several methods and seeds; a core and about 2 GB each "
            "[dim]\\[default: as many as there are cores and memory for][/dim]",
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the pages.")] = Path("reports"),
    runs: Annotated[
        Path, typer.Option(help="Folder of the runs, from which a report resumes.")
    ] = Path("runs/report"),
    data: Annotated[
        str,
        typer.Option(help="Folder with the benchmarks' data; empty for $SPAR_DATA or the cache."),
    ] = "",
    response_cache: Annotated[
        str,
        typer.Option(
            metavar="FILE",
            help="File with replies of other runs, made if there is none: equal requests are answered from it, and seconds are left out.",
        ),
    ] = "",
    loop: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIR",
            help="Folder of a loop that `spar train` has trained, in place of a model (table7). Repeatable: each is a seed, of one start.",
        ),
    ] = None,
    allow_code_execution: AllowCode = False,
    dry_run: DryRun = False,
    display: Display = "auto",
) -> None:
    """Run experiments of the paper and write a page for each; the same command resumes."""
    if not share > 0:
        raise UsageError(f"--share is {share:g}; it must be above 0")
    if quick and (share < 1 or max_budget is not None):
        raise UsageError(
            "--quick has its own numbers of prompts and budgets; leave out --share and --max-budget, or --quick"
        )
    strategies = tuple(strategy or ())
    if strategies:
        for name in strategies:
            strategy_spec(name)
        if not {*names} & {"strategies", "failing", "all", LIST}:
            raise UsageError("--strategy is for the experiments strategies and failing")
    loops = tuple(loop or ())
    if loops and model:
        raise UsageError("--loop brings its own model, the loop's start; leave out --model")
    if loops and seeds not in (None, len(loops)):
        raise UsageError(f"--seeds {seeds}: each --loop is a seed, and there are {len(loops)}")
    plan = Plan(
        model=read_loops(loops).start if loops else model,
        engine=engine,
        seeds=len(loops) or seeds or (QUICK_SEEDS if quick else SEEDS),
        quick=quick,
        share=share,
        iterations=iterations,
        max_budget=max_budget,
        strategies=strategies,
        parallel_loops=parallel_loops,
        runs=runs,
        data=data,
        response_cache=response_cache,
        loops=loops,
        allow_code_execution=allow_code_execution,
        listener=open_progress(display),
    )
    if names == [LIST]:
        _print_list(plan)
        return
    for line in plan_lines(names, plan):
        print(printable(line), flush=True)
    if dry_run:
        return
    words = [Path(word).name if word.startswith("/") else word for word in sys.argv[1:]]
    command = f"spar {shlex.join(words)}"  # a page is for others, to whom this machine's folders say nothing
    with interruptible(runs):
        results = asyncio.run(run_report(names, plan, out, command=command))
    _print_claims(results, out)


def _print_list(plan: Plan) -> None:
    console = open_console(piped_width=140)
    table = Table("name", "in the paper", "what it measures")
    lacks = [one.lacks(plan) for one in EXPERIMENTS.values()]
    if any(lacks):
        table.add_column("cannot run here because")
    for one, reason in zip(EXPERIMENTS.values(), lacks, strict=True):
        cells = (one.name, one.source, one.title, *([reason] if any(lacks) else []))
        table.add_row(*map(as_text, cells))
    console.print(table)


def _print_claims(results: list[ExperimentResult], out: Path) -> None:
    console = open_console(piped_width=140)
    table = Table()
    for head in ("experiment", "the paper says", "here"):
        table.add_column(head)
    for result in results:
        for claim in result.measured.claims:
            table.add_row(*map(as_text, (result.experiment, claim.paper, claim.text)))
    console.print(table)
    console.print(as_text(f"{out / 'README.md'}"), soft_wrap=True)
