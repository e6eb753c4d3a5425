"""Pages and the index from results written by hand, and which wording a number chooses."""

from __future__ import annotations

import asyncio
import csv
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from spar.errors import ConfigChanged, RunStopped, UsageError
from spar.eval.datasets.local import DataFolder
from spar.eval.statistics import SeedMean
from spar.experiments import evaluations, runner
from spar.experiments.experiment import Cost, Experiment, Plan, Wordings, as_number
from spar.experiments.loops.pool import calls_of_loops
from spar.experiments.plots import draw
from spar.experiments.registry import EXPERIMENTS
from spar.experiments.runner import plan_lines, report, select
from spar.listener import Listener
from spar.manifest import Manifest, refuse_changes
from spar.record.experiments import (
    Measured,
    Number,
    Panel,
    Plot,
    Series,
    Table,
    read_experiment,
    write_experiment,
)
from tests.requires import requires

pytestmark = requires("matplotlib")

WORDINGS = Wordings("A wins.", "Yes: {difference}.", "No: {difference}.", "Open: {difference}.")
CALLS: list[int] = []
"""Seeds of each measurement."""


def mean(value: float, reach: float, seeds: int = 3) -> SeedMean:
    """A mean with a symmetric interval."""
    return SeedMean(value, (value,) * seeds, reach / 2, value - reach, value + reach, 50)


@pytest.mark.parametrize(
    ("difference", "verdict", "text"),
    [
        (mean(0.21, 0.06), "holds", "Yes: +21.0 points (95 % interval +15.0 to +27.0)."),
        (mean(-0.05, 0.04), "does not hold", "No: -5.0 points (95 % interval -9.0 to -1.0)."),
        (mean(0.02, 0.03), "inconclusive", "Open: +2.0 points (95 % interval -1.0 to +5.0)."),
        (SeedMean(0.5, (0.5,), None, None, None, 1), "inconclusive", "Open: +50.0 points."),
    ],
)
def test_the_interval_chooses_the_wording(difference: SeedMean, verdict: str, text: str) -> None:
    """Above 0, below 0, across it, or none at all."""
    claim = WORDINGS.judge(difference)
    assert (claim.verdict, claim.text) == (verdict, text)


async def measure(plan: Plan) -> Measured:
    """A table of a number and a gap, a plot, and a claim that holds."""
    CALLS.append(plan.seeds)
    passed = as_number(mean(0.61, 0.07, plan.seeds))
    lines = (
        Series(label="a|b $", x=(1, 3), y=(61.0, 72.0), error=(3.5, None)),
        Series(label="ceiling", x=(1, 3), y=(70.0, 80.0), error=(None, None), reference_of="a|b $"),
    )
    return Measured(
        tables=(
            Table(
                name="toy",
                title="One row.",
                columns=("way", "pass, %", "calls"),
                rows=(("a|b", passed, 86.225), ("none", None, 1234.0)),
            ),
        ),
        plots=(
            Plot(name="toy", title="A toy", y="%", panels=(Panel(x="n", series=lines, log=True),)),
        ),
        claims=(WORDINGS.judge(mean(0.21, 0.06)),),
        headline="61.0 %",
    )


TOY = Experiment(
    name="toy",
    source="Table 0",
    title="A toy",
    question="Does it run?",
    measure=measure,
    cost=lambda plan: Cost(36_000, "two prompts"),
    sizes=lambda plan: {"budgets": [1, 3]},
)


def all_present(names: Sequence[str], data: str) -> list[DataFolder]:
    """All data sets, as if they were on this machine."""
    return [DataFolder(name, Path(data), {"rows.jsonl": name}) for name in names]


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """A plan with one experiment that can be run, and one that cannot."""
    lacking = replace(TOY, name="far", lacks=lambda plan: "it is far away")
    monkeypatch.setattr(runner, "EXPERIMENTS", {"toy": TOY, "far": lacking})
    CALLS.clear()
    return Plan(runs=tmp_path / "runs", parallel_loops=2, listener=Listener())


async def test_a_page_has_all_that_a_reader_asks(plan: Plan, tmp_path: Path) -> None:
    """Claims, table, plot, command, sizes; the CSV has the error, the interval and the seeds."""
    out = tmp_path / "pages"
    await report(["all"], plan, out, command="spar report all")
    page = (out / "toy.md").read_text()
    for part in (
        "# Table 0: A toy",
        "3 seeds; errors (±, one standard error) and 95 % intervals are over prompts and seeds",
        "**✓** *The paper: A wins.*\nYes: +21.0 points",
        "| a\\|b | 61.0 ± 3.5 | 86.2 |\n| none | - | 1,234 |",
        "![A toy](toy.png)",
        "- `spar report all`",
        "budgets 1/3",
    ):
        assert part in page
    rows = list(csv.DictReader((out / "toy.csv").read_text().splitlines()))
    assert float(rows[0]["pass high"]) == pytest.approx(0.68)
    assert rows[0]["pass by seed"] == "0.61 0.61 0.61"
    assert (out / "toy.png").stat().st_size > 1000
    assert "ceiling" in (out / "toy.svg").read_text()


async def test_the_index_has_a_line_and_a_number_each_and_the_other_pages(
    plan: Plan, tmp_path: Path
) -> None:
    """Also those that were written by hand, whatever they are called."""
    (tmp_path / "strategies.md").write_text("# Strategies on a model\n\ntext\n")
    (tmp_path / "far.md").write_text("# By hand, named like an experiment\n")
    await report(["toy"], replace(plan, quick=True, seeds=1), tmp_path / "quick")
    await report(["toy"], replace(plan, quick=True, seeds=1), tmp_path)
    index = (tmp_path / "README.md").read_text()
    assert "| Table 0 | [A toy](toy.md) | the embedded model, 1 seed, quick | ✓ | 61.0 % |" in index
    assert "- [Strategies on a model](strategies.md)" in index
    assert "- [By hand, named like an experiment](far.md)" in index
    assert "- [quick](quick/README.md)" in index


async def test_the_index_keeps_the_lines_of_pages_of_other_plans(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page with its own sizes stays listed when another one is written; without its page a line goes."""
    two = {name: replace(TOY, name=name, title=f"The {name}") for name in ("first", "second")}
    monkeypatch.setattr(runner, "EXPERIMENTS", two)
    out = tmp_path / "pages"
    await report(["first"], replace(plan, share=0.2), out)
    await report(["second"], replace(plan, seeds=2, runs=tmp_path / "other"), out)
    index = (out / "README.md").read_text()
    assert "[The first](first.md) | the embedded model, 3 seeds, 20% of the prompts |" in index
    assert "[The second](second.md) | the embedded model, 2 seeds |" in index
    (out / "first.md").unlink()
    await report(["second"], replace(plan, seeds=2, runs=tmp_path / "other"), out)
    assert "first" not in (out / "README.md").read_text()


async def test_the_index_has_the_measurement_of_each_page(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A report of one experiment leaves the line of another, though a result of its own settings is stored for that one too."""
    two = {name: replace(TOY, name=name, title=f"The {name}") for name in ("first", "second")}
    monkeypatch.setattr(runner, "EXPERIMENTS", two)
    out = tmp_path / "pages"
    await report(["first"], replace(plan, quick=True, seeds=1), tmp_path / "elsewhere")
    await report(["first", "second"], plan, out)
    await report(["second"], replace(plan, quick=True, seeds=1), out)
    index = (out / "README.md").read_text()
    assert "[The first](first.md) | the embedded model, 3 seeds |" in index
    assert "[The second](second.md) | the embedded model, 1 seed, quick |" in index


async def test_what_is_measured_is_not_measured_again(plan: Plan, tmp_path: Path) -> None:
    """Unless something that decides the numbers has changed; the page is the same."""
    first = await report(["toy"], plan, tmp_path / "a")
    again = await report(["toy"], plan, tmp_path / "b")
    assert (CALLS, first) == ([3], again)
    assert (tmp_path / "a" / "toy.svg").read_bytes() == (tmp_path / "b" / "toy.svg").read_bytes()
    assert next(plan_lines(["toy"], plan)).startswith("toy: measured already")
    await report(["toy"], replace(plan, seeds=2), tmp_path / "c")
    assert CALLS == [3, 2]


async def test_a_result_of_other_data_is_refused(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything starts; data that are no longer here, and a result of a version without digests, are taken as they are."""
    digests = {"ifeval": "1a2b"}
    toy = replace(TOY, data=lambda plan: digests)
    monkeypatch.setattr(runner, "EXPERIMENTS", {"toy": toy})
    (first,) = await report(["toy"], plan, tmp_path)
    assert "data ifeval 1a2b" in (tmp_path / "toy.md").read_text()
    assert await report(["toy"], plan, tmp_path) == [first]
    digests["ifeval"] = "3c4d"
    for start in (lambda: list(plan_lines(["all"], plan)), lambda: select(["toy"], plan)):
        with pytest.raises(UsageError, match=r"other data \(ifeval, changed since\).* --runs"):
            start()
    earlier = {name: value for name, value in first.settings.items() if name != "data"}
    write_experiment(plan.folder("toy"), first.model_copy(update={"settings": earlier}))
    (again,) = await report(["toy"], plan, tmp_path)
    assert again.settings == earlier
    write_experiment(plan.folder("toy"), first)
    digests.clear()
    assert await report(["toy"], plan, tmp_path) == [first]
    assert len(CALLS) == 1


async def test_a_result_of_another_model_is_refused(plan: Plan, tmp_path: Path) -> None:
    """Where the folders of two models have one name; another path of the same model is not another one."""
    for name in ("one", "two"):
        (tmp_path / name / "model").mkdir(parents=True)
    one, two = (replace(plan, model=str(tmp_path / name / "model")) for name in ("one", "two"))
    await report(["toy"], one, tmp_path)
    with pytest.raises(UsageError, match=r"another model, .*one/model; give another --runs for"):
        await report(["toy"], two, tmp_path)
    await report(["toy"], replace(two, runs=tmp_path / "other"), tmp_path)
    again = replace(plan, model=str(tmp_path / "two" / ".." / "one" / "model"))
    assert select(["toy"], again) == [TOY]


async def test_runs_of_other_settings_are_refused_with_a_flag_that_the_report_has(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of a start that left no result yet; neither `--overwrite` nor `--out` would help."""

    async def resume(plan: Plan) -> Measured:
        one, two = (Manifest(spar_version="1", config={"model": name}) for name in ("a/m", "b/m"))
        refuse_changes(one, two, plan.folder("toy"))
        raise AssertionError

    monkeypatch.setattr(runner, "EXPERIMENTS", {"toy": replace(TOY, measure=resume)})
    with pytest.raises(
        ConfigChanged, match=r'model: "a/m" -> "b/m"\ngive another --runs$'
    ) as caught:
        await report(["toy"], plan, tmp_path)
    assert str(caught.value).startswith("toy: ") and "--overwrite" not in str(caught.value)


def test_data_of_benchmarks_decide_the_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that a model of one's own is measured on; the embedded one's are generated."""
    monkeypatch.setattr(evaluations, "present", all_present)
    plan = Plan(model="some/model")
    names = {name: [*one.data(plan)] for name, one in EXPERIMENTS.items() if one.data(plan)}
    searches = {name: ["ifeval"] for name in ("figure5", "strategies", "shapes", "sharing")}
    assert names == {"table9": ["llmbar"], **searches}
    assert not any(one.data(Plan()) for one in EXPERIMENTS.values())


async def test_the_time_of_a_start_that_stopped_counts(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page says that there were several."""

    async def stop(plan: Plan) -> Measured:
        await asyncio.sleep(0.05)
        raise RunStopped("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(runner, "EXPERIMENTS", {"toy": replace(TOY, measure=stop)})
        with pytest.raises(RunStopped):
            await report(["toy"], plan, tmp_path)
    (result,) = await report(["toy"], plan, tmp_path)
    assert result.seconds >= 0.05
    assert "in several starts" in (tmp_path / "toy.md").read_text()


@pytest.mark.parametrize(
    ("experiment", "models"),
    [
        ("table9", {"SPaR-7B-RFT-iter3", "GLM-4-9B-Chat", "Self-Rewarding", "SELF (Mistral-7B)"}),
        ("table2", {"SELF", "SELF (Mistral-7B)", "SPaR-7B-RFT-iter3", "SPaR-9B-RFT-iter3"}),
        ("table7", {"SPaR-7B-SFT", "SPaR-9B-DPO-iter3", "SPaR-70B-DPO-iter2"}),
        ("figure3", {"SPaR-9B-DPO-iter2", "SPaR-70B-DPO-iter1", "Humpback (Mistral-7B)"}),
    ],
)
def test_a_page_has_the_papers_rows_of_every_model(experiment: str, models: set[str]) -> None:
    """Of all sizes, and of the other methods."""
    rows = "\n".join(EXPERIMENTS[experiment].paper_numbers()).splitlines()
    assert models <= {row.split(" | ")[0].removeprefix("| ") for row in rows}


def test_iterations_are_marked_by_whole_numbers(tmp_path: Path) -> None:
    """There is no iteration 0.25."""
    line = Series(label="SPaR", x=(0, 1, 2), y=(62.0, 62.7, 69.3), error=(4.9, 4.7, 4.4))
    panel = Panel(x="iteration", series=(line,))
    draw(Plot(name="loops", title="Loops", y="pass, %", panels=(panel,)), tmp_path)
    ticks = re.findall(r"<!-- ([\d.]+) -->|>([\d.]+)</text>", (tmp_path / "loops.svg").read_text())
    found = {shown for pair in ticks for shown in pair}
    assert {"0", "1", "2"} <= found
    assert not found & {"0.5", "0.25", "0.00", "1.5"}


def test_things_without_an_order_are_named_and_not_joined(tmp_path: Path) -> None:
    """No number stands for a name, and no line leads from one thing to the next."""
    line = Series(label="actor", x=(0, 1), y=(1.0, 6.0), error=(0.4, 0.9))
    panel = Panel(x="a loop", series=(line,), names=("without tree search", "shuffled labels"))
    joined = panel.model_copy(update={"names": ()})
    for name, shown in {"named": panel, "joined": joined}.items():
        draw(Plot(name=name, title="Parts", y="points", panels=(shown,)), tmp_path)
    named, numbered = ((tmp_path / f"{name}.svg").read_text() for name in ("named", "joined"))
    assert "shuffled labels" in named and ">0.25<" not in named
    curve = re.compile(r"<path d=\"M [\d.]+ [\d.]+ \nL [\d.]+ [\d.]+ \n\" [^>]*stroke: #0072b2")
    assert len(curve.findall(numbered)) == len(curve.findall(named)) + 2  # and in the legend


def test_it_says_how_long_it_takes_before_it_starts(plan: Plan) -> None:
    """36,000 calls at 30 a second; what is left out, and why."""
    lines = list(plan_lines(["all"], plan))
    assert lines == [
        "toy: two prompts; about 36,000 calls, 20 min on two idle cores, with 3 seeds",
        "far: left out: it is far away",
    ]


@pytest.mark.parametrize(
    ("at_once", "shown"),
    [(1, "6 min on two idle cores"), (2, "4 min on two idle cores"), (8, "2 min on 8 idle cores")],
)
def test_loops_that_run_at_once_take_as_long_as_the_last_of_them(
    plan: Plan, monkeypatch: pytest.MonkeyPatch, at_once: int, shown: str
) -> None:
    """Three loops of two minutes; those that another experiment has counted are not counted again."""
    monkeypatch.setattr(runner, "calls_of_loops", lambda plan, arm: [3_600.0] * plan.seeds)

    def toy(name: str, *loops: str) -> Experiment:
        return replace(TOY, name=name, cost=lambda _: Cost(0, "loops", loops=loops))

    toys = {"two": toy("two", "a", "b"), "three": toy("three", "b", "a", "c")}
    monkeypatch.setattr(runner, "EXPERIMENTS", toys)
    one_seed = replace(plan, seeds=1, parallel_loops=at_once)
    lines = list(plan_lines(["three", "two"], one_seed))
    assert lines[0] == f"three: loops; about 10,800 calls, {shown}"
    assert lines[1] == "two: loops; nothing more to run"
    assert lines[2].endswith(f"about 10,800 calls, {shown}")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("toys", "unknown experiment 'toys'; did you mean 'toy'. .accepted: toy, far, all, list"),
        ("all toys", "unknown experiment 'toys'; did you mean 'toy'"),
        ("far", "far cannot be run with the embedded model: it is far away"),
    ],
)
def test_what_cannot_be_run_is_an_error(plan: Plan, name: str, message: str) -> None:
    """Before anything is measured."""
    with pytest.raises(UsageError, match=message):
        list(plan_lines(name.split(), plan))


def test_a_damaged_result_names_its_file(tmp_path: Path) -> None:
    """And says what to do."""
    (tmp_path / "result.json").write_text("{")
    with pytest.raises(UsageError, match=r"result.json is not a result .* delete it"):
        read_experiment(tmp_path)


def test_numbers_survive_the_file(tmp_path: Path) -> None:
    """A cell is what it was: an integer, a fraction, a text, nothing."""
    number = Number(value=0.5, stderr=None, low=None, high=None, n=1, by_seed=(0.5,))
    table = Table(name="t", title="", columns=("a",) * 5, rows=((1, 1.0, "1", None, number),))
    again = Table.model_validate_json(table.model_dump_json())
    assert [type(cell) for cell in again.rows[0]] == [int, float, str, type(None), Number]


@pytest.mark.parametrize("quick", [True, False])
def test_every_experiment_says_what_it_takes(tmp_path: Path, *, quick: bool) -> None:
    """All quick ones together stay below 20 minutes on two cores."""
    plan = Plan(quick=quick, seeds=1, runs=tmp_path)
    costs = [one.cost(plan) for one in EXPERIMENTS.values()]
    assert all(cost.why and (cost.calls or cost.loops) for cost in costs)
    arms = {arm for cost in costs for arm in cost.loops}
    calls = sum(cost.calls for cost in costs) + sum(sum(calls_of_loops(plan, arm)) for arm in arms)
    assert (calls < 20 * 60 * runner.CALLS_PER_SECOND) == quick


def test_a_share_of_the_prompts_is_another_report(tmp_path: Path) -> None:
    """Its runs have a folder of their own, its sizes are that part of the full report's, and the page says it."""
    full = Plan(runs=tmp_path)
    part = replace(full, share=0.2, iterations=6)
    for one in EXPERIMENTS.values():
        assert part.folder(one.name) != full.folder(one.name)
        sizes, whole = one.sizes(part), one.sizes(full)
        if "prompts" in whole:
            assert sizes["prompts"] == whole["prompts"] / 5
        if "iterations" in whole:
            assert (sizes["iterations"], whole["iterations"]) in {(6, 3), (6, 6)}
        assert one.cost(replace(part, iterations=None)).calls <= one.cost(full).calls
    assert calls_of_loops(part, "nano") < calls_of_loops(full, "nano")


async def test_a_page_says_that_its_prompts_are_a_part(plan: Plan, tmp_path: Path) -> None:
    """So does the index."""
    await report(["toy"], replace(plan, share=0.2), tmp_path)
    assert "20% of the full report's prompts" in (tmp_path / "toy.md").read_text()
    assert "20% of the prompts" in (tmp_path / "README.md").read_text()


async def test_iterations_concern_loops_alone(plan: Plan, tmp_path: Path) -> None:
    """An experiment without loops is not measured again for another number of iterations."""
    first = await report(["toy"], plan, tmp_path)
    again = await report(["toy"], replace(plan, iterations=6), tmp_path)
    assert again == first and [plan.seeds] == CALLS
