"""The embedded model's card, written by the training run from its settings and measurements.

python -m spar.nano.card spar/nano/checkpoint    # rewrite the card from training.json
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spar.nano.model import Recipe

FACTS = "training.json"
"""File in the model's folder with the run's facts as JSON."""

_HEAD = """---
library_name: transformers
pipeline_tag: text-generation
license: apache-2.0
tags: [spar, nano-if]
---

# spar's embedded model

A small chat model of the Llama architecture that plays actor, judge and refiner in spar's templates.
It speaks nano-if, short English-like sentences under constraints that a program checks, and nothing
else. It was trained {origin} on text that a grammar writes; no other data was used. It is imperfect on purpose: some constraint types are mostly ignored in the drafts it learnt
from (`ignored` below), and judgements and refinements carry independent noise, so that search, voting
and training have something real to win.

    python -m spar.nano.train {flags}
"""
_FROM_SCRATCH = "from scratch, by the command below,"
_IN_STAGES = "in stages (reports/LOG.md), the command below being the last,"


def write_card(folder: Path, facts: Mapping[str, Any], quality: Mapping[str, str]) -> None:
    """Write `README.md` and `training.json` into the model's folder.

    Parameters
    ----------
    facts:
        Settings, flaw rates, steps, tokens, seconds and hardware of the run.
    quality:
        Measurement name to share with standard error, on the validation split.
    """
    (folder / FACTS).write_text(
        json.dumps({**facts, "quality": dict(quality)}, indent=2) + "\n", encoding="utf-8"
    )
    rows = "\n".join(f"| {name} | {_shown(value)} |" for name, value in facts.items())
    measured = "\n".join(f"| {name} | {value} |" for name, value in quality.items())
    text = (
        _HEAD.format(origin=_IN_STAGES if facts["init"] else _FROM_SCRATCH, flags=_flags(facts))
        + f"\n## The run\n\n| | |\n|---|---|\n{rows}\n"
        + "\n## Measured on the validation split, by ground truth\n\n"
        + f"| | share, standard error |\n|---|---|\n{measured}\n"
    )
    (folder / "README.md").write_text(text, encoding="utf-8")


def _flags(facts: Mapping[str, Any]) -> str:
    flags = f"--steps {facts['steps']} --seed {facts['seed']}"
    if facts["init"]:
        flags += f" --init {facts['init']} --first-example {facts['first_example']}"
        flags += f" --rate {facts['learning_rate'] / Recipe().learning_rate:g}"
    return flags


def hardware(num_threads: int, device: str) -> str:
    """Processor, device and threads, human-readable."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        lines = (
            line
            for line in cpuinfo.read_text(encoding="utf-8").splitlines()
            if line.startswith("model name")
        )
        name = next(lines, f": {name}").split(":", 1)[1].strip()
    return f"{name}, {device}, {num_threads} threads"


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {inner}" for name, inner in value.items())
    return f"{value:,}" if isinstance(value, int) else str(value)


if __name__ == "__main__":
    import sys

    folder = Path(sys.argv[1])
    facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    write_card(folder, facts, facts.pop("quality"))
