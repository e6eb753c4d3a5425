"""What nvidia-smi says of the GPUs of this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from spar import hardware
from spar.hardware import (
    Gpu,
    count_gpus,
    list_gpus,
    may_see_gpu,
    parse_gpus,
    visible_gpus,
)

LISTING = """\
0, GPU-aaaa-1, 80000, 81559
1, GPU-bbbb-2, 40000, 81559
2, GPU-bbcc-3, 1000, 24564
"""


@pytest.mark.parametrize(
    ("visible", "mib"),
    [
        (None, (80000, 40000, 1000)),
        ("", ()),
        ("-1", ()),
        ("1", (40000,)),
        ("2,0", (1000, 80000)),
        ("GPU-bbcc", (1000,)),
        ("7", ()),
        ("0,-1,1", (80000,)),
        ("0,,1", (80000,)),
        ("0,7,1", (80000,)),
    ],
)
def test_only_visible_gpus_count(visible: str | None, mib: tuple[int, ...]) -> None:
    """Indices and ids of CUDA_VISIBLE_DEVICES, as CUDA reads them."""
    assert [gpu.free >> 20 for gpu in parse_gpus(LISTING, visible)] == list(mib)


@pytest.mark.parametrize(
    "listing",
    [
        "",
        "No devices were found\n",
        "0, GPU-a, [N/A], 81559\n",
        "0, GPU-a, 80000\n",
        "0, GPU-a, 8\u00b2, 81559\n",
    ],
)
def test_unreadable_gpus_do_not_count(listing: str) -> None:
    """What nvidia-smi prints without a usable GPU."""
    assert parse_gpus(listing, None) == ()


def test_an_nvidia_smi_that_hangs_shows_no_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it does over a GPU that has fallen off the bus."""
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\nexec sleep 600\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(hardware, "_SMI_SECONDS", 0.2)
    assert (visible_gpus(), list_gpus(), count_gpus()) == ((), [], 0)


@pytest.mark.parametrize(
    ("visible", "gpus", "device", "expected"),
    [
        (None, 0, False, False),
        (None, 1, False, True),
        (None, 0, True, True),
        ("0", 0, True, True),
        ("", 1, True, False),
        ("-1", 1, True, False),
    ],
)
def test_torch_may_see_a_gpu_without_nvidia_smi(
    visible: str | None,
    gpus: int,
    device: bool,
    expected: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By its driver's device, unless CUDA_VISIBLE_DEVICES hides all."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setattr(hardware, "visible_gpus", lambda: (Gpu(1, 1),) * gpus)
    monkeypatch.setattr(hardware, "_DEVICES", (str(tmp_path / "kfd"),))
    if device:
        (tmp_path / "kfd").touch()
    assert may_see_gpu() == expected
