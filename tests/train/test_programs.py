"""A loop in which programs judge and refine: only the actor's model is loaded, and only the actor learns."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spar.errors import EngineError, RunStopped, UsageError
from spar.infer.engine_wrappers import unwrap
from spar.record.training_data import Pair
from spar.run.engines import Engines
from spar.store import read_trees
from spar.train.build import read_report
from spar.train.loop import loop_pipeline
from spar.train.pipeline import StageSelection, run_pipeline
from spar.train.recipe import load_train
from spar.train.stage import Stage
from spar.train.status import read_config, read_loop
from spar.verifiers import passes
from spar.worker import execute
from tests.fakes import Notes

PROGRAMS = [
    *("methods=[dpo]", "decode.judge=verifier", "decode.refiner=rewrite"),
    *("decode.strategy=iterative", "decode.budget=3", "decode.draft.max_tokens=40"),
    *("iterations=1", "prompts_per_iteration=12", "samples=3", "min_pairs=1"),
]
SEEDS = (
    *(
        "Describe a morning at the harbour.",
        "Explain why the sky is blue.",
        "Tell a story of a dog.",
    ),
    *(
        "Give advice to a new gardener.",
        "Describe your favourite meal.",
        "Explain how bread is made.",
    ),
)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The models that are loaded, one entry for each time."""
    models: list[str] = []
    load: Callable[[Engines, Any], Any] = Engines._open

    def record(engines: Engines, needed: Any) -> Any:
        models.append(needed.model)
        return load(engines, needed)

    monkeypatch.setattr(Engines, "_open", record)
    return models


def go(run: Path, *changes: str, stop_after: str = "build") -> list[str]:
    """Run the stages of a loop in this process; returns their titles."""
    ran: list[str] = []

    def work(stage: Stage, tick: Callable[[], None]) -> None:
        ran.append(stage.title)
        execute(stage.spec)  # type: ignore[arg-type]

    config = load_train("nano", {}, [*PROGRAMS, *changes])
    selection = StageSelection(stop_after=stop_after)
    run_pipeline(loop_pipeline(config, run), work, listener=Notes([]), selection=selection)
    return ran


@pytest.mark.parametrize("pairs", ["both", "independent"])
def test_programs_judge_and_refine(pairs: str, tmp_path: Path, opened: list[str]) -> None:
    """The model is loaded once, for the drafts; every chosen side meets all constraints, and no rejected one does."""
    run = tmp_path / "run"
    ran = go(run, f"pairs={pairs}", "benchmarks=[]")
    assert ran == [f"1/{s}" for s in ("draft", "judge", *["search"] * (pairs == "both"), "build")]
    assert len(opened) == 1
    home = run / "iteration-1"
    report = read_report(home / "build")
    assert report.files.keys() == {"dpo.jsonl"}
    assert report.pairs.pairs > 0
    prompts = {tree.prompt.id: tree.prompt for tree in read_trees(home / "judge")}
    rows = map(json.loads, (home / "build" / "dpo.jsonl").read_text().splitlines())
    pairs_of = [as_pair(row) for row in rows]
    assert {pair.run for pair in pairs_of} <= {"search", "drafts"}
    for pair in pairs_of:
        assert passes(pair.chosen, prompts[pair.prompt_id])
        assert not passes(pair.rejected, prompts[pair.prompt_id])
    assert [s.state for s in read_loop(run).stages][: len(ran)] == ["done"] * len(ran)


def as_pair(row: dict[str, Any]) -> Pair:
    """A row of the format `trl` as a pair."""
    sides = {side: row[side][0]["content"] for side in ("chosen", "rejected")}
    return Pair.model_validate({**row, **sides})


@pytest.mark.data
@pytest.mark.slow
def test_a_loop_trains_on_prompts_that_it_made(
    data_root: Path, tmp_path: Path, opened: list[str]
) -> None:
    """From seed prompts to held-out prompts that are answered, and to the drafts of the first iteration."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "nltk_data").symlink_to(data_root / "nltk_data")
    seeds = tmp_path / "seeds.txt"
    seeds.write_text("\n".join(SEEDS))
    made = f"checkable={{n: 4, holdout: 2, prompts: {seeds}}}"
    run = tmp_path / "run"
    ran = go(
        run,
        made,
        "prompts_per_iteration=3",
        f"eval.data={tmp_path / 'data'}",
        "benchmarks=[{benchmark: checkable, held_out: true}]",
        "eval.draft.max_tokens=20",
        stop_after="judge",
    )
    assert ran == ["0/prompts", "0/eval", "1/draft", "1/judge"]
    folder = run / "iteration-0" / "prompts" / "made"
    counts = [
        len((folder / f"{name}.jsonl").read_text().splitlines()) for name in ("prompts", "holdout")
    ]
    assert counts == [4, 2]
    scores = read_loop(run).scores[0]["checkable"]
    assert scores["pass"]["n"] == 2
    assert scores["words"]["unit"] == "words"
    assert len(list(read_trees(run / "iteration-1" / "judge"))) == 3
    assert len(opened) == 2


@pytest.mark.parametrize(("other", "loads"), [("", 1), ("dtype: bf16, ", 2)])
def test_an_evaluation_stage_loads_a_model_once(
    other: str, loads: int, tmp_path: Path, opened: list[str]
) -> None:
    """The benchmarks of a stage share the loaded model, unless one opens it in another way."""
    go(
        tmp_path / "run",
        "benchmarks=[{benchmark: nano-if, settings: {limit: 2}}, "
        f"{{name: again, benchmark: nano-if, settings: {{{other}limit: 1}}}}]",
        "eval.draft.max_tokens=4",
        stop_after="eval",
    )
    assert read_loop(tmp_path / "run").scores[0].keys() == {"nano-if", "again"}
    assert len(opened) == loads


def test_a_misspelt_metric_stops_a_loop_before_it_trains(tmp_path: Path) -> None:
    """The first evaluation names those that there are; with one of these the loop goes on from what it has answered."""
    run, changes = tmp_path / "run", ("eval.limit=2", "eval.draft.max_tokens=4")
    item = "benchmarks=[{{name: g, benchmark: nano-if-answers, show: [{}]}}]"
    with pytest.raises(UsageError, match=r"stage 0/eval: show of 'g'.* no metric 'nope'") as error:
        go(run, item.format("nope"), *changes, stop_after="eval")
    assert "accepted: pass, pass_instruction" in str(error.value)
    trees = (run / "iteration-0" / "eval" / "g" / "nano-if-answers" / "trees.jsonl").stat()
    go(run, item.format("pass, pass/short"), *changes, stop_after="eval")
    assert read_loop(run).scores[0]["g"]["pass"]["n"] == 2
    after = (run / "iteration-0" / "eval" / "g" / "nano-if-answers" / "trees.jsonl").stat()
    assert (after.st_ino, after.st_mtime_ns) == (trees.st_ino, trees.st_mtime_ns)
    assert read_config(run)[0].benchmarks[0].show == ("pass", "pass/short")


def test_an_engine_that_dies_fails_its_own_evaluation_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one loads the model again."""
    load: Callable[[Engines, Any], Any] = Engines._open
    loaded: list[Any] = []

    async def die(requests: Any) -> Any:
        raise EngineError("the engine died")

    def record(engines: Engines, needed: Any) -> Any:
        engine = load(engines, needed)
        if not loaded:
            monkeypatch.setattr(unwrap(engine), "generate", die)
        loaded.append(engine)
        return engine

    monkeypatch.setattr(Engines, "_open", record)
    with pytest.raises(RunStopped, match="the engine died"):
        go(
            tmp_path / "run",
            "benchmarks=[{benchmark: nano-if}, {name: again, benchmark: nano-if}]",
            "eval.limit=2",
            "eval.draft.max_tokens=4",
            stop_after="eval",
        )
    done = [path.parent.name for path in (tmp_path / "run").rglob("done.json")]
    assert (done, len(loaded)) == (["again"], 2)
