"""The course of a run: two local models, side by side or in turn, and what the person is told."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from spar.config import load_decode
from spar.embedded import CHECKPOINT
from spar.infer.strategy import DRAFT_ATTEMPTS
from spar.progress import open_progress
from spar.run import placement
from spar.run.decoding import prompt_source, run_decode
from spar.run.two_phase import FOLDER
from spar.store import read_summary, read_trees
from tests.fakes import timeless

pytestmark = pytest.mark.model

PROMPTS = 4


@pytest.fixture
def two_models(tmp_path: Path) -> tuple[str, str]:
    """Two folders with the embedded model's weights, so that only their names differ."""
    pytest.importorskip("transformers")
    pytest.importorskip("torch").set_num_threads(1)  # as in conftest: more get in their own way
    for name in ("one", "two"):
        shutil.copytree(CHECKPOINT, tmp_path / name)
    return str(tmp_path / "one"), str(tmp_path / "two")


def search(actor: str, refiner: str, out: Path) -> dict[str, str]:
    """Run BFS over a few prompts; prompt id to tree, without times and cost."""
    settings = {
        "actor_model": actor,
        "model": refiner,
        "engine": "hf",
        "device": "cpu",
        "limit": PROMPTS,
        "budget": 3,
        "votes": 3,
    }
    config = load_decode("nano", settings)
    listener = open_progress("plain")
    asyncio.run(run_decode(config, prompt_source(config), out=out, listener=listener))
    return {tree.prompt.id: timeless(tree).to_json() for tree in read_trees(out)}


def test_models_that_do_not_fit_take_turns(
    two_models: tuple[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Drafts first, then that model is freed and the search runs; the trees are the same, and it is told."""
    whole = search(*two_models, tmp_path / "whole")
    assert "loaded side by side" in capsys.readouterr().err
    assert not (tmp_path / "whole" / FOLDER).exists()
    monkeypatch.setattr(placement, "free_memory", lambda _: (1 << 20, False))
    halves = search(*two_models, tmp_path / "halves")
    told = capsys.readouterr().err
    assert "drafts first" in told
    assert "their model is freed" in told
    assert len(list(read_trees(tmp_path / "halves" / FOLDER))) == PROMPTS
    assert halves == whole
    engines = read_summary(tmp_path / "halves")["engines"]
    assert len(engines) == 2
    assert engines[two_models[0]]["calls"] == DRAFT_ATTEMPTS * PROMPTS


def test_a_run_in_turn_resumes_in_its_second_half(
    two_models: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the first half wrote is not written again; the totals count both starts."""
    monkeypatch.setattr(placement, "free_memory", lambda _: (1 << 20, False))
    whole = search(*two_models, tmp_path / "run")
    trees = tmp_path / "run" / "trees.jsonl"
    kept = trees.read_text().splitlines(keepends=True)[:1]
    trees.write_text("".join(kept))
    earlier = read_summary(tmp_path / "run")
    again = search(*two_models, tmp_path / "run")
    assert again == whole
    summary = read_summary(tmp_path / "run")
    assert summary["engines"][two_models[0]] == earlier["engines"][two_models[0]] | {
        "busy_share": summary["engines"][two_models[0]]["busy_share"]
    }
    assert summary["seconds"] > earlier["seconds"]
    assert summary["load_seconds"] > earlier["load_seconds"] > 0
    assert len(trees.read_text().splitlines()) == PROMPTS
