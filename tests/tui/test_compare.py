"""Two runs side by side: what is counted, what is shown, and every key of both screens."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from spar.cli.run_tui import standings
from spar.eval.compare import mcnemar
from spar.record.standing import PairedChange
from spar.types import Node, SearchTree
from tests.hostile import EVERYTHING, hostile_text, hostile_tree
from tests.tui.driving import browser, cursor, is_idle, screen_text, until
from tests.tui.samples import append, failed_tree, node, prompt, solved_tree, trees, write_run
from tests.tui.test_keys import Press, Seen, copied, is_screen, press_all, shows
from tests.tui.test_snapshots import SIZES, Compare
from tests.view.test_text import unseen
from tui.app import SparApp
from tui.compare.comparison import (
    OUTCOMES,
    Comparison,
    Outcome,
    OutcomeCounts,
    PairFilter,
)
from tui.compare.pair import pair_sections, pair_title
from tui.compare.several import SeveralRuns
from tui.index.columns import Columns
from tui.index.rows import Authority, GroundTruth
from tui.index.run_index import TreeIndex
from tui.inputs import Inputs
from tui.screens.compare import CompareScreen
from tui.screens.pair import PairScreen
from tui.screens.runs import RunsScreen
from tui.screens.tree import TreeScreen
from tui.tables.comparison import FILTER_NAMES, change_text, counts_text, pair_cells
from tui.tables.several import prompt_counts_text
from tui.widgets.choices import Choices
from tui.widgets.node_pane import NodePane
from tui.widgets.table import Table

pytestmark = pytest.mark.screen


def answered(number: int, response: str, yes: int | None) -> SearchTree:
    """A tree of one draft; None: it was not judged."""
    passed = yes is not None and yes > 2
    return SearchTree(
        prompt=prompt(number),
        strategy="greedy" if yes is None else "bfs",
        config="c",
        nodes=(node(0, None, response, yes),),
        selected=0,
        stop="solved" if passed else "exhausted",
    )


def opened(left: Path, right: Path, truth: GroundTruth | None = None) -> Comparison:
    """A comparison that is completely read."""
    comparison = Comparison(*(TreeIndex.open(path, Authority(truth)) for path in (left, right)))
    while not comparison.work(0.5):
        pass
    comparison.update()
    return comparison


def outcomes(comparison: Comparison) -> dict[str, Outcome]:
    """Prompt to its outcome."""
    pairs = [comparison.pair(place) for place in comparison.order()]
    return {pair.left.prompt_id: pair.outcome for pair in pairs}


def test_judged_runs(tmp_path: Path) -> None:
    """The outcome follows from both searches; prompts of a single run are counted separately."""
    left = write_run(tmp_path / "a", [answered(n, "x", yes) for n, yes in enumerate([5, 5, 0, 1])])
    rights = [answered(n, "x", yes) for n, yes in ((3, 0), (1, 2), (2, 4), (0, 3), (7, 5), (8, 5))]
    comparison = opened(left, write_run(tmp_path / "b", rights))
    assert outcomes(comparison) == {
        "prompt-0": "both",
        "prompt-1": "left",
        "prompt-2": "right",
        "prompt-3": "neither",
    }
    outcome_counts = comparison.outcome_counts
    assert (
        outcome_counts.shared,
        outcome_counts.left_only,
        outcome_counts.right_only,
        outcome_counts.by_truth,
    ) == (4, 0, 2, 0)
    assert [comparison.count(kind) for kind in FILTER_NAMES] == [4, 2, 1, 1, 1, 1]
    expected = (
        "! only 4 prompts in both  A 50.0 %  B 50.0 % of 4, by the judge; only in A 0, only in B 2"
    )
    assert counts_text(outcome_counts).plain == expected


def test_prompts_that_share_ids_alone_are_left_out(tmp_path: Path) -> None:
    """Two files that number their prompts: the ids with other prompts are counted, and are in no outcome."""
    renamed = {0: "prompt-9", 1: "prompt-0", 2: "prompt-2"}
    rights = [
        made.model_copy(update={"prompt": made.prompt.model_copy(update={"id": renamed[n]})})
        for n, made in enumerate(answered(number, "x", 5) for number in range(3))
    ]
    left = write_run(tmp_path / "a", [answered(n, "x", 5) for n in range(3)])
    right = write_run(tmp_path / "b", rights)
    comparison = opened(left, right)
    assert outcomes(comparison) == {"prompt-2": "both"}
    expected = "of 1, by the judge; only in A 1, only in B 1; same id, other content 1"
    assert counts_text(comparison.outcome_counts).plain.endswith(expected)
    indexes = [TreeIndex.open(path) for path in (left, right, right)]
    several = SeveralRuns(indexes)
    while not several.work(0.5):
        pass
    several.update()
    text = prompt_counts_text(several.prompt_counts).plain
    assert (
        "! only 1 prompt in all runs" in text and "; not in all 1; same id, other content 1" in text
    )


@pytest.mark.parametrize(
    ("kind", "positions"),
    [("all", [1, 2, 0, 3]), ("flips", [1, 2]), ("left", [1]), ("right", [2]), ("both", [0])],
)
def test_order(tmp_path: Path, kind: PairFilter, positions: list[int]) -> None:
    """Positions are in the order of the left run, of all prompts those that flipped first."""
    left = write_run(tmp_path / "a", [answered(n, "x", yes) for n, yes in enumerate([5, 5, 0, 1])])
    right = write_run(tmp_path / "b", [answered(n, "x", yes) for n, yes in enumerate([5, 0, 5, 1])])
    assert list(opened(left, right).order(kind)) == positions


def test_ground_truth_decides_where_both_have_it(tmp_path: Path) -> None:
    """The judge decides only without ground truth for both answers."""
    left = write_run(tmp_path / "a", [answered(n, f"good {n}", 0) for n in range(3)])
    right = write_run(tmp_path / "b", [answered(n, f"bad {n}", 5) for n in range(3)])

    def truth(tree: SearchTree) -> bool | None:
        return None if tree.prompt.id == "prompt-2" else "good" in (tree.answer or "")

    comparison = opened(left, right, truth)
    assert outcomes(comparison) == {"prompt-0": "left", "prompt-1": "left", "prompt-2": "right"}
    assert comparison.outcome_counts.by_truth == 2
    assert (
        "2 by ground truth, the others by the judge" in counts_text(comparison.outcome_counts).plain
    )
    cells = pair_cells(0, comparison.pair(0))
    assert [cells[name].plain for name in ("left", "right", "outcome", "by")] == [
        "✓ correct",
        "✗ wrong",
        "A only",
        "truth",
    ]


def test_greedy_decoding_neither_passes_nor_fails(tmp_path: Path) -> None:
    """Without ground truth, an unjudged answer is not a failure, but a search without a node is."""
    empty = answered(1, "x", 0).model_copy(update={"nodes": (), "selected": None})
    left = write_run(tmp_path / "a", [answered(0, "x", None), empty])
    right = write_run(tmp_path / "b", [answered(n, "x", 5) for n in range(2)])
    comparison = opened(left, right)
    assert outcomes(comparison) == {"prompt-0": "unknown", "prompt-1": "right"}
    assert pair_cells(0, comparison.pair(0))["left"].plain == "unjudged"
    assert comparison.outcome_counts.judged == 1


def test_an_evaluation_that_ends_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ground truth that is written after the trees is used."""
    monkeypatch.setattr("tui.compare.shared.CHECK_SECONDS", 0.0)
    left, right = (write_run(tmp_path / name, [answered(0, name, None)]) for name in "ab")
    comparison = opened(left, right)
    assert outcomes(comparison) == {"prompt-0": "unknown"}
    for run in (left, right):
        row = {"id": "prompt-0", "passed": run == left, "verdicts": []}
        (run / "examples.jsonl").write_text(f"{json.dumps(row)}\n")
    while not comparison.work(0.5) or comparison.outcome_counts.judged == 0:
        comparison.update()
    assert outcomes(comparison) == {"prompt-0": "left"}
    assert comparison.outcome_counts.outcomes["left"] == 1


def test_runs_that_grow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A prompt appears once both runs have it; nothing changes before `update`."""
    monkeypatch.setattr("tui.compare.shared.CHECK_SECONDS", 0.0)
    left, right = (write_run(tmp_path / name, [solved_tree(0)], ended=False) for name in "ab")
    comparison = opened(left, right)
    assert not comparison.is_stale()
    append(left, failed_tree(1))
    while not comparison.work(0.5):
        pass
    comparison.update()
    assert (comparison.outcome_counts.shared, comparison.outcome_counts.left_only) == (1, 1)
    append(right, solved_tree(1))
    while not comparison.work(0.5):
        pass
    assert comparison.is_stale()
    assert comparison.outcome_counts.shared == 1
    comparison.update()
    assert outcomes(comparison) == {"prompt-0": "both", "prompt-1": "right"}


def test_a_line_that_is_completed_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An incomplete last line counts once it is complete."""
    monkeypatch.setattr("tui.compare.shared.CHECK_SECONDS", 0.0)
    left, right = (write_run(tmp_path / n, [solved_tree(0)], ended=False) for n in "ab")
    append(right, solved_tree(1))
    whole = failed_tree(1).to_json()
    with (left / "trees.jsonl").open("a") as handle:
        handle.write(whole[:200])
    comparison = opened(left, right)
    assert outcomes(comparison)["prompt-0"] == "both"
    with (left / "trees.jsonl").open("a") as handle:
        handle.write(f"{whole[200:]}\n")
    while not comparison.work(0.5):
        pass
    comparison.update()
    assert outcomes(comparison) == {"prompt-0": "both", "prompt-1": "right"}
    assert comparison.outcome_counts.outcomes["right"] == 1


def test_broken_lines_and_a_file_that_vanishes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line that is not a tree is not compared; a deleted file is reported."""
    monkeypatch.setattr("tui.compare.shared.CHECK_SECONDS", 0.0)
    left, right = (write_run(tmp_path / name, trees(3)) for name in "ab")
    with (left / "trees.jsonl").open("a") as handle:
        handle.write("{broken}\n")
    comparison = opened(left, right)
    assert (comparison.outcome_counts.shared, comparison.outcome_counts.left_only) == (3, 1)
    assert comparison.problem is None
    os.remove(right / "trees.jsonl")  # noqa: PTH107
    comparison.work(0.1)
    assert "was deleted" in (comparison.problem or "")


def test_many_prompts_are_compared_without_holding_trees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory is two numbers for each prompt and one byte for each row, independent of the trees' size."""
    paths = []
    for name, yes in (("a", 5), ("b", 0)):
        lines = [answered(n, "long " * 50, yes).to_json() for n in range(2000)]
        folder = write_run(tmp_path / name, [])
        (folder / "trees.jsonl").write_text("".join(f"{line}\n" for line in lines))
        paths.append(folder)
    comparison = opened(paths[0], paths[1])
    assert comparison.outcome_counts.outcomes["left"] == 2000
    sides = [side.marks for side in comparison._sides]
    assert [len(marks) for marks in sides] == [2000, 2000]
    held = [value for value in vars(comparison).values() if isinstance(value, SearchTree | Node)]
    assert held == []
    assert isinstance(comparison.left._columns, Columns)


def test_the_change_is_that_of_spar_eval_compare() -> None:
    """The difference of the shares with its paired interval, and McNemar's exact p of the flips."""
    sides = [True] * 10 + [False] * 9 + [True], [True] * 19 + [False]
    change = standings(sides)[1].change
    assert change is not None
    assert change.value == pytest.approx(0.4)
    assert change.p == pytest.approx(mcnemar(9, 1))
    assert change.low is not None and change.high is not None
    assert 0 < change.low < 0.4 < change.high


def test_the_difference_on_a_line() -> None:
    """With its interval and McNemar's p; without a test there is none."""
    said = "B - A  +40.0 points (95 % interval +10.0 to +70.0), McNemar p = 0.021"
    assert change_text(PairedChange(0.4, 0.1, 0.7, 9, 1, 0.0215)).plain == said
    assert change_text(None).plain == ""


def test_few_shared_prompts_are_warned_about() -> None:
    """At the start of a line, whose end may be cut, once both runs are read; many are not."""
    few, many = OutcomeCounts(shared=1, done=True), OutcomeCounts(shared=200, done=True)
    assert counts_text(few).plain.startswith("! only 1 prompt in both  1 prompts in both runs")
    for counts in (many, OutcomeCounts(shared=1)):
        assert "! only" not in counts_text(counts).plain


def test_pair_sections() -> None:
    """The diff comes first, then each side's answer and tree."""
    left, right = answered(0, "Two cats sat.", 0), answered(0, "Two dogs sat.", 5)
    pair = _pair(left, right)
    change, a, b = pair_sections(pair, (left, right), ("greedy", "bfs"))
    assert change[0].raw == "Two [-cats-]{+dogs+} sat."
    assert a[0].title == "A  greedy  ✗ failed, score 0.00"
    assert (a[0].raw, b[0].raw) == ("Two cats sat.", "Two dogs sat.")
    assert b[1].body.plain.startswith("★ #0 ✓✓✓✓✓  Two dogs sat.")
    assert "passes: B only\nWrite sentence 0" in pair_title(pair, (left, right)).plain


def test_pair_sections_without_an_answer() -> None:
    """A side without a tree or an answer shows the reason; equal answers have no diff."""
    tree = answered(0, "x", 5)
    empty = tree.model_copy(update={"nodes": (), "selected": None})
    pair = _pair(tree, tree)
    assert (
        pair_sections(pair, (tree, tree), ("a", "b"))[0][0].body.plain == "the answers are the same"
    )
    change, broken, none = pair_sections(pair, ("cut off", empty), ("a", "b"))
    assert change[0].body.plain == "one of the two has no answer"
    assert broken[0].body.plain == "cut off"
    assert none[0].body.plain == "no answer"


@given(hostile_text, hostile_text)
def test_hostile_pairs_are_shown_as_text(one: str, other: str) -> None:
    """No character of a prompt, an id or an answer reaches the terminal as anything but text."""
    left, right = hostile_tree(one), hostile_tree(other)
    pair = _pair(left, right)
    texts = [pair_title(pair, (left, right)), *pair_cells(0, pair).values()]
    for sections in pair_sections(pair, (left, right), (one, other)):
        texts += [section.body for section in sections]
        assert not any(unseen(section.title) for section in sections)
    assert not any(unseen(text.plain) for text in texts)


def _pair(left: SearchTree, right: SearchTree) -> Any:
    """A pair of a comparison."""
    from tui.compare.comparison import PromptPair, _outcome
    from tui.compare.shared import mark_of
    from tui.index.row_summary import summarize_tree
    from tui.index.rows import TreeRow

    rows = []
    for tree in (left, right):
        row = summarize_tree(tree)
        made = TreeRow(0, row.prompt_id, row.title, row.stop, row.score, row.num_nodes)
        rows.append(made)
    outcome = OUTCOMES[_outcome(mark_of(rows[0]), mark_of(rows[1]))]
    return PromptPair(rows[0], rows[1], outcome, by_truth=False)


A = [5, 5, 0, 1, 5, 0, 5, 5]
B = [5, 0, 5, 1, 5, 5, 5, 0]
"""Votes by prompt: 1 and 7 are A's alone, 2 and 5 are B's."""


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two runs on the same eight prompts below `runs/` of the working directory."""
    monkeypatch.chdir(tmp_path)
    for name, votes in (("a", A), ("b", B)):
        found = [answered(n, f"The {name} of {n} sat.", yes) for n, yes in enumerate(votes)]
        write_run(Path("runs") / name, found)
    return Path("runs")


def settled(app: Any) -> bool:
    """Whether the screen is up to date."""
    screen = app.screen
    if isinstance(screen, CompareScreen):
        comparison = screen.comparison
        return comparison is None or (comparison.outcome_counts.done and not comparison.is_stale())
    if isinstance(screen, PairScreen):
        return bool(screen._sections[0])
    return bool(screen.is_attached)


async def open_compare(app: SparApp, pilot: Any) -> CompareScreen:
    """Mark both runs and compare them."""
    await until(pilot, lambda: is_idle(app))
    await pilot.press("space", "space", "C")
    await until(pilot, lambda: isinstance(app.screen, CompareScreen) and settled(app))
    assert isinstance(app.screen, CompareScreen)
    return app.screen


def kind_is(kind: PairFilter, positions: Sequence[int]) -> Seen:
    """Those prompts are shown, of that kind."""
    return lambda app: app.screen.kind == kind and list(app.screen.positions) == positions


def is_read_again(app: Any) -> bool:
    """Both runs were opened anew, and are read."""
    screen = app.screen
    return screen.views is not app.before and settled(app) and list(screen.positions) == [3]


def at(row: int) -> Seen:
    """The table's cursor is there."""
    return lambda app: isinstance(app.screen, CompareScreen) and cursor(app) == row


COMPARE = (
    Press("n", at(1)),
    Press("N", at(1), first=["n"]),
    Press("f", kind_is("flips", [1, 2, 5, 7])),
    Press("1", kind_is("all", [1, 2, 5, 7, 0, 3, 4, 6])),
    Press("2", kind_is("flips", [1, 2, 5, 7])),
    Press("3", kind_is("left", [1, 7])),
    Press("4", kind_is("right", [2, 5])),
    Press("5", kind_is("both", [0, 4, 6])),
    Press("6", kind_is("neither", [3])),
    Press("a", is_screen(TreeScreen)),
    Press("b", is_screen(TreeScreen), first=["escape"]),
    Press("R", lambda app: is_read_again(app), first=["escape"]),
    Press("l", is_screen(PairScreen)),
    Press("right", is_screen(PairScreen), first=["escape"]),
    Press("escape", is_screen(RunsScreen), first=["escape"]),
    Press("h", is_screen(RunsScreen), first=["C"]),
    Press("left", is_screen(RunsScreen), first=["C"]),
)


def pair_is(line: int) -> Seen:
    """That pair is on the screen."""
    return lambda app: app.screen.line == line and settled(app)


def focus_is(name: str) -> Seen:
    """That pane is focused."""
    return lambda app: app.screen.focused is app.screen.query_one(name)


PAIR = (
    Press("n", pair_is(1)),
    Press("N", pair_is(1), first=["n"]),
    Press("left_square_bracket", pair_is(0)),
    Press("right_square_bracket", pair_is(1)),
    Press("tab", focus_is("#left")),
    Press("shift+tab", focus_is("#change")),
    Press("y", copied("The a of 1 sat."), first=["left_square_bracket"]),
    Press("Y", copied("The b of 1 sat.")),
    Press("a", is_screen(TreeScreen)),
    Press("b", is_screen(TreeScreen), first=["escape"]),
    Press("escape", is_screen(CompareScreen), first=["escape"]),
    Press("h", is_screen(CompareScreen), first=["enter"]),
    Press("left", is_screen(CompareScreen), first=["enter"]),
)


@pytest.mark.parametrize(("owner", "presses"), [(CompareScreen, COMPARE), (PairScreen, PAIR)])
def test_every_key_is_pressed(owner: Any, presses: Sequence[Press]) -> None:
    """The tables above name each binding of both screens, and every binding says what it does."""
    from textual.binding import Binding

    bindings = list(Binding.make_bindings(vars(owner)["BINDINGS"]))
    assert {press.key for press in presses} == {binding.key for binding in bindings}
    assert all(binding.description for binding in bindings)


async def test_keys_of_the_comparison(runs: Path) -> None:
    """Flips, kinds, both trees, both answers, read again, back."""
    async with browser(runs) as (app, pilot):
        screen = await open_compare(app, pilot)
        app.before = screen.views  # type: ignore[attr-defined]
        await press_all(app, pilot, COMPARE)


async def test_keys_of_a_pair(runs: Path) -> None:
    """Other pairs, other panes, both trees, what is copied, back to the row that was looked at."""
    async with browser(runs, size=(120, 40)) as (app, pilot):
        await open_compare(app, pilot)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, PairScreen) and settled(app))
        await press_all(app, pilot, PAIR)


async def test_the_cursor_stays_on_its_prompt(runs: Path) -> None:
    """Through a filter and back from a pair."""
    async with browser(runs) as (app, pilot):
        screen = await open_compare(app, pilot)
        await pilot.press("j", "f")
        await until(pilot, lambda: screen.positions[cursor(app)] == 2)
        await pilot.press("enter")
        await until(pilot, is_pair(app))
        await pilot.press("n", "escape")
        await until(pilot, at_place(app, screen, 5))
        await pilot.press("f")
        await until(
            pilot, lambda: len(screen.positions) == 8 and screen.positions[cursor(app)] == 5
        )


def is_pair(app: SparApp) -> Callable[[], bool]:
    """A pair is on the screen."""
    return lambda: isinstance(app.screen, PairScreen) and settled(app)


def at_place(app: SparApp, screen: CompareScreen, place: int) -> Callable[[], bool]:
    """The table is on the screen, the cursor on a prompt."""
    return lambda: app.screen is screen and screen.positions[cursor(app)] == place


async def test_the_cursor_stays_on_its_prompt_while_runs_grow(tmp_path: Path) -> None:
    """Prompts come before it in the order of the first run, and become flips; a pair goes on in the table as it is."""
    left = write_run(tmp_path / "a", [failed_tree(n) for n in range(6)], ended=False)
    right = write_run(tmp_path / "b", [failed_tree(n) for n in (2, 3, 4)], ended=False)
    async with browser(tmp_path) as (app, pilot):
        app.push_screen(CompareScreen(app.inputs, left, right))
        await until(pilot, lambda: isinstance(app.screen, CompareScreen) and settled(app))
        screen = app.screen
        assert isinstance(screen, CompareScreen)

        def prompts() -> list[str]:
            assert screen.comparison is not None
            found = [screen.comparison.pair(at).left.prompt_id for at in screen.positions]
            return [each.removeprefix("prompt-") for each in found]

        def under_cursor() -> str:
            return prompts()[screen.query_one(Table).cursor]

        await pilot.press("j", "j")
        assert under_cursor() == "4"
        append(right, failed_tree(0))
        append(right, solved_tree(1))
        await until(pilot, lambda: prompts() == list("10234"))
        assert under_cursor() == "4"
        await pilot.press("home", "enter")
        await until(pilot, lambda: isinstance(app.screen, PairScreen) and settled(app))
        pair = app.screen
        assert isinstance(pair, PairScreen)
        append(right, solved_tree(5))
        append(right, solved_tree(0))
        await until(pilot, lambda: prompts() == list("015234"))
        await pilot.press("right_square_bracket")
        await until(pilot, lambda: "prompt 3 of 6" in screen_text(app))
        assert pair._pair is not None and pair._pair.left.prompt_id == "prompt-5"
        await pilot.press("N", "escape")
        await until(pilot, lambda: app.screen is screen)
        assert under_cursor() == "1"


async def test_a_click_filters(runs: Path) -> None:
    """A click selects a filter, and a second click opens a pair."""
    async with browser(runs) as (app, pilot):
        screen = await open_compare(app, pilot)
        await pilot.click(Choices, offset=(14, 0))
        await until(pilot, lambda: screen.kind == "flips")
        await pilot.click(Table, offset=(3, 2), times=2)
        await until(pilot, is_pair(app))


@pytest.mark.parametrize("size", SIZES)
async def test_both_answers_are_on_the_screen(runs: Path, size: tuple[int, int]) -> None:
    """Panes are next to each other, or stacked on a narrow screen; both have the diff."""
    async with browser(runs, size=size) as (app, pilot):
        await open_compare(app, pilot)
        await pilot.press("enter")
        await until(pilot, is_pair(app))
        shown = screen_text(app)
        lines = shown.splitlines()
        assert "From A to B" in shown
        beside = any("The a of 1" in line and "The b of 1" in line for line in lines)
        assert beside == (size[0] > 100)
        assert all(f"The {name} of 1 sat." in shown for name in "ab")
        panes = [pane for pane in app.screen.query(NodePane) if pane.is_on_screen]
        assert app.screen.focused in panes


async def test_a_run_that_cannot_be_read(runs: Path) -> None:
    """The screen shows a one-line error, and R opens the run when it is back."""
    async with browser(runs) as (app, pilot):
        screen = CompareScreen(Inputs(paths=(runs,)), runs / "a", runs / "gone")
        app.push_screen(screen)
        await until(pilot, lambda: app.screen is screen and shows("gone does not exist")(app))
        await pilot.press("enter", "a", "f", "n")
        (runs / "b").rename(runs / "gone")
        await pilot.press("R", "1")
        await until(pilot, lambda: list(screen.positions) == [1, 2, 5, 7, 0, 3, 4, 6])


async def test_a_tree_that_ends_appears(runs: Path) -> None:
    """Within a second or so, the cursor where it was."""
    async with browser(runs) as (app, pilot):
        screen = await open_compare(app, pilot)
        await pilot.press("G")
        for name in "ab":
            append(runs / name, answered(8, name, 5))
        await until(pilot, lambda: len(screen.positions) == 9)
        assert cursor(app) == 7


async def test_hostile_text_on_the_screen(tmp_path: Path) -> None:
    """Hostile names, prompts and answers are shown as text."""
    for name in "ab":
        tree = hostile_tree(EVERYTHING)
        write_run(tmp_path / f"runs/[bold]{name}", [tree, solved_tree()])
    async with browser(tmp_path / "runs", size=(120, 40)) as (app, pilot):
        await open_compare(app, pilot)
        assert "A  [bold]a" in screen_text(app)
        assert not unseen(screen_text(app))
        await pilot.press("enter")
        await until(pilot, is_pair(app))
        assert not unseen(screen_text(app))
        await pilot.press("tab", "G", "tab", "G")
        assert not unseen(screen_text(app))


def press(*keys: str) -> Callable[[Any], Any]:
    """Press keys, each when the screen is idle."""

    async def pressing(pilot: Any) -> None:
        await open_compare(pilot.app, pilot)
        for key in keys:
            await pilot.press(key)
            await until(pilot, lambda: settled(pilot.app))
        await until(pilot, lambda: not pilot.app.workers._workers)

    return pressing


SCREENS = {"compare": ["n"], "flips": ["f"], "pair": ["n", "enter"]}


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("screen", SCREENS)
def test_screen(snap_compare: Compare, runs: Path, screen: str, size: tuple[int, int]) -> None:
    """The screen matches its snapshot."""
    app = SparApp(Inputs(paths=(runs,)))
    assert snap_compare(app, run_before=press(*SCREENS[screen]), terminal_size=size)
