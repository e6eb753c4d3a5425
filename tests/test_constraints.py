"""The versions that were tested together (`constraints.txt`) can be installed wherever torch comes from."""

from __future__ import annotations

from pathlib import Path

CONSTRAINTS = Path(__file__).parents[1] / "constraints.txt"


def test_what_torch_pins_itself_is_not_pinned() -> None:
    """Its builds for GPUs, PyPI's default, require versions of their own, which a pin would contradict."""
    lines = CONSTRAINTS.read_text().splitlines()
    names = {line.partition("==")[0] for line in lines if not line.startswith("#")}
    assert "torch" in names
    assert not [name for name in names if name.startswith(("triton", "nvidia-", "cuda-"))]
