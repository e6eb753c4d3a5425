"""Drafts of the actors of training loops on more test prompts than the loops' own evaluations have.

    RUNS/embedded/tests/start-seed-0/sampled/nano-if-answers/     the actor that all loops start from
    RUNS/embedded/tests/nano-2-seed-0/sampled/nano-if-answers/    a loop's actor after its second iteration

A draft costs little next to a training prompt, so all test prompts can be had where training prompts are few, and the error
that is left is of the training.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from spar.config import load_eval
from spar.experiments.evaluations import run_evaluation
from spar.experiments.experiment import Plan
from spar.experiments.loops.loops import GREEDY, OWN, SAMPLED, Loops, Sizes
from spar.record.evaluation import Share, shares_of

PASS = "pass"
BENCHMARK = "nano-if-answers"
_GREEDY_FIRST = {GREEDY: True, SAMPLED: False}


def calls_of_drafts(plan: Plan, num_arms: int) -> float:
    """About what the tests of loops take, in calls of the length of a judgement for each test prompt and seed."""
    return 0.25 * len(_GREEDY_FIRST) * (num_arms * Sizes.of(plan).iterations + 1)


async def with_drafts(plan: Plan, arm: str, loops: Loops) -> Loops:
    """Loops whose greedy and sampled drafts are those of `Sizes.tested` prompts, generated or read.

    Raises
    ------
    UsageError, RunStopped
        As `spar.eval.runner.evaluate`.
    """
    tested: dict[tuple[str, str, int], list[dict[str, Share]]] = {}
    for time in loops.times:
        for seed, models in zip(plan.seed_values, loops.models(time), strict=True):
            folder = tests_folder(plan, arm, time, seed)
            for title, greedy in _GREEDY_FIRST.items():
                settings = {"actor_model": models.actor, "greedy_first": greedy}
                shares = await shares_on_tests(plan, folder / title, seed, **settings)
                tested.setdefault((title, PASS, time), []).append(shares)
    return replace(loops, tested=tested)


async def first_tested_drafts(plan: Plan, loops: Loops) -> list[Path]:
    """Each seed's run with the first actor's sampled drafts of `Sizes.tested` prompts, generated where it is missing."""
    found = []
    for seed, models in zip(plan.seed_values, loops.models(0), strict=True):
        out = tests_folder(plan, OWN, 0, seed) / SAMPLED
        await shares_on_tests(plan, out, seed, actor_model=models.actor, greedy_first=False)
        found.append(out / BENCHMARK)
    return found


def tests_folder(plan: Plan, arm: str, time: int, seed: int) -> Path:
    """Folder of what the models of a loop's iteration are tested on besides its own evaluations."""
    name = f"{arm}-{time}" if time else "start"
    return plan.shared_folder("tests") / f"{name}-seed-{seed}"


async def shares_on_tests(plan: Plan, out: Path, seed: int, **settings: Any) -> dict[str, Share]:
    """Which of the `Sizes.tested` prompts pass by programs, with some settings of an evaluation."""
    sizes = Sizes.of(plan)
    values = plan.settings(seed=seed, limit=sizes.tested, prompt_seed=sizes.prompt_seed, **settings)
    return shares_of(await run_evaluation(plan, BENCHMARK, load_eval(OWN, values), out), PASS)
