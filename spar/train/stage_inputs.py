"""Whether the selected stages of a pipeline have what they read, before any of them runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from spar.errors import UsageError
from spar.train.loop_stages import STAGES
from spar.train.specs import GenerationSpec, TrainingSpec
from spar.train.stage import Stage, is_done

_MAKE_PROMPTS = STAGES[: STAGES.index("draft")]
"""Stages of which the prompts of later ones are made."""


def check_inputs(
    stages: Sequence[Stage], selected: Sequence[Stage], first: int, *, overwrite: bool = False
) -> None:
    """Refuse stages that read what no stage has written, and none of the selected ones before them will.

    Parameters
    ----------
    first:
        Index of the first stage whose earlier output is moved away; `len(stages)` for none.
    overwrite:
        Whether the output of all stages is deleted.

    Raises
    ------
    UsageError
        With the stage that writes it.
    """
    absent = [
        stage
        for number, stage in enumerate(stages)
        if stage not in selected and (overwrite or number >= first or not is_done(stage))
    ]
    for number, stage in enumerate(selected):
        for maker in absent:
            if stages.index(maker) < stages.index(stage) and _reads(stage, maker):
                raise UsageError(
                    f"stage {stage.title} needs what {maker.title} writes, which has not run; run the stages before it, with "
                    f"--stop-after {stage.title} in place of --only"
                )
        for path in stage.spec.inputs:
            is_to_come = any(path.is_relative_to(each.folder) for each in selected[:number])
            if not is_to_come and not path.exists():
                raise missing_input(stage, path)


def missing_input(stage: Stage, path: Path) -> UsageError:
    """The error for a file that a stage reads, and which the stage that has run has not left there."""
    return UsageError(
        f"stage {stage.title} needs {path}, which does not exist; run the stages before it, or "
        "rerun the one that writes it with --rerun-from"
    )


def _reads(stage: Stage, maker: Stage) -> bool:
    if stage.prompts is not None and not stage.prompts.exists() and maker.name in _MAKE_PROMPTS:
        return maker.name != "harder" or maker.home == stage.home
    paths = (*stage.spec.inputs, *map(Path, _models(stage)))
    return any(path.is_relative_to(maker.folder) for path in paths)


def _models(stage: Stage) -> Iterator[str]:
    """The models that a stage loads, which one before it may have trained."""
    match stage.spec:
        case TrainingSpec(settings=settings):
            yield settings.model
        case GenerationSpec(config=config, roles=roles):
            names = {"actor": config.actor_model, "refiner": config.refiner_model}
            yield from (names.get(role) or config.judge_model or names["refiner"] for role in roles)
