"""How many bytes a training loop writes: trees, models, and the checkpoints of the largest training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from spar.estimate.memory import Zero, adapter_parameters
from spar.estimate.model_size import ModelSize
from spar.estimate.stage_counts import count_stage
from spar.train.recipe import TrainConfig
from spar.train.settings import TrainerSettings
from spar.train.specs import TrainingSpec
from spar.train.stage import Stage

CHECKPOINT_BYTES: Mapping[int, int] = {0: 12, 1: 16, 2: 16, 3: 14}
"""ZeRO stage to the bytes of a trained parameter in a checkpoint: fp32 weight and two moments, and with DeepSpeed
the bf16 weights, once as a model and below stage 3 once more. Measured on the embedded model."""
CHECKPOINTS = 3
"""The two that stay, and the one that is being written."""


@dataclass(frozen=True, slots=True)
class DiskUsage:
    """Bytes that a loop writes; None where the size of a model is unknown."""

    texts: int
    models: int | None
    """Final weights of all trainings."""
    checkpoints: int | None
    """Checkpoints of the largest training, while it runs."""
    num_models: int

    @property
    def total(self) -> int | None:
        """The peak of all together."""
        if self.models is None or self.checkpoints is None:
            return None
        return self.texts + self.models + self.checkpoints


def disk_usage(
    config: TrainConfig,
    stages: Sequence[Stage],
    sizes: Mapping[str, ModelSize | None],
    prompts: int,
) -> DiskUsage:
    """The bytes that the stages write.

    Parameters
    ----------
    sizes:
        Training stage to the size of its model.
    prompts:
        Of each iteration.
    """
    texts = models = checkpoints = num_models = 0
    unknown = False
    for stage in stages:
        count = count_stage(config.of_iteration(stage.iteration), stage, prompts)
        texts += count.text_bytes
        if not isinstance(stage.spec, TrainingSpec):
            continue
        num_models += 1
        size, settings = sizes[stage.name], stage.spec.settings
        if size is None:
            unknown = True
            continue
        each = checkpoint_bytes(settings, size)
        number = num_checkpoints(settings, count.steps.total())
        models += model_bytes(settings, size)
        models += min(number, CHECKPOINTS - 1) * each if settings.keep_checkpoints else 0
        checkpoints = max(checkpoints, number * each)
    if unknown:
        return DiskUsage(texts, None, None, num_models)
    return DiskUsage(texts, models, checkpoints, num_models)


def num_checkpoints(settings: TrainerSettings, steps: int) -> int:
    """Checkpoints that exist at the same time: one every `checkpoint_steps`, and one after the last step."""
    if not settings.checkpoint_steps:
        return 0
    return min(CHECKPOINTS, math.ceil(steps / settings.checkpoint_steps))


def model_bytes(settings: TrainerSettings, size: ModelSize) -> int:
    """Bytes of a training's final weights and adapters."""
    width = {"bf16": 2.0, "fp32": 4.0}.get(settings.save_dtype, size.stored_width)
    adapters = 4 * adapter_parameters(settings, size) if settings.method != "full" else 0
    return int(size.parameters * width) + adapters


def checkpoint_bytes(settings: TrainerSettings, size: ModelSize) -> int:
    """Bytes of a checkpoint, which holds only the adapters where these are trained."""
    full = settings.method == "full"
    parameters = size.parameters if full else adapter_parameters(settings, size)
    return parameters * CHECKPOINT_BYTES[Zero.from_config(settings.deepspeed).stage]
