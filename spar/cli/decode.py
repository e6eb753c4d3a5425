"""`spar decode`: search an answer to every prompt and keep every tree.

    spar decode --strategy bfs --budget 15
    spar decode prompts.jsonl --model DIR --out runs/mine
    spar decode --prompt "Write something short. Use exactly 9 words."
    spar decode prompts.jsonl --base-url http://host:8000/v1 --out runs/served

Flags override the recipe; the recipe overrides the defaults in `spar.config.DecodeConfig`.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from spar.cli.flags import DECODING, default_recipe, settings_of, takes


@takes(*DECODING)
def decode(
    prompts: Annotated[
        str, typer.Argument(help=".jsonl or .txt file, or - for standard input; none: built-in.")
    ] = "",
    prompt: Annotated[
        str | None, typer.Option(help="One prompt; prints its answer and tree.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show prompts and cost only.")] = False,
    json_summary: Annotated[
        bool, typer.Option("--json", help="Print the summary as JSON.")
    ] = False,
    show_tree: Annotated[bool, typer.Option("--show-tree", help="Draw one solved tree.")] = False,
    **settings: Any,
) -> None:
    """Search an answer to every prompt and keep every tree. The same command resumes."""
    from spar.cli.run_decode import Invocation, run
    from spar.config import DecodeConfig, load_decode

    flags = {"prompts": prompts, **settings}
    config = load_decode(
        settings["recipe"] or default_recipe(flags), settings_of(flags, DecodeConfig.model_fields)
    )
    run(
        config,
        Invocation(
            prompt=prompt,
            out=settings["out"],
            fresh=settings["fresh"],
            dry_run=dry_run,
            json_summary=json_summary,
            show_tree=show_tree,
            display=settings["display"],
        ),
    )
