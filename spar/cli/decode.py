"""`spar decode`: search for an answer to every prompt and store every tree.

    spar decode --strategy bfs --budget 15
    spar decode prompts.jsonl --model DIR --out runs/mine
    spar decode --prompt "Write something short. Use exactly 9 words."
    spar decode prompts.jsonl --base-url http://host:8000/v1 --out runs/served

Flags override the recipe; the recipe overrides the defaults in `spar.config.DecodeConfig`.
"""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any

import typer

from spar.cli.flags import (
    Display,
    DryRun,
    Out,
    Overwrite,
    Recipe,
    with_settings,
)
from spar.cli.interrupts import interruptible
from spar.cli.show import report
from spar.config import DecodeConfig, default_recipe, load_decode
from spar.errors import UsageError
from spar.estimate.calls import dry_run_text
from spar.progress import open_progress
from spar.prompts import prompt_from_text
from spar.run.decoding import (
    ignored_temperature,
    prompt_source,
    run_decode,
    source_of,
    without_file,
)
from spar.run.prompt_checks import refuse_prompts
from spar.run.resolve import check_combination
from spar.sanitize import printable
from spar.store import read_trees


@with_settings(DecodeConfig)
def decode(
    prompts: Annotated[
        str,
        typer.Argument(
            metavar="PROMPTS",
            help="A file, a data set of the hub, or - for standard input; default: the recipe's, or 100 prompts of nano-if.",
        ),
    ] = "",
    *,
    prompt: Annotated[
        str | None,
        typer.Option(help="One prompt; prints its answer and tree."),
    ] = None,
    recipe: Recipe = None,
    out: Out = None,
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
    display: Display = "auto",
    json_summary: Annotated[
        bool,
        typer.Option("--json", help="Print the summary as JSON."),
    ] = False,
    show_tree: Annotated[
        bool,
        typer.Option("--show-tree", help="Draw one solved tree."),
    ] = False,
    overrides: dict[str, Any],
) -> None:
    """Search for an answer to every prompt and store every tree. The same command resumes."""
    if prompts and prompt is not None:
        raise UsageError(
            f"{prompts} and --prompt: a run has the prompts of a file or the one of --prompt; "
            "leave out one of them"
        )
    values = {**overrides, "prompts": prompts or None}
    config = load_decode(recipe or default_recipe(values), values)
    listener = open_progress(display)
    if prompt is None:
        source = prompt_source(config)
    else:
        source = source_of([prompt_from_text(prompt)])
        config = without_file(config, f"--prompt {prompt}", overrides)
    for line in ignored_temperature(config, overrides):
        listener.note(line)
    if dry_run:
        check_combination(config)
        refuse_prompts(config, source.read)
        print(printable(dry_run_text(config, next(source.read()), source.count)))
        return
    work = run_decode(
        config,
        source,
        out=out,
        overwrite=overwrite,
        listener=listener,
        interactive=prompt is not None,
    )
    with interruptible():
        decoded = asyncio.run(work)
    config, directory, summary = decoded.config, decoded.directory, decoded.summary
    if json_summary:
        facts = {"run": str(directory), "strategy": config.strategy, "budget": config.budget}
        print(json.dumps({**facts, **summary.as_dict()}))
    elif prompt is not None:
        report.print_answer(next(read_trees(directory)))
    else:
        report.print_summary(config, summary)
        if show_tree:
            report.print_solved_tree(read_trees(directory))
        report.print_run(directory)
