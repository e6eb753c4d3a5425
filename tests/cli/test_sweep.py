"""`spar sweep`: every point equals an evaluation of `spar eval`, with fewer calls."""

from __future__ import annotations

import asyncio
import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from spar.cli.sweep import run
from spar.config import EvalConfig, load_eval
from spar.errors import UsageError
from spar.eval.runner import EvalRequest, evaluate
from spar.eval.sweep import Point
from spar.eval.sweep_runner import Sweep, read_budgets, sweep
from spar.eval.sweep_table import Row
from spar.infer.engine import Completion, Deployment
from spar.infer.engines.fake import FakeEngine, scripted_reply
from spar.infer.strategy import Expand, Plan, SearchConfig, StrategySpec
from spar.plugins import BENCHMARKS, ENGINES
from spar.progress import Progress
from spar.record.evaluation import read_results
from spar.store import read_summary
from spar.types import Node
from tests.cli.test_decode import comparable, rows, spar
from tests.fakes import Notes
from tests.requires import requires
from tests.strategies import SEARCHED

pytestmark = [pytest.mark.slow, requires("matplotlib")]

ASKED: list[str] = []
"""Last turn of each request, in order."""
STRATEGIES = ("greedy", "best-of-n", "iterative", "bfs", "dfs")


class Counted(FakeEngine):
    """A fake engine that records its requests."""

    async def generate(self, requests: Any) -> list[Completion]:
        """Note, and reply."""
        ASKED.extend(request.messages[-1].content for request in requests)
        return await super().generate(requests)


def open_counted(deployment: Deployment, config: object, tell: object) -> Counted:
    """Open the engine, for the table of engines."""
    return Counted(scripted_reply)


@pytest.fixture(autouse=True)
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    """A toy benchmark with a grader, and a fake engine that counts."""
    monkeypatch.setitem(BENCHMARKS, "toy", "tests.cli.toy_benchmark:Toy")
    monkeypatch.setitem(ENGINES, "fake", "tests.cli.test_sweep:open_counted")
    ASKED.clear()


def settings(**fields: Any) -> EvalConfig:
    """Settings of the fake engine."""
    return load_eval("nano", {"engine": "fake"} | fields)


def swept(
    out: Path, *budgets: int, strategies: tuple[str, ...] = STRATEGIES, **flags: Any
) -> list[Row]:
    """Sweep the toy benchmark without output."""
    grid = Sweep(strategies, budgets or (1, 3, 7))
    request = EvalRequest(("toy",), out, **flags)
    return asyncio.run(sweep(settings(), request, grid, directory=out / "toy", listener=Progress()))


def test_every_point_equals_an_evaluation(tmp_path: Path) -> None:
    """The same trees in every stage, the same metrics, and far fewer requests."""
    rows = swept(tmp_path / "sweep")
    by_sweep = len(ASKED)
    check_rows(tmp_path, rows)
    assert len(rows) == 13
    assert by_sweep < 0.6 * (len(ASKED) - by_sweep)


def check_rows(home: Path, rows: Sequence[Row]) -> None:
    """Evaluate the points of `home/sweep` one by one, and compare."""
    for row in rows:
        point = Point(row.strategy, row.budget, row.depth)
        config = settings(**point.changes({}))
        out = home / point.name
        ((real,), _) = asyncio.run(evaluate(config, EvalRequest(("toy",), out), Progress()))
        made = home / "sweep" / "toy" / out.name
        for stage in ("", "grades"):
            assert comparable(made / stage) == comparable(out / "toy" / stage)
        assert read_results(made).metrics == real.metrics
        assert read_summary(made)["calls"] == read_summary(out / "toy")["calls"]


class WideOptions(BaseModel):
    """Options of a stranger's strategy."""

    width: int = 2


def wide(roots: tuple[Node, ...], config: SearchConfig, options: WideOptions) -> Plan:
    """Draft, then refine the draft so often."""
    for draft in roots or (yield [Expand(None, 1)]):
        yield [Expand(draft.id, options.width, statistics={"width": options.width})]


WIDE = StrategySpec(wide, options=WideOptions)


def test_all_strategies_and_a_strangers_stand_in_one_table(tmp_path: Path) -> None:
    """Each point equals an evaluation, whatever its trees were replayed from."""
    strangers = ("tests.cli.test_sweep:WIDE", "tests.cli.test_sweep:WIDE:width=3")
    variants = tuple(
        ":".join([name, *(f"{option}={value}" for option, value in options.items())])
        for name, options in SEARCHED
        if options or name not in STRATEGIES
    )
    rows = swept(tmp_path / "sweep", 3, 5, strategies=(*variants, *strangers))
    assert [row.strategy for row in rows if row.budget == 5] == [*variants, *strangers]
    check_rows(tmp_path, rows)
    (table,) = (tmp_path / "sweep").rglob("sweep.md")
    assert "| tests.cli.test_sweep:WIDE:width=3 | 5 |" in table.read_text()


def test_rows_and_files(tmp_path: Path) -> None:
    """Strategies in order, means over the trees, and three files."""
    rows = swept(tmp_path, strategies=("greedy", "bfs"))
    assert [(row.strategy, row.budget) for row in rows] == [
        ("greedy", 1),
        ("bfs", 1),
        ("bfs", 3),
        ("bfs", 7),
    ]
    assert [(row.n, row.prompts) for row in rows] == [(12, 12)] * 4
    assert [row.replayed for row in rows] == [0, 12, 12, 0]
    assert (rows[0].nodes, rows[0].calls, rows[1].calls) == (1.0, 1.0, 6.0)
    with (tmp_path / "toy" / "sweep.csv").open(newline="") as handle:
        assert [int(row["budget"]) for row in csv.DictReader(handle)] == [1, 1, 3, 7]
    assert "| bfs | 7 | 3 |" in (tmp_path / "toy" / "sweep.md").read_text()
    assert (tmp_path / "toy" / "sweep.png").read_bytes().startswith(b"\x89PNG")


def test_a_finished_sweep_is_rescored_without_a_model(tmp_path: Path) -> None:
    """The same rows, including the count of replayed trees; with another budget only new answers are graded."""
    first = swept(tmp_path, 3, 7, strategies=("bfs",))
    ASKED.clear()
    assert swept(tmp_path, 3, 7, strategies=("bfs",)) == first
    assert ASKED == []
    more = swept(tmp_path, 3, 5, 7, strategies=("bfs",))
    assert [row.replayed for row in more] == [12, 12, 0]
    assert all(text.startswith("Is it good?") for text in ASKED)


def test_overwrite_starts_over(tmp_path: Path) -> None:
    """Everything is searched and counted again."""
    first = swept(tmp_path, 3, 7, strategies=("bfs",))
    num_requests = len(ASKED)
    again = swept(tmp_path, 3, 7, strategies=("bfs",), overwrite=True)
    assert len(ASKED) == 2 * num_requests
    assert [row.replayed for row in again] == [row.replayed for row in first] == [12, 0]


def test_a_tree_search_is_deepened_to_spend_its_budget(tmp_path: Path) -> None:
    """Depth 3 ends after 16 responses, so it is deepened unless a depth is required."""
    (row,) = swept(tmp_path / "a", 20, strategies=("bfs",))
    assert row.depth == 6
    grid = Sweep(("bfs",), (20,), deepen=False)
    out = tmp_path / "b"
    (flat,) = asyncio.run(
        sweep(settings(), EvalRequest(("toy",), out), grid, directory=out, listener=Progress())
    )
    assert flat.depth == 3


@pytest.mark.parametrize(
    ("fields", "request_", "complaint"),
    [
        ({}, Sweep(("bsf",)), "did you mean 'bfs'"),
        ({}, Sweep(("bfs",), (0,)), "0 is not a budget"),
    ],
)
def test_invalid_requests_write_nothing(
    tmp_path: Path, fields: dict[str, Any], request_: Sweep, complaint: str
) -> None:
    """They are errors before anything is written."""
    with pytest.raises(UsageError, match=complaint):
        run(settings(**fields), EvalRequest(("toy",), tmp_path / "x"), request_, display="none")
    assert not (tmp_path / "x").exists()


def test_answers_from_a_file_are_rejected(tmp_path: Path) -> None:
    """A sweep generates its own answers."""
    answers = [{"id": f"t{i}", "response": "x"} for i in range(12)]
    config = settings(responses=str(rows(tmp_path / "answers.jsonl", *answers)))
    with pytest.raises(UsageError, match="makes the answers itself"):
        run(config, EvalRequest(("toy",), tmp_path / "x"), Sweep(("bfs",), (1,)), display="none")


def test_budgets_are_parsed() -> None:
    """Comma-separated numbers."""
    assert read_budgets(" 1, 3,7,") == (1, 3, 7)
    with pytest.raises(UsageError, match="expected whole numbers"):
        read_budgets("1;3")


def test_the_command_line(tmp_path: Path) -> None:
    """Flags, files, and the rows as JSON."""
    flags = ["--strategies", "greedy,iterative", "--budgets", "1,3", "--limit", "4", "--json"]
    out = tmp_path / "out"
    done = spar(
        "sweep", "nano-if", "--engine", "fake", "--display", "none", *flags, "--out", out, check=0
    )
    printed = json.loads(done.stdout)
    assert [row["metric"] for row in printed["rows"]] == ["pass"] * 3
    assert printed["sweep"] == str(out / "nano-if")
    assert "--budgets 1,3" in (out / "nano-if" / "sweep.md").read_text()
    wrong = spar("sweep", "nano-if", "--budgets", "a", "--out", out, check=2)
    assert "expected whole numbers" in wrong.stderr


def test_trees_replayed_before_a_kill_count_as_replayed(tmp_path: Path) -> None:
    """A sweep killed between two points; trees beyond a smaller limit do not count."""
    first = swept(tmp_path, 3, 7, strategies=("bfs",))
    toy = tmp_path / "toy"
    (toy / "replayed.json").write_text('{"bfs-7": 0}')
    trees = (toy / "bfs-3" / "trees.jsonl").read_text().splitlines(keepends=True)
    (toy / "bfs-3" / "trees.jsonl").write_text("".join(trees[:5]))
    assert [row.replayed for row in swept(tmp_path, 3, 7, strategies=("bfs",))] == [12, 0]
    assert [row.replayed for row in first] == [12, 0]
    request = EvalRequest(("toy",), tmp_path)
    few = asyncio.run(
        sweep(
            settings(limit=4), request, Sweep(("bfs",), (3, 7)), directory=toy, listener=Progress()
        )
    )
    assert [(row.replayed, row.prompts) for row in few] == [(4, 4), (0, 4)]


def test_a_smaller_limit_is_noted(tmp_path: Path) -> None:
    """All points are scored on fewer examples than before."""
    swept(tmp_path, 1)
    notes: list[str] = []
    grid, request = Sweep(("bfs",), (1,)), EvalRequest(("toy",), tmp_path)
    directory = tmp_path / "toy"
    for _ in range(2):
        asyncio.run(
            sweep(settings(limit=4), request, grid, directory=directory, listener=Notes(notes))
        )
    assert [note.partition(";")[0] for note in notes if "were scored" in note] == [
        "12 examples were scored here, now 4"
    ]


def test_searched_trees_do_not_count_as_replayed(tmp_path: Path) -> None:
    """A point without a larger one was searched, whatever points are added later."""
    swept(tmp_path, 3, strategies=("bfs",))
    trees = tmp_path / "toy" / "bfs-3" / "trees.jsonl"
    trees.write_text("".join(trees.read_text().splitlines(keepends=True)[:5]))
    assert [row.replayed for row in swept(tmp_path, 3, 7, strategies=("bfs",))] == [7, 0]
