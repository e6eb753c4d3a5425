"""Before a training loop begins: what will run, how much is generated and trained, the disk it needs, and
whether the models fit.

    22 stages to run, 0/eval to 3/eval, over 10,000 prompts an iteration
    to generate: 150,000 drafts, 750,000 votes on drafts, in searches at most 450,000 refinements and ...
    to train: at most 939 of DPO and 1,341 of RFT optimizer steps
    to measure: 8 evaluations
    disk: about 409 GiB: 6 models 89.7 GiB, checkpoints 314 GiB while one trains, 5.2 GiB of trees and data
    to answer: 8.03 B parameters, with room for keys and values 18.7 GiB of each GPU, 79.1 GiB free: fits
    to train (dpo, full, zero3, 8 processes): without activations 20.7 GiB of each GPU, 79.1 GiB free: fits

`spar.estimate` works it out; this is its front.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from spar.estimate.disk import Disk, disk_of
from spar.estimate.fit import Place, fit_lines, processes_of, shown
from spar.estimate.memory import Processes, read_machine
from spar.estimate.model_size import ModelSize, model_size
from spar.estimate.preflight import TRAINERS, check_stages
from spar.estimate.stage_counts import Counts, counted
from spar.train.recipe import TrainConfig, first_models
from spar.train.stages import Stage


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a loop will take."""

    stages: tuple[str, ...]
    """Titles of those that will run."""
    prompts: int
    """Of each iteration."""
    toy_prompts: bool
    """Whether they are nano-if's, for a model that is not the embedded one."""
    counts: Counts
    disk: Disk
    fits: tuple[str, ...] = ()
    """Lines on whether the models fit."""


def estimate(
    config: TrainConfig, stages: Sequence[Stage], num_prompts_known: int | None
) -> Estimate:
    """What the stages will take, on this machine.

    Parameters
    ----------
    stages:
        Those that are still to run.
    num_prompts_known:
        Prompts of the file; None where there is no file, or nobody counted.

    Raises
    ------
    UsageError
        Something that the stages will be told is wrong (`spar.estimate.preflight`), or there is no such hostfile.
    """
    machine = read_machine()
    training = any(stage.name in TRAINERS for stage in stages)
    processes = processes_of(config.launch, machine) if training else Processes(1)
    check_stages(stages, processes)
    return worked_out(config, stages, num_prompts_known, Place(machine, processes))


def worked_out(
    config: TrainConfig, stages: Sequence[Stage], num_prompts_known: int | None, place: Place
) -> Estimate:
    """As `estimate`, in any place."""
    prompts = min(config.prompts_at_once, num_prompts_known or config.prompts_at_once)
    sizes = trained_sizes(config, stages)
    embedded = not any(first_models(config)) and not config.start
    return Estimate(
        stages=tuple(stage.title for stage in stages),
        prompts=prompts,
        toy_prompts=not config.prompts and not embedded,
        counts=sum((counted(config, stage, prompts) for stage in stages), Counts()),
        disk=disk_of(config, stages, sizes, prompts),
        fits=tuple(fit_lines(stages, sizes, place)),
    )


def lines(estimate: Estimate) -> list[str]:
    """The estimate for a terminal."""
    return [line for line in _lines(estimate) if line]


def check_disk(run: Path, estimate: Estimate) -> str | None:
    """A warning where the disk has less free than is needed; None where it has enough or nobody knows."""
    needed = estimate.disk.total
    place = next((p for p in (run, *run.absolute().parents) if p.is_dir()), None)
    if needed is None or place is None:
        return None
    free = shutil.disk_usage(place).free
    if free >= needed:
        return None
    return (
        f"warning: the disk of {run} has {shown(free)} free, and up to {shown(needed)} are needed; "
        "make room, give another --out, or write fewer checkpoints "
        "(--set dpo.checkpoint_steps=0 --set rft.checkpoint_steps=0 writes none)"
    )


def trained_sizes(config: TrainConfig, stages: Sequence[Stage]) -> Mapping[str, ModelSize | None]:
    """Training stage's name to the size of its model: a later iteration's is that of the first."""
    found: dict[str, ModelSize | None] = {}
    for name, first in zip(TRAINERS, first_models(config), strict=True):
        told = [str(stage.order["model"]) for stage in stages if stage.name == name]
        sizes = (model_size(model) for model in (*told, first) if model)
        if told:  # the embedded model's folder stands in its stages
            found[name] = next((size for size in sizes if size is not None), None)
    return found


def _lines(estimate: Estimate) -> Iterator[str]:
    counts, titles = estimate.counts, estimate.stages
    reach = f"{titles[0]} to {titles[-1]}" if len(titles) > 1 else titles[0]
    yield (
        f"{len(titles)} stage{'s' * (len(titles) > 1)} to run, {reach}, over {estimate.prompts:,} "
        "prompts an iteration"
    )
    if estimate.toy_prompts:
        yield (
            "note: the prompts are nano-if's, the embedded model's toy language, which teach another "
            "model little; give a file: spar train prompts.jsonl"
        )
    yield _generation_line(counts)
    steps = ((counts.dpo_steps, "of DPO"), (counts.rft_steps, "of RFT"))
    trained = " and ".join(f"{number:,} {what}" for number, what in steps if number)
    yield trained and f"to train: at most {trained} optimizer steps"
    yield f"to measure: {counts.evaluations} evaluations" if counts.evaluations else ""
    yield _disk_line(estimate.disk)
    yield from estimate.fits


def _generation_line(counts: Counts) -> str:
    parts = [f"{counts.drafts:,} drafts"] * bool(counts.drafts)
    parts += [f"{counts.draft_votes:,} votes on drafts"] * bool(counts.draft_votes)
    if counts.refinements:
        parts.append(
            f"in searches at most {counts.refinements:,} refinements and {counts.search_votes:,} votes"
        )
    return f"to generate: {', '.join(parts)}" if parts else ""


def _disk_line(disk: Disk) -> str:
    texts = f"{shown(disk.texts)} of trees and data"
    if not disk.num_models:
        return f"disk: about {texts}"
    if disk.total is None or disk.models is None or disk.checkpoints is None:
        return (
            f"disk: about {texts}, and {disk.num_models} models with their checkpoints, whose size is "
            "unknown: the model is not on this machine yet"
        )
    return (
        f"disk: about {shown(disk.total)}: {disk.num_models} models {shown(disk.models)}, checkpoints "
        f"{shown(disk.checkpoints)} while one trains, {texts}"
    )
