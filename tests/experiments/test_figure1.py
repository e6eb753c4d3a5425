"""Figure 1: the kinds of pairs, what is measured of a model, and the page that says what came of it."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from spar.embedded import CHECKPOINT
from spar.errors import UsageError
from spar.experiments.experiment import Plan
from spar.experiments.pairs import figure1
from spar.experiments.pairs.arms import (
    HALF,
    INDEPENDENT,
    REFINED,
    Arms,
    Measures,
    Sizes,
    Treatment,
    facts_of,
    sides,
)
from spar.experiments.pairs.subjects import (
    EMBEDDED,
    TEST_FILE,
    TRAIN_FILE,
    lacks_prompts,
    subject_of,
)
from spar.listener import Listener
from spar.nano.long_texts import Style, broken_once, long_tasks, write_long
from spar.record.experiments import Number
from spar.record.training_data import Pair
from spar.types import Prompt
from spar.verifiers import passes

PLAN = Plan(seeds=3, quick=True, listener=Listener())
NUM_PROMPTS = 40
TREATMENT = Treatment(REFINED, 1.0, 1)


def prompts_with_texts(number: int) -> list[tuple[Prompt, str, str]]:
    """Prompts, a text that passes and one that fails."""
    found, rng = [], random.Random(0)
    for name, task in long_tasks("train", 0):
        right = write_long(task.constraints, Style.draw(rng), rng)
        other = write_long(task.constraints, Style.draw(rng), rng)
        wrong = other and broken_once(other, task.constraints, rng)
        if right and wrong:
            found.append((task.prompt(name), right, wrong))
        if len(found) == number:
            return found
    raise AssertionError


def pairs_of(number: int) -> dict[str, tuple[Pair, ...]]:
    made: dict[str, list[Pair]] = {arm: [] for arm in (REFINED, HALF, INDEPENDENT)}
    for prompt, right, wrong in prompts_with_texts(number):
        for arm, (chosen, rejected) in sides(EMBEDDED, prompt, (right, wrong), 0).items():
            values = {"chosen_node": 0, "rejected_node": 0, "prompt": prompt.messages}
            made[arm].append(
                Pair(run="drafts", prompt_id=prompt.id, chosen=chosen, rejected=rejected, **values)
            )
    return {arm: tuple(pairs) for arm, pairs in made.items()}


def test_kinds_of_pairs_share_prompts_and_rejected_sides() -> None:
    """The chosen side passes by the truth; refined ones are the most alike, independent ones the least, in style too."""
    pairs = pairs_of(20)
    columns = list(zip(pairs[REFINED], pairs[HALF], pairs[INDEPENDENT], strict=True))
    texts = {prompt.id: prompt for prompt, _, _ in prompts_with_texts(20)}
    assert len(columns) == 20
    for column in columns:
        assert len({(pair.prompt_id, pair.rejected) for pair in column}) == 1
        prompt = texts[column[0].prompt_id]
        assert all(passes(pair.chosen, prompt) for pair in column)
        assert not passes(column[0].rejected, prompt)
    refined, half, independent = (facts_of(EMBEDDED, each) for each in pairs.values())
    assert refined.similarity > 0.9 > 0.8 > half.similarity > independent.similarity + 0.1
    for trait in ("adjectives, %", "openings, %"):
        assert refined.traits[trait] < 0.1 < independent.traits[trait]


def test_a_prompt_without_every_kind_of_pair_is_left_out() -> None:
    """No draft that passes, none that fails but a blank one, none at all."""
    ((prompt, right, wrong),) = prompts_with_texts(1)
    assert set(sides(EMBEDDED, prompt, (wrong, right), 0)) == {
        REFINED,
        HALF,
        INDEPENDENT,
    }
    for drafts in ((right, right), (wrong, wrong), (right, " "), ()):
        assert sides(EMBEDDED, prompt, drafts, 0) == {}
    stuck = replace(EMBEDDED, refine=lambda prompt, text, rng: None)
    assert sides(stuck, prompt, (wrong, right), 0) == {}


def test_what_a_model_has_learnt_is_the_change_of_likelihoods_since_the_start() -> None:
    """A text gains on its broken form; a style may gain or lose, and both count as moved."""
    before = {"a/right": -50.0, "a/wrong": -48.0, "a/plain": -40.0, "a/adorned": -60.0}
    after = {"a/right": -44.0, "a/wrong": -49.0, "a/plain": -40.0, "a/adorned": -63.0}
    start, model = (Measures({}, {}, logprobs) for logprobs in (before, after))
    assert model.margin_growth(start) == {"a": (7.0, 1.0)}
    assert model.likelier(start) == {"a": (6.0, 1.0)}
    assert model.style_moved(start) == {"a": (3.0, 1.0)}
    assert start.style_moved(start) == {"a": (0.0, 1.0)}


class FakeArms:
    """A seed whose refined pairs teach better and whose independent ones move the style."""

    def __init__(self, pairs: dict[str, tuple[Pair, ...]], *, scored: bool) -> None:
        self.pairs = pairs
        self.scored = scored

    async def measure(self, treatment: Treatment) -> Measures:
        passing = {"": 10, REFINED: 10 + treatment.steps, HALF: 10, INDEPENDENT: 10}[treatment.arm]
        gain, moved = {"": (0, 0), REFINED: (3, 1), HALF: (2, 1), INDEPENDENT: (1, 4)}[
            treatment.arm
        ]
        shares = {str(i): (float(i < passing), 1.0) for i in range(NUM_PROMPTS)}
        logprobs: dict[str, float] = {}
        for i in range(NUM_PROMPTS):
            noise = 0.01 * i * gain
            logprobs |= {f"{i}/right": gain + noise, f"{i}/wrong": 0.0}
            logprobs |= {f"{i}/adorned": moved + noise, f"{i}/plain": 0.0}
        traits = {name: {"0": (1.0, 2.0)} for name in EMBEDDED.traits}
        cut = dict.fromkeys(shares, (0.25, 1.0))
        return Measures(shares, traits, logprobs if self.scored else {}, 0.5, 0.1, cut)


@pytest.mark.parametrize(
    ("quick", "scored", "claims"), [(False, True, 8), (True, True, 3), (True, False, 1)]
)
async def test_the_page_says_what_holds(
    monkeypatch: pytest.MonkeyPatch, *, quick: bool, scored: bool, claims: int
) -> None:
    """A claim for every contrast and learning rate; those on likelihoods where texts were scored."""
    pairs = pairs_of(3)

    async def open_arms(plan: Plan, seed: int, **_: int) -> FakeArms:
        return FakeArms(pairs, scored=scored)

    monkeypatch.setattr(figure1, "open_arms", open_arms)
    plan = replace(PLAN, quick=quick)
    measured = await figure1.measure_figure1(plan)
    assert len(measured.claims) == claims
    verdicts = [claim.verdict for claim in measured.claims]
    assert verdicts[1:] == ["holds"] * (claims - 1) if quick else verdicts == ["holds"] * claims
    if scored:
        growth = next(c for c in measured.claims if "matters faster (" in c.paper)
        assert "nats" in growth.text and "points" not in growth.text
    trainings = measured.tables[1]
    cut = trainings.rows[-1][trainings.columns.index("cut, %")]
    assert isinstance(cut, Number) and cut.value == 0.25
    kinds = 2 if quick else 3
    assert len(measured.tables[0].rows) == kinds
    assert len(measured.tables[1].rows) == 1 + (2 if quick else 9)
    assert len(measured.plots) == (3 if scored else 1)
    assert all(len(row) == len(table.columns) for table in measured.tables for row in table.rows)


async def test_no_pairs_is_an_error_that_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that passes no prompt, or all of them, has none."""

    async def open_arms(plan: Plan, seed: int, **_: int) -> FakeArms:
        return FakeArms({}, scored=True)

    monkeypatch.setattr(figure1, "open_arms", open_arms)
    with pytest.raises(UsageError, match="give more prompts"):
        await figure1.measure_figure1(PLAN)


def test_a_model_of_ones_own_needs_checkable_prompts(tmp_path: Path) -> None:
    """The reason names the command that makes them; with them it is measured, without texts of a program."""
    plan = replace(PLAN, model="some/model", data=str(tmp_path))
    folder = tmp_path / "figure1"
    assert f"--holdout 200 --out {folder}" in lacks_prompts(plan)
    folder.mkdir()
    row = {"prompt": "Say it.", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}
    for name in (TRAIN_FILE, TEST_FILE):
        (folder / name).write_text(
            "".join(json.dumps({**row, "id": str(i)}) + "\n" for i in range(5))
        )
    assert lacks_prompts(plan) == lacks_prompts(PLAN) == ""
    digests = figure1.FIGURE1.data(plan)
    assert sorted(digests) == ["figure1/holdout.jsonl", "figure1/prompts.jsonl"]
    with (folder / TEST_FILE).open("a") as handle:
        handle.write(json.dumps({**row, "id": "5"}) + "\n")
    changed = figure1.FIGURE1.data(plan)
    assert [name for name in digests if digests[name] != changed[name]] == ["figure1/holdout.jsonl"]
    assert figure1.FIGURE1.data(PLAN) == {}
    subject = subject_of(plan)
    drawn = [subject.training_prompts(plan, seed, 3) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2] and len(drawn[0]) == 3
    assert list(subject.texts(subject.test_prompts(plan, 2))) == []
    prompt = drawn[0][0]
    made = sides(subject, prompt, ("Yes, it is.", "It is so."), 0)
    assert made[INDEPENDENT] == ("It is so.", "Yes, it is.") and set(made) == {REFINED, INDEPENDENT}
    assert "," not in made[REFINED][0] and made[REFINED][1] == "Yes, it is."


@pytest.mark.slow
@pytest.mark.model
async def test_one_training_and_what_is_measured_of_it(tmp_path: Path) -> None:
    """The model answers and reads every text; a second call trains and generates nothing."""
    plan = replace(PLAN, seeds=1, runs=tmp_path)
    tests = tuple(task.prompt(name) for name, task in islice(long_tasks("test", 0), 2))
    arms = Arms(plan, 0, EMBEDDED, tmp_path / "arms", str(CHECKPOINT), tests, pairs_of(16))
    model = await arms.measure(TREATMENT)
    assert len(model.passed) == 2 and model.accuracy is not None
    assert len(model.logprobs) == 8
    assert set(model.margin_growth(model)) == {each.id for each in tests}
    report = tmp_path / "arms" / "refined-1-1" / "dpo" / "report.json"
    changed = report.stat().st_mtime_ns
    assert await arms.measure(TREATMENT) == model
    assert report.stat().st_mtime_ns == changed


def test_the_rates_steps_and_kinds_that_are_trained() -> None:
    """Every rate and number of steps of refined and independent pairs, one training of half rewritten ones."""
    treatments = Sizes.of(replace(PLAN, quick=False)).treatments((REFINED, INDEPENDENT, HALF))
    assert len(treatments) == 9 and [c for c in treatments if c.arm == HALF] == [
        Treatment(HALF, 1.0, 12)
    ]
