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
from spar.store import LOCK
from spar.train.loop import loop_pipeline, prompts_of
from spar.train.loop_stages import Origin, loop_stages
from spar.train.pipeline import StageSelection, run_pipeline
from spar.train.recipe import TrainConfig, load_train, with_changes
from spar.train.specs import BuildSpec, TrainingSpec
from spar.train.stage import Stage, read_record, write_record
from spar.train.stage_runner import archive
from spar.train.status import read_loop, read_origin
from tests.fakes import Notes

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
        stage.spec.output.write_text(json.dumps(SCORES))
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


def test_an_iteration_starts_from_the_models_of_the_one_before(
    tmp_path: Path, script: Script
) -> None:
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


def test_drafts_are_sampled_and_all_votes_are_cast(tmp_path: Path, script: Script) -> None:
    """Whatever the recipe's search does: K sampled drafts, full votes; the search keeps its own rules."""
    config = settings(
        decode={"vote_rule": "majority", "strategy": "dfs"}, search={"strategy": "iterative"}
    )
    go(script, tmp_path / "run", config)
    for name in ("draft", "judge"):
        told = script.specs[f"1/{name}"]["config"]
        assert (told["budget"], told["greedy_first"], told["vote_rule"]) == (5, False, "full")
    assert script.specs["1/search"]["config"]["strategy"] == "iterative"
    assert script.specs["1/search"]["config"]["vote_rule"] == "majority"


def test_the_first_actors_drafts_measure_every_judge(tmp_path: Path, script: Script) -> None:
    """An evaluation with `actor: first` keeps the actor while the refiner moves on."""
    benchmarks = ({"benchmark": "toy", "name": "judges", "actor": "first"},)
    go(script, tmp_path / "run", settings(benchmarks=benchmarks, decode={"model": "M"}))
    (item,) = script.specs["1/eval"]["items"]
    assert item["config"]["actor_model"] == "M"
    assert item["config"]["refiner_model"].endswith("iteration-1/rft/model")


def test_a_failed_stage_is_told_and_run_again(tmp_path: Path, script: Script) -> None:
    """What is done is left alone; the record counts the starts."""
    run = tmp_path / "run"
    script.fails["1/search"] = RunStopped("the disk is full")
    with pytest.raises(RunStopped, match="stage 1/search: the disk is full"):
        go(script, run, settings())
    failed = {one.stage.title: one for one in read_loop(run).stages}["1/search"]
    assert (failed.state, failed.record and failed.record.message) == ("failed", "the disk is full")
    script.ran.clear()
    go(script, run, settings())
    assert script.ran == ["1/search", "1/build", "1/dpo", "1/rft", "1/eval"]
    record = read_record(failed.stage)
    assert record is not None and (record.state, record.starts) == ("done", 2)
    assert record.message == ""


def test_ctrl_c_leaves_a_stage_as_a_kill_would(tmp_path: Path, script: Script) -> None:
    """It is no failure of the stage, and status calls it stopped."""
    run = tmp_path / "run"
    script.fails["1/dpo"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        go(script, run, settings())
    states = {one.stage.title: one.state for one in read_loop(run, running=False).stages}
    assert (states["1/build"], states["1/dpo"], states["1/rft"]) == ("done", "stopped", "waiting")


def test_more_iterations_go_on(tmp_path: Path, script: Script) -> None:
    """A loop of one goes on to two; a second time there is nothing left."""
    run = tmp_path / "run"
    go(script, run, settings())
    script.ran.clear()
    go(script, run, settings(iterations=2))
    assert script.ran == [f"2/{name}" for name in ONE]
    script.ran.clear()
    go(script, run, settings(iterations=2))
    assert script.ran == []


def test_another_recipe_is_refused_with_a_diff(tmp_path: Path, script: Script) -> None:
    """Nothing runs, and the message names the setting with both values."""
    run = tmp_path / "run"
    go(script, run, settings())
    with pytest.raises(ConfigChanged, match=r"dpo\.beta: 0\.1 -> 0\.3"):
        go(script, run, settings(dpo={"beta": 0.3}))
    assert script.ran.count("1/dpo") == 1


def test_placement_may_differ(tmp_path: Path, script: Script) -> None:
    """Where and on how many GPUs a loop goes on is free."""
    run = tmp_path / "run"
    go(script, run, settings())
    go(script, run, settings(launch={"processes": 2}, decode={"max_batch_size": 8}))


def test_from_runs_a_stage_and_all_after_it_again(tmp_path: Path, script: Script) -> None:
    """What they had written is put aside, not deleted; what came before stays."""
    run = tmp_path / "run"
    go(script, run, settings())
    script.ran.clear()
    notes = go(script, run, settings(), rerun_from="dpo")
    assert script.ran == ["1/dpo", "1/rft", "1/eval"]
    aside = run / "replaced" / "1" / "iteration-1"
    assert (aside / "dpo" / "model" / "config.json").is_file()
    assert (aside / "dpo.json").is_file()
    assert "1/dpo, 1/rft, 1/eval" in notes[0]


def test_from_may_change_what_it_runs_again(tmp_path: Path, script: Script) -> None:
    """A setting of DPO may change from DPO on, one of the search may not."""
    run = tmp_path / "run"
    go(script, run, settings())
    go(script, run, settings(dpo={"beta": 0.3}), rerun_from="dpo")
    assert script.specs["1/dpo"]["beta"] == 0.3
    with pytest.raises(ConfigChanged, match="samples: 5 -> 4"):
        go(script, run, settings(dpo={"beta": 0.3}, samples=4), rerun_from="dpo")
    assert (run / "iteration-1" / "dpo.json").is_file()


def test_from_a_later_iteration_keeps_what_an_earlier_one_hangs_on(
    tmp_path: Path, script: Script
) -> None:
    """DPO has run in iteration 1, so its settings are not free in iteration 2."""
    run = tmp_path / "run"
    go(script, run, settings(iterations=2))
    with pytest.raises(ConfigChanged, match=r"dpo\.beta"):
        go(script, run, settings(iterations=2, dpo={"beta": 0.3}), rerun_from="2/dpo")


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
    ],
)
def test_what_cannot_be_done_moves_nothing(
    selection: dict[str, Any], words: str, tmp_path: Path, script: Script
) -> None:
    """A mistake beside `--rerun-from` is told before what was done is put aside."""
    run = tmp_path / "run"
    go(script, run, settings())
    with pytest.raises(UsageError, match=words):
        go(script, run, settings(), **selection)
    assert not (run / "replaced").exists()


def test_fresh_with_a_mistake_deletes_nothing(tmp_path: Path, script: Script) -> None:
    """An unknown stage is told before the loop that is there goes."""
    run = tmp_path / "run"
    go(script, run, settings())
    with pytest.raises(UsageError, match="no stage 'dop'"):
        go(script, run, settings(), overwrite=True, stop_after="dop")
    assert (run / "iteration-1" / "dpo" / "model").is_dir()


def test_one_stage_of_those_that_run_again(tmp_path: Path, script: Script) -> None:
    """`--rerun-from 1/dpo --only rft` is of iteration 1, which is under way from then on."""
    run = tmp_path / "run"
    go(script, run, settings(iterations=2))
    script.ran.clear()
    go(script, run, settings(iterations=2), rerun_from="1/dpo", only="rft")
    assert script.ran == ["1/rft"]


def test_from_puts_later_iterations_and_measures_aside_as_well(
    tmp_path: Path, script: Script
) -> None:
    """Also those that fewer `--iterations`, and no benchmarks, do not ask for: their models are of the old ones."""
    run = tmp_path / "run"
    go(script, run, settings(iterations=2))
    go(script, run, settings(iterations=1, benchmarks=()), rerun_from="1/dpo")
    for name in ("iteration-1/eval", "iteration-2/draft", "iteration-2/eval"):
        assert not (run / name).exists() and (run / "replaced" / "1" / name).is_dir()
    script.ran.clear()
    go(script, run, settings(iterations=2, benchmarks=()))
    assert script.ran == [f"2/{name}" for name in ONE[:-1]]


def test_what_is_put_aside_halfway_leaves_a_loop_that_goes_on(
    tmp_path: Path, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed while it moves, no stage is left as done whose inputs have gone."""
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
    states = [one.state for one in read_loop(run).stages]
    assert states[states.index("waiting") :].count("done") == 0
    assert states[:3] == ["done"] * 3


def test_what_is_put_aside_never_meets_what_was(tmp_path: Path, script: Script) -> None:
    """A person may have deleted the first of two folders."""
    run = tmp_path / "run"
    go(script, run, settings())
    stages = loop_stages(settings(), run, Origin("", ""))
    (run / "replaced" / "2" / "iteration-1" / "eval").mkdir(parents=True)
    archive(run, stages[-1:], lambda line: None)
    assert (run / "replaced" / "3" / "iteration-1" / "eval" / "scores.json").is_file()


def test_an_unknown_stage_is_refused(tmp_path: Path, script: Script) -> None:
    """The message says which there are."""
    with pytest.raises(UsageError, match=r"no stage 'dop'.*draft, judge, search"):
        go(script, tmp_path / "run", settings(), rerun_from="dop")
    assert script.ran == []


def test_another_loop_can_be_taken_up(tmp_path: Path, script: Script) -> None:
    """Iteration 2 in a folder of its own: models, numbers and prompts go on."""
    first, second = tmp_path / "first", tmp_path / "second"
    go(script, first, settings())
    script.ran.clear()
    go(script, second, settings(iterations=2, start=str(first)))
    assert script.ran == ["1/eval", *(f"2/{name}" for name in ONE)]
    assert script.specs["2/dpo"]["model"] == str(first / "iteration-1" / "dpo" / "model")
    told = (second / "iteration-2" / "prompts.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in told] == [f"nano-train-0-{i}" for i in (3, 4, 5)]
    assert read_origin(second).iteration == 2


def test_a_loop_without_models_cannot_be_taken_up(tmp_path: Path, script: Script) -> None:
    """It has nothing to go on from."""
    go(script, tmp_path / "run", settings(), stop_after="build")
    with pytest.raises(UsageError, match="no iteration with both models trained"):
        go(script, tmp_path / "other", settings(start=str(tmp_path / "run")))


def test_a_loop_stays_where_it_began(tmp_path: Path, script: Script) -> None:
    """The loop that it took up may go on, or be gone."""
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
def test_taking_up_a_loop_for_no_iteration_is_refused(
    changes: dict[str, Any], tmp_path: Path, script: Script
) -> None:
    """The message says how many iterations there would have to be."""
    go(script, tmp_path / "first", settings())
    with pytest.raises(UsageError, match="give --iterations 2 or more"):
        go(script, tmp_path / "second", settings(start=str(tmp_path / "first"), **changes))


def test_a_loop_cannot_take_up_itself(tmp_path: Path, script: Script) -> None:
    """With --overwrite its models would be deleted first."""
    run = tmp_path / "run"
    go(script, run, settings())
    again = settings(iterations=2, start=str(run))
    with pytest.raises(UsageError, match="own folder"):
        go(script, run, again, overwrite=True)
    assert (run / "iteration-1" / "dpo" / "model").is_dir()


def test_no_iteration_is_one_with_all_prompts(tmp_path: Path, script: Script) -> None:
    """The ablation: what three iterations would see, from the first models; it cannot be prolonged."""
    run = tmp_path / "run"
    go(script, run, settings(iterations=3, iterative=False))
    assert script.ran == ["0/eval", *(f"1/{name}" for name in ONE)]
    assert len((run / "iteration-1" / "prompts.jsonl").read_text().splitlines()) == 9
    with pytest.raises(ConfigChanged, match="iterations: 3 -> 4"):
        go(script, run, settings(iterations=4, iterative=False))


def test_two_loops_in_one_folder_are_refused(tmp_path: Path, script: Script) -> None:
    """The kernel holds the lock."""
    (tmp_path / "run").mkdir()
    with locked(tmp_path / "run" / LOCK), pytest.raises(RunLocked):
        go(script, tmp_path / "run", settings())


def test_foreign_folders_are_left_alone(tmp_path: Path, script: Script) -> None:
    """A folder with other files, and a run of another kind."""
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"holds 'notes\.txt'"):
        go(script, tmp_path, settings())
    assert script.ran == []


def test_fresh_deletes_the_loop_and_nothing_else(tmp_path: Path, script: Script) -> None:
    """A file of the user's stays; another recipe may begin."""
    run = tmp_path / "run"
    go(script, run, settings())
    (run / "notes.txt").write_text("mine")
    go(script, run, settings(samples=2), overwrite=True, stop_after="draft")
    assert (run / "notes.txt").read_text() == "mine"
    assert script.specs["1/draft"]["config"]["budget"] == 2
    assert not (run / "iteration-1" / "dpo").exists()


def test_prompts_of_a_file_come_again_when_they_run_out(tmp_path: Path) -> None:
    """Five prompts, three an iteration: 0 1 2, then 3 4 and again 0, then 1 2 3."""
    path = tmp_path / "prompts.txt"
    path.write_text("a\nb\nc\nd\ne\n")
    config = settings(prompts=str(path))
    shares = [[p.messages[0].content for p in prompts_of(config, i)] for i in (1, 2, 3)]
    assert [sorted(share) for share in shares] == [list("abc"), list("ade"), list("bcd")]


def test_a_file_of_fewer_prompts_than_an_iteration_takes(tmp_path: Path) -> None:
    """Each comes once: a run has no prompt twice."""
    path = tmp_path / "prompts.txt"
    path.write_text("a\nb\n")
    assert len(list(prompts_of(settings(prompts=str(path)), 2))) == 2


def test_trainers_settings_are_checked_before_anything_runs() -> None:
    """A wrong key, a wrong value, and one that the loop decides."""
    for change, words in (
        ("dpo.learning_rat=1", r"unknown setting 'dpo\.learning_rat'"),
        ("rft.epochs=-1", r"rft\.epochs is -1"),
        ("dpo.out=x", "'out' is set by the loop"),
        ("benchmarks=[{benchmark: nano-if, name: ../x}]", r"name is '\.\./x'"),
        ("samples=2026-13-45", "not a YAML value"),
    ):
        with pytest.raises(UsageError, match=words):
            load_train("nano", {}, [change])


def test_settings_are_put_where_they_belong() -> None:
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


def test_a_stored_loop_is_changed_by_flags_alone() -> None:
    """What neither flag nor --set names stays as it is stored."""
    stored = load_train("nano", {}, ["samples=3"])
    changed = with_changes(stored, {"iterations": 6, "max_batch_size": 9}, ["dpo.beta=0.2"])
    assert (changed.iterations, changed.samples, changed.dpo["beta"]) == (6, 3, 0.2)
    assert (changed.decode.max_batch_size, changed.eval.max_batch_size) == (9, 9)
    assert changed.benchmarks == stored.benchmarks


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
    told = {one.stage.title: one for one in read_loop(run).stages}["1/draft"]
    assert (told.state, str(told.progress)) == ("running", "2 of 3 prompts")
    with (drafting.folder / "trees.jsonl").open("a") as handle:
        handle.write("{}\n")
    again = {one.stage.title: one for one in read_loop(run).stages}["1/draft"]
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
    """One line that says what to delete."""
    run = tmp_path / "run"
    script.fails["1/search"] = RunStopped("the disk is full")
    with pytest.raises(RunStopped):
        go(script, run, settings())
    (run / "iteration-1" / "eval").mkdir()
    (run / "iteration-1" / name).write_text(text)
    with pytest.raises(UsageError, match=f"{name}.*delete it"):
        read_loop(run)


def test_a_missing_package_is_the_users_to_mend(tmp_path: Path, script: Script) -> None:
    """Exit code 2, whatever kind of mistake a stage makes out."""
    script.fails["1/dpo"] = MissingExtra("deepspeed", "train", "training on several machines")
    with pytest.raises(UsageError, match=r"stage 1/dpo: .*deepspeed"):
        go(script, tmp_path / "run", settings())
