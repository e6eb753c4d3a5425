"""`spar decode`: search an answer to every prompt and store every tree.

    spar decode --strategy bfs --budget 15
    spar decode prompts.jsonl --model DIR --out runs/mine
    spar decode --prompt "Write something short. Use exactly 9 words."
    spar decode prompts.jsonl --base-url http://host:8000/v1 --out runs/served

Flags override the recipe; the recipe overrides the defaults in `spar.config.DecodeConfig`.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from spar.cli.flags import (
    Display,
    DryRun,
    Out,
    Overwrite,
    Recipe,
    default_recipe,
    with_settings,
)
from spar.config import DecodeConfig, load_decode


@with_settings(DecodeConfig)
def decode(
    prompts: Annotated[
        str,
        typer.Argument(
            help="A .jsonl or .txt file, or - for standard input; default: built-in prompts."
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
    """Search an answer to every prompt and store every tree. The same command resumes."""
    from spar.cli.run_decode import Invocation, run

    config = load_decode(recipe or default_recipe(overrides), {**overrides, "prompts": prompts})
    run(
        config,
        Invocation(
            prompt=prompt,
            out=out,
            overwrite=overwrite,
            dry_run=dry_run,
            json_summary=json_summary,
            show_tree=show_tree,
            display=display,
        ),
    )
