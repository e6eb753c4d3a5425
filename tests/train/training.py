"""Small data, settings and runs of the trainers, for their tests."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from spar.train.methods import METHODS
from spar.train.settings import DpoSettings, SftSettings
from tests.forked import run_training

ANIMALS = "fox owl cat dog hen cow bee ant elk rat".split()
QUICK = {"learning_rate": 1e-3, "batch": 4, "cutoff": 200, "save_dtype": "fp32"}
"""Settings with which the tiny model learns within a few steps."""


def write_pairs(path: Path, number: int = 12) -> Path:
    """Pairs that differ in their case and length."""
    rows = []
    for index in range(number):
        animal = ANIMALS[index % len(ANIMALS)]
        asked = f"Write about the {animal} number {index}."
        rows.append(
            {
                "prompt_id": f"p{index}",
                "prompt": [{"role": "user", "content": asked}],
                "chosen": f"The {animal} sees the owl.",
                "rejected": f"the {animal}, it " + "runs " * (index % 4 + 1),
            }
        )
    return write_rows(path, rows)


def write_conversations(path: Path, number: int = 12) -> Path:
    """Conversations of two questions and two answers."""
    rows = []
    for index in range(number):
        animal = ANIMALS[index % len(ANIMALS)]
        texts = (f"Write about {animal}.", f"The {animal}.", "Again.", "runs " * (index % 4 + 1))
        roles = ("user", "assistant", "user", "assistant")
        turns = [{"role": r, "content": c} for r, c in zip(roles, texts, strict=True)]
        rows.append({"kind": "refine", "messages": turns})
    return write_rows(path, rows)


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    """A .jsonl file."""
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def dpo_settings(model: Path, folder: Path, **changes: Any) -> DpoSettings:
    """Settings of a preference training in `folder`, on data that is written there."""
    folder.mkdir(parents=True, exist_ok=True)
    data = changes.pop("data", None) or write_pairs(folder / "pairs.jsonl")
    fixed = {"model": str(model), "data": str(data), "out": str(folder / "out")}
    return DpoSettings(**{**fixed, **QUICK, "epochs": 2, **changes})


def sft_settings(model: Path, folder: Path, **changes: Any) -> SftSettings:
    """Settings of a supervised training in `folder`, on data that is written there."""
    folder.mkdir(parents=True, exist_ok=True)
    data = changes.pop("data", None) or write_conversations(folder / "sft.jsonl")
    fixed = {"model": str(model), "data": str(data), "out": str(folder / "out")}
    return SftSettings(**{**fixed, **QUICK, "epochs": 2, **changes})


def written(settings: DpoSettings | SftSettings) -> Path:
    """The settings as a file beside their output."""
    path = Path(settings.out).with_name("settings.json")
    path.write_text(settings.model_dump_json())
    return path


def run(method: str, settings: DpoSettings | SftSettings, num_processes: int = 2) -> Path:
    """Train in this many forks of a process that has imported everything; returns the model's folder."""
    log = Path(settings.out).with_name("log.txt")
    run_training(METHODS[method].module, written(settings), log, num_processes=num_processes)
    return Path(settings.out) / "model"


def weights(folder: Path) -> dict[str, Any]:
    """Every weight of a model's folder, in fp32."""
    load = pytest.importorskip("safetensors.torch").load_file
    found = {}
    for path in sorted(folder.glob("*.safetensors")):
        found.update({name: tensor.float() for name, tensor in load(path).items()})
    return found


def distance(left: Path, right: Path) -> float:
    """Largest difference between the weights of two models."""
    one, other = weights(left), weights(right)
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def trainer_process(kind: str, settings: Path) -> list[str]:
    """The command of one trainer process."""
    return [sys.executable, "-m", f"spar.train.{kind}", str(settings)]


def one_thread() -> dict[str, str]:
    """This environment, on one core."""
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def quiet() -> list[pytest.MarkDecorator]:
    """Marks that let pass what TRL, transformers and torch warn each other of."""
    return [
        pytest.mark.filterwarnings(f"ignore::{kind}")
        for kind in ("UserWarning", "FutureWarning", "DeprecationWarning")
    ]
