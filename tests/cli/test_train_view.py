"""The views of a training loop: tables, lines, and the live view; hostile text stays text."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from spar import train_runner
from spar.cli.interrupts import interruptible
from spar.cli.run_train import print_status
from spar.cli.show.train_view import LiveView, PlainView, open_view, tables
from spar.errors import Interrupted, RunStopped, UsageError
from spar.record.training import METRICS, SCORES_FILE, MetricsRow, TrainReport
from spar.train.stage import Stage, write_record
from spar.train.stage_runner import StageActivity
from spar.train.status import read_loop
from tests.train.test_loop import Script, go, script, settings

__all__ = ["script"]


def activity(stage: Stage) -> StageActivity:
    """The activity of a stage as a listener receives it."""
    return StageActivity(stage.title, stage=stage)


def shown(run: Path, *, running: bool = True) -> str:
    """The tables as printed to a pipe."""
    console = Console(file=io.StringIO(), width=100)
    for table in tables(read_loop(run, running=running)):
        console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_row_for_each_iteration(tmp_path: Path, script: Script) -> None:
    """The failed stage is named below the table with its reason; the scores so far follow."""
    run = tmp_path / "run"
    script.fails["1/dpo"] = RunStopped("the memory ran out")
    with pytest.raises(RunStopped):
        go(script, run, settings(iterations=2))
    text = shown(run)
    assert "1/dpo: failed" in text and "the memory ran out" in text
    rows = [line for line in text.splitlines() if line.startswith("│")]
    assert len(rows) == 4  # iterations 0, 1, 2 and one score
    assert "50.0 ± 10.0" in text and "toy pass" in text


def test_unequal_numbers_of_examples_are_shown(tmp_path: Path, script: Script) -> None:
    """Below the scores of iterations that were evaluated on different examples, and nowhere else."""
    run = tmp_path / "run"
    go(script, run, settings())
    assert " n " not in shown(run)
    file = run / "iteration-1" / "eval" / SCORES_FILE
    file.write_text(file.read_text().replace('"n": 4', '"n": 1200'))
    (row,) = [line for line in shown(run).splitlines() if " n " in line]
    assert [cell.strip() for cell in row.strip("│").split("│")] == ["n", "4", "1,200"]


def test_a_metric_without_scores_has_a_row(tmp_path: Path, script: Script) -> None:
    """It is not left out of the table without a word."""
    go(script, tmp_path / "run", settings(benchmarks=({"benchmark": "toy", "show": ("gone",)},)))
    (row,) = [line for line in shown(tmp_path / "run").splitlines() if "toy gone" in line]
    assert [cell.strip() for cell in row.strip("│").split("│")] == ["toy gone", "-", "-"]


def test_a_message_cannot_style_the_terminal(tmp_path: Path, script: Script) -> None:
    """Markup and escape codes in a reason are shown as text."""
    run = tmp_path / "run"
    script.fails["1/dpo"] = RunStopped("[bold]\x1b[31mred[/bold] [/x]")
    with pytest.raises(RunStopped):
        go(script, run, settings())
    text = shown(run)
    assert "\x1b" not in text and "[bold]" in text and "[/x]" in text


def test_killed_and_running_stages_are_distinguished(tmp_path: Path, script: Script) -> None:
    """By whether a process holds the lock of the loop."""
    run = tmp_path / "run"
    go(script, run, settings(), stop_after="draft")
    state = read_loop(run)
    drafting = state.stages[1]
    assert drafting.record is not None
    write_record(drafting.stage, drafting.record.model_copy(update={"state": "running"}))
    assert "1/draft: running" in shown(run)
    assert "1/draft: stopped" in shown(run, running=False)


def test_the_last_step_of_a_training_is_shown(tmp_path: Path, script: Script) -> None:
    """Both log-probabilities beside the loss, since both may fall while the pairs are told apart."""
    run = tmp_path / "run"
    go(script, run, settings())
    assert "last step" not in shown(run)
    values = {"loss": 0.612, "rewards/accuracies": 0.75, "logps/chosen": -27.5}
    rows = [MetricsRow(step=step, epoch=0.1, values=values) for step in (6, 7)]
    lines = "".join(f"{row.model_dump_json()}\n" for row in rows)
    (run / "iteration-1" / "dpo" / METRICS).write_text(lines + '{"step": 8, "ep')
    text = shown(run)
    assert "log p chosen" in text and "log p rejected" not in text
    row = next(line for line in text.splitlines() if "1/dpo" in line)
    assert row.replace("│", " ").split() == ["1/dpo", "7", "0.612", "0.75", "-27.50"]


def test_examples_that_were_left_out_are_said(
    tmp_path: Path, script: Script, capsys: pytest.CaptureFixture[str]
) -> None:
    """When the training ends, with the reasons."""
    run = tmp_path / "run"
    go(script, run, settings())
    stage = next(s.stage for s in read_loop(run).stages if s.stage.title == "1/dpo")
    report = TrainReport(
        model="model",
        examples=9,
        truncated=0,
        dropped={"a reason": 2},
        steps=7,
        loss=0.1,
        processes=1,
        seconds=1.0,
    )
    stage.spec.output.write_text(report.model_dump_json())
    PlainView(run).finished(activity(stage))
    assert "  of 9 examples left out: 2 where a reason\n" in capsys.readouterr().err


def test_plain_lines_at_start_progress_and_end(
    tmp_path: Path, script: Script, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line when a stage starts, one during a long stage, one at its end, then its scores."""
    run = tmp_path / "run"
    go(script, run, settings())
    stages = {status.stage.title: status.stage for status in read_loop(run).stages}
    (run / "iteration-1" / "draft" / "trees.jsonl").write_text("{}\n")
    with PlainView(run) as view:
        view.started(activity(stages["1/draft"]))
        view.progress(activity(stages["1/draft"]))  # too soon to say anything
        view._printed = -1e9
        view.progress(activity(stages["1/draft"]))
        view.finished(activity(stages["1/eval"]))
    assert capsys.readouterr().err.splitlines() == [
        "1/draft: started",
        "1/draft: 1 of 3 prompts",
        "1/eval: done, 0:00",
        "  toy pass: 50.0 ± 10.0",
    ]


def test_the_live_view_follows_the_folder(tmp_path: Path, script: Script) -> None:
    """Every tick reads the folder again; the terminal is restored at the end."""
    run = tmp_path / "run"
    go(script, run, settings())
    view = LiveView(run)
    view._console = Console(file=io.StringIO(), width=90, force_terminal=True)
    stage = read_loop(run).stages[1].stage
    with view:
        view.note("[x] a line")
        view.started(activity(stage))
        view.progress(activity(stage))
        view.finished(activity(stage))
    assert isinstance(view._console.file, io.StringIO)
    drawn = view._console.file.getvalue()
    assert "[x] a line" in drawn and "scores after each iteration" in drawn
    assert drawn.count("stages") >= 3


def test_an_unknown_display_is_rejected(tmp_path: Path) -> None:
    """The message has the accepted values."""
    with pytest.raises(UsageError, match="auto, rich, plain, none"):
        open_view("loud", tmp_path)


def test_status_of_a_folder_without_a_loop(tmp_path: Path, script: Script) -> None:
    """An empty folder, and a folder with a damaged record."""
    with pytest.raises(UsageError, match="no training loop"):
        print_status(tmp_path)
    run = tmp_path / "run"
    go(script, run, settings())
    (run / "iteration-1" / "dpo.json").write_text("{")
    with pytest.raises(UsageError, match=r"dpo\.json is not the record.*delete it"):
        print_status(run)


def test_ctrl_c_is_one_line(tmp_path: Path) -> None:
    """With the exit code of an interrupt, and how to resume."""
    interrupted = pytest.raises(Interrupted, match="rerun the command to resume")
    with interrupted as caught, interruptible(tmp_path):
        raise KeyboardInterrupt
    assert caught.value.exit_code == 130


def test_a_read_only_folder_is_shown(
    tmp_path: Path,
    script: Script,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The loop of another user, whose lock cannot be opened."""

    def refused(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    run = tmp_path / "run"
    go(script, run, settings())
    monkeypatch.setattr(train_runner, "locked", refused)
    print_status(run)
    assert "scores after each iteration" in capsys.readouterr().out
