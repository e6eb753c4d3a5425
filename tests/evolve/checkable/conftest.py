"""Shares lm-eval's verifiers, with the tokenizer that they need."""

from __future__ import annotations

from pathlib import Path

import pytest

from spar.ifeval_verifiers import checkers
from tests.eval.conftest import data_root

__all__ = ["data_root"]


@pytest.fixture(scope="session")
def verifiers(data_root: Path) -> None:
    """lm-eval's verifiers, or a skip where lm-eval or the tokenizer's data is absent."""
    pytest.importorskip("lm_eval")
    checkers(str(data_root / "nltk_data"))
