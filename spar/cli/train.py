"""`spar train`: the self-play loop, from prompts to the next actor and refiner.

    spar train --iterations 3                                        the embedded model, on a CPU
    spar train prompts.jsonl --recipe llama3-8b --out runs/mine      the paper's, 8 x 80 GB
    spar train --out runs/mine --iterations 6                        three more iterations
    spar train --out runs/mine --rerun-from 3/dpo --set dpo.beta=0.2       rerun from there
    spar train status runs/mine                                      while it runs, too

The same command resumes; stages that are done are not run again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from spar.cli.flags import (
    AllowCode,
    DefaultGroup,
    Display,
    DryRun,
    Overwrite,
    SparCommand,
    with_settings,
)
from spar.config import DecodeConfig

train_app = typer.Typer(
    cls=DefaultGroup,
    help="Train actor and refiner by self-play, iteration by iteration.",
    add_completion=False,
    rich_markup_mode="rich",
)

Changes = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a setting of the recipe. Repeatable."),
]


@train_app.command(
    DefaultGroup.default,
    cls=SparCommand,
    hidden=True,
    epilog="spar train status DIR prints the state of a loop.",
)
@with_settings(DecodeConfig, panels=("Models", "Engine"))
def train(
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
    iterations: Annotated[int | None, typer.Option(help="Iterations in total.")] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="YAML file or shipped recipe; default: that of the loop in --out, else nano."
        ),
    ] = None,
    change: Changes = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Directory of the loop; default: below runs/, named by the settings."),
    ] = None,
    continue_from: Annotated[
        str | None, typer.Option(help="Continue another loop, in a new directory.")
    ] = None,
    rerun_from: Annotated[
        str, typer.Option(help="Rerun this stage and all after it: dpo or 2/dpo.")
    ] = "",
    only: Annotated[str, typer.Option(help="Run only this stage.")] = "",
    stop_after: Annotated[str, typer.Option(help="Stop after this stage.")] = "",
    seed: Annotated[int | None, typer.Option(help="Random seed of sampling and training.")] = None,
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
    allow_code_execution: AllowCode = False,
    display: Display = "auto",
    overrides: dict[str, Any],
) -> None:
    """Run the stages of the loop that are not done yet."""
    from spar.cli.invocation import Invocation
    from spar.cli.run_train import run
    from spar.train.pipeline import StageSelection
    from spar.train.status import loop_settings

    if allow_code_execution:
        from spar.verification_functions import allow_code_execution as allow

        allow()
    overrides |= {"iterations": iterations, "start": continue_from, "seed": seed}
    overrides |= {"prompts": prompts or None, "prompt_field": prompt_field}
    config = loop_settings(recipe, out, overrides, change or [], overwrite=overwrite)
    selection = StageSelection(rerun_from=rerun_from, only=only, stop_after=stop_after)
    run(config, Invocation(out, selection, overwrite=overwrite, dry_run=dry_run, display=display))


@train_app.command()
def status(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Directory of a loop.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Print which stages of a loop are done, what is running, and the scores so far."""
    from spar.cli.run_train import print_status

    print_status(directory, as_json=as_json)
