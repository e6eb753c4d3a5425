"""The table of runs side by side: which columns it has, and what a cell says."""

from __future__ import annotations

import pytest

from spar.cli.show.run_rows import print_run_table
from spar.record.run_table import RunRow, RunTable, markdown_table, run_table

ROWS = [
    RunRow(
        run="a", model="m", strategy="bfs", budget=15, metric="pass", value=0.5, stderr=0.025, n=400
    ),
    RunRow(run="b", model="m", strategy="greedy", metric="pass", value=0.25, n=400, tokens=1234.4),
]


def test_columns_that_no_run_has_are_left_out() -> None:
    """The metric that all have is the heading of the score; what one of them lacks is a dash."""
    table = run_table(ROWS)
    assert table.headings == ("run", "model", "strategy", "budget", "pass, %", "n", "tokens")
    assert table.rows == (
        ("a", "m", "bfs", "15", "50.0 ± 2.5", "400", "-"),
        ("b", "m", "greedy", "-", "25.0", "400", "1,234"),
    )
    assert table.numeric == (False, False, False, True, True, True, True)
    assert "model" not in run_table(ROWS, leave_out=("model",)).headings


def test_other_metrics_have_a_column() -> None:
    """A metric with a unit is no percentage; a run without a score has no metric."""
    bits = RunRow(run="c", metric="bits_per_byte", value=0.91, unit="bits")
    table = run_table([ROWS[0], bits, RunRow(run="d", metric="pass")])
    assert table.headings[4:6] == ("metric", "score")
    assert [row[4:6] for row in table.rows] == [
        ("pass, %", "50.0 ± 2.5"),
        ("bits_per_byte, bits", "0.9"),
        ("-", "-"),
    ]


def test_an_unfinished_run_says_of_how_many() -> None:
    """As far as it is known how many there are."""
    rows = [RunRow(n=3, expected=30), RunRow(expected=30), RunRow(n=30, expected=30)]
    assert run_table(rows).rows == (("3 of 30",), ("? of 30",), ("30",))


def test_runs_of_which_nothing_is_known() -> None:
    """A row for each all the same."""
    assert run_table([RunRow(), RunRow()]) == RunTable((), ((), ()), ())
    assert run_table([]) == RunTable((), (), ())


def test_markdown() -> None:
    """A pipe in a name breaks no column."""
    assert markdown_table(run_table([RunRow(run="a|b", calls=2.0)])) == (
        "| run | calls |\n| --- | --- |\n| a\\|b | 2.0 |"
    )


def test_a_wide_table_says_once_what_all_runs_share(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Piped it has 120 columns; numbers are never folded, and each line has room."""
    print_run_table(run_table(ROWS))
    shown = capsys.readouterr().out
    assert "all:" not in shown and "50.0 ± 2.5" in shown
    long = [RunRow(run=f"runs/{'x' * 90}/{n}", model="m" * 20, n=n, calls=1e6) for n in range(2)]
    print_run_table(run_table(long))
    shown = capsys.readouterr().out
    assert shown.startswith(f"all: model {'m' * 20}\n")
    assert "1,000,000.0" in shown
    assert max(map(len, shown.splitlines())) <= 120


def test_names_that_leave_no_room_stand_below_the_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A column of three characters, twenty lines a run, cannot be read."""
    monkeypatch.setenv("COLUMNS", "120")
    name = f"runs/{'x' * 250}"
    print_run_table(run_table([RunRow(run=f"{name}/{n}", n=n, calls=1e6) for n in range(2)]))
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2:] == [f"run 1: {name}/0", f"run 2: {name}/1"]
    assert sum(line.startswith(("│ 1 ", "│ 2 ")) for line in lines) == 2
    assert sum("x" in line for line in lines) == 2
