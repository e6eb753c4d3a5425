"""A run's dashboard: the same numbers as `spar.record.run_outcomes`, in panes, in two lines, and by a few keys."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.cells import cell_len

from spar.record.outcomes import outcome_of
from spar.record.run_log import start_line
from spar.record.run_outcomes import RunOutcomes
from spar.types import Finding, Node, SearchTree
from spar.view.node_detail import Annotations, node_sections
from tests.tui.driving import browser, cursor, is_idle, screen_text, until
from tests.tui.samples import append, failed_tree, node, prompt, solved_tree, trees, write_run
from tests.tui.tree_files import finish, tree, write
from tui.index.failing_types import BITS, FailingTypes
from tui.index.rows import Authority, Filter
from tui.index.run_index import TreeIndex
from tui.node_facts import NodeFacts
from tui.tables.dashboard import (
    RunProgress,
    bar,
    constraints_text,
    cost_text,
    depth_text,
    folded_text,
    outcome_text,
    short_type,
)
from tui.widgets.dashboard import Dashboard


def check(tree: SearchTree, node: Node) -> list[Finding]:
    """Ground truth of two constraints: a colour that the draft lacks, and a first word that some answers lack."""
    met = {
        "keywords:existence": "red" in node.response,
        "startend:first_word": node.response[0] != "A",
    }
    return [
        Finding(type=name, constraint=name.partition(":")[2], met=each)
        for name, each in met.items()
    ]


def broken_tree(number: int) -> SearchTree:
    """A draft that passes by ground truth, and the judge's choice that does not."""
    nodes = (node(0, None, "The red dog.", 1), node(1, 0, "The blue dog.", 5))
    return SearchTree(
        prompt=prompt(number), strategy="bfs", config="c", nodes=nodes, selected=1, stop="solved"
    )


TREES = [*trees(6), broken_tree(6)]
"""Four that the search fixed, two that fail, one that it broke, where the judge is wrong too."""


def outcomes() -> RunOutcomes:
    """The totals of `TREES`."""
    totals = RunOutcomes()
    for each in TREES:
        totals.add(outcome_of(each, check))
    return totals


def test_the_panes() -> None:
    """Before and after with errors, the gain, what was fixed and broken, failing constraints, scores and costs."""
    run = RunProgress(outcomes(), expected=60, left="2 min")
    text = outcome_text(run, 60).plain
    for part in (
        "14.3 ± 14.3 → 57.1 ± 20.2 %",
        "+42.9",
        "fixed 4",
        "broken 1",
        "failed 2",
        "7/60, 2 min left",
    ):
        assert part in text
    assert "solved 5 of 7, wrong 1 (1 too lenient)" in text
    bars = next(line for line in text.split("\n") if "▓" in line)
    assert (bars.count("▓"), bars.count("▒"), bars.count("░")) == (34, 9, 17)
    assert constraints_text(run, 50).plain.startswith("existence  3/7 was 6")
    assert "first word" in constraints_text(run, 50).plain
    assert [line.split()[0] for line in depth_text(run, 40).plain.split("\n")] == ["draft", "1"]
    costs = cost_text(run, 60).plain
    assert "actor" in costs and "judge" in costs and "tokens a prompt" in costs


def test_the_two_lines() -> None:
    """The outcome and the judge; then what fails most, and what a prompt cost."""
    first, second = folded_text(RunProgress(outcomes()), 120).plain.split("\n")
    assert first == "passes 14.3 → 57.1 ± 20.2 %  +42.9 ± 29.7  judge wrong 1"
    assert second == "fails most existence 3, first word 2  cost 142 tokens, 14 calls a prompt"


@pytest.mark.parametrize("width", [1, 7, 20, 40, 120])
def test_panes_fit(width: int) -> None:
    """Bars end at the width of the pane, however narrow."""
    run = RunProgress(outcomes())
    for text in (folded_text(run, width), depth_text(run, max(width, 20))):
        assert all(cell_len(line) <= max(width, 20) for line in text.plain.split("\n"))


def test_a_run_without_a_judge_or_trees() -> None:
    """Nothing is divided by nothing, and it is said that no judge was called."""
    empty = RunProgress(RunOutcomes())
    for pane in (outcome_text, constraints_text, depth_text, cost_text, folded_text):
        assert "%" not in pane(empty, 40).plain
    greedy = RunOutcomes()
    unjudged = failed_tree(0).model_copy(update={"nodes": (node(0, None, "A red cat.", None),)})
    greedy.add(outcome_of(unjudged, check))
    text = outcome_text(RunProgress(greedy), 60).plain
    assert "passes  0.0 %" in text and "→" not in text and "no judge was called" in text


@pytest.mark.parametrize(
    ("share", "shown"), [(0, "    "), (0.5, "██  "), (0.3, "█▎  "), (2, "████")]
)
def test_bar(share: float, shown: str) -> None:
    """In eighths of a cell, from 0 to 1."""
    assert bar(share, 4) == shown


def test_short_type() -> None:
    """A constraint type as words, without its family."""
    assert short_type("length_constraints:number_words") == "number words"
    assert short_type("format") == "format"


def test_failing_types() -> None:
    """More types than fit into one number; a row that is set again has only the new ones, in the order of their names."""
    types = FailingTypes()
    names = [f"type {number}" for number in range(2 * BITS)]
    for row in range(3):
        types.append()
        types.set(row, names[row::3])
    assert types.of(1) == tuple(sorted(names[1::3]))
    assert [list(types.rows_with(name)) for name in names[-2:]] == [[1, 0, 0], [0, 1, 0]]
    types.set(1, ["other", names[0]])
    assert types.of(1) == ("other", names[0])
    assert list(types.rows_with(names[0])) == [1, 1, 0] and not any(types.rows_with("unknown"))


def test_totals_count_every_tree_once(tmp_path: Path) -> None:
    """Also the last one, which is read before it is complete and again when it is; corrupt lines count as none."""
    path = write(tmp_path / "trees.jsonl", tree("a"), "junk", tree("b"), end=b"\n")
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    index = TreeIndex.open(path, Authority(check=check))
    finish(index)
    assert index.totals().trees == 1
    for end in (-1, len(whole)):
        path.write_bytes(whole[:end])
        index.refresh()
        finish(index)
        assert index.totals().trees == 2
    assert list(index.order(Filter(constraint="keywords:existence"))) == [0, 2]
    assert index.totals().constraints["keywords:existence"].after == 2


def test_totals_follow_an_evaluation_that_is_written_later(tmp_path: Path) -> None:
    """Its verdicts count more than what was counted before."""
    path = write(tmp_path / "trees.jsonl", tree("a"), tree("b"))
    index = TreeIndex.open(path)
    finish(index)
    assert index.totals().by_truth.after.n == 0
    (tmp_path / "examples.jsonl").write_text('{"id": "a", "passed": false}\n')
    index.refresh()
    finish(index)
    assert (index.totals().trees, index.totals().too_lenient, index.counts().judge_wrong) == (
        2,
        1,
        1,
    )


def test_an_evaluation_counts_more_than_a_check_of_its_own(tmp_path: Path) -> None:
    """In a tree as in the table: a task may have several verdicts, of which one decides."""
    run = write_run(tmp_path / "run", [solved_tree(0)])
    row = {"id": "prompt-0", "passed": True, "verdicts": []}
    (run / "examples.jsonl").write_text(f"{json.dumps(row)}\n")
    index = TreeIndex.open(run)
    finish(index)
    assert index.row(0).truth is True
    one = index.tree(0)
    annotations = Annotations(
        lambda *_: [Finding(type="strict", constraint="s", met=False)], None, index.graded
    )
    facts = NodeFacts(one, annotations)
    assert facts.work(60)
    rights = {each.id: fact.right for each in one.nodes if (fact := facts.of(each))}
    assert rights == {each.id: each.id == one.selected for each in one.nodes}
    assert facts.outcome is not None and facts.outcome.after.truth is True
    answer = next(each for each in one.nodes if each.id == one.selected)
    verdict, *_ = node_sections(one, answer, annotations)
    assert "right (ground truth)" in verdict.raw


QUESTIONS = (
    ("why did this prompt fail", ["n"], ["fails: existence"]),
    ("which constraint fails most", ["c"], ["existence  keywords", "first word  startend"]),
    ("where was the judge wrong", ["6"], ["[6 judge wrong 1]", "1 of 7 trees", "✗ broken!"]),
    ("what did the search fix", ["4"], ["[4 fixed 4]", "→ fixed in 1 refinement, 18 calls"]),
    (
        "what did it break",
        ["5"],
        ["[5 broken 1]", "passed at first → broken in 1 refinement: existence"],
    ),
    ("what did it cost", ["v"], ["judge", "refiner", "tokens a prompt"]),
)


@pytest.mark.screen
@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=lambda size: f"{size[0]}x{size[1]}")
async def test_five_questions_are_answered_within_three_keys(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    """From the screen of a run, whatever its size."""
    run = write_run(tmp_path / "a", TREES)
    annotations = Annotations(check=check)
    async with browser(run, size=size, annotations_for=lambda directory: annotations) as (
        app,
        pilot,
    ):
        for question, keys, answers in QUESTIONS:
            assert len(keys) <= 3
            shown = app.screen.query_one(Dashboard).is_folded
            for key in keys if question != "what did it cost" or shown else []:
                await pilot.press(key)
            await until(
                pilot,
                lambda answers=answers: all(part in screen_text(app) for part in answers),  # type: ignore[misc]
            )
            if keys == ["c"]:
                await pilot.press("enter")
                await until(pilot, lambda: "3 of 7 trees, failing existence" in screen_text(app))
                await pilot.press("escape")
            await pilot.press("1", "home")
            await until(pilot, lambda: is_idle(app))
        assert cursor(app) == 0


@pytest.mark.screen
async def test_a_running_run_shows_how_far_it_is(tmp_path: Path) -> None:
    """As its log says; the numbers grow with the trees."""
    from spar.files import locked

    run = write_run(tmp_path / "a", trees(3), ended=False)
    (run / "log.txt").write_text(f"2020-01-01T00:00:00+00:00 {start_line(0, 60)}\n")
    with locked(run / "run.lock"):
        async with browser(run) as (app, pilot):
            await until(
                pilot, lambda: "3/60, " in screen_text(app) and "days left" in screen_text(app)
            )
            append(run, solved_tree(3))
            await until(pilot, lambda: "4/60, " in screen_text(app))
