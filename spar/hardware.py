"""GPUs, memory and installed packages of this machine."""

from __future__ import annotations

import os
import subprocess
from importlib.util import find_spec
from pathlib import Path

import psutil


def has_package(name: str) -> bool:
    """Whether a package can be imported, without importing it."""
    return find_spec(name) is not None


def has_gpu() -> bool:
    """Whether torch sees a GPU, according to the driver: no CUDA context is created in this process."""
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    try:
        import torch
    except ImportError:
        return False
    return bool(torch.cuda.is_available())


def free_memory(device: str = "auto") -> tuple[int, bool]:
    """Free memory in bytes of the device that models run on, and whether it is a GPU."""
    try:
        import torch
    except ImportError:
        return available_memory(), False
    if device != "cpu" and torch.cuda.is_available():
        place = torch.device("cuda" if device == "auto" else device)
        return int(torch.cuda.mem_get_info(place)[0]), True
    return available_memory(), False


def available_memory() -> int:
    """Available main memory in bytes: the machine's, or what a container's limit leaves if that is less."""
    room = container_room()
    machine = int(psutil.virtual_memory().available)
    return machine if room is None else min(machine, room)


def container_room(root: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Bytes that the memory limit of this container (cgroup v2 or v1) leaves; None where there is no limit."""
    for folder, limit_name, usage_name, cache_name in (
        (root, "memory.max", "memory.current", "inactive_file"),
        (root / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        try:
            limit = int((folder / limit_name).read_text())
            usage = int((folder / usage_name).read_text())
            stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            return max(0, limit - usage + int(stat.get(cache_name, 0)))
        except (OSError, ValueError):  # no such file, or "max"
            continue
    return None


def total_memory() -> int:
    """Bytes of this machine's memory."""
    return int(psutil.virtual_memory().total)


def list_gpus() -> list[str]:
    """Name and memory of each NVIDIA GPU, as nvidia-smi prints them; [] where there is none."""
    command = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return run.stdout.strip().splitlines()
