"""The files and folders of runs, and the fields of their JSON files that are read without a model of them.

    run.json trees.jsonl summary.json log.txt run.lock      every run (`spar.store`)
    examples.jsonl results.json                             an evaluation beside its trees (`spar.record.evaluation`)
    iteration-N/STAGE/                                      a training loop (`spar.record.training`)
    STAGE/                                                  a bootstrap

A folder below a training run is named for the stage that writes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

BUILT_IN_PROMPTS = 100
"""Prompts of a run that names neither a file of prompts nor a limit: the first of nano-if's test split."""

BUILD_STAGE = "build"
"""The stage that writes the training data."""
EVAL_STAGE = "eval"
"""The stage that evaluates the models of an iteration; the last one of a loop with benchmarks."""
LAST_TRAINING = "rft"
"""The last stage of a loop without benchmarks that trains both models."""
LOOP_TRAININGS = ("dpo", LAST_TRAINING, "sft")
"""The trainings of an iteration, of which a loop has some."""
BOOTSTRAP_TRAININGS = ("actor", "refiner")
"""The folders of a bootstrap's trainings."""
LOOP_SOURCES: Mapping[str, str] = {"search": "search", "drafts": "judge"}
"""In an iteration, an example's `run` to the stage whose trees it was taken from."""
DRAFT_STAGE, JUDGEMENTS_STAGE = "draft", "judgements"
"""The stage of the drafts where a loop does not judge them; the stage of the judgements that pairs are made of, which is
also these examples' `run`."""
BOOTSTRAP_SOURCES: Mapping[str, str] = {"search": "refine", "drafts": "judge", "answers": "answers"}
"""In a bootstrap, the same."""

DPO_FILE, RFT_FILE, SFT_FILE = "dpo.jsonl", "rft.jsonl", "sft.jsonl"
"""The training data of an iteration."""
EXAMPLE_FILES = (DPO_FILE, RFT_FILE, SFT_FILE, *(f"{name}.jsonl" for name in BOOTSTRAP_TRAININGS))
"""All files of training data: those of an iteration, then those of a bootstrap."""


def absolute_path(path: Path) -> Path:
    """The absolute path without `..`, which are followed as the system does; other links keep their names."""
    return path.resolve() if ".." in path.parts else path.absolute()
