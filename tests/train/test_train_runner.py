"""`train` and `bootstrap` as library functions: plans, results, events; stages are scripted."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest

from spar import bootstrap_runner, train_runner
from spar.bootstrap_runner import bootstrap, plan_bootstrap
from spar.errors import ConfigChanged, RunStopped, UsageError
from spar.train.bootstrap.recipe import load_bootstrap
from spar.train.pipeline import StageSelection
from spar.train.recipe import load_train, with_changes
from spar.train.stage import Stage
from spar.train_runner import plan_train, read_result, train
from spar.verification_functions import PERMISSION
from tests.fakes import Notes
from tests.train.test_loop import Script, script

__all__ = ["script"]

CONFIG = load_train("nano", {"iterations": 2}, ["benchmarks=[{benchmark: nano-if}]"])


@pytest.fixture
def scripted(script: Script, monkeypatch: pytest.MonkeyPatch) -> Script:
    """Executes the stages of `train` by the script."""
    monkeypatch.setattr(train_runner, "stage_processes", lambda: nullcontext(script))
    monkeypatch.setattr(train_runner, "missing_requirements", lambda *_: ())
    return script


def test_train_returns_the_last_models_and_scores(tmp_path: Path, scripted: Script) -> None:
    """The listener receives the plan; the result has the models of the last iteration."""
    notes: list[str] = []
    result = train(CONFIG, out=tmp_path / "run", listener=Notes(notes))
    home = tmp_path / "run" / "iteration-2"
    assert (result.iteration, result.directory) == (2, tmp_path / "run")
    assert (result.actor, result.refiner) == (
        str(home / "dpo" / "model"),
        str(home / "rft" / "model"),
    )
    assert result.scores.keys() == {0, 1, 2}
    assert {state.state for state in result.state.stages} == {"done"}
    assert notes[0] == f"loop: {tmp_path / 'run'}"
    assert read_result(tmp_path / "run") == result


def test_a_stopped_loop_has_the_result_so_far(tmp_path: Path, scripted: Script) -> None:
    """A failure is raised; the stored result has the models before it, and a second call resumes."""
    scripted.fails["2/rft"] = RunStopped("the disk is full")
    with pytest.raises(RunStopped, match="stage 2/rft: the disk is full"):
        train(CONFIG, out=tmp_path / "run")
    assert read_result(tmp_path / "run").iteration == 1
    assert train(CONFIG, out=tmp_path / "run").iteration == 2


def test_a_plan_writes_nothing(tmp_path: Path) -> None:
    """It lists the selected stages, and says so once they are done."""
    selection = StageSelection(stop_after="judge")
    plan = plan_train(CONFIG, out=tmp_path / "run", selection=selection)
    assert [stage.title for stage in plan.stages] == ["0/eval", "1/draft", "1/judge"]
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("recipe", "selection", "message"),
    [
        ("nano", StageSelection(only="dpo"), "1/dpo needs what 1/build writes, .* --stop-after 1/dpo"),
        ("nano", StageSelection(only="2/draft"), "2/draft needs what 1/dpo writes"),
        ("smollm2", StageSelection(only="draft"), "1/draft needs what 0/prompts writes"),
        ("nano", StageSelection(rerun_from="2/dpo"), "--rerun-from 2/dpo runs stages of a training loop again, and .* has none"),
    ],
)  # fmt: skip
def test_a_selection_without_its_inputs_is_refused(
    recipe: str,
    selection: StageSelection,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By the plan as by the run, which leaves no folder that a later start would have to agree with."""
    monkeypatch.setattr(train_runner, "missing_requirements", lambda *_: ())
    config, run = load_train(recipe, {}), tmp_path / "run"
    for call in (plan_train, train):
        with pytest.raises(UsageError, match=message):
            call(config, out=run, selection=selection)
        assert not run.exists()


def test_a_selection_after_overwriting_has_no_inputs(tmp_path: Path, scripted: Script) -> None:
    """What `--overwrite` deletes is neither there to read nor to run again; nothing is deleted."""
    run = tmp_path / "run"
    train(CONFIG, out=run)
    for selection in (StageSelection(only="dpo"), StageSelection(rerun_from="dpo")):
        with pytest.raises(UsageError, match=r"needs what 1/build writes|--overwrite deletes it"):
            train(CONFIG, out=run, selection=selection, overwrite=True)
    assert plan_train(CONFIG, out=run).stages == ()
    (run / "iteration-2" / "build" / "dpo.jsonl").unlink()
    again = StageSelection(rerun_from="2/dpo")
    with pytest.raises(UsageError, match=r"2/dpo needs .*dpo\.jsonl, which does not exist"):
        plan_train(CONFIG, out=run, selection=again)


def test_a_bootstrap_runs_nothing_again_where_there_is_none(tmp_path: Path) -> None:
    """As a loop, before the teacher is asked."""
    config = load_bootstrap("nano", {}, student={}, teacher={"engine": "fake"})
    with pytest.raises(UsageError, match=r"stages of a bootstrap again, and .* has none"):
        plan_bootstrap(config, out=tmp_path / "run", selection=StageSelection(rerun_from="build"))
    assert not (tmp_path / "run").exists()


def test_the_official_mix_is_one_setting(tmp_path: Path) -> None:
    """It sets quotas and trained turns together; the quotas alone are noted, since nobody trained them."""
    official = load_train("llama3-8b", {}, ["mix=official"])
    assert (official.quotas, official.rft["train_on"]) == ("official", "all")
    assert official.rft["learning_rate"] == 1e-6
    assert "mix" not in official.stored()
    assert load_train("llama3-8b", {}, ["mix=balanced"]) == load_train("llama3-8b", {})
    hints = [
        plan_train(with_changes(CONFIG, {}, sets), out=tmp_path / "run").mix_hint
        for sets in (["mix=official"], ["quotas=official"], [])
    ]
    assert "4,000 Yes to 1,500 No" in hints[1] and hints[::2] == ["", ""]
    with pytest.raises(UsageError, match=r"--set: mix is 'fair' \(accepted: balanced, official\)"):
        load_train("nano", {}, ["mix=fair"])


def test_a_plan_refuses_a_folder_with_other_settings(tmp_path: Path, scripted: Script) -> None:
    """Else a dry run would count another loop's stages as done, and the real one would refuse."""
    run = tmp_path / "run"
    train(CONFIG, out=run)
    changed = with_changes(CONFIG, {}, ["decode.votes=3"])
    with pytest.raises(ConfigChanged, match="votes"):
        plan_train(changed, out=run)
    assert plan_train(changed, out=run, overwrite=True).stages
    assert plan_train(CONFIG, out=run).stages == ()


def test_a_refiner_that_no_stage_uses_is_noted(tmp_path: Path) -> None:
    """Where programs judge and refine, a training of the refiner takes time and changes nothing."""
    programs = ["decode.judge=verifier", "decode.refiner=rewrite"]
    hints = [
        plan_train(with_changes(CONFIG, {}, sets), out=tmp_path / "run").unused_refiner_hint
        for sets in (programs, [*programs, "methods=[dpo]"], programs[:1], [])
    ]
    assert "--set methods=[dpo]" in hints[0]
    assert hints[1:] == ["", "", ""]
    one = [*programs, "one_model=true", "methods=[rft]", "own_answers=true"]
    alone = plan_train(with_changes(CONFIG, {}, one), out=tmp_path / "run")
    assert alone.unused_refiner_hint == ""  # rft trains the actor, too


@pytest.mark.parametrize(
    ("recipe", "change", "name"),
    [
        ("nano", "prompts=PIPE", "prompts"),
        ("spin", "references=PIPE", "references"),
        ("nano", "checkable={n: 4, prompts: PIPE}", "checkable.prompts"),
        ("humpback", "backtranslation.texts=PIPE", "backtranslation.texts"),
        ("humpback", "backtranslation.seeds=PIPE", "backtranslation.seeds"),
        ("autoif", "functions.instructions=PIPE", "functions.instructions"),
    ],
)
def test_what_is_read_again_is_no_pipe(recipe: str, change: str, name: str, tmp_path: Path) -> None:
    """The check before the first stage would take what its stage needs; a device stands for it."""
    config = load_train(recipe, {}, [change.replace("PIPE", os.devnull)])
    with pytest.raises(
        UsageError, match=f"reads its {name} more than once; give a file, not {os.devnull}"
    ):
        plan_train(config, out=tmp_path / "run")


@pytest.mark.parametrize("field", ["prompts", "refiner_prompts"])
def test_the_prompts_of_a_bootstrap_are_no_pipe(field: str, tmp_path: Path) -> None:
    """It reads them more than once, as a loop does."""
    config = load_bootstrap("nano", {field: os.devnull}, student={}, teacher={})
    with pytest.raises(UsageError, match=f"more than once; give a file, not {os.devnull}"):
        plan_bootstrap(config, out=tmp_path / "run")


@pytest.mark.parametrize("setting", ["checkable.n=0", "checkable.hold=1"])
def test_wrong_settings_of_made_prompts_name_their_section(setting: str, tmp_path: Path) -> None:
    """They are those of another command, whose flags nobody gave here."""
    config = load_train("smollm2", {}, [setting])
    with pytest.raises(UsageError, match=r"^checkable, the settings of the loop's prompts: "):
        plan_train(config, out=tmp_path / "run")


@pytest.mark.parametrize(
    ("recipe", "change"),
    [
        ("autoif", "prompts=absent.jsonl"),
        ("humpback", "backtranslation.texts=absent.txt"),
        ("humpback", "backtranslation.seeds=absent.jsonl"),
        ("spin", "references=absent.jsonl"),
    ],
)
def test_files_of_later_stages_are_read_before_the_first(
    recipe: str, change: str, tmp_path: Path
) -> None:
    """A file that is missing, or has a row that cannot be used."""
    path = tmp_path / change.partition("=")[2]
    config = load_train(recipe, {}, [change.replace(path.name, str(path))])
    with pytest.raises(UsageError, match=path.name):
        plan_train(config, out=tmp_path / "run")
    path.write_text("[1]\n")
    if path.suffix == ".jsonl":
        with pytest.raises(UsageError, match=path.name):
            plan_train(config, out=tmp_path / "run")


def test_a_file_of_instructions_is_read_if_a_model_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing one is an error before anything runs; where a program writes it is refused, not ignored."""
    file = "functions.instructions=absent.txt"
    config = load_train("autoif", {}, [file])
    with pytest.raises(UsageError, match=r"absent\.txt: functions\.writer=program"):
        plan_train(config, out=tmp_path / "run")
    monkeypatch.setenv(PERMISSION, "1")
    config = load_train("autoif", {}, [file, "functions.writer=model"])
    with pytest.raises(UsageError, match=r"absent\.txt"):
        plan_train(config, out=tmp_path / "run")


def test_no_stage_left_is_noted(tmp_path: Path, scripted: Script) -> None:
    """A second call runs nothing."""
    train(CONFIG, out=tmp_path / "run")
    scripted.ran.clear()
    notes: list[str] = []
    train(CONFIG, out=str(tmp_path / "run"), listener=Notes(notes))
    assert (scripted.ran, notes) == ([], [f"{tmp_path / 'run'}: every selected stage is done"])


def test_no_loop_has_no_result(tmp_path: Path) -> None:
    """The error names the folder."""
    with pytest.raises(UsageError, match="no training loop in"):
        read_result(tmp_path)


def test_bootstrap_returns_both_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """None before the last stage is done."""
    config = load_bootstrap("nano", {}, student={}, teacher={"engine": "fake"})

    def execute(stage: Stage, tick: Callable[[], None]) -> None:
        stage.folder.mkdir(exist_ok=True)
        stage.spec.output.write_text("{}")
        for path in (tmp_path / "run" / "build" / f"{role}.jsonl" for role in ("actor", "refiner")):
            if stage.name == "build":
                path.write_text("{}\n")

    monkeypatch.setattr(bootstrap_runner, "stage_processes", lambda: nullcontext(execute))
    monkeypatch.setattr(bootstrap_runner, "missing_requirements", lambda *_: ())
    monkeypatch.setattr(bootstrap_runner, "read_report", lambda folder: None)
    drafted = bootstrap(config, out=tmp_path / "run", selection=StageSelection(stop_after="drafts"))
    assert (drafted.report, drafted.actor) == (None, None)
    result = bootstrap(config, out=tmp_path / "run")
    assert result.actor == tmp_path / "run" / "actor" / "model"
    assert plan_bootstrap(config, out=tmp_path / "run").stages == ()


@pytest.mark.model
def test_a_script_without_a_main_guard(tmp_path: Path) -> None:
    """Stages are processes that do not import the script again."""
    script = tmp_path / "mine.py"
    script.write_text(
        "from spar.train.pipeline import StageSelection\n"
        "from spar.train.recipe import load_train\n"
        "from spar.train_runner import train\n"
        "config = load_train('nano', {'engine': 'fake'}, ['prompts_per_iteration=2', 'measure_start=false'])\n"
        "result = train(config, out='run', selection=StageSelection(stop_after='draft'))\n"
        "print('result', result.iteration, result.state.stages[0].state)\n"
    )
    completed = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert completed.returncode == 0, completed.stderr
    assert completed.stdout.splitlines() == ["result 0 done"]


@pytest.mark.parametrize(
    ("changes", "noted"), [([], True), (["checkable={n: 32, holdout: 2}"], False)]
)
def test_an_evaluation_without_held_out_prompts_is_noted(
    changes: list[str], noted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plan says that it is left out, and what would hold prompts out."""
    monkeypatch.setattr(train_runner, "missing_requirements", lambda *_: ())
    sets = ["benchmarks=[{name: dev, benchmark: checkable, held_out: true}]", *changes]
    notes = plan_train(load_train("nano", {}, sets), out=tmp_path / "run").notes
    assert any("evaluations left out: dev" in line for line in notes) is noted
