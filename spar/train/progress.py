"""What a training leaves behind as it goes: rows of metrics, marked checkpoints, and a loud end on a bad loss.

A row of `metrics.jsonl`:

    {"step": 3, "epoch": 0.19, "values": {"loss": 0.68, "learning_rate": 2e-07, "grad_norm": 11.2}}

The callbacks are transformers', built inside functions so that this module imports nothing heavy.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spar.errors import RunStopped
from spar.files import LineFile, replace_json, replace_lines
from spar.record.training import METRICS, MetricsRow, read_metrics

MARK = "complete.json"
"""Stands in a checkpoint that was written whole."""
_PREFIX = "checkpoint-"


def callbacks(folder: Path, *, main: bool) -> list[Any]:
    """What watches a training in `folder`; all processes watch, the main one writes."""
    from transformers import TrainerCallback

    class Watch(TrainerCallback):  # type: ignore[misc]  # transformers is not typed here
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            values = {k: v for k, v in (logs or {}).items() if isinstance(v, int | float)}
            if "loss" not in values:  # the summary at the end
                return
            if main:
                _write(folder, state.global_step, state.max_steps, values)
            refuse_not_finite(state.global_step, values, folder, main=main)

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            wait_for_all()
            if main:
                mark(folder / f"{_PREFIX}{state.global_step}", state.global_step)

    return [Watch()]


def refuse_not_finite(
    step: int, values: Mapping[str, float], folder: Path, *, main: bool = True
) -> None:
    """Raise `RunStopped` where the loss or the gradient's norm is not a finite number.

    It is asked before the step's checkpoint would be written. The one of the step before goes too: its
    weights are what gave this loss.
    """
    bad = [name for name in ("loss", "grad_norm") if not math.isfinite(values.get(name, 0.0))]
    if not bad:
        return
    wait_for_all()
    if main:
        shutil.rmtree(folder / f"{_PREFIX}{step - 1}", ignore_errors=True)
    wait_for_all()
    good = last_checkpoint(folder)
    kept = f"the last good checkpoint is {good}" if good else "there is no good checkpoint"
    raise RunStopped(
        f"the {bad[0].replace('_', ' ')} at step {step} is {values[bad[0]]}; {kept}; "
        "look at the data around this step, or lower learning_rate and start in another folder"
    )


def mark(checkpoint: Path, step: int) -> None:
    """Say that a checkpoint was written whole, after all of it is on the disk."""
    for path in checkpoint.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
    replace_json(checkpoint / MARK, {"step": step})


def last_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that was written whole."""
    found = [path for path in _checkpoints(folder) if (path / MARK).exists()]
    return max(found, key=_step, default=None)


def clear_torn(folder: Path) -> None:
    """Remove all checkpoints but the last whole one, and the metrics from after it.

    An unmarked one is unfinished; an older one may have been half removed already.
    """
    last = last_checkpoint(folder)
    for path in _checkpoints(folder):
        if path != last:
            shutil.rmtree(path)
    step = _step(last) if last else 0
    rows = [row for row in read_metrics(folder) if row.step <= step]
    replace_lines(folder / METRICS, map(_line, rows))


def wait_for_all() -> None:
    """Wait until every process of the training has come here."""
    import torch.distributed as dist

    if dist.is_initialized() and dist.get_world_size() > 1:
        dist.barrier()


def plot(folder: Path) -> None:
    """Draw `loss.png`: the loss, and of a preference training the share of pairs told right."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return  # the numbers are kept in any case, and the weights matter more than a picture
    rows = read_metrics(folder)
    shown = [("loss", "loss"), ("rewards/accuracies", "pairs told right")]
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
        file.append(_line(MetricsRow(step=step, epoch=epoch, values=finite)))
    rate = values.get("learning_rate", math.nan)
    print(f"step {step}/{last} loss {values['loss']:.4f} learning rate {rate:.2e}", flush=True)


def _line(row: MetricsRow) -> str:
    return json.dumps(row.model_dump(), separators=(",", ":"))


def _checkpoints(folder: Path) -> list[Path]:
    found = (path for path in folder.glob(f"{_PREFIX}*") if path.is_dir())
    return [path for path in found if path.name.removeprefix(_PREFIX).isdigit()]


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix(_PREFIX))
