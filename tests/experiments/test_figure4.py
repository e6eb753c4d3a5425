"""Figure 4: the pairs of both kinds, what interferes, and the page of what was measured."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from spar.experiments.experiment import Plan
from spar.experiments.pairs import figure4
from spar.experiments.pairs.figure4 import (
    INTERFERING,
    REFINED,
    SEQUENCE,
    STORY,
    TASKS,
    pairs,
    trait,
)
from spar.listener import Listener
from spar.own_verifiers import verify
from spar.record.evaluation import Share
from spar.record.experiments import Number
from spar.train.rows import read_pairs

PLAN = Plan(seeds=3, quick=True, listener=Listener())
NUM_PROMPTS = 40


@pytest.mark.parametrize("task", TASKS)
def test_both_kinds_differ_in_the_chosen_side_alone(task: str) -> None:
    """Prompts and rejected sides are the same; chosen sides meet the task, rejected ones do not."""
    refined, other = (list(pairs(task, arm, 20, 1)) for arm in (REFINED, INTERFERING))
    assert len(refined) == len(other) == 20
    kwargs = {name: values for name, _, values in islice(figure4._tasks(task, "train", 1), 60)}
    for a, b in zip(refined, other, strict=True):
        assert (a["prompt"], a["rejected"]) == (b["prompt"], b["rejected"])
        arguments = kwargs[a["prompt_id"]]
        for row in (a, b):
            assert verify(row["chosen"][0]["content"], task, arguments)
        assert not verify(a["rejected"][0]["content"], task, arguments)
    assert refined != other and list(pairs(task, REFINED, 20, 2)) != refined


@pytest.mark.parametrize("task", TASKS)
def test_there_are_prompts_for_a_whole_report(task: str) -> None:
    """Those of character sequences come again, with other pairs; answers to one prompt count as one prompt's."""
    sizes = figure4.Sizes.of(replace(PLAN, quick=False))
    rows = list(pairs(task, REFINED, sizes.pairs, 0))
    assert len({row["prompt_id"] for row in rows}) == sizes.pairs == 320
    assert len({(str(row["prompt"]), str(row["rejected"])) for row in rows}) > 200
    tests = list(islice(figure4._tasks(task, "test", 0), sizes.limit))
    shares = {prompt_id: (float(i % 2), 1.0) for i, (prompt_id, *_) in enumerate(tests)}
    by_prompt = figure4._of_prompts(tests, shares)
    assert len(by_prompt) == (200 if task == STORY else 24)
    assert tuple(map(sum, zip(*by_prompt.values(), strict=True))) == (100.0, 200.0)


def test_what_interferes_is_measured() -> None:
    """Capital letters of all letters; words between the given sentences."""
    assert trait(SEQUENCE, "kKk K", {}) == (2.0, 4.0)
    assert trait(SEQUENCE, "", {}) == (0.0, 1.0)
    given = {"first_sentence": "A fox sees.", "last_sentence": "An owl sings."}
    assert trait(STORY, "A fox sees. The owl, too. An owl sings.", given) == (3.0, 1.0)
    assert trait(STORY, "Hm.", given) == (0.0, 1.0)
    chosen = {
        task: figure4.interfering(task, next(figure4._tasks(task, "train", 0))[2], random.Random(0))
        for task in TASKS
    }
    assert chosen[SEQUENCE].isupper() and chosen[STORY].count(".") >= 5


async def test_the_page_says_what_is_learnt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refined pairs are ahead, and interfering ones teach capital letters; the start stands once."""

    async def measure(
        plan: Plan, task: str, arm: str, steps: int, seed: int
    ) -> tuple[dict[str, Share], dict[str, Share]]:
        passing = {"": 10, REFINED: 35, INTERFERING: 15}[arm]
        capital = {"": 5, REFINED: 5, INTERFERING: 35}[arm]
        return tuple(  # type: ignore[return-value]
            {str(i): (float(i < most), 1.0) for i in range(NUM_PROMPTS)}
            for most in (passing, capital)
        )

    monkeypatch.setattr(figure4, "_measure", measure)
    measured = await figure4.measure_figure4(PLAN)
    assert [claim.verdict for claim in measured.claims] == ["holds"] * 3
    assert "ahead by +50.0 points" in measured.claims[0].text
    rows = [row[:3] for row in measured.tables[0].rows]
    assert rows[:3] == [
        ("character sequence", "none", 0),
        ("character sequence", "refined", 6),
        ("character sequence", "interfering", 6),
    ]
    cell = measured.tables[0].rows[2][4]
    assert isinstance(cell, Number) and cell.value == pytest.approx(35 / 40)
    assert measured.tables[0].rows[2][5] is None


@pytest.mark.slow
@pytest.mark.model
async def test_one_training_and_its_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model is trained once; every test prompt has a number for both measures."""
    sizes = figure4.Sizes((1,), 32, 3)
    monkeypatch.setattr(figure4.Sizes, "of", classmethod(lambda cls, plan: sizes))
    plan = replace(PLAN, seeds=1, runs=tmp_path)
    passed, traits = await figure4._measure(plan, SEQUENCE, INTERFERING, 1, 0)
    assert len(passed) == len(traits) == 3
    (home,) = plan.folder("figure4").iterdir()
    assert len(read_pairs(home / "dpo.jsonl")) == 32
    changed = (home / "dpo" / "report.json").stat().st_mtime_ns
    assert await figure4._measure(plan, SEQUENCE, INTERFERING, 1, 0) == (passed, traits)
    assert (home / "dpo" / "report.json").stat().st_mtime_ns == changed
