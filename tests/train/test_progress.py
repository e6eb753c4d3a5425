"""Marked checkpoints, rows of metrics, and the end of a training whose loss is no number."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace

import pytest

from spar.errors import RunStopped, UsageError
from spar.record.training import METRICS, MetricsRow, read_metrics
from spar.train.owned import (
    COMPLETE,
    OWNED,
    is_foreign,
    mark_owned,
    refuse_foreign,
    refuse_foreign_checkpoints,
    remove_leftovers,
    remove_owned,
)
from spar.train.progress import (
    callbacks,
    check_finite,
    last_checkpoint,
    mark_complete,
    plot,
    remove_incomplete,
    remove_older,
)


def checkpoint(folder: Path, step: int, *, whole: bool = True, owned: bool = True) -> Path:
    """A checkpoint with a file in it."""
    path = folder / f"checkpoint-{step}"
    if owned:
        mark_owned(path)
    (path / "inner").mkdir(parents=True)
    (path / "inner" / "weights").write_text("w")
    if whole:
        mark_complete(path, step)
    return path


def write_metrics(folder: Path, rows: list[MetricsRow], torn: str = "") -> None:
    """A file of metrics, the last line cut off in the middle."""
    lines = "".join(f"{json.dumps(row.model_dump())}\n" for row in rows)
    (folder / METRICS).write_text(lines + torn)


def test_only_a_marked_checkpoint_counts(tmp_path: Path) -> None:
    """An incomplete checkpoint is not resumed from; checkpoints are ordered by number, not name."""
    assert last_checkpoint(tmp_path) is None
    checkpoint(tmp_path, 9)
    good = checkpoint(tmp_path, 10)
    checkpoint(tmp_path, 11, whole=False)
    (tmp_path / "checkpoint-old").mkdir()
    assert last_checkpoint(tmp_path) == good
    assert json.loads((good / COMPLETE).read_text()) == {"step": 10}


def test_incomplete_checkpoints_are_removed(tmp_path: Path) -> None:
    """The last whole checkpoint stays, and the metrics up to its step."""
    checkpoint(tmp_path, 5)
    good = checkpoint(tmp_path, 10)
    checkpoint(tmp_path, 15, whole=False)
    rows = [MetricsRow(step=step, epoch=0.0, values={"loss": 1.0}) for step in (9, 10, 11)]
    write_metrics(tmp_path, rows, torn='{"step": 12, "ep')
    remove_incomplete(tmp_path)
    assert sorted(path.name for path in tmp_path.glob("checkpoint-*")) == [good.name]
    assert read_metrics(tmp_path) == rows[:2]


def test_only_own_checkpoints_are_removed(tmp_path: Path) -> None:
    """Those of another program stay, whatever is removed; one of an earlier version goes by its only mark."""
    foreign = checkpoint(tmp_path, 500, whole=False, owned=False)
    named = tmp_path / "checkpoint-mine"
    named.mkdir()
    checkpoint(tmp_path, 1, owned=False)
    for step in (2, 3, 4):
        checkpoint(tmp_path, step)
    remove_older(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        *(foreign.name, named.name, "checkpoint-3", "checkpoint-4")
    }
    remove_incomplete(tmp_path)
    remove_leftovers(tmp_path, keep_checkpoints=False)
    assert {path.name for path in tmp_path.glob("checkpoint-*")} == {foreign.name, named.name}
    assert (foreign / "inner" / "weights").read_text() == "w"
    with pytest.raises(UsageError, match=r"checkpoint-500 has no spar\.json.*move it away"):
        refuse_foreign_checkpoints(tmp_path)


def test_a_half_deleted_folder_is_still_the_trainings(tmp_path: Path) -> None:
    """The mark of completeness goes first and the owner's last, and links are not followed."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").touch()
    path = checkpoint(tmp_path, 3)
    (path / "link").symlink_to(outside)
    remove_owned(path)
    assert not path.exists() and (outside / "file").exists()
    half = checkpoint(tmp_path, 5, whole=False)
    assert [entry.name for entry in half.iterdir() if entry.is_file()] == [OWNED]
    remove_owned(half)
    assert not half.exists()


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"README.md": "mine"}, r"it holds 'README\.md'"),
        ({"checkpoint-500/f": ""}, "it holds 'checkpoint-500'"),
        ({"run.json": '{"spar_version": "1", "config": {"budget": 1}}'}, "another kind of run"),
    ],
)
def test_a_folder_of_others_is_refused(tmp_path: Path, files: dict[str, str], words: str) -> None:
    """Nothing in it is changed, and no failure is written to it."""
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UsageError, match=words):
        refuse_foreign(tmp_path)
    assert is_foreign(tmp_path) and sorted(tmp_path.rglob("*")) == before


def test_a_trainings_own_folder_is_accepted(tmp_path: Path) -> None:
    """Absent, empty, with what a start that failed has left, or with the manifest of a training."""
    refuse_foreign(tmp_path / "absent")
    for name in ("lock", "failure.json", "run.json.123.part"):
        (tmp_path / name).touch()
    refuse_foreign(tmp_path)
    (tmp_path / "run.json").write_text('{"spar_version": "1", "config": {"data_digest": "a"}}')
    (tmp_path / "notes.txt").touch()
    refuse_foreign(tmp_path)


def test_metrics_without_a_checkpoint_are_removed(tmp_path: Path) -> None:
    """It starts over, so its metrics do."""
    write_metrics(tmp_path, [MetricsRow(step=1, epoch=0.0, values={"loss": 1.0})])
    remove_incomplete(tmp_path)
    assert read_metrics(tmp_path) == []


@pytest.mark.parametrize("name", ["loss", "grad_norm"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_values_that_are_not_finite_stop_the_training(
    tmp_path: Path, name: str, value: float
) -> None:
    """The checkpoint of the step before gave it and goes; the one before that is named and stays."""
    pytest.importorskip("torch")
    good = checkpoint(tmp_path, 6)
    checkpoint(tmp_path, 7)
    values = {"loss": 0.5, "grad_norm": 1.0, name: value}
    with pytest.raises(RunStopped, match=rf"{name.replace('_', ' ')} at step 8 is {value}.*{good}"):
        check_finite(8, values, tmp_path)
    assert last_checkpoint(tmp_path) == good


def test_finite_values_pass(tmp_path: Path) -> None:
    """Also where there is no norm of the gradient, as under some DeepSpeed stages."""
    checkpoint(tmp_path, 7)
    check_finite(8, {"loss": 0.5}, tmp_path)
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-7"


def test_the_loss_is_drawn(tmp_path: Path) -> None:
    """A picture is there, with a second panel where pairs are told apart, and none without numbers."""
    pytest.importorskip("matplotlib")
    plot(tmp_path)
    assert not (tmp_path / "loss.png").exists()
    widths = []
    for values in ({"loss": 0.5}, {"loss": 0.5, "rewards/accuracies": 1.0}):
        shown = {**values, "loss": None}
        rows = [
            MetricsRow(step=1, epoch=0.1, values=values),
            MetricsRow(step=2, epoch=0.2, values=shown),
        ]
        write_metrics(tmp_path, rows)
        plot(tmp_path)
        head = (tmp_path / "loss.png").read_bytes()[:24]
        assert head[1:4] == b"PNG"
        widths.append(int.from_bytes(head[16:20], "big"))
    assert widths[1] == 2 * widths[0]


@pytest.mark.model
def test_a_resumed_training_saves_as_often_as_its_settings_say_now(tmp_path: Path) -> None:
    """A checkpoint's state has the steps of when it was written."""
    pytest.importorskip("transformers")
    (callback,) = callbacks(tmp_path, main=True)
    state = SimpleNamespace(global_step=4, save_steps=150)
    callback.on_train_begin(SimpleNamespace(save_steps=25), state, None)
    assert state.save_steps == 25
