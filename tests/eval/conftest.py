"""What tests of the evaluation share: where the benchmarks' data is."""

from __future__ import annotations

from pathlib import Path

import pytest

DATA = Path(__file__).parents[3] / "shared" / "data"
"""The benchmark data beside the project; no part of it."""


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The benchmark data, or a skip where it is absent."""
    if not (DATA / "MANIFEST.sha256").is_file():
        pytest.skip("no benchmark data in ../shared/data")
    return DATA
