"""Settings of the trainers, with the paper's values, and how they are read from a JSON file.

    {"model": "runs/sft", "data": "pairs.jsonl", "out": "runs/dpo", "epochs": 1}

Every key is a field below; missing ones have their default. The paper's hyperparameters are of
arXiv 2412.11605, "code" marks what its released scripts set, and "LLaMA-Factory" what these leave to
the trainer they call.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import Field, ValidationError

from spar.config import Settings, reason_of, setting
from spar.errors import UsageError, did_you_mean

FREE = ("data", "out", "wandb", "checkpoint_steps", "keep_checkpoints")
"""Settings that may differ when a training is resumed: they change no weight. The digest of the data may not
differ."""


class LoraSettings(Settings):
    """Low-rank adapters in place of training every weight."""

    rank: int = Field(default=64, ge=1)
    """Rank of the two factors."""
    alpha: int = Field(default=128, ge=1)
    """The product of the factors is scaled by `alpha / rank`."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout on what enters an adapter."""
    targets: str | tuple[str, ...] = "all-linear"
    """Names of the layers that get one; `all-linear` is every linear layer but the output's."""


class TrainerSettings(Settings):
    """The settings that all trainers share."""

    model: str = Field(min_length=1)
    """The model to start from: a Hugging Face folder or hub name, with a chat template."""
    data: str = Field(min_length=1)
    """A .jsonl file of examples, one a line."""
    out: str = Field(min_length=1)
    """Folder of the training; several machines must share it."""
    learning_rate: float = Field(gt=0)
    """Peak of the schedule."""
    epochs: float = Field(gt=0)
    """Passes over the data."""
    max_steps: int = Field(default=0, ge=0)
    """Stop after so many optimizer steps whatever `epochs` says; 0 goes by `epochs`."""
    batch: int = Field(ge=1)
    """Examples of an optimizer step, over all processes."""
    micro_batch: int = Field(default=1, ge=1)
    """Examples that one process works on at once; the rest is accumulated."""
    warmup_ratio: float = Field(default=0.1, ge=0, lt=1)
    """Share of the steps over which the learning rate rises from 0 (paper: 0.1)."""
    schedule: Literal["constant_with_warmup", "linear", "cosine"]
    """Schedule of the learning rate after warm-up."""
    chat_template_args: dict[str, Any] = setting({}, omit_default=True)
    """Variables of the chat template, as in the searches that the model is trained for."""
    cutoff: int = Field(ge=8)
    """Tokens of an example that are trained on; longer ones are truncated."""
    max_truncated: float = Field(default=0.05, ge=0, le=1)
    """Share of the examples that may be truncated; above it nothing is trained. 1 truncates them all, as
    LLaMA-Factory does. It may change whenever a training is resumed."""
    beta1: float = Field(default=0.9, ge=0, lt=1)
    """AdamW's first moment (paper: 0.9)."""
    beta2: float = Field(default=0.999, ge=0, lt=1)
    """AdamW's second moment (paper: 0.999)."""
    weight_decay: float = Field(default=0.0, ge=0)
    """AdamW's decay (LLaMA-Factory: 0)."""
    max_grad_norm: float = Field(default=1.0, gt=0)
    """Gradients are scaled down to this norm (LLaMA-Factory: 1)."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """Precision of the computation: auto is bf16 on a GPU (paper: bf16) and fp32 on a CPU."""
    save_dtype: Literal["auto", "bf16", "fp32"] = "auto"
    """Dtype of the final weights; auto is that of the starting model. bf16 loses changes smaller than half a step
    of its 8 bits; fp32 keeps them for the next training."""
    attention: Literal["auto", "eager", "sdpa", "flash_attention_2"] = "auto"
    """How attention is computed; auto leaves it to transformers."""
    gradient_checkpointing: Literal["auto", "on", "off"] = "auto"
    """Whether activations are recomputed to save memory; auto does so on a GPU."""
    method: Literal["full", "lora", "qlora"] = "full"
    """Train every weight (paper), adapters, or adapters over a base in 4 bits."""
    lora: LoraSettings = LoraSettings()
    """The adapters of `lora` and `qlora`; they are merged into the final weights."""
    deepspeed: str = setting("", is_path=True)
    """A preset (zero1, zero2, zero3, zero2-offload, zero3-offload) or a DeepSpeed JSON file; "" trains
    without DeepSpeed (paper: ZeRO-3)."""
    device: Literal["auto", "cpu", "gpu"] = "auto"
    """Where to train; auto chooses the GPU where there is one."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Seed of the order of the examples and of new adapters."""
    checkpoint_steps: int = Field(default=50, ge=0)
    """Steps between two checkpoints; 0 writes none, and a killed training starts over."""
    keep_checkpoints: bool = False
    """Whether checkpoints stay when the training is done; each is three times the model's size."""
    wandb: str = ""
    """A Weights & Biases project to report to; "" reports to none."""

    def num_steps(self, num_examples: int) -> int:
        """Optimizer steps on so many examples."""
        steps = max(1, math.ceil(num_examples / self.batch)) * self.epochs
        return self.max_steps or math.ceil(steps)


class SftSettings(TrainerSettings):
    """Supervised training on conversations: the bootstrap of both models, and the refiner's RFT."""

    learning_rate: float = Field(default=2e-6, gt=0)
    """Peak of the schedule (paper: 2e-6 for the bootstrap, 1e-6 for RFT)."""
    epochs: float = Field(default=3, gt=0)
    """Passes over the data (paper: 5 for the actor, 3 for the refiner)."""
    batch: int = Field(default=64, ge=1)
    """Examples of an optimizer step, over all processes (paper: 64)."""
    schedule: Literal["constant_with_warmup", "linear", "cosine"] = "constant_with_warmup"
    """Schedule of the learning rate after warm-up (code: constant with warm-up)."""
    cutoff: int = Field(default=4096, ge=8)
    """Tokens of an example that are trained on (code: 4096)."""
    train_on: Literal["last", "all"] = "last"
    """Which of the assistant's turns carry loss. The critique inside a refine conversation is the
    judge's own text, chosen among its votes and right or wrong: `last` learns the refinement alone,
    `all` learns the critique with it (LLaMA-Factory's default, so the released scripts')."""


class DpoSettings(TrainerSettings):
    """Preference training on pairs: the actor's."""

    learning_rate: float = Field(default=2e-7, gt=0)
    """Peak of the schedule (paper: 2e-7)."""
    epochs: float = Field(default=1, gt=0)
    """Passes over the data (paper: 1)."""
    batch: int = Field(default=32, ge=1)
    """Pairs of an optimizer step, over all processes (paper: 32)."""
    schedule: Literal["constant_with_warmup", "linear", "cosine"] = "linear"
    """Schedule of the learning rate after warm-up (code: linear)."""
    cutoff: int = Field(default=2048, ge=8)
    """Tokens of a prompt and either reply that are trained on (code: 2048)."""
    beta: float = Field(default=0.1, gt=0)
    """Strength of the KL penalty against the starting model (paper: 0.1)."""
    sft_weight: float = Field(default=0.1, ge=0)
    """Weight of the SFT loss on the chosen side (paper: 0.1), averaged over the tokens of a
    micro-batch; LLaMA-Factory's `pref_ftx`, the paper's, averages over its examples."""
    precompute_reference: bool = False
    """Whether the starting model's log-probabilities are computed before training, so that it need
    not stay in memory."""


class LaunchSettings(Settings):
    """How many processes train, and where."""

    processes: int = Field(default=0, ge=0)
    """Processes on this machine, one for each GPU; 0 for all GPUs, or one process without any. A hostfile has
    its own numbers."""
    hostfile: str = ""
    """A DeepSpeed hostfile (lines `worker-1 slots=8`) for several machines; "" for this one."""
    master_port: int = Field(default=0, ge=0, le=65535)
    """Port of the main process; 0 for any free one."""


SET_BY_LOOP = ("model", "data", "out")
"""Settings of a trainer that are its stage's."""


S = TypeVar("S", bound=TrainerSettings)


def trainer_fields(kind: type[TrainerSettings], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a trainer, without its model, data and folder.

    Raises
    ------
    ValueError
        An unknown setting, a wrong value, or one of the three that the loop sets.
    """
    names = [name for name in SET_BY_LOOP if name in settings]
    if names:
        raise ValueError(f"{names[0]!r} is set by the loop; remove it")
    trainer = kind.model_validate(
        {
            **dict.fromkeys(SET_BY_LOOP, "-"),
            **{name: as_number(value) for name, value in settings.items()},
        }
    )
    return trainer.model_dump(mode="json", exclude=set(SET_BY_LOOP))


def as_number(value: Any) -> Any:
    """The number that a text is, else the value: YAML 1.1 takes 1e-6, without a point, for a text."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def load_settings(kind: type[S], path: str | Path) -> S:
    """Settings from a JSON file.

    Raises
    ------
    UsageError
        The file cannot be read, is not JSON, or names an unknown setting or a wrong value.
    """
    try:
        values = json.loads(Path(path).read_bytes())
    except OSError as error:
        raise UsageError(f"cannot read the settings {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"the settings {path} are not JSON: {error}") from error
    if not isinstance(values, dict):
        raise UsageError(
            f"the settings {path} are a JSON {type(values).__name__}; expected an object"
        )
    try:
        return kind.model_validate_json(json.dumps(values))
    except ValidationError as error:
        raise UsageError(f"the settings {path}: {_explain(error, kind)}") from error


def _explain(error: ValidationError, kind: type[S]) -> str:
    first: Any = error.errors(include_url=False)[0]
    name = ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        return f"unknown setting {name!r}{did_you_mean(name, kind.model_fields)}"
    if first["type"] == "missing":
        return f"{name} is missing"
    return f"{name} is {first['input']!r}: {reason_of(first)}"
