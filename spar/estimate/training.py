"""An estimate of a training loop before it starts: stages, generations, steps, disk, memory.

22 stages to run, 0/eval to 3/eval, over 10,000 prompts per iteration
generation: 150,000 drafts, 750,000 votes on drafts, in searches at most 450,000 refinements and ...
training: at most 939 steps of DPO and 1,341 steps of RFT
evaluation: 8 benchmarks
disk: about 409 GiB: 6 models 89.7 GiB, checkpoints 314 GiB during a training, 5.2 GiB of trees and data
inference: 8.03 B parameters, with a KV cache 18.7 GiB of each GPU, 79.1 GiB free: fits
training (dpo, full, zero3, 8 processes): without activations 20.7 GiB of each GPU, 79.1 GiB free: fits
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from spar.embedded import embedded_note, is_embedded
from spar.errors import UsageError
from spar.estimate.disk import DiskUsage, disk_usage
from spar.estimate.fit import Resources, fit_lines, format_bytes, training_processes
from spar.estimate.memory import read_machine
from spar.estimate.model_size import ModelSize, model_size
from spar.estimate.preflight import check_stages
from spar.estimate.stage_counts import StageCounts, count_stage
from spar.run.resolve import model_roles, urls
from spar.train.loop_stages import Models
from spar.train.recipe import TrainConfig, first_models
from spar.train.specs import TrainingSpec
from spar.train.stage import Stage
from spar.train.status import read_config
from spar.types import ROLES, Role


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a loop takes."""

    stages: tuple[str, ...]
    """Titles of the stages that will run."""
    prompts: int
    """Of each iteration."""
    toy_prompts: bool
    """Whether the prompts are nano-if's and the model is not the embedded one."""
    toy_roles: tuple[Role, ...]
    """Roles that the embedded model plays where the prompts are not nano-if's."""
    counts: StageCounts
    disk: DiskUsage
    fits: tuple[str, ...] = ()
    """Lines on whether the models fit into memory."""


def estimate(config: TrainConfig, stages: Sequence[Stage], num_prompts: int | None) -> Estimate:
    """What the stages take, on this machine.

    Parameters
    ----------
    stages:
        Those that will run.
    num_prompts:
        Prompts of the file; None where there is no file, or it was not counted.

    Raises
    ------
    UsageError
        A specification is wrong (`spar.estimate.preflight`), or there is no such hostfile.
    """
    machine = read_machine()
    processes = training_processes(stages, config.launch, machine)
    check_stages(stages, processes)
    return estimate_on(config, stages, num_prompts, Resources(machine, processes))


def estimate_on(
    config: TrainConfig, stages: Sequence[Stage], num_prompts: int | None, resources: Resources
) -> Estimate:
    """What the stages take on these resources; parameters as `estimate`'s."""
    prompts = min(config.prompts_at_once, num_prompts or config.prompts_at_once)
    first, own_prompts = _first_config(config), _has_own_prompts(config)
    sizes = trained_sizes(config, stages)
    return Estimate(
        stages=tuple(stage.title for stage in stages),
        prompts=prompts,
        toy_prompts=not own_prompts and not all(map(is_embedded, first_models(first))),
        toy_roles=_embedded_roles(first) if own_prompts else (),
        counts=sum(
            (count_stage(config.of_iteration(s.iteration), s, prompts) for s in stages),
            StageCounts(),
        ),
        disk=disk_usage(config, stages, sizes, prompts),
        fits=tuple(fit_lines(stages, sizes, resources)),
    )


def lines(estimate: Estimate) -> list[str]:
    """The estimate in human-readable lines."""
    counts, titles, toy_roles = estimate.counts, estimate.stages, estimate.toy_roles
    span = f"{titles[0]} to {titles[-1]}" if len(titles) > 1 else titles[0]
    output = [
        f"{len(titles)} stage{'s' * (len(titles) > 1)} to run, {span}, over {estimate.prompts:,} "
        "prompts per iteration"
    ]
    if estimate.toy_prompts:
        output.append(
            "note: the prompts are nano-if's, the embedded model's toy language, which teach another "
            "model little; give a file: spar train prompts.jsonl"
        )
    if set(toy_roles) >= {"actor", "refiner"}:
        output.append(embedded_note())
    else:
        output += [embedded_note(role, f"--{role}-model") for role in toy_roles]
    generated = [f"{counts.drafts:,} drafts"] * bool(counts.drafts)
    generated += [f"{counts.draft_votes:,} votes on drafts"] * bool(counts.draft_votes)
    searched = [f"{counts.refinements:,} refinements"] * bool(counts.refinements)
    searched += [f"{counts.program_refinements:,} refinements by a program"] * bool(
        counts.program_refinements
    )
    searched += [f"{counts.search_votes:,} votes"] * bool(counts.search_votes)
    if searched:
        generated.append(f"in searches at most {' and '.join(searched)}")
    if generated:
        output.append(f"generation: {', '.join(generated)}")
    steps = [f"{number:,} steps of {name.upper()}" for name, number in counts.steps.items()]
    if steps:
        output.append(f"training: at most {' and '.join(steps)}")
    if counts.evaluations:
        output.append(f"evaluation: {counts.evaluations} benchmarks")
    return [*output, _disk_line(estimate.disk), *estimate.fits]


def check_disk(run: Path, estimate: Estimate) -> str | None:
    """A warning where the disk has too little free space; None otherwise, or where it is unknown."""
    needed = estimate.disk.total
    folder = next((p for p in (run, *run.absolute().parents) if p.is_dir()), None)
    if needed is None or folder is None:
        return None
    free = shutil.disk_usage(folder).free
    if free >= needed:
        return None
    return (
        f"warning: the disk of {run} has {format_bytes(free)} free, and up to {format_bytes(needed)} are "
        "needed; free some space, choose another --out, or write fewer checkpoints "
        "(--set dpo.checkpoint_steps=0 --set rft.checkpoint_steps=0 writes none)"
    )


def trained_sizes(config: TrainConfig, stages: Sequence[Stage]) -> Mapping[str, ModelSize | None]:
    """Training stage to the size of its model; models of later iterations are as large as what they are trained from."""
    first = Models(*first_models(config))
    sizes: dict[str, ModelSize | None] = {}
    made: dict[str, ModelSize | None] = {}
    for stage in stages:
        if not isinstance(stage.spec, TrainingSpec):
            continue
        start, from_first = stage.spec.settings.model, first.of(stage.spec.role)
        size = (
            model_size(start) or made.get(start) or (model_size(from_first) if from_first else None)
        )
        made[str(stage.folder / "model")] = size
        sizes[stage.name] = sizes.get(stage.name) or size
    return sizes


def _first_config(config: TrainConfig) -> TrainConfig:
    """The settings of the loop whose models were the first: a loop that continues another trains what that one started from."""
    seen: set[str] = set()
    while config.start and config.start not in seen:
        seen.add(config.start)
        try:
            config, _ = read_config(Path(config.start))
        except UsageError:  # it is gone; what this loop starts from is stored in its own folder
            break
    return config


def _has_own_prompts(config: TrainConfig) -> bool:
    """Whether the prompts, or what they are made of, are not nano-if's."""
    texts = config.backtranslation is not None and config.backtranslation.texts
    instructions = config.functions is not None and config.functions.instructions
    return bool(config.prompts or config.makes_prompts or texts or instructions)


def _embedded_roles(config: TrainConfig) -> tuple[Role, ...]:
    """Roles that the embedded model plays; the judge alone where it is not the refiner's model."""
    decode, (actor, refiner) = config.decode, first_models(config)
    names = {"actor": actor, "refiner": refiner, "judge": decode.judge_model or refiner}
    embedded = [
        role
        for role in model_roles(decode, ROLES)
        if not urls(decode)[role] and is_embedded(names[role])
    ]
    return tuple(role for role in embedded if role != "judge" or "refiner" not in embedded)


def _disk_line(disk: DiskUsage) -> str:
    texts = f"{format_bytes(disk.texts)} of trees and data"
    if not disk.num_models:
        return f"disk: about {texts}"
    if disk.total is None or disk.models is None or disk.checkpoints is None:
        return (
            f"disk: about {texts}, and {disk.num_models} models with their checkpoints, whose size is "
            "unknown: the model is not on this machine yet"
        )
    return (
        f"disk: about {format_bytes(disk.total)}: {disk.num_models} models {format_bytes(disk.models)}, "
        f"checkpoints {format_bytes(disk.checkpoints)} during a training, {texts}"
    )
