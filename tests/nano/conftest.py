"""NLTK's data for lm-eval's verifiers, out of the benchmark data folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

DATA = Path(os.environ.get("SPAR_DATA", Path(__file__).parents[3] / "shared" / "data"))


@pytest.fixture(scope="session")
def nltk_data() -> None:
    """Point NLTK at the data folder before lm-eval looks for its tokenizer."""
    folder = DATA / "nltk_data"
    if not folder.is_dir():
        pytest.skip(f"no benchmark data at {DATA}; set SPAR_DATA to its folder")
    nltk = pytest.importorskip("nltk")
    nltk.data.path.insert(0, str(folder))
