"""The arms of the pair ablation, from builds written by hand."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pair_ablation
import pytest

from spar.record.layout import DPO_FILE

HAVE = {"refined": "abcde", "independent": "cdefg"}
"""Prompts that have a pair of either kind."""


def build(settings: Any) -> None:
    """Write the pairs of a kind."""
    lines = [json.dumps({"prompt_id": one, "kind": settings.pairs}) for one in HAVE[settings.pairs]]
    settings.out.mkdir(parents=True)
    (settings.out / DPO_FILE).write_text("\n".join(lines))


def arms(home: Path, num_pairs: int) -> list[list[str]]:
    """The prompts of each arm's pairs, in order."""
    data: Any = SimpleNamespace(search="s", drafts="d", seed=1)
    found: list[list[str]] = []
    for name, changed in pair_ablation.ARMS.items():
        (home / name).mkdir()
        pair_ablation._build(data, home / name, num_pairs, changed)
        lines = (home / name / "build" / DPO_FILE).read_text().splitlines()
        found.append([json.loads(line)["prompt_id"] for line in lines])
    return found


def test_every_arm_has_the_same_prompts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that have a pair of either kind, in the same order, so that no arm has the easier ones."""
    monkeypatch.setattr(pair_ablation, "build", build)
    first, *others = arms(tmp_path, 3)
    assert sorted(first) == ["c", "d", "e"]
    assert others == [first, first]


def test_too_few_common_prompts_are_an_error_with_their_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the command can be given again."""
    monkeypatch.setattr(pair_ablation, "build", build)
    with pytest.raises(SystemExit, match="3 prompts have pairs of both kinds; give --pairs 3"):
        arms(tmp_path, 4)
