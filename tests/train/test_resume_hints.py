"""A stage that refuses its data names the command with which the loop goes on, and following it goes on."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from spar.errors import ConfigChanged, RunStopped, SparError, UsageError
from spar.listener import Listener
from spar.store import MANIFEST
from spar.subprocesses import failure, write_failure
from spar.train.backtranslation import TextsSpec
from spar.train.bootstrap import pipeline as bootstrap_pipeline
from spar.train.bootstrap.recipe import load_bootstrap
from spar.train.common import check_lengths, readable_error
from spar.train.loop import default_directory, loop_pipeline
from spar.train.pipeline import Pipeline, StageSelection, run_pipeline
from spar.train.recipe import TrainConfig, load_train
from spar.train.settings import DpoSettings
from spar.train.specs import BootstrapBuildSpec, BuildSpec, TrainingSpec
from spar.train.stage import Stage
from spar.train.status import loop_settings

SMALL = ["measure_start=false", "benchmarks=[]"]
LONG, SHORT = 9_999, 10
"""Tokens of examples above and below every cutoff."""


def run_stages(
    pipeline: Pipeline,
    on_stage: Callable[[Stage], None] = lambda stage: None,
    rerun_from: str = "",
) -> list[str]:
    """Run the stages of a pipeline, which write what the next ones need and nothing else; returns their titles."""
    ran: list[str] = []

    def execute(stage: Stage, tick: Callable[[], None]) -> None:
        ran.append(stage.title)
        stage.folder.mkdir(parents=True, exist_ok=True)
        on_stage(stage)
        stage.spec.output.touch()
        match stage.spec:
            case BuildSpec() | BootstrapBuildSpec():
                for name in ("dpo", "rft", "sft", "actor", "refiner"):
                    (stage.folder / f"{name}.jsonl").touch()
            case TextsSpec(prompts=prompts, backward=backward):
                prompts.touch()
                backward.touch()

    run_pipeline(
        replace(pipeline, prepare=lambda stage: None),
        execute,
        listener=Listener(),
        selection=StageSelection(rerun_from=rerun_from),
    )
    return ran


def failing(title: str, error: SparError) -> Callable[[Stage], None]:
    """Fails in one stage."""

    def on_stage(stage: Stage) -> None:
        if stage.title == title:
            raise error

    return on_stage


def checks_lengths(stage: Stage) -> None:
    """What a trainer does whose examples are too long, one of two."""
    if isinstance(stage.spec, TrainingSpec):
        check_lengths([LONG, SHORT], stage.spec.settings, None)


def followed(message: str) -> TrainConfig:
    """The settings of the command at the end of a message, as `spar train` takes them."""
    words = shlex.split(message.rpartition("; to go on: ")[2])
    assert words[:3:2] == ["spar", "--out"] and words[4] == "--set", message
    return loop_settings(None, Path(words[3]), {}, words[5:], overwrite=False)


@pytest.mark.parametrize(
    ("recipe", "change", "title", "key"),
    [
        ("nano", "methods=[dpo]", "1/dpo", "dpo"),
        ("nano", "methods=[rft]", "1/rft", "rft"),
        ("nano", "methods=[sft]", "1/sft", "sft"),
        ("humpback", "backtranslation.backward.max_truncated=0.05", "0/backward", ""),
        ("humpback", "backtranslation.backward.max_truncated=1", "1/sft", "sft"),
    ],
)
def test_a_training_whose_examples_are_too_long_goes_on_as_its_message_says(
    recipe: str, change: str, title: str, key: str, tmp_path: Path
) -> None:
    """With the stage's own setting, in the loop's folder; no stage that is done runs again."""
    run = tmp_path / "my runs" / "loop"
    pipeline = loop_pipeline(load_train(recipe, {}, [*SMALL, change]), run)
    with pytest.raises(UsageError, match=f"^stage {title}: 1 of 2 examples") as caught:
        run_stages(pipeline, checks_lengths)
    name = f"{key or 'backtranslation.backward'}.max_truncated"
    assert str(caught.value).endswith(f"spar train --out '{run}' --set {name}=1")
    done = [stage.title for stage in pipeline.stages]
    ran = run_stages(loop_pipeline(followed(str(caught.value)), run))
    assert ran == done[done.index(title) :]
    spec = json.loads((run / f"iteration-{title}.order.json").read_text())
    assert spec["max_truncated"] == 1


def test_a_loop_of_a_version_without_the_section_goes_on_too(tmp_path: Path) -> None:
    """Its `run.json` has no `sft`; another of its fields is refused by its name alone."""
    run = tmp_path / "run"
    with pytest.raises(UsageError):
        run_stages(
            loop_pipeline(load_train("nano", {}, [*SMALL, "methods=[sft]"]), run), checks_lengths
        )
    stored = json.loads((run / MANIFEST).read_text())
    assert "sft" not in stored["config"] or not stored["config"].pop("sft")
    (run / MANIFEST).write_text(json.dumps(stored))
    other = loop_settings(None, run, {}, ["sft.max_truncated=1", "sft.epochs=9"], overwrite=False)
    with pytest.raises(ConfigChanged) as caught:
        run_stages(loop_pipeline(other, run))
    assert [line for line in str(caught.value).splitlines() if "->" in line][1:] == [
        "  sft.epochs: 3.0 -> 9.0"
    ]
    config = loop_settings(None, run, {}, ["sft.max_truncated=1"], overwrite=False)
    assert run_stages(loop_pipeline(config, run)) == ["1/sft", *TITLES[4:]]


TITLES = [
    stage.title
    for stage in loop_pipeline(
        load_train("nano", {}, [*SMALL, "methods=[sft]"]), Path("none")
    ).stages
]


def test_too_few_pairs_are_enough_as_the_message_says(tmp_path: Path) -> None:
    """In the same folder, from the build on."""
    run = tmp_path / "run"
    few = UsageError("2 of 3 trees, and 50 are required", change="min_pairs=2")
    pipeline = loop_pipeline(load_train("nano", {}, [*SMALL, "min_pairs=50"]), run)
    with pytest.raises(UsageError) as caught:
        run_stages(pipeline, failing("1/build", few))
    assert run_stages(loop_pipeline(followed(str(caught.value)), run))[0] == "1/build"


def test_a_loop_goes_on_without_the_refiners_training_as_the_message_says(tmp_path: Path) -> None:
    """Nothing is trained before; the build runs again, since its data are others."""
    run = tmp_path / "run"
    none = UsageError("no example to learn", change="methods=[dpo]")
    with pytest.raises(UsageError) as caught:
        run_stages(loop_pipeline(load_train("nano", {}, SMALL), run), failing("1/build", none))
    command = f"spar train --out {run} --rerun-from 1/build --set 'methods=[dpo]'"
    assert str(caught.value).endswith(f"; to go on: {command}")
    pipeline = loop_pipeline(loop_settings(None, run, {}, ["methods=[dpo]"], overwrite=False), run)
    ran = run_stages(pipeline, rerun_from="1/build")
    assert ran[:3] == ["1/build", "1/dpo", "2/draft"]


def test_a_command_that_repeats_earlier_iterations_says_so(tmp_path: Path) -> None:
    """A setting of the second iteration's build is the first one's too, whose models are trained again."""
    none = UsageError("no example to learn", change="methods=[dpo]")
    with pytest.raises(UsageError) as caught:
        run_stages(
            loop_pipeline(load_train("nano", {}, SMALL), tmp_path / "run"), failing("2/build", none)
        )
    said = "; to go on, though all from 1/build on runs again: spar train --out"
    assert said in str(caught.value)


def test_no_command_is_named_where_it_would_change_nothing(tmp_path: Path) -> None:
    """An entry of `by_iteration` sets the number for its iterations."""
    few = UsageError("2 of 3 trees, and 50 are required", change="min_pairs=2")
    config = load_train("nano", {}, [*SMALL, "by_iteration=[{}, {min_pairs: 50}]"])
    with pytest.raises(UsageError, match=r"are required$"):
        run_stages(loop_pipeline(config, tmp_path / "run"), failing("2/build", few))


@pytest.mark.parametrize(
    ("changes", "change"),
    [
        ({"micro_batch": 2}, "micro_batch=1"),
        ({"gradient_checkpointing": "off"}, "gradient_checkpointing=auto"),
        ({}, "method=lora"),
        ({"method": "lora"}, ""),
    ],
)
def test_a_training_without_memory_goes_on_with_what_takes_less(
    changes: dict[str, Any], change: str, tmp_path: Path
) -> None:
    """What all trainings of this name have the same runs again, so the first of them is named."""
    trainer = DpoSettings(model="m", data="d", out="o", **changes)
    error = readable_error(RuntimeError("CUDA out of memory"), trainer)
    assert isinstance(error, RunStopped) and error.change == change
    run = tmp_path / "run"
    with pytest.raises(RunStopped) as caught:
        run_stages(loop_pipeline(load_train("nano", {}, SMALL), run), failing("2/dpo", error))
    command = (
        f"; to go on, though all from 1/dpo on runs again: spar train --out {run} --rerun-from 1/dpo "
        f"--set dpo.{change}"
    )
    assert str(caught.value).endswith(command if change else "and rerun")


def test_a_bootstrap_names_its_own_setting(tmp_path: Path) -> None:
    """The flags of the command are not stored, so it is named as the same one."""
    run = tmp_path / "run"
    pipeline = bootstrap_pipeline.bootstrap_pipeline(
        load_bootstrap("nano", {}, student={}, teacher={}), run
    )
    with pytest.raises(UsageError) as caught:
        run_stages(pipeline, checks_lengths)
    command = f"the same command with --out {run} --set actor.max_truncated=1"
    assert str(caught.value).endswith(f"; to go on: {command}")
    more = load_bootstrap("nano", {}, ["actor.max_truncated=1"], student={}, teacher={})
    assert run_stages(bootstrap_pipeline.bootstrap_pipeline(more, run))[0] == "sft-actor"


def test_a_process_passes_on_what_would_let_it_go_on(tmp_path: Path) -> None:
    """Also where the file is of a version that wrote none."""
    path = tmp_path / "failure.json"
    write_failure(path, UsageError("too long", change="max_truncated=1"))
    error = failure(path, 2, what="it", log=None)
    assert (str(error), error.change) == ("too long", "max_truncated=1")
    path.write_text('{"kind": "usage", "message": "too long"}')
    assert failure(path, 2, what="it", log=None).change == ""


@pytest.mark.parametrize(
    ("change", "is_same"),
    [
        ("min_pairs=3", True),
        ("dpo.max_truncated=1", True),
        ("sft.max_truncated=1", True),
        ("iterations=7", True),
        ("dpo.beta=0.2", False),
        ("sft.epochs=9", False),
        ("eval.limit=9", False),
        ("eval.device=cpu", True),
    ],
)
def test_the_same_command_with_what_may_change_finds_the_loop(change: str, is_same: bool) -> None:
    """Without --out, the folder is named by what is fixed once the loop runs."""
    folders = {default_directory(load_train("nano", {}, sets)) for sets in ([], [change])}
    assert (len(folders) == 1) is is_same


def test_without_iterations_their_number_names_the_folder() -> None:
    """It is that of the prompts, and fixed."""
    folders = {
        default_directory(load_train("nano", {"iterations": n}, ["iterative=false"]))
        for n in (2, 3)
    }
    assert len(folders) == 2


def test_a_folder_that_an_earlier_version_named_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the settings that it was started with; the digest of that version had more of them."""
    monkeypatch.chdir(tmp_path)
    config = load_train("nano", {"iterations": 3}, ["min_pairs=3"])
    limited = load_train("nano", {"iterations": 3}, ["min_pairs=3", "eval.limit=4"])
    once = load_train("nano", {"iterations": 3}, ["iterative=false"])
    names = {config.iterative: "runs/train-eb29275c", once.iterative: "runs/train-054c1b34"}
    for each in (config, once):
        folder = Path(names[each.iterative])
        folder.mkdir(parents=True)
        (folder / MANIFEST).write_text(loop_pipeline(each, folder).manifest.model_dump_json())
    assert str(default_directory(config)) == names[True]
    assert str(default_directory(load_train("nano", {}, ["min_pairs=2"]))) != names[True]
    assert str(default_directory(limited)) != names[True]
    assert str(default_directory(once)) == names[False]
    fewer = load_train("nano", {"iterations": 2}, ["iterative=false"])
    assert str(default_directory(fewer)) != names[False]


def test_a_bootstraps_folder_is_found_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With another share that is cut, and where an earlier version named it."""
    monkeypatch.chdir(tmp_path)
    config, more = (
        load_bootstrap("nano", {}, sets, student={}, teacher={})
        for sets in ([], ["actor.max_truncated=1"])
    )
    folder = bootstrap_pipeline.default_directory(config)
    assert folder == bootstrap_pipeline.default_directory(more)
    earlier = Path("runs/bootstrap-47b501bf")
    earlier.mkdir(parents=True)
    (earlier / MANIFEST).touch()
    assert bootstrap_pipeline.default_directory(config) == earlier
