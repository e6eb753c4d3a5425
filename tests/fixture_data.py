"""The benchmarks' data beside the project, and the verifiers of instructions that need a part of it.

The root `conftest.py` provides the fixtures to every test. A test that asks for none of them sees no verifiers that
an earlier test has loaded, nor the data that `SPAR_DATA` names: whether it passes depends neither on the tests before
it in its process nor on the environment.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from spar.data_folder import VARIABLE
from spar.nltk_folders import VARIABLE as NLTK_VARIABLE

DATA = Path(os.environ.get(VARIABLE) or Path(__file__).parents[2] / "shared" / "data")
"""The benchmarks' data; no part of the project."""
_LOADED = {"spar.ifeval_verifiers": dict, "spar.ifbench_verifiers": list}
"""Module to the type of what it keeps of loaded verifiers."""
_LOADERS = {"verifiers", "ifbench", "ready"}
"""Fixtures that load verifiers; `ready` is that of a module whose tests all need them."""
_ENVIRONMENT = {"nltk_data"}
"""Fixtures that name the data in the environment."""


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The benchmarks' data, or a skip where it is absent."""
    if not (DATA / "MANIFEST.sha256").is_file():
        pytest.skip(f"no benchmark data at {DATA}; set {VARIABLE} to its folder")
    return DATA


@pytest.fixture(scope="session")
def verifiers(data_root: Path) -> None:
    """IFEval's verifiers, with the tokenizer that they need, or a skip where lm-eval or the data is absent."""
    pytest.importorskip("lm_eval")
    from spar.ifeval_verifiers import checkers

    checkers(str(data_root / "nltk_data"))


@pytest.fixture(scope="session")
def ifbench(data_root: Path) -> None:
    """IFBench's verifiers, or a skip where their package or the data is absent."""
    pytest.importorskip("if_verifiable")
    from spar.ifbench_verifiers import checkers

    checkers(str(data_root))


@pytest.fixture(autouse=True)
def no_verifiers_of_others(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide verifiers that another test has loaded, and folders of data that the environment names.

    Not from a test that asks for them by one of the fixtures.
    """
    asked = set(request.fixturenames)
    if not asked & _ENVIRONMENT:
        monkeypatch.delenv(VARIABLE, raising=False)
        monkeypatch.delenv(NLTK_VARIABLE, raising=False)
    if not asked & _LOADERS:
        for name, kept in _LOADED.items():
            if name in sys.modules:
                monkeypatch.setattr(sys.modules[name], "_LOADED", kept())
