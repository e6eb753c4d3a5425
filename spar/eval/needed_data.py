"""The data sets and files that an evaluation reads: which there are, and digests of them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from spar.config import EvalConfig
from spar.errors import UsageError
from spar.eval.benchmark import Benchmark, BenchmarkSpec
from spar.eval.datasets.local import DataFolder, open_data
from spar.eval.external_answers.rows import answer_files
from spar.nltk_folders import DATA_SETS, is_named


def data_of(benchmark: Benchmark | BenchmarkSpec, config: EvalConfig) -> tuple[str, ...]:
    """The data sets that a benchmark must have: none where its examples come from `--prompts`."""
    return () if config.prompts and benchmark.reads_prompts else needed(benchmark.data)


def needed(names: Sequence[str]) -> tuple[str, ...]:
    """These data sets; NLTK's only where `NLTK_DATA` does not have them."""
    return tuple(name for name in names if name not in DATA_SETS or not is_named(name))


def present(names: Sequence[str], data: str) -> list[DataFolder]:
    """Those of the data sets that are on this machine and complete."""
    folders = []
    for name in names:
        with suppress(UsageError):
            folders.append(open_data(name, data))
    return folders


def data_digest(data: Sequence[DataFolder], config: EvalConfig) -> str:
    """Changes with the examples, and with the files given."""
    parts = [folder.digest for folder in data if folder.name not in DATA_SETS]
    parts += file_digests(config)
    return hashlib.sha256("".join(parts).encode()).hexdigest()[:16] if parts else ""


def file_digests(config: EvalConfig) -> list[str]:
    """Of the files of responses and of prompts."""
    files = answer_files(config.responses) if config.responses else []
    files += [Path(config.prompts)] if config.prompts else []
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in files if path.is_file()]
