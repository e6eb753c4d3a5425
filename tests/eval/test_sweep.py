"""A sweep's plan, what it takes from earlier runs, and its table and plot, without a model."""

from __future__ import annotations

import csv
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import spar
from spar.config import FREE, EvalConfig
from spar.errors import RunLocked, UsageError
from spar.estimate.evaluation import sweep_text
from spar.eval.benchmark import ANSWERS
from spar.eval.metric_names import has_metric
from spar.eval.plots import plot
from spar.eval.runner import EvalRequest
from spar.eval.sweep import Point, fill, parse_strategy, plan, sources
from spar.eval.sweep_runner import Sweep
from spar.eval.sweep_table import Row, headline, in_order, markdown, row, write_csv
from spar.files import locked
from spar.infer.engines.fake import FakeEngine
from spar.infer.search import Budget, SearchSettings, run_search
from spar.infer.strategy import SearchConfig
from spar.manifest import Manifest
from spar.plugins import STRATEGIES
from spar.record.evaluation import Metric, Results
from spar.record.marks import MarkBook
from spar.run.job import Job
from spar.store import LOCK, RunStore, read_trees
from spar.types import Message, Prompt, SearchTree
from tests.fakes import World, make_settings, real_roles, timeless

PAPER = SearchConfig(branching=3, beam_width=2, depth=3)


@pytest.mark.parametrize(
    ("strategy", "shape", "most"),
    [
        ("bfs", PAPER, 1 + 3 + 6 + 6),
        ("dfs", PAPER, 1 + 3 + 6 + 12),
        ("bfs", SearchConfig(branching=3, beam_width=2, depth=6), 34),
        ("bfs", SearchConfig(branching=1, beam_width=5, depth=4), 5),
        ("bfs", SearchConfig(branching=2, beam_width=3, depth=3), 1 + 2 + 4 + 6),
        ("dfs", SearchConfig(branching=2, beam_width=1, depth=3), 7),
        ("iterative", PAPER, 100),
        ("best-of-n", PAPER, 100),
    ],
)
def test_what_a_shape_can_spend(strategy: str, shape: SearchConfig, most: int) -> None:
    """One draft, then as many refinements a level as the kept nodes have children."""
    assert STRATEGIES.spec(strategy).num_responses(shape, 100) == most


@given(
    st.sampled_from(["bfs", "dfs"]),
    st.builds(SearchConfig, st.integers(1, 4), st.integers(1, 4), st.integers(1, 4)),
    st.integers(1, 40),
)
async def test_what_a_shape_can_spend_is_what_the_driver_spends(
    strategy: str, shape: SearchConfig, enough: int
) -> None:
    """Where nothing passes and nothing fails."""
    settings = make_settings(strategy, shape=shape, budget=Budget(enough))
    tree = await run_search(prompt("p"), real_roles(FakeEngine(World(yes=0))), settings)
    assert STRATEGIES.spec(strategy).num_responses(shape, enough) == len(tree.nodes)


def test_the_plan_of_the_papers_figure() -> None:
    """Large budgets first, greedy once and last, trees deepened only where they cannot spend 31."""
    strategies = ["greedy", "best-of-n", "bfs", "dfs"]
    assert plan(strategies, [1, 15, 31], PAPER) == [
        Point("best-of-n", 31, 3),
        Point("best-of-n", 15, 3),
        Point("best-of-n", 1, 3),
        Point("bfs", 31, 6),
        Point("bfs", 15, 3),
        Point("bfs", 1, 3),
        Point("dfs", 31, 6),
        Point("dfs", 15, 3),
        Point("dfs", 1, 3),
        Point("greedy", 1, 3),
    ]
    assert plan(["bfs"], [31], PAPER, deepen=False) == [Point("bfs", 31, 3)]
    assert Point("bfs", 31, 6).name == "bfs-31"


@pytest.mark.parametrize(
    ("strategies", "budgets", "complaint"),
    [
        (["bsf"], [1], "unknown strategy 'bsf'; did you mean 'bfs'"),
        (["bfs", "bfs"], [1], "--strategies: bfs is given twice"),
        (["best-of-n:wave=all"], [1], "did you mean 'waves'"),
        (["best-of-n:waves=some"], [1], "--strategy-arg waves='some': input should be 'all'"),
        (["bfs:x=1"], [1], "--strategy-arg x: bfs has no options"),
        (["ab-mcts:batch={"], [1], "is not YAML"),
        (
            ["mcts:exploration=.5", "mcts:exploration=5"],
            [3],
            "would have one folder, mcts-exploration-5; write one of them otherwise",
        ),
        (["bfs"], [3, 1, 3], "--budgets: 3 is given twice"),
        (["bfs"], [], "--budgets: none is given"),
        ([], [1], "--strategies: none is given"),
        (["bfs"], [1, 0], "--budgets: 0 is not a budget"),
    ],
)
def test_what_cannot_be_planned(strategies: list[str], budgets: list[int], complaint: str) -> None:
    """Told in one line."""
    with pytest.raises(UsageError, match=complaint):
        plan(strategies, budgets, PAPER)


@pytest.mark.parametrize(
    ("budgets", "complaint"),
    [
        ([1.0, 3.5], "expected whole numbers"),
        (["1", "3"], "expected whole numbers"),
        ("1,x", "expected whole numbers"),
        (0, "0 is not a budget"),
    ],
)
def test_budgets_that_are_none(budgets: Any, complaint: str, tmp_path: Path) -> None:
    """Told before anything runs."""
    with pytest.raises(UsageError, match=complaint):
        spar.sweep("nano-if", strategies="bfs", budgets=budgets, engine="fake", out=tmp_path / "s")
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("budgets", [3, "3", np.array([3]), (np.int64(3),)])
def test_budgets_of_any_kind_of_integer(budgets: Any, tmp_path: Path) -> None:
    """A single one, too."""
    settings: dict[str, Any] = {"engine": "fake", "limit": 1, "out": tmp_path / "s"}
    (row,) = spar.sweep("nano-if-answers", strategies="bfs", budgets=budgets, **settings)
    assert row.budget == 3 and type(row.budget) is int


def test_a_metric_that_there_is_not_costs_no_table(tmp_path: Path) -> None:
    """Which ones there are is known in the end only; the table has the benchmark's own."""
    with pytest.raises(UsageError, match="nano-if-answers has no metric 'pas'"):
        spar.sweep(
            "nano-if-answers",
            strategies="bfs",
            budgets=[3],
            metric="pas",
            engine="fake",
            limit=1,
            out=tmp_path,
        )
    with (tmp_path / "nano-if-answers" / "sweep.csv").open() as file:
        (stored,) = csv.DictReader(file)
    assert stored["metric"] != "pas"


def test_a_metric_that_there_is_not_costs_one_point(tmp_path: Path) -> None:
    """Not the sweep: it is refused once the first point is scored, and one that there is goes on from there."""
    settings: dict[str, Any] = {"engine": "fake", "limit": 1, "out": tmp_path}
    points = {"strategies": "best-of-n", "budgets": [1, 3], **settings}
    grid = Sweep(("best-of-n",), (1, 3), metric="pas")
    request = EvalRequest(("nano-if-answers",), tmp_path)
    shown = sweep_text(EvalConfig(engine="fake", limit=1), request, grid)
    assert "--metric pas: whether nano-if-answers has it is known once" in shown
    with pytest.raises(UsageError, match="nano-if-answers has no metric 'pas'"):
        spar.sweep("nano-if-answers", metric="pas", **points)
    folder = tmp_path / "nano-if-answers"
    assert len(list(folder.glob("*/trees.jsonl"))) == 1
    rows = spar.sweep("nano-if-answers", metric="pass_instruction", **points)
    assert [row.metric for row in rows] == ["pass_instruction"] * 2


def test_a_summary_older_than_the_trees_is_written_again(tmp_path: Path) -> None:
    """A run that was killed behind its last tree, in a later start than the one that has a summary."""
    settings: dict[str, Any] = {"strategy": "bfs", "budget": 3, "engine": "fake", "limit": 2}
    spar.evaluate("nano-if-answers", out=tmp_path, **settings)
    path = tmp_path / "nano-if-answers" / "summary.json"
    whole = json.loads(path.read_text())
    path.write_text(json.dumps({**whole, "nodes": 0}))
    spar.evaluate("nano-if-answers", out=tmp_path, **settings)
    assert json.loads(path.read_text())["nodes"] == 0
    os.utime(path, (1, 1))
    spar.evaluate("nano-if-answers", out=tmp_path, **settings)
    assert json.loads(path.read_text())["nodes"] == whole["nodes"]


def test_overwriting_deletes_all_points_or_none(tmp_path: Path) -> None:
    """Not while another process writes to one; and files of others, such as stars, are no hindrance."""
    settings: dict[str, Any] = {
        "strategies": ["bfs", "dfs"],
        "budgets": [3, 7],
        "engine": "fake",
        "limit": 2,
        "out": tmp_path,
    }
    spar.sweep("nano-if-answers", **settings)
    home = tmp_path / "nano-if-answers"
    with locked(home / "dfs-7" / LOCK), pytest.raises(RunLocked):
        spar.sweep("nano-if-answers", overwrite=True, **settings)
    assert len(list(home.glob("*/trees.jsonl"))) == 4
    (home / "bfs-7" / "notes.txt").write_text("mine")
    MarkBook(home / "bfs-3").change(next(iter(trees(home / "bfs-3"))), star=True)
    rows = spar.sweep("nano-if-answers", overwrite=True, **settings)
    assert len(rows) == 4 and (home / "bfs-7" / "notes.txt").read_text() == "mine"


def test_options_stand_behind_a_colon() -> None:
    """Variants of one strategy are points of their own, in directories of their own."""
    points = plan(["best-of-n:waves=growing", "best-of-n", "bfs"], [3], PAPER)
    assert [point.name for point in points] == ["best-of-n-waves-growing-3", "best-of-n-3", "bfs-3"]
    assert points[0].changes({}) == {
        "strategy": "best-of-n",
        "budget": 3,
        "depth": 3,
        "strategy_args": {"waves": "growing"},
    }
    assert points[1].changes({"waves": "all"})["strategy_args"] == {"waves": "all"}
    assert [source.strategy for source in sources([points[2], *points[:2]], points[1])] == [
        *("best-of-n:waves=growing", "bfs")
    ]
    assert parse_strategy("my.package:ucb:c=0.7:n=2") == ("my.package:ucb", {"c": 0.7, "n": 2})


def test_the_most_alike_runs_come_first() -> None:
    """Those of the same strategy, the smallest budget first; only what was run before."""
    points = plan(["bfs", "dfs", "greedy"], [1, 7, 31], PAPER)
    names = [one.name for one in sources(points, points[4])]
    assert points[4].name == "dfs-7"
    assert names == ["dfs-31", "bfs-1", "bfs-7", "bfs-31"]
    assert sources(points, points[0]) == []


def prompt(prompt_id: str) -> Prompt:
    """A prompt with a tuple in its meta, which a file gives back as a list."""
    message = Message(role="user", content=f"Write {prompt_id}.")
    return Prompt(id=prompt_id, messages=(message,), meta={"pair": (1, 2)})


PROMPTS = [prompt(f"p{index}") for index in range(6)]
WORLD = World(seed=5, yes=0.3, broken=0.2)


def manifest(**changes: Any) -> Manifest:
    """Of a run with the default settings."""
    config = EvalConfig.model_validate(
        {
            "draft": {"temperature": 0.7},
            "vote": {"temperature": 0.7},
            "refine": {"temperature": 0.7},
        }
        | changes
    )
    return Manifest(spar_version="0", config=config.stored(), free=FREE)


async def searched(folder: Path, settings: SearchSettings, **changes: Any) -> dict[str, SearchTree]:
    """A run directory of a real search over all prompts."""
    roles = real_roles(FakeEngine(WORLD))
    with RunStore.open(folder, manifest(strategy=settings.name, **changes)) as store:
        for one in PROMPTS:
            store.append(await run_search(one, roles, settings))
    return trees(folder)


def trees(folder: Path) -> dict[str, SearchTree]:
    """Prompt id to its tree, without times."""
    return {tree.prompt.id: timeless(tree) for tree in read_trees(folder)}


async def filled(
    folder: Path,
    settings: SearchSettings,
    *folders: Path,
    job: Job | None = None,
    **changes: Any,
) -> int:
    """Fill a new run directory."""
    with RunStore.open(folder, manifest(strategy=settings.name, **changes)) as store:
        return await fill(store, job or Job(ANSWERS, PROMPTS), settings, folders)


async def test_a_smaller_run_is_filled_whole(tmp_path: Path) -> None:
    """Every tree that the search would make, in a run directory that counts as done; and only once."""
    await searched(tmp_path / "large", make_settings("bfs", budget=Budget(15)), budget=15)
    small = make_settings("bfs", budget=Budget(4))
    real = await searched(tmp_path / "real", small, budget=4)
    assert await filled(tmp_path / "small", small, tmp_path / "large", budget=4) == 6
    assert trees(tmp_path / "small") == real
    assert await filled(tmp_path / "small", small, tmp_path / "large", budget=4) == 0


async def test_what_no_run_holds_is_left_to_be_searched(tmp_path: Path) -> None:
    """A larger budget takes the searches that had ended; the next folder is asked for the others."""
    ended = await searched(
        tmp_path / "small", make_settings("iterative", budget=Budget(4)), budget=4
    )
    num_ended = sum(tree.stop == "solved" for tree in ended.values())
    assert 0 < num_ended < 6
    large = make_settings("iterative", budget=Budget(30))
    real = await searched(tmp_path / "real", large, budget=30)
    assert await filled(tmp_path / "one", large, tmp_path / "small", budget=30) == num_ended
    both = (tmp_path / "absent", tmp_path / "small", tmp_path / "real")
    assert await filled(tmp_path / "two", large, *both, budget=30) == 6
    assert trees(tmp_path / "two") == real


@pytest.mark.parametrize(
    "changes",
    [{"seed": 1}, {"votes": 3}, {"draft": {"temperature": 0.1}}, {"model": "other"}],
    ids=["seed", "votes", "temperature", "model"],
)
async def test_a_run_with_other_answers_is_passed_over(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    """Whatever decides a reply must agree."""
    await searched(tmp_path / "large", make_settings("bfs", budget=Budget(15)), **changes)
    small = make_settings("bfs", budget=Budget(4))
    assert await filled(tmp_path / "small", small, tmp_path / "large") == 0


async def test_settings_of_the_search_and_of_the_machine_may_differ(tmp_path: Path) -> None:
    """Nor does it matter that greedy never learned the judge's name."""
    await searched(
        tmp_path / "large",
        make_settings("bfs", budget=Budget(15)),
        device="cuda:0",
        concurrency=3,
        branching=4,
        judge_model="served",
    )
    assert await filled(tmp_path / "small", make_settings("greedy"), tmp_path / "large") == 6


async def test_another_prompt_of_the_same_id_is_searched(tmp_path: Path) -> None:
    """A grader's question holds the answer that it is about."""
    await searched(tmp_path / "large", make_settings("bfs", budget=Budget(15)))
    changed = [PROMPTS[0].model_copy(update={"messages": prompt("other").messages}), *PROMPTS[1:]]
    job = Job(ANSWERS, changed)
    small = make_settings("bfs", budget=Budget(4))
    assert await filled(tmp_path / "small", small, tmp_path / "large", job=job) == 5


def results(**changes: Any) -> Results:
    """Totals with a mean, a metric of a subset, and one with a unit."""
    metrics = {
        "levels": Metric(value=2.5, stderr=0.1, n=4),
        "acc/easy": Metric(value=1.0, stderr=0.0, n=2),
        "acc": Metric(value=0.75, stderr=0.25, n=4),
        "alone": Metric(value=0.5, stderr=None, n=1),
    }
    fields = {"benchmark": "mine", "n": 4, "metrics": metrics, "units": {"levels": "levels"}}
    return Results.model_validate({**fields, **changes})


def test_the_headline_metric() -> None:
    """The one asked for; else the benchmark's own; else its first share over everything."""
    assert headline(results()) == "acc"
    assert headline(results(), "acc/easy") == "acc/easy"
    average = {"acc": Metric(value=0, stderr=0, n=1), "average": Metric(value=0, stderr=0, n=1)}
    assert headline(results(benchmark="ifeval", metrics=average)) == "average"
    assert headline(results(benchmark="ifeval")) == "acc"
    with pytest.raises(UsageError, match=r"no metric 'ac' \(accepted: levels, acc, alone\)"):
        headline(results(), "ac")
    with pytest.raises(UsageError, match="no example was scored"):
        headline(results(metrics={}))


def test_a_metric_of_some_examples_alone_is_the_benchmarks_too() -> None:
    """A loop may show it, as it may a group of a metric, where the first evaluation has none."""
    role = results(benchmark="nano-if")
    assert has_metric(role, "refine_pass") and has_metric(role, "acc/hard")
    assert not has_metric(role, "nope") and not has_metric(role, "nope/hard")
    assert not has_metric(results(benchmark="nano-if-answers"), "refine_pass")


async def test_a_row_sums_up_a_run() -> None:
    """Means over the prompts, counted here by hand from two chains of two responses."""
    settings = make_settings("iterative", budget=Budget(2))
    roles = real_roles(FakeEngine(World(yes=0.0)))
    made = [await run_search(one, roles, settings) for one in PROMPTS[:2]]
    made = [
        tree.model_copy(update={"seconds": second, "stop": stop})
        for tree, second, stop in zip(made, (1.0, 2.0), ("solved", "budget"), strict=True)
    ]
    passed = {PROMPTS[0].id: False, PROMPTS[1].id: None}  # of the second nobody says
    found = row(
        Point("iterative", 2, 3), results(), iter(made), replayed=1, steps=4.0, passed=passed
    )
    tokens = sum(tree.usage.completion_tokens for tree in made) / 2
    assert found == Row(
        strategy="iterative",
        budget=2,
        depth=3,
        n=4,
        metric="acc",
        value=0.75,
        stderr=0.25,
        nodes=2.0,
        calls=12.0,
        tokens=tokens,
        seconds=1.5,
        solved=0.5,
        prompts=2,
        replayed=1,
        steps=4.0,
        optimism=1.0,
    )


async def test_optimism_is_the_judges_view_less_what_passes() -> None:
    """Of the same prompts, whatever the headline metric counts; none where the benchmark says of no answer that it passes."""
    roles = real_roles(FakeEngine(World(yes=1.0)))
    made = [await run_search(one, roles, make_settings("bfs")) for one in PROMPTS[:2]]
    first, second = (prompt.id for prompt in PROMPTS[:2])
    for passed, optimism in (
        ({first: True, second: True}, 0.0),
        ({first: True, second: False}, 0.5),
        ({first: None, second: None}, None),
        ({}, None),
    ):
        found = row(Point("bfs", 2, 3), results(), made, passed=passed)
        assert (found.solved, found.optimism) == (1.0, optimism)
    unjudged = [tree.model_copy(update={"stop": "exhausted"}) for tree in made]
    assert row(Point("bfs", 2, 3), results(), unjudged, passed={first: True}).optimism is None


def point(strategy: str, budget: int, value: float, **changes: Any) -> Row:
    """A row whose costs grow with its budget."""
    made = row(Point(strategy, budget, 3), results(), [])
    made = replace(made, nodes=budget, calls=6.0 * budget, tokens=1234.5 * budget, seconds=0.5)
    return replace(made, value=value, **changes)


ROWS = [
    point("greedy", 1, 0.5, stderr=None),
    point("bfs", 15, 0.875, prompts=1234, replayed=1000),
    point("bfs", 3, 0.75),
]


def test_rows_are_put_in_order() -> None:
    """As the strategies were given, budgets growing."""
    found = in_order(ROWS, ["bfs", "greedy"])
    assert [(one.strategy, one.budget) for one in found] == [("bfs", 3), ("bfs", 15), ("greedy", 1)]


def test_the_csv_has_every_field(tmp_path: Path) -> None:
    """It reads back as numbers; what is unknown is blank."""
    write_csv(tmp_path / "sweep.csv", ROWS)
    with (tmp_path / "sweep.csv").open(newline="") as handle:
        found = list(csv.DictReader(handle))
    assert len(found) == 3
    assert (found[0]["strategy"], found[0]["stderr"], float(found[1]["value"])) == (
        "greedy",
        "",
        0.875,
    )
    assert float(found[1]["tokens"]) == 1234.5 * 15


def test_the_markdown_table() -> None:
    """Percent with errors, unless the metric has a unit; a pipe in a name breaks no column."""
    named = [replace(one, metric="a|b") for one in ROWS]
    shown = markdown("mine", named, ["model tiny"])
    assert "# mine\n\n- model tiny\n" in shown
    assert r"| strategy | budget | depth | a\|b, % | n |" in shown
    assert "| greedy | 1 | 3 | 50.0 | 4 | 1.0 | 6.0 | 1,234 | 0.50 | 0.0 | 0 of 0 |" in shown
    told = markdown("mine", [replace(ROWS[1], steps=5.25, solved=0.9, optimism=0.025)], [])
    assert "| 5.2 | 0.50 | 90.0 | +2.5 | 1,000 of 1,234 |" in told
    assert "| bfs | 15 | 3 | 87.5 ± 25.0 |" in shown
    assert "1,000 of 1,234" in shown
    levels = markdown("mine", [replace(each, unit="levels") for each in named], [])
    assert "a\\|b, levels" in levels
    assert "| 0.9 ± 0.2 |" in levels


def test_the_plot_is_an_image(tmp_path: Path) -> None:
    """A PNG of four panels; a name that looks like a formula is text, and zero costs are no trouble."""
    pytest.importorskip("matplotlib")
    rows = [
        *(replace(one, metric="a$b$_c") for one in ROWS),
        replace(ROWS[0], strategy="x", seconds=0.0),
    ]
    plot(tmp_path / "sweep.png", "mine: $\\frac", rows)
    plot(tmp_path / "unit.png", "mine", rows[:1], unit="levels")
    written = (tmp_path / "sweep.png").read_bytes()
    assert written.startswith(b"\x89PNG")
    assert len(written) > 10_000


def test_a_row_without_trees() -> None:
    """No tree, no cost."""
    found = row(Point("bfs", 1, 3), results(), [])
    assert (found.prompts, found.nodes, found.calls, found.seconds) == (0, 0.0, 0.0, 0.0)
