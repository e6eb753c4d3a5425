"""The data sets and files that an evaluation reads: which there are, downloads of them, and digests."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from spar.config import EvalConfig
from spar.errors import RunStopped, UsageError
from spar.eval.benchmark import Benchmark, BenchmarkSpec
from spar.eval.datasets.first_use import fetch_absent
from spar.eval.datasets.local import DataFolder, open_data
from spar.eval.external_answers.rows import answer_files
from spar.listener import Listener
from spar.nltk_folders import DATA_SETS, is_named


def data_of(benchmark: Benchmark | BenchmarkSpec, config: EvalConfig) -> tuple[str, ...]:
    """The data sets that a benchmark must have: none where its examples come from `--prompts`."""
    return () if config.prompts and benchmark.reads_prompts else needed(benchmark.data)


def needed(names: Sequence[str]) -> tuple[str, ...]:
    """These data sets; NLTK's only where `NLTK_DATA` does not have them."""
    return tuple(name for name in names if name not in DATA_SETS or not is_named(name))


def fetch_data(
    benchmarks: Sequence[Benchmark], config: EvalConfig, listener: Listener, *, offline: bool
) -> None:
    """Download what the benchmarks need and this machine lacks, unless that is not wanted.

    Parameters
    ----------
    offline:
        `--offline`.

    Raises
    ------
    UsageError, RunStopped
        As `fetch_absent`, of data that they must have.
    """
    required = dict.fromkeys(used for b in benchmarks for used in data_of(b, config))
    optional = dict.fromkeys(used for b in benchmarks for used in needed(b.optional_data))
    fetch_absent(tuple(required), config.data, listener, offline=offline)
    for name in optional:
        try:
            fetch_absent((name,), config.data, listener, offline=offline)
        except (UsageError, RunStopped) as error:  # the results say what is missing
            listener.note(str(error))


def open_folders(benchmark: Benchmark, config: EvalConfig) -> list[DataFolder]:
    """The data sets that a benchmark must have, then those of the optional ones that are here and complete.

    Raises
    ------
    UsageError
        One that it must have is missing or damaged.
    """
    required = [open_data(name, config.data) for name in data_of(benchmark, config)]
    return required + present(needed(benchmark.optional_data), config.data)


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
