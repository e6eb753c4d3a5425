"""`spar bootstrap`: train the first actor and refiner with a teacher.

    spar bootstrap prompts.jsonl --model BASE --teacher-url https://host/v1 --teacher-model strong --out runs/first
    spar bootstrap prompts.jsonl --model BASE --teacher-model TEACHER --stop-after build
    spar bootstrap --dry-run                                     the embedded model, its own teacher
    spar train --actor-model runs/first/actor/model --refiner-model runs/first/refiner/model

The same command resumes; stages that are done are not run again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spar.cli.flags import DryRun, Overwrite, accepted
from spar.cli.train import Changes


def bootstrap(
    prompts: Annotated[
        str,
        typer.Argument(
            metavar="PROMPTS",
            help="A file or a data set of the hub; default: nano-if's own prompts.",
        ),
    ] = "",
    *,
    prompt_field: Annotated[
        str | None,
        typer.Option(help="Field of the rows of the file or data set that holds the prompt."),
    ] = None,
    refiner_prompts: Annotated[
        str | None,
        typer.Option(
            help="File of the refiner's prompts; default: those that the actor does not get."
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(help="YAML file or shipped recipe; default: nano, or paper with --model."),
    ] = None,
    change: Changes = None,
    out: Annotated[
        Path | None, typer.Option(help="Directory; default: below runs/, named by the settings.")
    ] = None,
    rerun_from: Annotated[str, typer.Option(help="Rerun this stage and all after it.")] = "",
    stop_after: Annotated[
        str,
        typer.Option(
            help="Stop after answers, drafts, judge, refine, build, sft-actor or sft-refiner."
        ),
    ] = "",
    seed: Annotated[int | None, typer.Option(help="Random seed of sampling and training.")] = None,
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
    display: Annotated[
        str, typer.Option(metavar="auto|plain|none", help="How progress is shown.")
    ] = "auto",
    model: Annotated[
        str | None,
        typer.Option(
            help="Base of both models: folder or hub name; default: the embedded model.",
            rich_help_panel="Student",
        ),
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(
            help=f"Engine of the student's drafts: {accepted('engine')}.", rich_help_panel="Student"
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            help="Device of in-process engines: auto, cpu or cuda:N.", rich_help_panel="Student"
        ),
    ] = None,
    teacher_model: Annotated[
        str | None,
        typer.Option(
            help="Teacher: folder, hub name, or the server's name for it.",
            rich_help_panel="Teacher",
        ),
    ] = None,
    teacher_url: Annotated[
        list[str] | None,
        typer.Option(
            help="OpenAI-compatible server of the teacher. Repeatable, for replicas.",
            rich_help_panel="Teacher",
        ),
    ] = None,
    teacher_engine: Annotated[
        str | None,
        typer.Option(
            help=f"Engine of the teacher: {accepted('engine')}.", rich_help_panel="Teacher"
        ),
    ] = None,
    api_key_env: Annotated[
        str | None,
        typer.Option(
            help="Environment variable with the teacher's API key.", rich_help_panel="Teacher"
        ),
    ] = None,
) -> None:
    """Train the first actor and refiner on a teacher's answers, judgements and refinements."""
    from spar.cli.invocation import Invocation
    from spar.cli.run_bootstrap import run, settings
    from spar.train.pipeline import StageSelection

    flags = {
        "model": model,
        "engine": engine,
        "device": device,
        "teacher_model": teacher_model,
        "teacher_url": teacher_url,
        "teacher_engine": teacher_engine,
        "api_key_env": api_key_env,
    }
    overrides = {
        "prompts": prompts or None,
        "prompt_field": prompt_field,
        "refiner_prompts": refiner_prompts,
        "seed": seed,
    }
    config = settings(recipe, overrides, flags, change or [])
    selection = StageSelection(rerun_from=rerun_from, stop_after=stop_after)
    run(config, Invocation(out, selection, overwrite=overwrite, dry_run=dry_run, display=display))
