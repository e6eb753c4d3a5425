"""The experiments that train, on loops whose scores are written by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from spar.eval.nano_if import F1, MAJORITY, VOTE
from spar.eval.statistics import over_seeds
from spar.experiments import runner
from spar.experiments.experiment import Cost, Experiment, Plan
from spar.experiments.loops import (
    agreement,
    equal_tokens,
    figure3,
    iterations,
    refiners,
    table2_tables45,
    table3,
    table7,
    tested,
)
from spar.experiments.loops import loops as measuring
from spar.experiments.loops import pool as running
from spar.experiments.loops.health_tables import HEALTH_IN_WORDS, health_table
from spar.experiments.loops.loops import Loops, first_drafts
from spar.experiments.loops.pool import WHOLE, Arm
from spar.experiments.loops.refiners import Judgings
from spar.experiments.page import text
from spar.experiments.searches.table9 import ADVERSARIAL, NATURAL, Judged, break_once
from spar.listener import Activity, Listener
from spar.record.evaluation import Example, Share
from spar.record.experiments import ExperimentResult, Measured, Number, Table
from spar.record.training import METRICS, SCORES_FILE, MetricsRow, iteration_folder
from spar.store import MANIFEST
from spar.train.loop_stages import Models, Origin
from spar.train.recipe import TrainConfig
from tests.experiments.test_measuring import passing, write_drafts

PLAN = Plan(seeds=3, quick=True, listener=Listener())
NUM_PROMPTS = 40


@dataclass(frozen=True, kw_only=True)
class WrittenLoops(Loops):
    """Loops in which a prompt passes once the actor's level reaches its number."""

    level: int
    """Prompts of 40 that pass more after each iteration."""
    times: tuple[int, ...] = (0, 1, 2)
    folders: tuple[Path, ...] = (Path("0"), Path("1"), Path("2"))
    price: float = 1_000.0
    """Tokens of an iteration."""
    worse: str = ""
    """An evaluation in which as many pass less after each iteration."""

    def shares(self, title: str, metric: str, time: int) -> list[dict[str, Share]]:
        """A few more pass in later seeds."""
        first, level = (28, -self.level) if title == self.worse else (10, self.level)
        return [
            {str(i): (float(i < first + level * time + seed), 1.0) for i in range(NUM_PROMPTS)}
            for seed in range(3)
        ]

    def seconds(self) -> float:
        """Half an hour for three seeds."""
        return 1_800.0

    def models(self, time: int) -> list[Models]:
        """A pair a seed, named after the iteration."""
        return [Models(f"actor-{time}", f"refiner-{time}")] * len(self.folders)

    def tokens(self, time: int) -> float:
        """As many each iteration."""
        return self.price * time


@pytest.fixture
def loops(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Sequence[str]]]:
    """The loops that were asked for; those without a part gain less, or nothing."""
    asked: list[tuple[str, Sequence[str]]] = []

    async def run_loops(plan: Plan, *arms: Arm) -> list[WrittenLoops]:
        asked.extend((arm.name, arm.changes) for arm in arms)
        levels = {"nano": 8, "no-search": 3, "no-refinement": 8}
        return [WrittenLoops(level=levels.get(arm.name, 1)) for arm in arms]

    async def with_search(plan: Plan, loops: WrittenLoops) -> list[dict[str, Share]]:
        return [{str(i): (1.0, 1.0) for i in range(NUM_PROMPTS)} for _ in range(3)]

    async def with_drafts(plan: Plan, arm: str, loops: WrittenLoops) -> WrittenLoops:
        return loops

    for module in (table2_tables45, table3, table7, figure3, iterations, equal_tokens):
        monkeypatch.setattr(module, "run_loops", run_loops)
    for module in (figure3, iterations, equal_tokens, table2_tables45):
        monkeypatch.setattr(module, "with_drafts", with_drafts)
    monkeypatch.setattr(figure3, "_with_search", with_search)

    async def judge_tests(plan: Plan, arm: str, loops: WrittenLoops, time: int) -> Judgings:
        natural, adversarial = (loops.shares("judge", "", each) for each in (time, 0))
        columns = dict.fromkeys((*refiners.JUDGING, refiners.REFINED), natural)
        return {**columns, refiners.BROKEN_RIGHT: adversarial}

    monkeypatch.setattr(table2_tables45, "judge_tests", judge_tests)
    no_examples = Table(name="none", title="None.", columns=(), rows=())
    monkeypatch.setattr(table2_tables45, "examples_table", lambda name, loops: no_examples)

    async def with_adversarial(plan: Plan, loops: WrittenLoops) -> WrittenLoops:
        return replace(loops, worse=ADVERSARIAL)

    def no_judgements(*place: object) -> list[Judged]:
        return []

    monkeypatch.setattr(table2_tables45, "_with_adversarial", with_adversarial)
    monkeypatch.setattr(agreement, "judged", no_judgements)
    return asked


def as_page(experiment: Experiment, measured: Measured) -> str:
    """The page of what was measured."""
    settings = {"seeds": 3, "quick": True, **experiment.sizes(PLAN)}
    facts = {"model": "m", "commit": "c", "versions": "v", "hardware": "h"}
    return text(
        experiment,
        ExperimentResult(
            experiment=experiment.name,
            settings=settings,
            command="spar report",
            facts=facts,
            seconds=1,
            measured=measured,
        ),
    )


async def test_scores_over_iterations_stand_beside_the_rivals(loops: list[Any]) -> None:
    """A row an iteration and method, the search on top, and a claim against each rival."""
    measured = await figure3.measure_figure3(PLAN)
    page = as_page(figure3.FIGURE3, measured)
    assert "| SPaR | 2 | 67.5 ± " in page
    assert "| Self-Rewarding | 0 | 27.5 ± " in page
    assert "| SPaR with tree search | 2 | 100.0 ± 0.0 | - | 2,000 |" in page
    assert [claim.verdict for claim in measured.claims] == ["holds"] * 4
    assert "tokens generated for training: 2,000 and 2,000" in measured.claims[-1].text
    assert "| SPaR-8B-DPO-iter3 | 79.9 | 85.4 |" in page
    assert "The stages of all loops took 1.0 hours, added up" in page


async def test_a_rival_of_our_own_choice_is_not_the_papers(loops: list[Any]) -> None:
    """The paper has no row of SPIN; the page says what programs stand in for, of the methods that it has."""
    measured = await figure3.measure_figure3(replace(PLAN, quick=False))
    assert [claim.paper for claim in measured.claims[3:]] == [
        *(f"SPaR ends above {name}." for name in measuring.RIVALS.values() if name != "SPIN"),
        "(Not in the paper.) SPaR ends above SPIN.",
    ]
    page = as_page(figure3.FIGURE3, measured)
    assert "programs stand in for Meta-Rewarding's meta-judge, Humpback's texts" in page
    quick = as_page(figure3.FIGURE3, await figure3.measure_figure3(PLAN))
    assert "the scores of Self-Rewarding are shares of yes" in quick
    assert "programs stand in" not in quick


@pytest.mark.parametrize(
    ("price", "row"),
    [(500.0, "| 2 | 1,000 | 1 | 1,000 | +15.0"), (0.0, "| 2 | 0 | 1 | 1,000 |")],
)
async def test_methods_are_compared_where_they_cost_about_as_much(
    loops: list[Any], monkeypatch: pytest.MonkeyPatch, price: float, row: str
) -> None:
    """Beside a rival that takes half of the tokens stands the iteration before; a rival without any counts as one token."""

    async def run_loops(plan: Plan, *arms: Arm) -> list[WrittenLoops]:
        return [
            WrittenLoops(level=8) if arm == WHOLE else WrittenLoops(level=1, price=price)
            for arm in arms
        ]

    monkeypatch.setattr(figure3, "run_loops", run_loops)
    page = as_page(figure3.FIGURE3, await figure3.measure_figure3(PLAN))
    assert f"| Self-Rewarding {row}" in page


async def test_a_method_gets_as_many_prompts_as_the_same_tokens_allow(
    loops: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A method with a quarter of SPaR's tokens a prompt is trained again, on four times as many prompts; nothing else changes."""
    asked: list[Arm] = []

    async def run_loops(plan: Plan, *arms: Arm) -> list[WrittenLoops]:
        asked.extend(arms)
        cheap = WrittenLoops(level=1, price=250.0)
        return [cheap if arm.name == "self-rewarding" else WrittenLoops(level=4) for arm in arms]

    monkeypatch.setattr(equal_tokens, "run_loops", run_loops)
    measured = await equal_tokens.measure_equal_tokens(PLAN)
    first, again = (arm for arm in asked if arm.recipe == "self-rewarding")
    assert (first.changes, again.changes[0]) == ((), "prompts_per_iteration=96")
    assert again.name == "self-rewarding-equal-tokens-2"
    page = as_page(equal_tokens.EQUAL_TOKENS, measured)
    assert "| SPaR | 24 | 2,000 |" in page and "| Self-Rewarding | 96 | 2,000 |" in page
    (claim,) = measured.claims
    assert (claim.verdict, claim.difference and claim.difference.value) == ("inconclusive", 0)
    assert "tokens: 2,000 and 2,000" in claim.text


async def test_a_full_comparison_has_spar_with_as_many_steps(loops: list[Any]) -> None:
    """Its recipe takes fewer optimizer steps, so that may be why it is behind; rivals are compared with both."""
    measured = await equal_tokens.measure_equal_tokens(replace(PLAN, quick=False))
    arm = next(Arm(name, changes) for name, changes in loops if name == "nano-batches-of-16")
    config = running._config(PLAN, arm, 0)
    assert (config.dpo["batch"], config.dpo["batch"] % config.dpo["micro_batch"]) == (16, 0)
    steps, *others = measured.claims
    assert "batches of 16" in steps.paper and steps.verdict == "holds"
    assert [claim.paper for claim in others] == [
        f"(Not in the paper.) SPaR ends above {method} for about as many generated tokens."
        for method in measuring.RIVALS.values()
    ]
    ends, ahead = measured.tables[:2]
    assert [row[0] for row in ends.rows][:3] == ["SPaR", equal_tokens.SAME_STEPS, "Self-Rewarding"]
    assert len(ahead.columns) == 5 and [row[0] for row in ahead.rows] == [
        *measuring.RIVALS.values()
    ]
    assert measured.headline.startswith("+") and "batches" not in measured.headline


def test_the_prompts_of_a_method_that_generates_next_to_nothing_are_bounded() -> None:
    """It is as many times as many prompts as the tokens allow, thirty times at most; one that generates more gets fewer."""
    assert equal_tokens.num_prompts(60, 418_416, 286_343) == 41
    assert equal_tokens.num_prompts(60, 13_720, 286_343) == 1_252
    assert equal_tokens.num_prompts(60, 1_708, 286_343) == 1_800
    assert equal_tokens.num_prompts(60, 0, 286_343) == 1_800


def test_a_writer_gets_instructions_for_its_prompts(tmp_path: Path) -> None:
    """AutoIF's prompts are made of instructions: three of each at least are left, whatever the number."""
    changes = equal_tokens._changes("autoif", 1_000)
    assert "functions.num_instructions=334" in changes
    config = running._config(Plan(quick=True), Arm("autoif", changes, recipe="autoif"), 0)
    assert config.prompts_per_iteration == 1_000
    assert [item.title for item in config.benchmarks] == ["greedy"]


def test_the_health_of_loops_is_a_mean_over_seeds(tmp_path: Path) -> None:
    """What a seed has not is left out of its mean, and what no seed has is empty."""
    for seed, rises in enumerate(((-1.0, -4.0), (-2.0, -8.0))):
        folder = iteration_folder(tmp_path / str(seed), 1) / "dpo"
        folder.mkdir(parents=True)
        rows = (
            {"logps/chosen": -20.0, "logps/rejected": -20.0},
            {"logps/chosen": -20.0 + rises[0], "logps/rejected": -20.0 + rises[1]},
        )
        lines = (
            MetricsRow(step=step + 1, epoch=1.0, values=values).model_dump_json()
            for step, values in enumerate(rows)
        )
        (folder / METRICS).write_text("\n".join(lines) + "\n")
    folders = tuple(tmp_path / name for name in ("0", "1", "2"))
    table = health_table("health", {"SPaR": Loops(folders, (0, 1))})
    (row,) = table.rows
    found = dict(zip(table.columns, row, strict=True))
    sides = [found.pop("chosen, nats"), found.pop("rejected, nats")]
    assert [side.value for side in sides if isinstance(side, Number)] == [-1.5, -6.0]
    assert found == {**dict.fromkeys(found), "iteration": 1, "steps": 2}
    for column in table.columns[1:]:
        assert f"{column.split(',')[0]}, " in HEALTH_IN_WORDS
    two = health_table("health", dict.fromkeys(("SPaR", "SPIN"), Loops(folders, (0, 1))))
    assert [(row[0], row[1]) for row in two.rows] == [("SPaR", 1), ("SPIN", 1)]


async def test_an_ablation_is_the_whole_loop_less_a_part(loops: list[Any]) -> None:
    """The part that does nothing is inconclusive; each arm has its own setting, and its refiners judge as well as its actors answer."""
    measured = await table2_tables45.measure_tables45(PLAN)
    verdicts = {claim.paper: claim.verdict for claim in measured.claims}
    assert verdicts["Without tree search, the actor is worse."] == "holds"
    assert verdicts["Without refinement, the actor is worse."] == "inconclusive"
    judging = [claim for claim in verdicts if "judging" in claim]
    assert judging == [  # the paper has no row without refinement
        f"Without tree search, the refiner's judging of {outputs} outputs is worse."
        for outputs in ("natural", "adversarial")
    ]
    assert [verdicts[claim] for claim in judging] == ["holds", "inconclusive"]
    last = measured.tables[0].rows[-2]
    assert last[0] == "the whole loop - without tree search"
    assert isinstance(last[1], Number) and last[1].value == pytest.approx(0.25)
    assert ("no-search", ("search.strategy=iterative",)) in loops
    between = measured.tables[1].rows[-2]
    assert between[:2] == ("the whole loop - without tree search", 2)
    assert [row[:2] for row in measured.tables[1].rows[:3]] == [
        *(("the start", 0), ("the whole loop", 1), ("the whole loop", 2))
    ]
    assert "without iterative training | 77.1 | 83.5 | 66.8 |" in as_page(
        table2_tables45.TABLES45, measured
    )
    full = await table2_tables45.measure_tables45(replace(PLAN, quick=False))
    ours = [claim.paper for claim in full.claims if claim.paper.startswith("(Not in the paper.)")]
    assert ours == ["(Not in the paper.) With shuffled labels, the actor is worse."]


async def test_the_judge_is_read_from_the_same_loops(loops: list[Any]) -> None:
    """One row an iteration, and claims on each set of outputs: here it judges natural ones better and adversarial ones worse."""
    measured = await table2_tables45.measure_table2(PLAN)
    assert [row[0] for row in measured.tables[0].rows] == [0, 1, 2]
    assert loops == [("nano", ())]
    assert [claim.verdict for claim in measured.claims] == ["holds"] * 2 + ["does not hold"] * 2
    assert "+40.0 points, natural; -40.0 points, adversarial" in measured.headline
    page = as_page(table2_tables45.TABLE2, measured)
    assert "| adversarial: one vote right, % | adversarial: majority of five right, % |" in page
    assert "*The paper: The refiner judges adversarial outputs better after training (a si" in page
    assert [len(panel.series) for panel in measured.plots[0].panels] == [3, 3]
    (*_, last) = measured.tables[1].rows
    assert [last[0], *(cell.value for cell in last if isinstance(cell, Number))] == pytest.approx(
        [2, *[0.4] * 3, *[-0.4] * 3]
    )


def test_votes_that_are_wrong_together_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Split votes, right ones and those that cannot be read are not; with the change since the start."""
    right, wrong, split = (True,) * 5, (False,) * 5, (True, False, True, True, True)
    votes = {0: (right, split, (None,) * 5, ()), 1: (right, wrong, wrong, split)}

    def judged(plan: Plan, folder: Path, kind: str, time: int, seed: int) -> list[Judged]:
        return [Judged(str(i), str(i), (kind,), True, one) for i, one in enumerate(votes[time])]

    monkeypatch.setattr(agreement, "judged", judged)
    table = agreement.agreement_table("t", replace(PLAN, seeds=1), Loops((tmp_path,), (0, 1)))
    rows = [[c.value if isinstance(c, Number) else c for c in row] for row in table.rows]
    assert rows == [[0, *[0.25, 0, None] * 2], [1, *[0.75, 0.5, 0.5] * 2]]


def test_natural_judgements_are_read_from_the_loops_evaluation(tmp_path: Path) -> None:
    """With the programs' verdict on each draft as the label."""
    prompt, response = passing()
    failing = prompt.model_copy(update={"id": "failing"})
    run = tmp_path / "iteration-1" / "eval" / "refiner" / "nano-if" / "judge"
    write_drafts(run, [(prompt, response), (failing, break_once(prompt, response) or "")])
    found = [*agreement.judged(PLAN, tmp_path, NATURAL, 1, 0)]
    assert [(one.pair, one.label, one.verdicts) for one in found] == [
        (prompt.id, True, ()),
        ("failing", False, ()),
    ]


@pytest.mark.slow
@pytest.mark.model
async def test_a_refiner_judges_the_first_drafts_and_their_broken_forms(tmp_path: Path) -> None:
    """A passing draft and its broken form are one draw with five votes on each; a failing draft is not judged."""
    prompt, response = passing()
    failing = prompt.model_copy(update={"id": "failing"})
    broken = break_once(prompt, response)
    write_drafts(first_drafts(tmp_path), [(prompt, response), (failing, broken or "")])

    class Start(Loops):
        def models(self, time: int) -> list[Models]:
            return [Models("", "")]

    plan = replace(PLAN, seeds=1, runs=tmp_path / "runs")
    found = await table2_tables45._with_adversarial(plan, Start((tmp_path,), (0,)))
    votes, majority, f1 = (found.tested[ADVERSARIAL, metric, 0] for metric in (VOTE, MAJORITY, F1))
    assert [len(shares) for shares in (votes, majority, f1)] == [1, 1, 1]
    assert (list(votes[0]), votes[0][prompt.id][1]) == ([prompt.id], 10.0)
    assert majority[0][prompt.id][1] == 2.0 and f1[0][prompt.id][1] > 0


async def test_a_refiner_that_flatters_itself_shows(
    loops: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own judgement beside the truth, and the last refiner's."""

    asked = []

    async def shares_on_tests(
        plan: Plan, out: Path, seed: int, **settings: Any
    ) -> dict[str, Share]:
        return {}

    async def refine(plan: Plan, seed: int, time: int, settings: dict[str, str]) -> list[Example]:
        asked.append(settings)
        fixed = 10 + 5 * time
        views = {"acc_verifier": fixed, "acc_self": fixed + 8, "acc_grader": fixed + 4}
        return [
            Example(
                id=str(i),
                response="",
                passed=None,
                scores={view: (float(i < most), 1.0) for view, most in views.items()},
            )
            for i in range(NUM_PROMPTS)
        ]

    monkeypatch.setattr(tested, "shares_on_tests", shares_on_tests)
    monkeypatch.setattr(table3, "_refine", refine)
    measured = await table3.measure_table3(PLAN)
    assert {each["grader_model"] for each in asked} == {"refiner-2"}
    assert [each["refiner_model"] for each in asked[::3]] == ["refiner-0", "refiner-1", "refiner-2"]
    assert len({each["responses"] for each in asked}) == 3
    assert [claim.verdict for claim in measured.claims] == ["holds", "holds"]
    assert "higher by +20.0 points" in measured.claims[1].text
    last = [cell.value for cell in measured.tables[0].rows[-1] if isinstance(cell, Number)]
    assert last == pytest.approx([0.5, 0.7, 0.6])


async def test_what_training_keeps_is_told_from_what_it_costs(
    loops: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The actor loses its judging and the refiner keeps its answers; likelihoods are shown in nats."""

    async def measure(plan: Plan, loops: WrittenLoops, time: int) -> dict[str, Any]:
        levels = {table7.JUDGES: 30 - 5 * time, table7.ANSWERS: 20, table7.REPLIES: 0}
        shares = {
            name: [{str(i): (float(i < level), 1.0) for i in range(NUM_PROMPTS)} for _ in range(3)]
            for name, level in levels.items()
        }
        nats = {str(i): (15.0 + time, 10.0) for i in range(NUM_PROMPTS)}
        return {**shares, table7.TEXTS: [nats] * 3}

    monkeypatch.setattr(table7, "_measure", measure)
    measured = await table7.measure_table7(PLAN)
    assert [claim.verdict for claim in measured.claims] == [
        *("does not hold", "inconclusive", "inconclusive", "does not hold")
    ]
    page = as_page(table7.TABLE7, measured)
    assert "| 2 | 50.0 ± " in page and "| 1.700 ± 0.000 |" in page
    assert "it loses, -25.0 points" in measured.claims[0].text
    assert "a token is less likely, -0.20 nats" in measured.claims[-1].text
    assert "| 2 | -25.0 (" in page and "| 0.00 ± 0.00 | -0.20 ± 0.00 |" in page


@pytest.mark.slow
@pytest.mark.model
async def test_the_embedded_model_at_its_other_tasks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every measure has a number for every prompt, and a second call finds all of it done."""
    monkeypatch.setattr(table7, "_limit", lambda plan: 3)
    plan = replace(PLAN, seeds=1, runs=tmp_path)
    loops: Any = SimpleNamespace(models=lambda time: [Models("", "")])
    found = await table7._measure(plan, loops, 0)
    assert {name: len(shares[0]) for name, shares in found.items()} == dict.fromkeys(found, 3)
    assert 0.5 < over_seeds(found[table7.REPLIES]).value < over_seeds(found[table7.TEXTS]).value
    assert await table7._measure(plan, loops, 0) == found


def test_loops_that_experiments_share_are_counted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And those that have ended not at all."""
    one = replace(table2_tables45.TABLE2, cost=lambda plan: Cost(0, "x", loops=("nano",)))
    monkeypatch.setattr(runner, "EXPERIMENTS", {"one": one, "two": replace(one, name="two")})
    lines = list(runner.plan_lines(["all"], replace(PLAN, runs=tmp_path)))
    assert "about" in lines[0] and lines[1] == "two: x; nothing more to run"


def test_an_experiment_counts_the_iterations_that_no_other_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loops of six iterations take as long as those of three that another experiment has counted, and three more."""
    three = replace(table2_tables45.TABLE2, cost=lambda plan: Cost(0, "x", loops=("nano",)))
    six = replace(three, cost=lambda plan: Cost(0, "y", loops=("nano",), iterations=6))
    plan = replace(PLAN, quick=False, runs=tmp_path)
    monkeypatch.setattr(runner, "EXPERIMENTS", {"three": three, "six": replace(six, name="six")})
    (whole,) = runner.plan_lines(["six"], plan)
    first, second, both = runner.plan_lines(["three", "six"], plan)
    assert "about" in first and "about" in second
    assert both.removeprefix("in all, with 3 seeds: ") == (
        whole.removeprefix("six: y; ").removesuffix(", with 3 seeds")
    )


async def test_a_loop_is_run_with_a_line_for_each_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loop a seed, with the sizes of the report, and the arm's own setting."""
    configs: list[TrainConfig] = []
    lines: list[str] = []

    class Lines(Listener):
        def note(self, line: str) -> None:
            lines.append(line)

    def train(config: TrainConfig, *, out: Path, listener: Listener, **_: Any) -> None:
        configs.append(config)
        listener.note("15 stages to run")
        listener.started(Activity("1/draft"))

    monkeypatch.setattr(running, "train", train)
    monkeypatch.setattr(running, "read_loop", lambda _: SimpleNamespace(scores={1: {}, 0: {}}))
    plan = replace(PLAN, seeds=2, runs=tmp_path, parallel_loops=1, listener=Lines())
    (found,) = await running.run_loops(plan, running.Arm("shuffled", ("shuffle_labels=true",)))
    assert found.times == (0, 1)
    assert [config.seed for config in configs] == [0, 1]
    assert {config.eval.limit for config in configs} == {measuring.Sizes.of(plan).limit}
    assert all(config.shuffle_labels for config in configs)
    assert lines == [
        f"shuffled-seed-{seed}: {line}"
        for seed in (0, 1)
        for line in ("15 stages to run", "1/draft")
    ]


@pytest.mark.parametrize("recipe", [measuring.OWN, *measuring.rivals(replace(PLAN, quick=False))])
async def test_every_method_is_measured_alike(
    recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rival that samples colder drafts for its training is not measured on colder ones; it has both evaluations."""
    configs: list[TrainConfig] = []
    monkeypatch.setattr(running, "train", lambda config, **_: configs.append(config))
    monkeypatch.setattr(running, "read_loop", lambda _: SimpleNamespace(scores={0: {}}))
    await running.run_loops(
        replace(PLAN, seeds=1, runs=tmp_path), running.Arm(recipe, recipe=recipe)
    )
    assert (configs[0].eval.draft.temperature, configs[0].eval.draft.top_p) == (0.9, 0.9)
    assert {"greedy", "sampled"} <= {item.title for item in configs[0].benchmarks}


def test_a_loop_of_another_model_is_not_trained() -> None:
    """The list says why."""
    assert "spar train" in figure3.FIGURE3.lacks(replace(PLAN, model="some/model"))


@dataclass(frozen=True, kw_only=True)
class Collapsing(WrittenLoops):
    """Loops that gain up to their third iteration, and lose more than that afterwards."""

    times: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 6)

    def shares(self, title: str, metric: str, time: int) -> list[dict[str, Share]]:
        """As after three iterations at most, less what was lost since."""
        return super().shares(title, metric, time if time <= 3 else 5 - time)


async def test_a_collapse_after_the_third_iteration_is_told(
    monkeypatch: pytest.MonkeyPatch, loops: list[Any]
) -> None:
    """Six iterations unless others are asked for; the claim is about what follows the paper's three."""
    asked: list[int | None] = []

    async def run_loops(plan: Plan, arm: Arm) -> list[Collapsing]:
        asked.append(plan.iterations)
        return [Collapsing(level=8)]

    monkeypatch.setattr(iterations, "run_loops", run_loops)
    measured = await iterations.measure_iterations(replace(PLAN, quick=False))
    assert asked == [6]
    assert [claim.verdict for claim in measured.claims] == ["does not hold"] * 3
    assert "from there to iteration 6" in measured.claims[0].text
    assert "after iteration 3" in measured.claims[0].paper
    page = as_page(iterations.ITERATIONS, measured)
    assert "| 3 | 87.5 ± " in page
    assert "| 6 | 7.5 ± " in page
    assert "| 3 | +60.0 (+" in page and "| 6 | -20.0 (-" in page


def test_more_iterations_continue_a_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loops have one folder whatever their iterations, and a plan says what is left of them, also after a start with fewer."""
    plan = replace(PLAN, quick=False, seeds=1, runs=tmp_path)
    started = running._config(replace(plan, iterations=1), WHOLE, 0)
    monkeypatch.setattr(running, "read_config", lambda _: (started, Origin("", "")))
    whole = sum(running.calls_of_loops(replace(plan, iterations=6), "nano"))
    folder = running.loop_folder(replace(plan, iterations=2), "nano", 0)
    assert folder == running.loop_folder(replace(plan, iterations=6), "nano", 0)
    folder.mkdir(parents=True)
    (folder / MANIFEST).touch()
    for iteration in range(3):
        evaluation = iteration_folder(folder, iteration) / "eval"
        evaluation.mkdir(parents=True)
        (evaluation / SCORES_FILE).write_text("{}")
    assert running.calls_of_loops(replace(plan, iterations=2), "nano") == [0]
    assert running.calls_of_loops(replace(plan, iterations=6), "nano") == [
        pytest.approx(whole * 4 / 6)
    ]


async def test_earlier_iterations_of_a_longer_loop_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A report of two iterations leaves the third one out."""
    monkeypatch.setattr(running, "train", lambda *_, **__: None)
    scores: dict[int, dict[str, float]] = {time: {} for time in range(4)}
    monkeypatch.setattr(running, "read_loop", lambda _: SimpleNamespace(scores=scores))
    plan = replace(PLAN, seeds=1, runs=tmp_path, iterations=2)
    (loops,) = await running.run_loops(plan, running.WHOLE)
    assert loops.times == (0, 1, 2)


async def test_drafts_are_tested_on_all_prompts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Greedy and sampled ones of each actor; the first actor is that of all methods, and is tested once."""
    plan = replace(PLAN, quick=False, share=0.2, seeds=2, runs=tmp_path)
    assert measuring.Sizes.of(plan).limit == 100
    asked: list[tuple[str, int, bool, str]] = []

    async def run_evaluation(plan: Plan, benchmark: str, config: Any, out: Path) -> list[Path]:
        if not (out / benchmark).is_dir():
            (out / benchmark).mkdir(parents=True)
            asked.append((config.actor_model, config.limit, config.greedy_first, out.parent.name))
        return [out / benchmark]

    def models(self: measuring.Loops, time: int) -> list[Models]:
        return [Models(f"{folder}-{time}" if time else "start", "") for folder in self.folders]

    monkeypatch.setattr(tested, "run_evaluation", run_evaluation)
    monkeypatch.setattr(measuring.Loops, "models", models)
    monkeypatch.setattr(tested, "shares_of", lambda runs, metric: {str(runs[0]): (1.0, 1.0)})
    for arm in ("nano", "spin"):
        loops = measuring.Loops((Path("a"), Path("b")), (0, 1))
        found = await tested.with_drafts(plan, arm, loops)
    assert {limit for _, limit, _, _ in asked} == {500}
    assert sorted(name for *_, greedy, name in asked if greedy) == [
        *("nano-1-seed-0", "nano-1-seed-1", "spin-1-seed-0", "spin-1-seed-1"),
        *("start-seed-0", "start-seed-1"),
    ]
    (of_second,) = found.shares("sampled", "pass", 1)[1]
    assert of_second.endswith("tests/spin-1-seed-1/sampled/nano-if-answers")
