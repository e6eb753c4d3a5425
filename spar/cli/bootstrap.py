"""`spar bootstrap`: the first actor and the first refiner, made with a teacher.

    spar bootstrap prompts.jsonl --model BASE --teacher-url https://host/v1 --teacher-model strong --out runs/first
    spar bootstrap prompts.jsonl --model BASE --teacher-model TEACHER --stop-after build
    spar bootstrap --dry-run                                     the embedded model, its own teacher
    spar train --actor-model runs/first/actor/model --refiner-model runs/first/refiner/model

The same command resumes: what is done is left alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from spar.cli.flags import takes


def student_flags(
    *,
    model: Annotated[
        str | None, typer.Option(help="Base of both models: folder or hub name; none: embedded.")
    ] = None,
    engine: Annotated[
        str | None, typer.Option(help="What runs it for drafts: auto, hf, vllm, ray or fake.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="auto, cpu or cuda:N, for whatever is asked here.")
    ] = None,
) -> None:
    """Who learns."""


def teacher_flags(
    *,
    teacher_model: Annotated[
        str | None, typer.Option(help="The teacher: folder, hub name, or its server's name for it.")
    ] = None,
    teacher_url: Annotated[
        list[str] | None,
        typer.Option(help="The teacher's OpenAI-compatible server; repeat for replicas."),
    ] = None,
    teacher_engine: Annotated[
        str | None, typer.Option(help="auto, hf, vllm, openai, ray or fake.")
    ] = None,
    api_key_env: Annotated[
        str | None, typer.Option(help="Environment variable with the teacher's key.")
    ] = None,
) -> None:
    """Who knows."""


@takes(student_flags, teacher_flags)
def bootstrap(
    prompts: Annotated[
        str, typer.Argument(help=".jsonl or .txt file of prompts; none: nano-if's own.")
    ] = "",
    *,
    refiner_prompts: Annotated[
        str | None,
        typer.Option(
            help="File of the refiner's prompts; none: those that the actor does not get."
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(help="YAML file or shipped recipe; none: nano, or paper for --model."),
    ] = None,
    change: Annotated[
        list[str] | None, typer.Option("--set", help="KEY=VALUE of the recipe; repeatable.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the bootstrap.")] = None,
    begin: Annotated[
        str, typer.Option("--rerun-from", help="Run this stage and all after it again.")
    ] = "",
    stop_after: Annotated[
        str,
        typer.Option(
            help="End after answers, drafts, judge, refine, build, sft-actor or sft-refiner."
        ),
    ] = "",
    seed: Annotated[int | None, typer.Option(help="Seed of sampling and training.")] = None,
    fresh: Annotated[bool, typer.Option("--overwrite", help="Start over.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would run, and what it takes.")
    ] = False,
    display: Annotated[str, typer.Option(help="auto, plain or none.")] = "auto",
    **flags: Any,
) -> None:
    """Make the first actor and refiner with a teacher's answers, judgements and refinements."""
    from spar.cli.run_bootstrap import Invocation, run, settings
    from spar.train.bootstrap.pipeline import Part

    given = {"prompts": prompts or None, "refiner_prompts": refiner_prompts, "seed": seed}
    config = settings(recipe, given, flags, change or [])
    part = Part(begin=begin, stop_after=stop_after)
    run(config, Invocation(out, part, fresh=fresh, dry_run=dry_run, display=display))
