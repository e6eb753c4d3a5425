"""`spar report` from the command line, as far as it loads no model."""

from __future__ import annotations

from pathlib import Path

from spar.experiments.registry import EXPERIMENTS
from tests.cli.test_decode import spar


def test_list_names_every_experiment_and_its_place_in_the_paper() -> None:
    """And why one cannot be run with a model."""
    shown = spar("report", "list", "--model", "some/model", check=0).stdout
    for one in EXPERIMENTS.values():
        assert one.name in shown and one.source in shown
    assert "embedded" in shown


def test_a_dry_run_says_how_long_it_takes_and_writes_nothing(tmp_path: Path) -> None:
    """An unknown experiment is an error of one line."""
    folders = ("--out", tmp_path / "pages", "--runs", tmp_path / "runs")
    shown = spar("report", "all", "--quick", "--dry-run", *folders, check=0).stdout
    assert "in all, with 1 seed: about" in shown and "min on two idle cores" in shown
    assert list(tmp_path.iterdir()) == []
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
