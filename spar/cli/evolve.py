"""`spar evolve`: have a teacher make plain prompts complex, by the paper's taxonomy of constraints.

    spar evolve seeds.jsonl --base-url http://host:8000/v1 --per-prompt 2 --out runs/evolved
    spar evolve seeds.txt --model DIR --dry-run

Flags override the recipe; the recipe overrides the defaults in `spar.evolve.settings.EvolveConfig`.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from spar.cli.flags import (
    default_recipe,
    model_flags,
    run_flags,
    server_flags,
    settings_of,
    takes,
)


@takes(model_flags, server_flags, run_flags)
def evolve(
    prompts: Annotated[
        str,
        typer.Argument(
            metavar="SEED_PROMPTS",
            help="Plain prompts: .jsonl or .txt file, or - for standard input.",
        ),
    ],
    per_prompt: Annotated[int | None, typer.Option(help="Complex prompts a seed prompt.")] = None,
    data: Annotated[
        str | None,
        typer.Option(help="Folder with the benchmarks' data; none: SPAR_DATA, else the cache."),
    ] = None,
    templates: Annotated[
        str | None, typer.Option(help="Folder with an evolve.txt of one's own.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show a request and the cost.")
    ] = False,
    json_report: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    **settings: Any,
) -> None:
    """Have a teacher make plain prompts complex. The same command resumes."""
    from spar.cli.run_evolve import Invocation, run
    from spar.evolve.settings import EvolveConfig, load_evolve

    own = {"prompts": prompts, "per_prompt": per_prompt, "data": data, "templates": templates}
    flags = {**settings, **own}
    config = load_evolve(
        settings["recipe"] or default_recipe(flags), settings_of(flags, EvolveConfig.model_fields)
    )
    run(
        config,
        Invocation(
            out=settings["out"],
            overwrite=settings["fresh"],
            dry_run=dry_run,
            json_report=json_report,
            display=settings["display"],
        ),
    )
