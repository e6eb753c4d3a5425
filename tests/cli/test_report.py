"""`spar report` from the command line, as far as it loads no model."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from spar.experiments.registry import EXPERIMENTS
from spar.subprocesses import await_end, family
from tests.cli.test_decode import spar
from tests.experiments.test_general_tasks import write_loop


def test_list_names_every_experiment_and_its_place_in_the_paper() -> None:
    """And why one cannot be run with a model."""
    shown = spar("report", "list", "--model", "some/model", check=0).stdout
    for one in EXPERIMENTS.values():
        assert one.name in shown and one.source in shown
    assert "embedded" in shown and "cannot run here because" in shown
    assert "cannot run here" not in spar("report", "list", check=0).stdout  # with nothing below it


def test_a_dry_run_says_how_long_it_takes_and_writes_nothing(tmp_path: Path) -> None:
    """An unknown experiment is an error of one line."""
    folders = ("--out", tmp_path / "pages", "--runs", tmp_path / "runs")
    shown = spar("report", "all", "--quick", "--dry-run", *folders, check=0).stdout
    assert "in all, with 1 seed: about" in shown and "min on two idle cores" in shown
    assert list(tmp_path.iterdir()) == []
    assert (
        "unknown experiment 'tabel9'; did you mean 'table9'?"
        in spar("report", "all", "tabel9", "--dry-run", *folders, check=2).stderr
    )
    assert (
        "unknown experiment 'figur5'; did you mean 'figure5'?"
        in spar("report", "figur5", *folders, check=2).stderr
    )


def test_a_part_of_the_prompts_is_above_0_and_not_quick(tmp_path: Path) -> None:
    """Both are errors of one line, before anything is written."""
    for flags, error in {
        ("--share", "0"): "above 0",
        ("--share", "0.5", "--quick"): "--quick",
        ("--max-budget", "15", "--quick"): "--quick",
        ("--max-budget", "7"): "15",
    }.items():
        shown = spar("report", "figure5", *flags, "--runs", tmp_path / "runs", check=2)
        assert error in shown.stderr and not list(tmp_path.iterdir())


def test_a_strategy_of_ones_own_stands_in_the_tables(tmp_path: Path) -> None:
    """An unknown one, or one where no table of strategies is asked for, is an error before anything is measured."""
    runs = ("--runs", tmp_path / "runs", "--dry-run")
    for names, flags, error in (
        (("strategies",), ("--strategy", "bsf"), "did you mean 'bfs'"),
        (("strategies",), ("--strategy", "beam:colour=2"), "colour"),
        (("failing",), ("--strategy", "dfs") * 2, "--strategy: dfs is given twice"),
        (
            ("figure5", "strategies"),
            ("--strategy", "mcts:exploration=.5", "--strategy", "mcts:exploration=5"),
            "--strategy: mcts:exploration=.5 and mcts:exploration=5 would have one folder",
        ),
        (
            ("figure5",),
            ("--strategy", "beam"),
            "--strategy is for the experiments strategies and failing",
        ),
    ):
        assert error in spar("report", *names, *flags, *runs, check=2).stderr
    own = spar("report", "strategies", "--quick", *runs, check=0).stdout
    more_flags = ("--strategy", "tests.test_api:two_chains", "--strategy", "greedy")
    more = spar("report", "strategies", "--quick", *more_flags, *runs, check=0).stdout
    assert int(own.split(" searches")[0].split()[-1]) + 1 == int(
        more.split(" searches")[0].split()[-1]
    )


def test_a_loop_brings_its_own_model_and_counts_as_a_seed(tmp_path: Path) -> None:
    """What contradicts that is an error of one line, and so is a model without a loop where loops are compared."""
    loop = write_loop(tmp_path / "loop")
    wrong: dict[tuple[str | Path, ...], str] = {
        ("--loop", loop, "--model", "A"): "leave out --model",
        ("--loop", loop, "--seeds", "3"): "each --loop is a seed, and there are 1",
        ("--loop", loop, "--loop", loop): "given twice",
        ("--loop", tmp_path / "none"): "none",
        ("--model", "A"): "--loop DIR",
    }
    for flags, error in wrong.items():
        assert error in spar("report", "table7", *flags, "--dry-run", check=2).stderr
    shown = spar("report", "table7", "--loop", loop, "--quick", "--dry-run", check=0).stdout
    assert "3 models at gsm8k, triviaqa, mmlu, perplexity, 20 questions" in shown


@pytest.mark.slow
@pytest.mark.model
def test_no_process_outlives_an_interrupt_of_loops_that_run_at_once(tmp_path: Path) -> None:
    """Ctrl-C ends two loops in their stages, with one line; the lines before it name their loop."""
    words = "tables45 --quick --parallel-loops 2 --display plain".split()
    folders = ["--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "pages")]
    command = [sys.executable, "-m", "spar", "report", *words, *folders]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as report:
        loops = [
            tmp_path / "runs" / "embedded-quick" / "loops" / f"{name}-seed-0"
            for name in ("nano", "no-search")
        ]
        while not all((loop / "iteration-0" / "eval").is_dir() for loop in loops):
            assert report.poll() is None
            time.sleep(0.05)
        processes = family([report.pid])
        assert len(processes) >= 4  # the command, the server of its forks, and two of these
        report.send_signal(signal.SIGINT)
        assert report.stderr is not None
        *lines, last = report.stderr.read().splitlines()
    assert report.returncode == 130
    assert await_end(processes, 5) == []
    assert last.startswith("spar: interrupted; finished work is saved in")
    first = f"tables45: {EXPERIMENTS['tables45'].source}"
    assert lines[0].startswith(first)
    assert {line.split(": ")[0] for line in lines[1:]} == {"nano-seed-0", "no-search-seed-0"}
    assert {f"{loop.name}: 0/eval" for loop in loops} <= set(lines)
    assert not any(
        "failed" in record.read_text() for loop in loops for record in loop.glob("*/*.json")
    )
