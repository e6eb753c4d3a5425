"""GPUs, memory and installed packages of this machine."""

from __future__ import annotations

import csv
import os
import platform
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from itertools import takewhile
from pathlib import Path

from spar.cores import import_torch
from spar.errors import MissingExtra

QUERY = ("--query-gpu=index,uuid,memory.free,memory.total", "--format=csv,noheader,nounits")
"""What nvidia-smi is asked, for `parse_gpus`."""
_SMI_SECONDS = 60.0
"""Without persistence mode nvidia-smi first wakes each GPU, some seconds each; where a driver hangs it never ends."""
_DEVICES = ("/dev/nvidiactl", "/dev/nvmap", "/dev/kfd")
"""Devices of the drivers, where there may be no nvidia-smi: NVIDIA's in a container and on its boards, AMD's."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """The memory of a GPU in bytes, as the driver reports it."""

    free: int
    total: int


def has_package(name: str) -> bool:
    """Whether a package can be imported, without importing it."""
    return find_spec(name) is not None


def require_packages(names: Iterable[str], extra: str, purpose: str) -> None:
    """Raise `MissingExtra` for the first of some packages that cannot be imported; none is imported."""
    for name in names:
        if not has_package(name):
            raise MissingExtra(name, extra, purpose)


def is_installed(distribution: str) -> bool:
    """Whether a distribution is installed, by the name that pip knows it by."""
    try:
        version(distribution)
    except PackageNotFoundError:
        return False
    return True


def has_gpu() -> bool:
    """Whether torch sees a GPU, according to the driver: no CUDA context is created in this process."""
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    try:
        torch = import_torch()
    except ImportError:
        return False
    return bool(torch.cuda.is_available())


def free_memory(device: str = "auto") -> tuple[int, bool]:
    """Free memory in bytes of the device that models run on, and whether it is a GPU."""
    try:
        torch = import_torch()
    except ImportError:
        return available_memory(), False
    if device != "cpu" and torch.cuda.is_available():
        place = torch.device("cuda" if device == "auto" else device)
        return int(torch.cuda.mem_get_info(place)[0]), True
    return available_memory(), False


def describe_hardware(device: str = "auto") -> str:
    """The GPU in words, or the processor's cores and the threads that torch uses."""
    try:
        torch = import_torch()
    except ImportError:
        return f"{os.cpu_count()} cores of {platform.machine()}"
    if device != "cpu" and torch.cuda.is_available():
        return f"{torch.cuda.device_count()} x {torch.cuda.get_device_name(0)}"
    return f"{os.cpu_count()} cores of {platform.machine()}, {torch.get_num_threads()} thread(s)"


def available_memory() -> int:
    """Available main memory in bytes: the machine's, or what a container's limit leaves if that is less."""
    import psutil

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
            limit = int((folder / limit_name).read_text(encoding="utf-8"))
            usage = int((folder / usage_name).read_text(encoding="utf-8"))
            stat = dict(
                line.split()
                for line in (folder / "memory.stat").read_text(encoding="utf-8").splitlines()
            )
            return max(0, limit - usage + int(stat.get(cache_name, 0)))
        except (OSError, ValueError):  # no such file, or "max"
            continue
    return None


def total_memory() -> int:
    """Bytes of this machine's memory."""
    import psutil

    return int(psutil.virtual_memory().total)


def list_gpus() -> list[str]:
    """Name and memory of each NVIDIA GPU, as nvidia-smi prints them; [] where there is none."""
    return _nvidia_smi("--query-gpu=name,memory.total", "--format=csv,noheader", strict=True)


def count_gpus() -> int:
    """The GPUs that CUDA would show to this process, counted without torch, which would hold memory on them."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len(_names(visible))
    return sum(line.startswith("GPU ") for line in _nvidia_smi("-L"))


def may_see_gpu() -> bool:
    """Whether torch could see a GPU in a process that this one starts, NVIDIA's or AMD's; imports nothing."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if hidden is not None and not _names(hidden):
        return False
    return bool(visible_gpus()) or any(Path(path).exists() for path in _DEVICES)


def visible_gpus() -> tuple[Gpu, ...]:
    """The NVIDIA GPUs that CUDA would show to this process, without a CUDA context in it."""
    return parse_gpus("\n".join(_nvidia_smi(*QUERY)), os.environ.get("CUDA_VISIBLE_DEVICES"))


def parse_gpus(listing: str, visible: str | None) -> tuple[Gpu, ...]:
    """The GPUs in the output of nvidia-smi: index, id, free and total MiB on each line.

    Parameters
    ----------
    visible:
        `CUDA_VISIBLE_DEVICES`: indices or ids of the GPUs to use; None for all.
    """
    rows = [tuple(cell.strip() for cell in row) for row in csv.reader(listing.splitlines())]
    gpus = [row for row in rows if len(row) == len(("index", "uuid", "free", "total"))]
    if visible is not None:
        named = ([row for row in gpus if _is_named(name, *row[:2])] for name in _names(visible))
        gpus = [row for found in takewhile(bool, named) for row in found]
    return tuple(
        Gpu(int(free) << 20, int(total) << 20)
        for _, _, free, total in gpus
        if free.isdecimal() and total.isdecimal()
    )


def _names(visible: str) -> list[str]:
    """The GPUs that a value of `CUDA_VISIBLE_DEVICES` names: as CUDA reads it, those before the first that is none."""
    names = (name.strip() for name in visible.split(","))
    return list(takewhile(lambda name: name not in ("", "-1"), names))


def _is_named(name: str, index: str, uuid: str) -> bool:
    return name == index or (len(name) > len("GPU-") and uuid.startswith(name))


def _nvidia_smi(*arguments: str, strict: bool = False) -> list[str]:
    """The lines that nvidia-smi prints; none where there is no such program, it hangs or, if `strict`, it fails."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    try:
        run = subprocess.run(
            [program, *arguments],
            capture_output=True,
            text=True,
            timeout=_SMI_SECONDS,
            check=strict,
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return run.stdout.strip().splitlines()
