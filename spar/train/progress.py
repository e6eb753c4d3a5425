"""What a training writes while it runs: metrics and marked checkpoints; it stops where the loss is not finite.

A row of `metrics.jsonl`:

    {"step": 3, "epoch": 0.19, "values": {"loss": 0.68, "learning_rate": 2e-07, "grad_norm": 11.2}}

The callbacks are transformers', built inside functions so that this module imports nothing heavy.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spar.errors import RunStopped
from spar.files import LineFile, replace_json, replace_lines
from spar.record.row_files import record_line
from spar.record.training import METRICS, MetricsRow, read_metrics
from spar.train.owned import CHECKPOINT, COMPLETE, checkpoints, is_owned, mark_owned, remove_owned

TOKENS = "num_tokens"
"""TRL's name for the tokens trained on so far."""
KEPT = 2
"""Complete checkpoints that stay while a training runs."""


def callbacks(folder: Path, *, main: bool) -> list[Any]:
    """The callbacks of a training in `folder`; only the main process writes."""
    from transformers import TrainerCallback

    class ProgressCallback(TrainerCallback):  # type: ignore[misc]  # transformers is not typed here
        earlier_tokens = 0.0

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            state.save_steps = args.save_steps  # a resumed state has its checkpoint's
            if state.global_step and (rows := read_metrics(folder)):
                # TRL counts the tokens of this process alone.
                self.earlier_tokens = rows[-1].values.get(TOKENS) or 0.0

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            values = {k: v for k, v in (logs or {}).items() if isinstance(v, int | float)}
            if "loss" not in values:  # the summary at the end
                return
            if TOKENS in values:
                values[TOKENS] += self.earlier_tokens
            if main:
                _write(folder, state.global_step, state.max_steps, values)
            check_finite(state.global_step, values, folder, main=main)

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if not control.should_save:
                return
            if main:  # before any process writes to it
                mark_owned(checkpoint_of(folder, state.global_step))
            wait_for_all()

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            wait_for_all()
            if main:
                mark_complete(checkpoint_of(folder, state.global_step), state.global_step)
                remove_older(folder)

    return [ProgressCallback()]


def check_finite(
    step: int, values: Mapping[str, float], folder: Path, *, main: bool = True
) -> None:
    """Raise `RunStopped` where the loss or the gradient's norm is not finite.

    Called before the step's checkpoint is written. The checkpoint of the step before is deleted too: its
    weights are those with this loss.
    """
    not_finite = [
        name for name in ("loss", "grad_norm") if not math.isfinite(values.get(name, 0.0))
    ]
    if not not_finite:
        return
    wait_for_all()
    if main:
        remove_owned(checkpoint_of(folder, step - 1))
    wait_for_all()
    checkpoint = last_checkpoint(folder)
    last = (
        f"the last good checkpoint is {checkpoint}" if checkpoint else "there is no good checkpoint"
    )
    name = not_finite[0]
    raise RunStopped(
        f"the {name.replace('_', ' ')} at step {step} is {values[name]}; {last}; "
        "check the data around this step, or lower learning_rate and train in another folder"
    )


def mark_complete(checkpoint: Path, step: int) -> None:
    """Mark a checkpoint as complete, after all of it is on the disk."""
    for path in checkpoint.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
    replace_json(checkpoint / COMPLETE, {"step": step})


def last_checkpoint(folder: Path) -> Path | None:
    """The newest complete checkpoint."""
    return max(_complete(folder), key=_step, default=None)


def end_with(arguments: Any, checkpoint: Path) -> None:
    """Have a resumed training take no further step where its checkpoint is of the last one.

    transformers checks the number of steps after a step, so that a training that ends within an epoch (`max_steps`, or a
    fraction of epochs) would take one more each time that it is resumed.

    Parameters
    ----------
    arguments:
        transformers' `TrainingArguments`, which are changed.
    """
    state = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    if state["global_step"] >= state["max_steps"]:
        arguments.max_steps = -1
        # Whole epochs behind the checkpoint; its share of an epoch is rounded.
        arguments.num_train_epochs = math.floor(state["epoch"] + 1e-6)


def remove_incomplete(folder: Path) -> None:
    """Remove all of the training's checkpoints but the last complete one, and the metrics after it.

    One that is not complete was being written; an older one may be half deleted.
    """
    last = last_checkpoint(folder)
    for path in checkpoints(folder):
        if path != last:
            remove_owned(path)
    step = _step(last) if last else 0
    rows = [row for row in read_metrics(folder) if row.step <= step]
    replace_lines(folder / METRICS, map(record_line, rows))


def remove_older(folder: Path) -> None:
    """Remove the training's complete checkpoints but the last `KEPT`."""
    for path in sorted(_complete(folder), key=_step, reverse=True)[KEPT:]:
        remove_owned(path)


def checkpoint_of(folder: Path, step: int) -> Path:
    """The checkpoint of a step."""
    return folder / f"{CHECKPOINT}{step}"


def wait_for_all() -> None:
    """Wait until every process of the training calls this."""
    import torch.distributed as dist

    if dist.is_initialized() and dist.get_world_size() > 1:
        dist.barrier()


def plot(folder: Path) -> None:
    """Draw `loss.png`: the loss, and the accuracy of a preference training."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return  # the metrics are on disk anyway
    rows = read_metrics(folder)
    shown = [("loss", "loss"), ("rewards/accuracies", "accuracy")]
    shown = [pair for pair in shown if any(pair[0] in row.values for row in rows)]
    if not shown:
        return
    figure = Figure(figsize=(5 * len(shown), 3.5), layout="constrained")
    for position, (name, title) in enumerate(shown, start=1):
        axes = figure.add_subplot(1, len(shown), position)
        points = [(row.step, row.values[name]) for row in rows if row.values.get(name) is not None]
        axes.plot(*zip(*points, strict=True), linewidth=1.2)
        axes.set(xlabel="step", ylabel=title)
        axes.grid(alpha=0.3)
    figure.savefig(folder / "loss.png", dpi=120)


def _write(folder: Path, step: int, last: int, values: dict[str, float]) -> None:
    finite = {name: value if math.isfinite(value) else None for name, value in values.items()}
    epoch = finite.pop("epoch", None) or 0.0
    with LineFile(folder / METRICS) as file:
        file.append(record_line(MetricsRow(step=step, epoch=epoch, values=finite)))
    rate = values.get("learning_rate", math.nan)
    print(f"step {step}/{last} loss {values['loss']:.4f} learning rate {rate:.2e}", flush=True)


def _complete(folder: Path) -> list[Path]:
    return [path for path in checkpoints(folder) if is_owned(path) and (path / COMPLETE).exists()]


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix(CHECKPOINT))
