"""The loop runs what is not done, in order, and resumes; its stages are scripted here, not executed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spar.errors import (
    ConfigChanged,
    MissingExtra,
    RunLocked,
    RunStopped,
    SparError,
    UsageError,
)
from spar.files import locked
from spar.manifest import Manifest
from spar.record.training import parse_scores
from spar.store import LOCK, RunStore
from spar.train.harder import HarderSpec
from spar.train.loop import loop_pipeline, prompts_of, with_harder
from spar.train.loop_stages import Origin, loop_stages, models_after
from spar.train.pipeline import StageSelection, run_pipeline
from spar.train.prompts_spec import PromptsSpec
from spar.train.recipe import TrainConfig, load_train, with_changes
from spar.train.specs import BuildSpec, EvalStageSpec, TrainingSpec
from spar.train.stage import Stage, read_record, write_record
from spar.train.stage_runner import archive, write_prompts
from spar.train.status import read_config, read_loop, read_origin, shown_scores
from tests.fakes import Notes, make_prompt

ONE = ["draft", "judge", "search", "build", "dpo", "rft", "eval"]
SCORES = {"toy": {"pass": {"value": 0.5, "stderr": 0.1, "n": 4}}}


class Script:
    """Executes stages: records that they ran, writes what the next ones need, fails where scripted."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.specs: dict[str, dict[str, Any]] = {}
        self.fails: dict[str, SparError | KeyboardInterrupt] = {}

    def __call__(self, stage: Stage, tick: Callable[[], None]) -> None:
        """Execute a stage."""
        self.ran.append(stage.title)
        self.specs[stage.title] = json.loads(stage.spec_file.read_text())
        stage.folder.mkdir(exist_ok=True)
        if stage.title in self.fails:
            raise self.fails.pop(stage.title)
        tick()
        stage.spec.output.parent.mkdir(exist_ok=True)
        stage.spec.output.write_text(json.dumps(SCORES))
        if isinstance(stage.spec, PromptsSpec):
            rows = [{"id": f"made-{number}", "prompt": f"Say {number}."} for number in range(6)]
            stage.spec.prompts.write_text("".join(json.dumps(row) + "\n" for row in rows))
        if isinstance(stage.spec, BuildSpec):
            for name in ("dpo", "rft"):
                (stage.folder / f"{name}.jsonl").write_text("{}\n" * 40)
        if isinstance(stage.spec, TrainingSpec):
            (stage.folder / "model").mkdir()
            (stage.folder / "model" / "config.json").write_text("{}")


@pytest.fixture
def script() -> Script:
    """A new script."""
    return Script()


def settings(**changes: Any) -> TrainConfig:
    """A small loop of one benchmark."""
    values = {"iterations": 1, "prompts_per_iteration": 3, "benchmarks": ({"benchmark": "toy"},)}
    return TrainConfig.model_validate({**values, **changes})


def go(
    script: Script, run: Path, config: TrainConfig, *, overwrite: bool = False, **selection: Any
) -> list[str]:
    """Run the loop; returns its notes."""
    notes: list[str] = []
    run_pipeline(
        loop_pipeline(config, run, overwrite=overwrite),
        script,
        listener=Notes(notes),
        selection=StageSelection(**selection),
        overwrite=overwrite,
    )
    return notes


def test_a_loop_runs_every_stage_in_order(tmp_path: Path, script: Script) -> None:
    """The first models are measured, then come the iterations' seven stages."""
    go(script, tmp_path / "run", settings(iterations=2))
    assert script.ran == ["0/eval", *(f"{i}/{name}" for i in (1, 2) for name in ONE)]


def test_an_iteration_starts_from_the_previous_models(tmp_path: Path, script: Script) -> None:
    """M_1 and R_1 draft, judge and are trained further in iteration 2; the first evaluation has M_0."""
    run = tmp_path / "run"
    config = settings(iterations=2, decode={"actor_model": "A", "refiner_model": "R"})
    go(script, run, config)
    actor, refiner = (str(run / "iteration-1" / name / "model") for name in ("dpo", "rft"))
    assert script.specs["1/dpo"]["model"] == "A"
    assert script.specs["2/dpo"]["model"] == actor
    assert script.specs["2/rft"]["model"] == refiner
    drafting = script.specs["2/draft"]["config"]
    assert (drafting["actor_model"], drafting["refiner_model"]) == (actor, refiner)
    measured = script.specs["0/eval"]["items"][0]["config"]
    assert (measured["actor_model"], measured["refiner_model"]) == ("A", "R")


def test_drafts_are_sampled_and_fully_judged(tmp_path: Path, script: Script) -> None:
    """K sampled drafts and full votes, whatever the settings of the search; these apply to the search alone."""
    config = settings(
        decode={"vote_rule": "majority", "strategy": "dfs"}, search={"strategy": "iterative"}
    )
    go(script, tmp_path / "run", config)
    for name in ("draft", "judge"):
        settings_ = script.specs[f"1/{name}"]["config"]
        assert (settings_["budget"], settings_["greedy_first"], settings_["vote_rule"]) == (
            5,
            False,
            "full",
        )
    assert script.specs["1/search"]["config"]["strategy"] == "iterative"
    assert script.specs["1/search"]["config"]["vote_rule"] == "majority"


def test_the_first_draft_may_be_greedy(tmp_path: Path, script: Script) -> None:
    """The drafts alone; the judge's stage says the same of them."""
    go(script, tmp_path / "run", settings(greedy_draft=True))
    stages = {name: script.specs[f"1/{name}"]["config"] for name in ("draft", "judge")}
    assert [stage["greedy_first"] for stage in stages.values()] == [True, True]
    assert [stage["budget"] for stage in stages.values()] == [5, 5]


def test_an_evaluation_with_the_first_actor(tmp_path: Path, script: Script) -> None:
    """An evaluation with `actor: first` keeps the actor while the refiner moves on."""
    benchmarks = ({"benchmark": "toy", "name": "judges", "actor": "first"},)
    go(script, tmp_path / "run", settings(benchmarks=benchmarks, decode={"model": "M"}))
    (item,) = script.specs["1/eval"]["items"]
    assert item["config"]["actor_model"] == "M"
    assert item["config"]["refiner_model"].endswith("iteration-1/rft/model")


def test_a_failed_stage_runs_again(tmp_path: Path, script: Script) -> None:
    """The error names the stage; done stages are skipped; the record counts the starts."""
    run = tmp_path / "run"
    script.fails["1/search"] = RunStopped("the disk is full")
    with pytest.raises(RunStopped, match="stage 1/search: the disk is full"):
        go(script, run, settings())
    failed = {s.stage.title: s for s in read_loop(run).stages}["1/search"]
    assert (failed.state, failed.record and failed.record.message) == ("failed", "the disk is full")
    script.ran.clear()
    go(script, run, settings())
    assert script.ran == ["1/search", "1/build", "1/dpo", "1/rft", "1/eval"]
    record = read_record(failed.stage)
    assert record is not None and (record.state, record.starts) == ("done", 2)
    assert record.message == ""


def test_ctrl_c_does_not_fail_a_stage(tmp_path: Path, script: Script) -> None:
    """The stage counts as stopped, as after a kill."""
    run = tmp_path / "run"
    script.fails["1/dpo"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        go(script, run, settings())
    states = {s.stage.title: s.state for s in read_loop(run, running=False).stages}
    assert (states["1/build"], states["1/dpo"], states["1/rft"]) == ("done", "stopped", "waiting")


def test_more_iterations_extend_a_loop(tmp_path: Path, script: Script) -> None:
    """A loop of one iteration continues to two; a second call runs nothing."""
    run = tmp_path / "run"
    go(script, run, settings())
    script.ran.clear()
    go(script, run, settings(iterations=2))
    assert script.ran == [f"2/{name}" for name in ONE]
    script.ran.clear()
    go(script, run, settings(iterations=2))
    assert script.ran == []


def test_another_recipe_is_rejected_with_a_diff(tmp_path: Path, script: Script) -> None:
    """Nothing runs, and the message names the setting with both values."""
    run = tmp_path / "run"
    go(script, run, settings())
    with pytest.raises(ConfigChanged, match=r"dpo\.beta: 0\.1 -> 0\.3") as refused:
        go(script, run, settings(dpo={"beta": 0.3}))
    assert str(refused.value).endswith("--rerun-from 1/dpo")
    with pytest.raises(ConfigChanged, match="seed: 0 -> 1") as refused:
        go(script, run, settings(seed=1))
    assert str(refused.value).endswith("choose another --out")  # no stage to run again would do
    assert script.ran.count("1/dpo") == 1


def test_placement_may_change(tmp_path: Path, script: Script) -> None:
    """Launch and batch settings may change on resume."""
    run = tmp_path / "run"
    go(script, run, settings())
    go(script, run, settings(launch={"processes": 2}, decode={"max_batch_size": 8}))


def test_the_share_that_is_cut_may_change(tmp_path: Path, script: Script) -> None:
    """Where it stopped the loop, a larger one lets it go on; the folder of the loop is named as before."""
    run = tmp_path / "run"
    script.fails["1/dpo"] = UsageError("7 of 9 examples are longer than cutoff")
    with pytest.raises(UsageError, match="longer than cutoff"):
        go(script, run, settings())
    go(script, run, settings(dpo={"max_truncated": 1.0}))
    assert script.specs["1/dpo"]["max_truncated"] == 1.0


def test_the_required_number_of_pairs_may_change(tmp_path: Path, script: Script) -> None:
    """Where it stopped the loop, a lower one lets it go on, as the message advises."""
    run = tmp_path / "run"
    script.fails["1/build"] = UsageError("26 of 32 trees, and 32 are required")
    with pytest.raises(UsageError, match="32 are required"):
        go(script, run, settings(min_pairs=32))
    go(script, run, settings(min_pairs=26))
    assert script.specs["1/build"]["min_pairs"] == 26


def test_rerun_from_archives_and_reruns(tmp_path: Path, script: Script) -> None:
    """The earlier output is archived; stages before stay."""
    run = tmp_path / "run"
    go(script, run, settings())
    script.ran.clear()
    notes = go(script, run, settings(), rerun_from="dpo")
    assert script.ran == ["1/dpo", "1/rft", "1/eval"]
    archived = run / "replaced" / "1" / "iteration-1"
    assert (archived / "dpo" / "model" / "config.json").is_file()
    assert (archived / "dpo.json").is_file()
    assert "1/dpo, 1/rft, 1/eval" in notes[0]


def test_rerun_from_frees_the_settings_of_its_stages(tmp_path: Path, script: Script) -> None:
    """A setting of DPO may change from DPO on, one of the search may not."""
    run = tmp_path / "run"
    go(script, run, settings())
    go(script, run, settings(dpo={"beta": 0.3}), rerun_from="dpo")
    assert script.specs["1/dpo"]["beta"] == 0.3
    with pytest.raises(ConfigChanged, match="samples: 5 -> 4") as refused:
        go(script, run, settings(dpo={"beta": 0.3}, samples=4), rerun_from="dpo")
    assert str(refused.value).endswith("--rerun-from 1/draft")
    assert (run / "iteration-1" / "dpo.json").is_file()


@pytest.mark.parametrize(
    ("base", "change", "hint"),
    [
        ({}, {"restart": True}, "1/build"),
        ({}, {"checkable": {"n": 6}}, ""),
        ({"methods": ("dpo",), "pairs": "best_worst"}, {"cut_drafts": False}, "1/build"),
        (
            {"methods": ("dpo",), "pairs": "best_worst", "one_model": True},
            {"judge_pairs": True},
            "1/build",
        ),
    ],
)
def test_settings_of_a_stage_that_a_loop_lacks_are_fixed_by_later_stages(
    base: dict[str, Any], change: dict[str, Any], hint: str, tmp_path: Path, script: Script
) -> None:
    """What was trained without them would be on record as trained with them."""
    run = tmp_path / "run"
    go(script, run, settings(**base))
    with pytest.raises(ConfigChanged, match=next(iter(change))) as refused:
        go(script, run, settings(**base, iterations=2, **change))
    assert f"--rerun-from {hint}" in str(refused.value)
    if hint:
        go(script, run, settings(**base, **change), rerun_from=hint)


def test_settings_of_a_stage_that_a_loop_lacks_are_free_before_it(
    tmp_path: Path, script: Script
) -> None:
    """The start was measured and drafts were made, nothing else."""
    run, base = tmp_path / "run", {"methods": ("dpo",), "one_model": True, "pairs": "best_worst"}
    go(script, run, settings(**base), stop_after="draft")
    go(script, run, settings(**base, judge_pairs=True), stop_after="1/meta")
    assert script.ran[-2:] == ["1/judgements", "1/meta"]


def test_settings_of_an_earlier_iteration_stay_fixed(tmp_path: Path, script: Script) -> None:
    """DPO has run in iteration 1, so its settings are not free in iteration 2."""
    run = tmp_path / "run"
    go(script, run, settings(iterations=2))
    with pytest.raises(ConfigChanged, match=r"dpo\.beta") as refused:
        go(script, run, settings(iterations=2, dpo={"beta": 0.3}), rerun_from="2/dpo")
    assert str(refused.value).endswith("--rerun-from 1/dpo")


def test_only_and_stop_after(tmp_path: Path, script: Script) -> None:
    """`--stop-after build` ends there; `--only dpo` runs that one; a stage without its inputs is refused."""
    run = tmp_path / "run"
    go(script, run, settings(), stop_after="build")
    assert script.ran == ["0/eval", "1/draft", "1/judge", "1/search", "1/build"]
    go(script, run, settings(), only="dpo")
    assert script.ran[-1] == "1/dpo"
    go(script, run, settings(), only="dpo")
    assert script.ran.count("1/dpo") == 1
    with pytest.raises(UsageError, match="stage 1/eval needs"):
        go(script, run, settings(), only="eval")


@pytest.mark.parametrize(
    ("selection", "words"),
    [
        ({"rerun_from": "dpo", "stop_after": "biuld"}, "no stage 'biuld'"),
        (
            {"rerun_from": "dpo", "stop_after": "build"},
            "starts with 1/dpo, and --stop-after build ends before it, with 1/build",
        ),
        (
            {"rerun_from": "rft", "only": "dpo"},
            "starts with 1/rft, and --only dpo ends before it, with 1/dpo",
        ),
        ({"only": "dpo", "stop_after": "rft"}, "give one of them"),
        (
            {"rerun_from": "judge", "only": "dpo"},
            "1/dpo reads what 1/build wrote, which --rerun-from judge moves away.*--stop-after 1/dpo",
        ),
    ],
)
def test_contradictory_selections_change_nothing(
    selection: dict[str, Any], words: str, tmp_path: Path, script: Script
) -> None:
    """A mistake beside `--rerun-from` is an error before anything is archived."""
    run = tmp_path / "run"
    go(script, run, settings())
    with pytest.raises(UsageError, match=words):
        go(script, run, settings(), **selection)
    assert not (run / "replaced").exists()


def test_overwrite_deletes_only_what_the_loop_has_written(tmp_path: Path, script: Script) -> None:
    """Stages and their archive go; files, folders and runs of others stay, also in the loop's own folders."""
    run = tmp_path / "run"
    go(script, run, settings(iterations=2))
    go(script, run, settings(iterations=2), rerun_from="2/dpo")
    foreign = [
        *("notes.txt", "iteration-1/notes.txt", "iteration-1/mine/run.json"),
        *("iteration-7/search/trees.jsonl", "replaced/1/iteration-2/mine", "replaced/mine/f"),
    ]
    for name in foreign:
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text("mine")
    script.fails["0/eval"] = UsageError("end here")
    with pytest.raises(UsageError, match="end here"):
        go(script, run, settings(), overwrite=True)
    left = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
    assert left - {
        "run.json",
        "run.lock",
        "iteration-0/eval.json",
        "iteration-0/eval.order.json",
    } == {*foreign}


def test_overwriting_another_kind_of_run_deletes_nothing(tmp_path: Path, script: Script) -> None:
    """A search, an evaluation or a training is not a loop, and a loop is not a search."""
    run = tmp_path / "run"
    go(script, run, settings())
    before = (run / "run.json").read_bytes()
    with pytest.raises(UsageError, match=r"another kind of run \(training loop, .*search\)"):
        RunStore.open(run, Manifest(spar_version="1", config={}), fresh=True)
    assert (run / "run.json").read_bytes() == before
    search = tmp_path / "search"
    RunStore.open(search, Manifest(spar_version="1", config={})).close()
    with pytest.raises(UsageError, match=r"another kind of run \(search, .*training loop\)"):
        go(script, search, settings(), overwrite=True)


def test_overwrite_with_an_unknown_stage_deletes_nothing(tmp_path: Path, script: Script) -> None:
    """An unknown stage is an error before the loop is deleted."""
    run = tmp_path / "run"
    go(script, run, settings())
    with pytest.raises(UsageError, match="no stage 'dop'"):
        go(script, run, settings(), overwrite=True, stop_after="dop")
    assert (run / "iteration-1" / "dpo" / "model").is_dir()


def test_only_selects_within_the_rerun_iteration(tmp_path: Path, script: Script) -> None:
    """`--rerun-from 1/dpo --only rft` is of iteration 1, which is under way from then on."""
    run = tmp_path / "run"
    go(script, run, settings(iterations=2))
    script.ran.clear()
    go(script, run, settings(iterations=2), rerun_from="1/dpo", only="rft")
    assert script.ran == ["1/rft"]


def test_rerun_from_archives_stages_of_an_earlier_recipe(tmp_path: Path, script: Script) -> None:
    """Also those of later iterations and evaluations that the recipe no longer has."""
    run = tmp_path / "run"
    go(script, run, settings(iterations=2))
    go(script, run, settings(iterations=1, benchmarks=()), rerun_from="1/dpo")
    for name in ("iteration-1/eval", "iteration-2/draft", "iteration-2/eval"):
        assert not (run / name).exists() and (run / "replaced" / "1" / name).is_dir()
    script.ran.clear()
    go(script, run, settings(iterations=2, benchmarks=()))
    assert script.ran == [f"2/{name}" for name in ONE[:-1]]


def test_a_kill_while_archiving_can_be_resumed(
    tmp_path: Path, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No stage is left as done whose inputs were moved."""
    run = tmp_path / "run"
    go(script, run, settings())
    moved: list[Path] = []
    rename = Path.rename

    def until_killed(self: Path, target: Path) -> Path:
        if len(moved) == 5:
            raise KeyboardInterrupt
        moved.append(self)
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", until_killed)
    with pytest.raises(KeyboardInterrupt):
        go(script, run, settings(), rerun_from="draft")
    states = [s.state for s in read_loop(run).stages]
    assert states[states.index("waiting") :].count("done") == 0
    assert states[:3] == ["done"] * 3


def test_archives_never_overwrite_each_other(tmp_path: Path, script: Script) -> None:
    """The first of two archives may have been deleted."""
    run = tmp_path / "run"
    go(script, run, settings())
    stages = loop_stages(settings(), run, Origin("", ""))
    (run / "replaced" / "2" / "iteration-1" / "eval").mkdir(parents=True)
    archive(run, stages[-1:], lambda line: None)
    assert (run / "replaced" / "3" / "iteration-1" / "eval" / "scores.json").is_file()


def test_an_unknown_stage_is_rejected(tmp_path: Path, script: Script) -> None:
    """The message lists the stages."""
    with pytest.raises(UsageError, match=r"no stage 'dop'.*draft, judge, search"):
        go(script, tmp_path / "run", settings(), rerun_from="dop")
    assert script.ran == []


def test_another_loop_can_be_continued(tmp_path: Path, script: Script) -> None:
    """Iteration 2 in a folder of its own: models, numbers and prompts continue."""
    first, second = tmp_path / "first", tmp_path / "second"
    go(script, first, settings())
    script.ran.clear()
    go(script, second, settings(iterations=2, start=str(first)))
    assert script.ran == ["1/eval", *(f"2/{name}" for name in ONE)]
    assert script.specs["2/dpo"]["model"] == str(first / "iteration-1" / "dpo" / "model")
    rows = (second / "iteration-2" / "prompts.jsonl").read_text().splitlines()
    assert [json.loads(row)["id"] for row in rows] == [f"nano-train-0-{i}" for i in (3, 4, 5)]
    assert read_origin(second).iteration == 2


def test_a_loop_without_models_cannot_be_continued(tmp_path: Path, script: Script) -> None:
    """It has no trained iteration."""
    go(script, tmp_path / "run", settings(), stop_after="build")
    with pytest.raises(UsageError, match="no iteration whose models are trained"):
        go(script, tmp_path / "other", settings(start=str(tmp_path / "run")))


def test_a_loop_keeps_its_origin(tmp_path: Path, script: Script) -> None:
    """The loop that it continues may grow or be moved."""
    first, second = tmp_path / "first", tmp_path / "second"
    go(script, first, settings())
    go(script, second, settings(iterations=2, start=str(first)), stop_after="2/build")
    go(script, first, settings(iterations=2))
    go(script, second, settings(iterations=2, start=str(first)), only="rft")
    first.rename(tmp_path / "gone")
    go(script, second, settings(iterations=3, start=str(first)))
    assert script.specs["2/rft"]["model"] == str(first / "iteration-1" / "rft" / "model")
    assert script.ran[-1] == "3/eval"


@pytest.mark.parametrize("changes", [{"iterations": 1}, {"iterations": 9, "iterative": False}])
def test_continuing_without_new_iterations_is_rejected(
    changes: dict[str, Any], tmp_path: Path, script: Script
) -> None:
    """The message has the required number of iterations."""
    go(script, tmp_path / "first", settings())
    with pytest.raises(UsageError, match="give --iterations 2 or more"):
        go(script, tmp_path / "second", settings(start=str(tmp_path / "first"), **changes))


def test_a_loop_cannot_continue_itself(tmp_path: Path, script: Script) -> None:
    """With --overwrite its models would be deleted first."""
    run = tmp_path / "run"
    go(script, run, settings())
    again = settings(iterations=2, start=str(run))
    with pytest.raises(UsageError, match="own folder"):
        go(script, run, again, overwrite=True)
    assert (run / "iteration-1" / "dpo" / "model").is_dir()


def test_without_iterations_all_prompts_are_used_at_once(tmp_path: Path, script: Script) -> None:
    """The ablation: the prompts of three iterations, from the first models; it cannot be extended."""
    run = tmp_path / "run"
    go(script, run, settings(iterations=3, iterative=False))
    assert script.ran == ["0/eval", *(f"1/{name}" for name in ONE)]
    assert len((run / "iteration-1" / "prompts.jsonl").read_text().splitlines()) == 9
    with pytest.raises(ConfigChanged, match="iterations: 3 -> 4"):
        go(script, run, settings(iterations=4, iterative=False))


def test_a_locked_folder_is_rejected(tmp_path: Path, script: Script) -> None:
    """Another process holds the lock."""
    (tmp_path / "run").mkdir()
    with locked(tmp_path / "run" / LOCK), pytest.raises(RunLocked):
        go(script, tmp_path / "run", settings())


def test_foreign_folders_are_rejected(tmp_path: Path, script: Script) -> None:
    """A folder with other files, and a run of another kind."""
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"holds 'notes\.txt'"):
        go(script, tmp_path, settings())
    assert script.ran == []


def test_overwrite_deletes_only_the_loop(tmp_path: Path, script: Script) -> None:
    """A foreign file stays; another recipe may start."""
    run = tmp_path / "run"
    go(script, run, settings())
    (run / "notes.txt").write_text("mine")
    go(script, run, settings(samples=2), overwrite=True, stop_after="draft")
    assert (run / "notes.txt").read_text() == "mine"
    assert script.specs["1/draft"]["config"]["budget"] == 2
    assert not (run / "iteration-1" / "dpo").exists()


def test_a_short_file_of_prompts_is_repeated(tmp_path: Path) -> None:
    """Five prompts, three an iteration: 0 1 2, then 3 4 and again 0, then 1 2 3."""
    path = tmp_path / "prompts.txt"
    path.write_text("a\nb\nc\nd\ne\n")
    config = settings(prompts=str(path))
    shares = [[p.messages[0].content for p in prompts_of(config, i)] for i in (1, 2, 3)]
    assert [sorted(share) for share in shares] == [list("abc"), list("ade"), list("bcd")]


@pytest.mark.parametrize("at_once", [1, 3])
def test_prompts_are_read_from_the_named_field(at_once: int, tmp_path: Path) -> None:
    """In an iteration that has some of the file, and in one that has all of it."""
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"question": "a", "prompt": "no"}\n{"question": "b", "prompt": "no"}\n')
    fields = {"prompts": str(path), "prompt_field": "question"}
    config = settings(**fields, prompts_per_iteration=at_once)
    assert [p.messages[0].content for p in prompts_of(config, 1)] == ["a", "b"][:at_once]


def test_a_field_without_a_file_is_refused() -> None:
    """The loop's own prompts have no rows."""
    with pytest.raises(UsageError, match="prompt_field is for prompts of a file"):
        load_train("nano", {"prompt_field": "question"})


def test_a_file_shorter_than_an_iteration(tmp_path: Path) -> None:
    """Each prompt occurs once, since a run has no prompt twice."""
    path = tmp_path / "prompts.txt"
    path.write_text("a\nb\n")
    assert len(list(prompts_of(settings(prompts=str(path)), 2))) == 2


@pytest.mark.parametrize(("measure_start", "first"), [(True, "0/eval"), (False, "1/eval")])
def test_the_first_evaluation_must_have_the_metrics_to_show(
    *, measure_start: bool, first: str, tmp_path: Path, script: Script
) -> None:
    """Later ones may lack one, such as that of rejected drafts; which are shown may change at any time."""
    run, item = tmp_path / "run", {"benchmark": "toy", "show": ("pass",)}
    config = settings(iterations=2, benchmarks=(item,), measure_start=measure_start)
    go(script, run, config)
    checked = [
        title for title, spec in script.specs.items() if spec.get("items", [{}])[0].get("show")
    ]
    assert checked == [first]
    go(script, run, with_changes(config, {}, ["benchmarks=[{benchmark: toy, show: [both]}]"]))
    assert read_config(run)[0].benchmarks[0].show == ("both",)


@pytest.mark.parametrize("change", ["eval.limit=4", "eval.total_budget=9"])
def test_all_iterations_are_evaluated_on_the_same_examples(
    change: str, tmp_path: Path, script: Script
) -> None:
    """What decides that is refused once an evaluation was started, also where nothing is left to run."""
    run = tmp_path / "run"
    config = settings(iterations=1)
    go(script, run, config)
    for iterations in (1, 2):
        changed = with_changes(config, {"iterations": iterations}, [change])
        with pytest.raises(ConfigChanged, match=change.partition("=")[0]) as refused:
            go(script, run, changed)
        assert "--rerun-from 0/eval" in str(refused.value)
    assert read_config(run)[0] == config
    go(script, run, with_changes(config, {"iterations": 2}, ["eval.data=elsewhere"]))
    assert script.ran[-1] == "2/eval"


def test_trainers_settings_are_checked_before_anything_runs() -> None:
    """A wrong key, a wrong value, and one that the loop sets."""
    for change, words in (
        ("dpo.learning_rat=1", r"unknown setting 'dpo\.learning_rat'"),
        ("rft.epochs=-1", r"rft\.epochs is -1"),
        ("dpo.out=x", "'out' is set by the loop"),
        ("benchmarks=[{benchmark: nano-if, name: ../x}]", r"name is '\.\./x'"),
        ("samples=2026-13-45", "samples is '2026-13-45'"),
        ("samples=[", "not a YAML value"),
    ):
        with pytest.raises(UsageError, match=words):
            load_train("nano", {}, [change])


def test_overrides_reach_their_sections() -> None:
    """Dotted keys reach the trainers, the search and the evaluation; YAML 1.1's 1e-6 is a number."""
    config = load_train(
        "nano",
        {"iterations": 2, "engine": "hf"},
        ["dpo.learning_rate=1e-6", "decode.votes=3", "eval.limit=7", "decode.draft.top_p=0.5"],
    )
    assert config.dpo["learning_rate"] == 1e-6
    assert (config.decode.votes, config.eval.votes, config.eval.limit) == (3, 5, 7)
    assert (config.decode.draft.top_p, config.decode.draft.max_tokens) == (0.5, 128)
    assert (config.iterations, config.decode.engine, config.eval.engine) == (2, "hf", "hf")
    assert config.dpo["epochs"] == 3


def test_a_stored_loop_is_changed_by_overrides_alone() -> None:
    """Other settings stay as stored."""
    stored = load_train("nano", {}, ["samples=3"])
    changed = with_changes(stored, {"iterations": 6, "max_batch_size": 9}, ["dpo.beta=0.2"])
    assert (changed.iterations, changed.samples, changed.dpo["beta"]) == (6, 3, 0.2)
    assert (changed.decode.max_batch_size, changed.eval.max_batch_size) == (9, 9)
    assert changed.benchmarks == stored.benchmarks


def test_a_loop_leaves_out_options_of_plugins_that_others_replace(tmp_path: Path) -> None:
    """An evaluation with another judge than the loop's has none of its options; flags bring a plug-in and its options."""
    sets = ["eval.judge=checklist", "eval.judge_args.max_requirements=3"]
    benchmarks = (
        "benchmarks=[{benchmark: nano-if, settings: {judge: votes}}, {benchmark: nano-if-answers}]"
    )
    stored = load_train("nano", {}, [*sets, benchmarks])
    (stage,) = [s for s in loop_stages(stored, tmp_path, Origin("", "")) if s.title == "1/eval"]
    assert isinstance(stage.spec, EvalStageSpec)
    assert [item.config.judge_args for item in stage.spec.items] == [{}, {"max_requirements": 3}]
    changed = with_changes(stored, {"judge_args": {"probabilities": True}, "judge": "votes"})
    assert changed.eval.judge_args == changed.decode.judge_args == {"probabilities": True}


def test_progress_is_read_from_the_files(tmp_path: Path, script: Script) -> None:
    """Prompts drafted so far, and the steps that a training will take."""
    run = tmp_path / "run"
    go(script, run, settings(dpo={"batch": 32, "epochs": 3}), stop_after="build")
    stages = {s.title: s for s in loop_stages(settings(), run, Origin("", ""))}
    drafting = stages["1/draft"]
    (drafting.folder / "trees.jsonl").write_text("{}\n{}\n")
    record = read_record(drafting)
    assert record is not None
    write_record(drafting, record.model_copy(update={"state": "running"}))
    state = {s.stage.title: s for s in read_loop(run).stages}["1/draft"]
    assert (state.state, str(state.progress)) == ("running", "2 of 3 prompts")
    with (drafting.folder / "trees.jsonl").open("a") as handle:
        handle.write("{}\n")
    again = {s.stage.title: s for s in read_loop(run).stages}["1/draft"]
    assert str(again.progress) == "3 of 3 prompts"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("eval/scores.json", '{"toy": 5}'),
        ("eval/scores.json", "[1"),
        ("search.count.json", "{}"),
        ("search.json", "{"),
    ],
)
def test_a_damaged_file_is_named(name: str, text: str, tmp_path: Path, script: Script) -> None:
    """One line that names the file to delete."""
    run = tmp_path / "run"
    script.fails["1/search"] = RunStopped("the disk is full")
    with pytest.raises(RunStopped):
        go(script, run, settings())
    (run / "iteration-1" / "eval").mkdir()
    (run / "iteration-1" / name).write_text(text)
    with pytest.raises(UsageError, match=f"{name}.*delete it"):
        read_loop(run)


def test_a_missing_package_is_a_usage_error(tmp_path: Path, script: Script) -> None:
    """Exit code 2, with the title of the stage."""
    script.fails["1/dpo"] = MissingExtra("deepspeed", "train", "training on several machines")
    with pytest.raises(UsageError, match=r"stage 1/dpo: .*deepspeed"):
        go(script, tmp_path / "run", settings())


@pytest.mark.parametrize(
    ("changes", "stages"),
    [
        ({"methods": ("dpo",)}, ["draft", "judge", "search", "build", "dpo", "eval"]),
        (
            {"methods": ("dpo",), "pairs": "independent"},
            ["draft", "judge", "build", "dpo", "eval"],
        ),
        ({"methods": ("rft",), "pairs": "independent"}, [*ONE[:4], "rft", "eval"]),
        (
            {"methods": ("dpo",), "pairs": "best_worst"},
            ["draft", "judge", "build", "dpo", "eval"],
        ),
        ({"methods": ("dpo",), "pairs": "reference"}, ["draft", "build", "dpo", "eval"]),
        ({"pairs": "reference"}, ONE),
        (
            {"methods": ("dpo",), "pairs": "best_worst", "one_model": True, "judge_pairs": True},
            ["draft", "judge", "judgements", "meta", "build", "dpo", "eval"],
        ),
        ({"pairs": "both"}, ONE),
    ],
)
def test_stages_that_nothing_needs_are_left_out(
    changes: dict[str, Any], stages: list[str], tmp_path: Path, script: Script
) -> None:
    """A training that the recipe does not name, and judgements and searches that neither pairs nor a refiner learn from."""
    go(script, tmp_path / "run", settings(**changes))
    assert script.ran == ["0/eval", *(f"1/{name}" for name in stages)]


def test_a_role_that_is_not_trained_keeps_its_first_model(tmp_path: Path, script: Script) -> None:
    """The refiner of an actor's loop is the first one in every iteration, and in a loop that continues it."""
    run = tmp_path / "run"
    changes = {"methods": ("dpo",), "decode": {"actor_model": "A", "refiner_model": "R"}}
    go(script, run, settings(iterations=2, **changes))
    second = script.specs["2/draft"]["config"]
    assert second["actor_model"] == str(run / "iteration-1" / "dpo" / "model")
    assert second["refiner_model"] == "R"
    assert read_origin(run) == Origin(str(run / "iteration-2" / "dpo" / "model"), "R", 2)
    assert {state.state for state in read_loop(run).stages} == {"done"}


def test_a_loop_of_many_iterations_has_its_stages(tmp_path: Path) -> None:
    """Also where no iteration trains the refiner, so that it is the first one in all of them."""
    config = settings(iterations=1000, methods=("dpo",))
    last = loop_stages(config, tmp_path, Origin("first", "second"))[-1]
    assert isinstance(last.spec, EvalStageSpec)
    actor = str(tmp_path / "iteration-1000" / "dpo" / "model")
    (item,) = last.spec.items
    assert (item.config.actor_model, item.config.refiner_model) == (actor, "second")


def test_a_role_keeps_its_last_model_where_later_iterations_train_another(tmp_path: Path) -> None:
    """The refiner of an iteration is the one of the last iteration that trained one."""
    entries: tuple[dict[str, Any], ...] = ({"methods": ("rft",)}, {}, {"methods": ("dpo",)})
    config = settings(iterations=6, by_iteration=entries)
    found = [models_after(config, tmp_path, number, Origin("a", "r")) for number in range(7)]
    assert [Path(models.actor).parts[-3:-1] for models in found] == [
        *((), ()),
        *((f"iteration-{number}", "dpo") for number in range(2, 7)),
    ]
    assert [Path(models.refiner).parts[-3:-1] for models in found] == [
        *((), ("iteration-1", "rft")),
        *[("iteration-2", "rft")] * 5,
    ]


@pytest.mark.parametrize("method", ["dpo", "rft"])
def test_one_model_plays_all_roles(method: str, tmp_path: Path, script: Script) -> None:
    """What an iteration trains answers, judges and refines in the next one, and where another loop goes on."""
    run = tmp_path / "run"
    config = settings(
        iterations=2, one_model=True, methods=(method,), decode={"model": "M", "actor_model": "A"}
    )
    go(script, run, config)
    trained = [str(run / f"iteration-{n}" / method / "model") for n in (1, 2)]
    for name, model in {
        "0/eval": "A",
        "1/search": "A",
        "2/draft": trained[0],
        "2/judge": trained[0],
    }.items():
        spec = script.specs[name]
        used = spec["items"][0]["config"] if "items" in spec else spec["config"]
        assert (used["actor_model"], used["refiner_model"]) == (model, model)
    assert script.specs[f"2/{method}"]["model"] == trained[0]
    assert read_origin(run) == Origin(trained[1], trained[1], 2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["methods=[dpo, rft]"], "one_model is trained by one method"),
        (["methods=[dpo]", "decode.refiner_model=R"], "one_model has no refiner of its own"),
        (["one_model=false", "judge_pairs=true"], "add one_model: true"),
        (["methods=[rft]", "judge_pairs=true"], "judge_pairs are trained by dpo"),
        (["one_model=false", "own_answers=true"], "add one_model: true"),
        (["methods=[dpo]", "own_answers=true"], "own_answers are trained on by rft"),
    ],
)
def test_one_model_has_one_training_and_no_refiner(changes: list[str], message: str) -> None:
    """Two trainings of one iteration would overwrite each other, and a second model would not be trained."""
    with pytest.raises(UsageError, match=message):
        load_train("nano", {}, ["one_model=true", *changes])


def test_settings_change_over_the_iterations(tmp_path: Path, script: Script) -> None:
    """The last entry is that of all iterations after it; what an entry does not name stays, inside `dpo` too."""
    rounds = [{}, {"pairs": "best_worst", "dpo": {"beta": 5}, "length_control": 0.32, "samples": 2}]
    run, config = tmp_path / "run", settings(iterations=3, methods=("dpo",), by_iteration=rounds)
    go(script, run, config)
    builds, trainings, drafts = (
        [script.specs[f"{n}/{stage}"] for n in (1, 2, 3)] for stage in ("build", "dpo", "draft")
    )
    assert [each["pairs"] for each in builds] == ["refined", "best_worst", "best_worst"]
    assert [each.get("length_control") for each in builds] == [None, 0.32, 0.32]
    assert [each["beta"] for each in trainings] == [0.1, 5, 5]
    assert len({each["learning_rate"] for each in trainings}) == 1
    assert [each["config"]["budget"] for each in drafts] == [5, 2, 2]
    assert "1/search" in script.ran and "2/search" not in script.ran
    assert read_config(run)[0] == config
    go(script, run, settings(iterations=4, methods=("dpo",), by_iteration=rounds))
    assert script.ran[-1] == "4/eval"


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ("[{iterations: 3}]", "entry 1: 'iterations' does not change over iterations"),
        ("[{}, {dpo: {beta: -1}}]", "entry 2: dpo.beta is -1"),
        ("[{pairs: best}]", "entry 1: pairs is 'best'"),
    ],
)
def test_wrong_settings_of_an_iteration_are_refused_at_once(entries: str, message: str) -> None:
    """The message has the entry and the setting."""
    with pytest.raises(UsageError) as caught:
        load_train("nano", {}, [f"by_iteration={entries}"])
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_loop_without_a_training_is_refused() -> None:
    """An empty list of trainings is an error, and so is one that there is not."""
    for methods in ([], ["ppo"]):
        with pytest.raises(UsageError, match="methods"):
            load_train("nano", {}, [f"methods={methods}"])


def test_more_trainings_may_start_where_nothing_was_built(tmp_path: Path, script: Script) -> None:
    """From the building on, a loop may train the refiner too; the searches it lacks are made first."""
    run = tmp_path / "run"
    go(script, run, settings(methods=("dpo",), pairs="independent"))
    script.ran.clear()
    go(script, run, settings(pairs="independent"), rerun_from="build")
    assert script.ran == ["1/search", "1/build", "1/dpo", "1/rft", "1/eval"]


def test_scores_are_shown_in_their_unit() -> None:
    """A fraction in percent, a metric with a unit as it is; scores of the last version have no unit."""
    config = settings(benchmarks=({"benchmark": "toy", "show": ("pass", "nats", "gone")},))
    scores = parse_scores(
        b'{"toy": {"pass": {"value": 0.5, "stderr": 0.1, "n": 4}, '
        b'"nats": {"value": 1.25, "stderr": null, "n": 4, "unit": "nats"}}}'
    )
    shown = {name: str(score) for name, score in shown_scores(config, scores).items()}
    assert shown == {"toy pass": "50.0 ± 10.0", "toy nats": "1.250"}


HELD_OUT = {"benchmark": "checkable", "held_out": True}


def test_a_loop_makes_its_own_prompts(tmp_path: Path, script: Script) -> None:
    """Once, before all else; iterations take theirs from the file in turn, and an evaluation answers those held out."""
    run = tmp_path / "run"
    made = {"n": 6, "holdout": 2, "seed": 5}
    config = settings(iterations=2, checkable=made, benchmarks=({"benchmark": "toy"}, HELD_OUT))
    go(script, run, config)
    assert script.ran[:3] == ["0/prompts", "0/eval", "1/draft"]
    assert script.ran.count("0/prompts") == 1
    assert script.specs["0/prompts"]["settings"] == made
    for iteration, numbers in ((1, (0, 1, 2)), (2, (3, 4, 5))):
        rows = (run / f"iteration-{iteration}" / "prompts.jsonl").read_text().splitlines()
        assert [json.loads(row)["id"] for row in rows] == [f"made-{n}" for n in numbers]
    items = {item["name"]: item["config"]["prompts"] for item in script.specs["2/eval"]["items"]}
    assert items["toy"] == ""
    assert items["checkable"] == str(run / "iteration-0/prompts/made/holdout.jsonl")


@pytest.mark.parametrize(
    "changes", [{"prompts": "mine.jsonl", "checkable": {"holdout": 2}}, {"checkable": {"n": 6}}, {}]
)
def test_without_prompts_held_out_nothing_answers_them(
    changes: dict[str, Any], tmp_path: Path
) -> None:
    """The evaluation is left out where the loop has a file of prompts, holds none out, or makes none."""
    config = settings(benchmarks=({"benchmark": "toy"}, HELD_OUT), **changes)
    stages = loop_stages(config, tmp_path / "run", Origin.of_config(config))
    (spec,) = (stage.spec for stage in stages if stage.title == "1/eval")
    assert isinstance(spec, EvalStageSpec)
    assert [item.name for item in spec.items] == ["toy"]
    assert any(stage.name == "prompts" for stage in stages) is (changes == {"checkable": {"n": 6}})


def test_a_continued_loop_may_make_its_prompts_again(tmp_path: Path, script: Script) -> None:
    """They are of the iteration that it starts from, and deleted with the rest."""
    first, second = tmp_path / "first", tmp_path / "second"
    go(script, first, settings())
    config = settings(iterations=2, start=str(first), checkable={"n": 6})
    go(script, second, config)
    go(script, second, config, rerun_from="1/prompts")
    assert (second / "replaced/1/iteration-1/prompts/made/prompts.jsonl").is_file()
    go(script, second, settings(iterations=2, start=str(first)), overwrite=True)
    assert not (second / "iteration-1" / "prompts").exists()


def test_a_loop_without_a_refiners_training_runs_again_with_other_template_arguments(
    tmp_path: Path, script: Script
) -> None:
    """Votes and refinements may differ there, and nothing that is archived depends on them."""
    plain = settings(methods=("dpo",))
    vote = plain.decode.vote.model_copy(update={"chat_template_args": {"a": 1}})
    decode = plain.decode.model_copy(update={"vote": vote})
    config = plain.model_copy(update={"decode": decode})
    go(script, tmp_path / "run", config)
    go(script, tmp_path / "run", config, rerun_from="dpo")
    go(script, tmp_path / "run", config, overwrite=True)
    assert script.ran.count("1/dpo") == 3


def test_harder_prompts_are_no_more_than_their_share(tmp_path: Path) -> None:
    """Also where an iteration has all prompts of a file that is shorter than it asks for."""
    rows = [{"id": f"h{number}", "prompt": f"Harder {number}."} for number in range(150)]
    file = tmp_path / "harder.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    new = [make_prompt(f"New {number}.", f"n{number}") for number in range(20)]
    kept = [prompt.id for prompt in with_harder(new, file, 0.5)]
    assert kept == [*(f"h{n}" for n in range(10)), *(f"n{n}" for n in range(10))]


def test_a_loop_goes_on_where_no_prompt_got_harder(tmp_path: Path, script: Script) -> None:
    """Prompts without constraints that programs can check stay as they are, so an iteration has its next ones."""
    file = tmp_path / "plain.jsonl"
    file.write_text("".join(f'{{"prompt": "Write about number {i}."}}\n' for i in range(6)))

    def execute(stage: Stage, tick: Callable[[], None]) -> None:
        script(stage, tick)
        if isinstance(stage.spec, HarderSpec):
            write_prompts(stage.spec.prompts, ())

    config = settings(iterations=2, prompts=str(file), harder={"easy": 0.5})
    pipeline = loop_pipeline(config, tmp_path / "run")
    run_pipeline(pipeline, execute, listener=Notes([]))
    rows = (tmp_path / "run" / "iteration-2" / "prompts.jsonl").read_text().splitlines()
    said = [json.loads(row)["messages"][0]["content"] for row in rows]
    assert said == [f"Write about number {i}." for i in (3, 4, 5)]
    with pytest.raises(UsageError, match="there is no file"):
        list(with_harder((), tmp_path / "none.jsonl", 0.5))


def test_overwriting_deletes_the_prompts_that_a_loop_has_made(
    tmp_path: Path, script: Script
) -> None:
    """Also where the new loop has prompts of its own, and `--rerun-from prompts` archives all."""
    run = tmp_path / "run"
    go(script, run, settings(checkable={"n": 6}))
    go(script, run, settings(checkable={"n": 6}), rerun_from="prompts")
    assert (run / "replaced/1/iteration-0/prompts/made/prompts.jsonl").is_file()
    go(script, run, settings(), overwrite=True)
    assert not (run / "iteration-0" / "prompts").exists()
    assert not (run / "replaced").exists()
