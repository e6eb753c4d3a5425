"""Comparing more than two runs: a table of prompts and runs, and how each stands against the first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from spar.cli.run_tui import standings
from spar.eval.compare import holm, mcnemar
from tests.tui.driving import browser, screen_text, until
from tests.tui.samples import write_run
from tests.tui.test_compare import answered
from tui.compare.several import SeveralRuns
from tui.index.rows import Authority
from tui.index.run_index import TreeIndex
from tui.screens.several import SeveralScreen
from tui.screens.tree import TreeScreen
from tui.tables.several import (
    FILTER_NAMES,
    columns,
    prompt_counts_text,
    runs_that_fit,
    standings_text,
)

YES = {
    "a": [5, 0, 0, 5, 0],
    "b": [5, 0, 5, 5, 0],
    "c": [5, 0, 0, 0, 5],
}
"""Run to the votes that pass its answer to each prompt."""


def write_runs(folder: Path, yes: dict[str, list[int]] = YES) -> list[Path]:
    """Runs on the same prompts."""
    return [
        write_run(folder / name, [answered(n, f"{name} {n}", each) for n, each in enumerate(votes)])
        for name, votes in yes.items()
    ]


def read(paths: list[Path], authority: Authority = Authority()) -> SeveralRuns:
    """A comparison that is completely read."""
    several = SeveralRuns([TreeIndex.open(path, authority) for path in paths])
    while not several.work(0.5):
        pass
    several.update()
    return several


def test_filters(tmp_path: Path) -> None:
    """Prompts are in the order of the first run, those on which the runs differ first."""
    several = read(write_runs(tmp_path))
    found = {kind: list(several.order(kind)) for kind in FILTER_NAMES}
    assert found == {
        "all": [2, 3, 4, 0, 1],
        "flips": [2, 3, 4],
        "every": [0],
        "none": [1],
        "one": [2, 4],
    }
    assert [several.count(kind) for kind in FILTER_NAMES] == [5, 3, 1, 1, 2]
    assert several.line(3).passes == (True, True, False)
    assert several.next_flip(several.order(), 0, 1) == 1


def test_prompts_that_not_all_have_are_left_out(tmp_path: Path) -> None:
    """Also those that were not judged in all; both are said."""
    paths = write_runs(tmp_path)
    unjudged = [answered(n, "d", None if n == 0 else 5) for n in range(4)]
    several = read([*paths, write_run(tmp_path / "d", unjudged)])
    assert several.line(0).passes is None
    assert [len(each) for each in several.passes()] == [3] * 4
    text = prompt_counts_text(several.prompt_counts).plain
    assert text.startswith("! only 4 prompts in all runs, 3 compared by the judge; not in all 1")


def test_ground_truth_decides_where_all_have_it(tmp_path: Path) -> None:
    """As for two runs."""
    authority = Authority(lambda tree: None if tree.prompt.id == "prompt-0" else False)
    several = read(write_runs(tmp_path), authority)
    assert [several.line(n).by_truth for n in range(2)] == [False, True]
    assert several.line(2).passes == (False, False, False)
    assert several.prompt_counts.by_truth == 4


def test_the_numbers_are_those_of_eval_compare(tmp_path: Path) -> None:
    """Each run's p against the first is McNemar's, adjusted by Holm's method; every line fits into its width."""
    yes = {"a": [0] * 30, "b": [5] * 8 + [0] * 22, "c": [5] * 12 + [0] * 18}
    stand = standings(read(write_runs(tmp_path, yes)).passes())
    adjusted = holm([mcnemar(8, 0), mcnemar(12, 0)])
    assert [each.change.adjusted_p for each in stand if each.change] == adjusted
    for width in (78, 118):
        lines = standings_text(["name" * 20, "b", "c"], stand, 1, width).plain.splitlines()
        assert max(map(len, lines)) <= width
        assert lines[1].startswith("▸B  b") and "26.7 % (14.2 to 44.4)" in lines[1]
        assert f"p {adjusted[0]:.2g}" in lines[1] and "+26.7" in lines[1]
        assert "Holm" in "".join(lines[3:])


@pytest.mark.screen
async def test_the_screen(tmp_path: Path) -> None:
    """Runs that are marked are columns; at 80 columns those of the selected run are shown; Enter opens its tree."""
    names = "abcdefgh"
    write_runs(tmp_path, {name: [5 * (n != at) for n in range(9)] for at, name in enumerate(names)})
    async with browser(tmp_path, standings=standings) as (app, pilot):
        await pilot.press(*["space"] * len(names), "C")
        screen: Any = app.screen
        assert isinstance(screen, SeveralScreen)
        await until(pilot, lambda: screen.standings is not None)
        text = screen_text(app)
        assert "▸A  " in text and "▾ A" in text and f"{names.upper()[-1]}  " in text
        shown = runs_that_fit(80)
        assert shown < len(names)
        head = next(line for line in text.splitlines() if "# prompt" in line)
        assert head.split()[2:] == ["▾", *names.upper()[:shown]]
        assert "2 flips 8 " in text and "3 all pass 1 " in text
        await pilot.press("left")
        head = next(line for line in screen_text(app).splitlines() if "# prompt" in line)
        assert head.split()[-1] == names.upper()[-1]
        await pilot.press("3", "enter")
        response = f"✓✓✓✓✓  {screen.paths[-1].name} 8"
        await until(pilot, lambda: response in screen_text(app))
        assert isinstance(app.screen, TreeScreen)


@pytest.mark.screen
async def test_a_run_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """The table is empty, and the status says why."""
    paths = write_runs(tmp_path)
    async with browser(tmp_path) as (app, pilot):
        app.push_screen(SeveralScreen(app.inputs, *paths, tmp_path / "gone"))
        await until(pilot, lambda: "gone does not exist; pass a run" in screen_text(app))
        await pilot.press("n", "o", "2", "R")
        assert isinstance(app.screen, SeveralScreen) and not app.screen.positions


def test_more_runs_than_letters_have_names() -> None:
    """Z is followed by AA, in the list of runs and above the columns."""
    lines = standings_text([f"run {n}" for n in range(28)], None, 27, 80).plain.splitlines()
    names = [line.lstrip("▸ ").split("  ")[0] for line in lines]
    assert (names[0], *names[-3:]) == ("A", "Z", "AA", "AB")
    assert [column.title.strip() for column in columns(26, 2, 0)[-2:]] == ["AA", "AB"]
