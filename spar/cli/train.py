"""`spar train`: the self-play loop, from prompts to the next actor and refiner.

    spar train --iterations 3                                        the embedded model, on a CPU
    spar train prompts.jsonl --recipe llama3-8b --out runs/mine      the paper's, 8 x 80 GB
    spar train --out runs/mine --iterations 6                        three more
    spar train --out runs/mine --rerun-from 3/dpo --set dpo.beta=0.2       redo from there
    spar train status runs/mine                                      from anywhere

The same command resumes: what is done is left alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from spar.cli.flags import DefaultGroup, SparCommand, model_flags, settings_of, takes

train_app = typer.Typer(
    cls=DefaultGroup,
    help="Train actor and refiner by self-play, iteration by iteration.",
    rich_markup_mode=None,
)


@train_app.command(
    DefaultGroup.default,
    cls=SparCommand,
    hidden=True,
    epilog="spar train status DIR tells how a loop goes.",
)
@takes(model_flags)
def train(
    prompts: Annotated[
        str, typer.Argument(help=".jsonl or .txt file of prompts; none: nano-if's own.")
    ] = "",
    *,
    iterations: Annotated[int | None, typer.Option(help="Iterations in all.")] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="YAML file or shipped recipe; none: that of the loop in --out, else nano."
        ),
    ] = None,
    change: Annotated[
        list[str] | None, typer.Option("--set", help="KEY=VALUE of the recipe; repeatable.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the loop.")] = None,
    start: Annotated[
        str | None,
        typer.Option("--continue-from", help="Continue another loop, in a new folder."),
    ] = None,
    begin: Annotated[
        str,
        typer.Option("--rerun-from", help="Run this stage and all after it again: dpo or 2/dpo."),
    ] = "",
    only: Annotated[str, typer.Option(help="Run this stage only.")] = "",
    stop_after: Annotated[str, typer.Option(help="End after this stage.")] = "",
    seed: Annotated[int | None, typer.Option(help="Seed of sampling and training.")] = None,
    fresh: Annotated[bool, typer.Option("--overwrite", help="Start the loop over.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would run, and what it takes.")
    ] = False,
    display: Annotated[str, typer.Option(help="auto, rich, plain or none.")] = "auto",
    **settings: Any,
) -> None:
    """Run the loop's stages that are not done yet."""
    from spar.cli.run_train import Invocation, run
    from spar.cli.run_train import settings as loop_settings
    from spar.config import DecodeConfig
    from spar.train.loop import Course

    given = settings_of(settings, DecodeConfig.model_fields)
    given |= {"prompts": prompts or None, "iterations": iterations, "start": start, "seed": seed}
    config = loop_settings(recipe, out, given, change or [], fresh=fresh)
    course = Course(begin=begin, only=only, stop_after=stop_after)
    run(config, Invocation(out, course, fresh=fresh, dry_run=dry_run, display=display))


@train_app.command()
def status(
    directory: Annotated[Path, typer.Argument(help="Folder of a loop.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Tell which stages of a loop are done, what runs, and what the models scored so far."""
    from spar.cli.run_train import print_status

    print_status(directory, as_json=as_json)
