"""SmolLM2-135M-Instruct, a real chat model of real English, for the tests marked `smollm2`.

The root `conftest.py` provides the fixture to every test.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

FOLDER = "SPAR_TEST_SMOLLM2"
"""Environment variable with a folder that holds the model."""


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """The model's folder, or a skip where it cannot be had."""
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    if folder := os.environ.get(FOLDER):
        return Path(folder)
    pytest.skip(f"no model: {FOLDER} is not set")
