"""How much a training loop writes: trees, models, and the checkpoints of the training that needs most."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from spar.estimate.memory import Zero, adapter_numbers
from spar.estimate.model_size import ModelSize
from spar.estimate.preflight import TRAINERS, trained
from spar.estimate.stage_counts import counted
from spar.train.recipe import TrainConfig
from spar.train.settings import TrainerSettings
from spar.train.stages import Stage

CHECKPOINT_BYTES: Mapping[int, int] = {0: 12, 1: 16, 2: 16, 3: 14}
"""ZeRO stage to the bytes that a trained number takes in a checkpoint: fp32 weight and two moments, and under
DeepSpeed the bf16 weights, once as a model and below stage 3 once more. Seen on the embedded model."""
QLORA_BYTES = 6
"""The same where adapters and moments are in bf16."""
CHECKPOINTS = 3
"""The two that are kept, and the one that is being written."""


@dataclass(frozen=True, slots=True)
class Disk:
    """Bytes that a loop writes; None where the models' size is not known."""

    texts: int
    models: int | None
    """The final weights of all trainings."""
    checkpoints: int | None
    """Of the training that needs most, while it runs."""
    num_models: int

    @property
    def total(self) -> int | None:
        """All of it, at its highest."""
        if self.models is None or self.checkpoints is None:
            return None
        return self.texts + self.models + self.checkpoints


def disk_of(
    config: TrainConfig,
    stages: Sequence[Stage],
    sizes: Mapping[str, ModelSize | None],
    prompts: int,
) -> Disk:
    """What the stages write.

    Parameters
    ----------
    sizes:
        Training stage's name to the size of its model.
    prompts:
        Of each iteration.
    """
    counts = [counted(config, stage, prompts) for stage in stages]
    texts = sum(one.text_bytes for one in counts)
    models, most, num_models = 0, 0, 0
    for stage, count in zip(stages, counts, strict=True):
        if stage.name not in TRAINERS:
            continue
        num_models += 1
        size, settings = sizes[stage.name], trained(stage)
        if size is None:
            return Disk(texts, None, None, sum(one.name in TRAINERS for one in stages))
        each = checkpoint_bytes(settings, size)
        number = num_checkpoints(settings, count.dpo_steps + count.rft_steps)
        models += model_bytes(settings, size)
        models += min(number, CHECKPOINTS - 1) * each if settings.keep_checkpoints else 0
        most = max(most, number * each)
    return Disk(texts, models, most, num_models)


def num_checkpoints(settings: TrainerSettings, steps: int) -> int:
    """Checkpoints that lie side by side: one every so many steps, and one after the last."""
    if not settings.checkpoint_steps:
        return 0
    return min(CHECKPOINTS, math.ceil(steps / settings.checkpoint_steps))


def model_bytes(settings: TrainerSettings, size: ModelSize) -> int:
    """A training's final weights, and the adapters that were merged into them."""
    width = {"bf16": 2.0, "fp32": 4.0}.get(settings.save_dtype, size.stored_width)
    adapters = 4 * adapter_numbers(settings, size) if settings.method != "full" else 0
    return int(size.parameters * width) + adapters


def checkpoint_bytes(settings: TrainerSettings, size: ModelSize) -> int:
    """One checkpoint: of adapters these alone."""
    if settings.method == "qlora":
        return adapter_numbers(settings, size) * QLORA_BYTES
    numbers = size.parameters if settings.method == "full" else adapter_numbers(settings, size)
    return numbers * CHECKPOINT_BYTES[Zero.of(settings.deepspeed).stage]
