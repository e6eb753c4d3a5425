"""The arms of the pair ablation, from builds written by hand."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from spar.record.layout import DPO_FILE

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
HAVE = {"refined": "abcde", "independent": "cdefg"}
"""Prompts that have a pair of either kind."""


def build(settings: Any) -> None:
    """Write the pairs of a kind."""
    lines = [json.dumps({"prompt_id": one, "kind": settings.pairs}) for one in HAVE[settings.pairs]]
    settings.out.mkdir(parents=True)
    (settings.out / DPO_FILE).write_text("\n".join(lines))


def arms(home: Path, module: Any, num_pairs: int) -> list[list[str]]:
    """The prompts of each arm's pairs, in order."""
    data, found = SimpleNamespace(search="s", drafts="d", seed=1), []
    for name, changed in module.ARMS.items():
        (home / name).mkdir()
        module._build(data, home / name, num_pairs, changed)
        lines = (home / name / "build" / DPO_FILE).read_text().splitlines()
        found.append([json.loads(line)["prompt_id"] for line in lines])
    return found


def test_every_arm_has_the_same_prompts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that have a pair of either kind, in the same order, so that no arm has the easier ones."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    module = importlib.import_module("pair_ablation")
    monkeypatch.setattr(module, "build", build)
    first, *others = arms(tmp_path, module, 3)
    assert sorted(first) == ["c", "d", "e"]
    assert others == [first, first]


def test_too_few_common_prompts_are_an_error_with_their_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the command can be given again."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    module = importlib.import_module("pair_ablation")
    monkeypatch.setattr(module, "build", build)
    with pytest.raises(SystemExit, match="3 prompts have pairs of both kinds; give --pairs 3"):
        arms(tmp_path, module, 4)
