"""IFBench's verifiers: called from a package, repeatable, and without a verdict where they lack something."""

from __future__ import annotations

import json
import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from spar import ifbench_verifiers
from spar.errors import MissingExtra, UsageError
from spar.ifbench_verifiers import (
    IFBENCH_TYPES,
    NEEDS,
    check,
    checkers,
    unverifiable_types,
    used_package,
)

pytestmark = [pytest.mark.data, pytest.mark.evalharness]


@pytest.fixture(scope="module", autouse=True)
def ready(data_root: Path) -> Iterator[None]:
    """The package's verifiers, with NLTK's data out of the data folder."""
    pytest.importorskip("if_verifiable")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("NLTK_DATA", raising=False)
        patch.setattr(ifbench_verifiers, "_LOADED", [])
        checkers(str(data_root))
        yield


@pytest.fixture
def unloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if nothing had been checked in this process."""
    monkeypatch.setattr(ifbench_verifiers, "_LOADED", [])


def test_types_are_those_of_the_data_and_of_the_package(data_root: Path) -> None:
    """All 58 types of the test set are listed, and each has a verifier or a reason why it has none."""
    lines = (data_root / "ifbench" / "IFBench_test.jsonl").read_text(encoding="utf-8").splitlines()
    used = {name for line in lines for name in json.loads(line)["instruction_id_list"]}
    assert used == IFBENCH_TYPES and len(used) == 58
    assert checkers().keys() | unverifiable_types().keys() == IFBENCH_TYPES
    assert checkers().keys().isdisjoint(unverifiable_types())
    assert unverifiable_types().keys() <= NEEDS.keys()


def test_strict_and_loose() -> None:
    """The response as it is decides strictly, any of its variants loosely; a draw is part of neither."""
    (result,) = check("Here:\nword", ["format:no_whitespace"], [{"N": None}], seed="1")
    assert (result.name, result.strict, result.loose) == ("format:no_whitespace", False, True)
    assert result.reason == "The output should not contain any whitespace."


def test_draws_follow_from_the_seed_and_leave_no_trace() -> None:
    """A position of 0 is drawn anew by the package: the seed alone decides it, and `random` stays as it was."""
    arguments = {"prompt_to_repeat": " ".join(map(str, range(40))), "n_start": 0, "n_end": 20}
    random.seed(3)
    before = random.getstate()
    drawn = {
        seed: [check("x", ["repeat:repeat_span"], [arguments], seed=seed)[0] for _ in range(2)]
        for seed in range(8)
    }
    assert random.getstate() == before
    assert all(first == second for first, second in drawn.values())
    assert len({first.why for first, _ in drawn.values()}) > 3


def test_a_failing_verifier_is_data() -> None:
    """A verifier that refuses its arguments counts as not followed and names the error."""
    (result,) = check("x", ["format:no_whitespace"], [{"surplus": 1}], seed="1")
    assert (result.strict, result.loose, result.error) == (False, False, "TypeError")


def test_what_a_machine_cannot_check_has_no_verdict(
    unloaded: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, data_root: Path
) -> None:
    """Without stop words and tagger two types have a reason in place of a verdict, and the others are checked."""
    (tmp_path / "nltk_data").symlink_to(data_root / "nltk_data")
    assert checkers(str(tmp_path)).keys() == IFBENCH_TYPES - NEEDS.keys()
    assert unverifiable_types().keys() == NEEDS.keys()
    assert "spar data fetch nltk_words" in unverifiable_types()["ratio:stop_words"]
    with pytest.raises(UsageError, match=r"words:start_verb cannot be checked: NLTK's tagger"):
        check("Walk on.", ["words:start_verb"], [{}], seed="1")


def test_a_type_that_the_package_lacks_has_no_verdict(
    unloaded: None, monkeypatch: pytest.MonkeyPatch, data_root: Path
) -> None:
    """Another package of the same shape may have fewer types; the reason names it."""
    classes = dict(checkers(str(data_root)))
    del classes["format:emoji"]
    monkeypatch.setattr(ifbench_verifiers, "_LOADED", [])
    monkeypatch.setattr(ifbench_verifiers, "_registry", lambda: (classes, "other"))
    assert "format:emoji" not in checkers(str(data_root))
    assert unverifiable_types()["format:emoji"] == "the package other has no verifier for it"


def test_nothing_is_downloaded_when_the_package_is_imported(
    unloaded: None, monkeypatch: pytest.MonkeyPatch, data_root: Path
) -> None:
    """The package's downloads do nothing, and neither NLTK's path nor the environment is changed by it."""
    nltk = pytest.importorskip("nltk")
    monkeypatch.setattr(nltk, "download", lambda *_, **__: pytest.fail("a download"))
    for name in [name for name in sys.modules if name.startswith("if_verifiable")]:
        monkeypatch.delitem(sys.modules, name)
    assert checkers(str(data_root))
    assert "NLTK_DATA" not in os.environ


def test_a_missing_tokenizer_is_one_line(unloaded: None, tmp_path: Path) -> None:
    """Without NLTK's tokenizer a line says where it was looked for."""
    with pytest.raises(UsageError, match="spar data fetch nltk_data") as caught:
        checkers(str(tmp_path))
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_package_names_the_extra(
    unloaded: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, data_root: Path
) -> None:
    """Without the package the line says which extra brings it; a folder of its name is no package."""
    (tmp_path / "ifbench").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(ifbench_verifiers, "_REGISTRIES", (("ifbench", "ifbench.registry"),))
    with pytest.raises(MissingExtra, match=r"\[ifbench\]"):
        checkers(str(data_root))


def test_upstreams_package_is_preferred(
    unloaded: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, data_root: Path
) -> None:
    """Where the package `ifbench` is on the path its classes are used, and its name is that of the verifiers."""
    package = tmp_path / "ifbench"
    package.mkdir()
    (package / "__init__.py").write_text("import nltk\nnltk.download('punkt')\n")
    (package / "instructions_registry.py").write_text(
        "from if_verifiable.ifbench.instructions_registry import INSTRUCTION_DICT as A\n"
        "INSTRUCTION_DICT = {**A, 'keywords:existence': None}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert checkers(str(data_root)).keys() <= IFBENCH_TYPES
    assert used_package().startswith("ifbench ")
    for name in [name for name in sys.modules if name.partition(".")[0] == "ifbench"]:
        del sys.modules[name]
