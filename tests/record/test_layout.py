"""The names in `spar.record.layout` are those that the writers use."""

from __future__ import annotations

from pathlib import Path

from spar.record import layout
from spar.record.training import iteration_folder
from spar.train.bootstrap.recipe import load_bootstrap
from spar.train.bootstrap.stages import bootstrap_stages
from spar.train.loop_stages import Origin, loop_stages
from spar.train.recipe import load_train
from spar.train.specs import TrainingSpec


def test_the_stages_of_a_loop(tmp_path: Path) -> None:
    """An iteration's data, sources and trainings lie in the folders that the stages write."""
    config = load_train("nano", {}, [])
    stages = {stage.title: stage for stage in loop_stages(config, tmp_path, Origin("", ""))}
    build = stages[f"1/{layout.BUILD_STAGE}"]
    home = iteration_folder(tmp_path, 1)
    assert build.home == home
    for run, stage in layout.LOOP_SOURCES.items():
        assert getattr(build.spec, run) == str(stages[f"1/{stage}"].folder)
    assert layout.EXAMPLE_FILES[:3] == (layout.DPO_FILE, layout.RFT_FILE, layout.SFT_FILE)
    imitating = config.model_copy(update={"methods": ("sft",)})
    stages |= {stage.title: stage for stage in loop_stages(imitating, tmp_path, Origin("", ""))}
    for stage, name in zip(layout.LOOP_TRAININGS, layout.EXAMPLE_FILES[:3], strict=True):
        assert stages[f"1/{stage}"].spec.inputs == (build.folder / name,)
    last = loop_stages(config, tmp_path, Origin("", ""))[-1]
    assert last.name == layout.EVAL_STAGE
    bare = config.model_copy(update={"benchmarks": ()})
    last = loop_stages(bare, tmp_path, Origin("", ""))[-1]
    assert last.name == layout.LAST_TRAINING


def test_the_stages_of_a_bootstrap(tmp_path: Path) -> None:
    """A bootstrap's data, sources and trainings lie in the folders that the stages write."""
    config = load_bootstrap("nano", {}, [], student={"model": "s"}, teacher={"model": "t"})
    stages = {stage.name: stage for stage in bootstrap_stages(config, tmp_path)}
    build = stages[layout.BUILD_STAGE]
    for stage in layout.BOOTSTRAP_SOURCES.values():
        assert getattr(build.spec, stage) == str(tmp_path / stage)
    trainings = [stage for stage in stages.values() if isinstance(stage.spec, TrainingSpec)]
    assert [stage.folder.name for stage in trainings] == list(layout.BOOTSTRAP_TRAININGS)
    data = [path.name for stage in trainings for path in stage.spec.inputs]
    assert data == list(layout.EXAMPLE_FILES[3:])
