"""One training of an experiment, on rows that the experiment makes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from spar.files import replace_json
from spar.record.training import TRAIN_REPORT
from spar.train.data.export import write_lines
from spar.train.launch import launch

CALLS_OF_START = 300
"""What could be generated while a training starts."""


async def run_training(
    home: Path, method: str, rows: Iterable[dict[str, Any]], settings: Mapping[str, Any]
) -> str:
    """The folder of a model that was trained on some rows, `HOME/METHOD/model`; it is trained where it is missing.

    Parameters
    ----------
    method:
        `dpo` or `sft`.
    rows:
        Pairs or conversations, as the trainer reads them.
    settings:
        Those of the trainer, without its data and its folder.

    Raises
    ------
    UsageError, RunStopped
        As `spar.train.launch.launch`.
    """
    out = home / method
    if (out / TRAIN_REPORT).is_file():
        return str(out / "model")
    data, order = home / f"{method}.jsonl", home / f"{method}.order.json"
    home.mkdir(parents=True, exist_ok=True)
    write_lines(data, rows)
    # No checkpoints: a training takes minutes, and one that was killed starts over.
    values = {"checkpoint_steps": 0, "data": str(data), "out": str(out)}
    replace_json(order, {**settings, **values})
    await asyncio.to_thread(launch, method, order, log=home / f"{method}.log")
    return str(out / "model")
