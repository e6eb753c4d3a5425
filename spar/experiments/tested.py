"""Drafts of the actors of training loops on more test prompts than the loops' own evaluations have.

    RUNS/embedded/tests/start-seed-0/sampled/nano-if-answers/     the actor that all loops start from
    RUNS/embedded/tests/nano-2-seed-0/sampled/nano-if-answers/    a loop's actor after its second iteration

A draft costs little next to a training prompt, so all test prompts can be had where training prompts are few, and the error
that is left is of the training.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from spar.config import load_eval
from spar.experiments.evaluations import run_evaluation
from spar.experiments.experiment import Plan
from spar.experiments.loops import DRAFTS, DRAFTS_BENCHMARK, GREEDY, OWN, Loops, Sizes


def calls_of_drafts(plan: Plan, num_arms: int) -> float:
    """About what the tests of loops take, in calls of the length of a judgement for each test prompt and seed."""
    return 0.25 * len(DRAFTS) * (num_arms * Sizes.of(plan).iterations + 1)


async def with_drafts(plan: Plan, arm: str, loops: Loops) -> Loops:
    """Loops whose greedy and sampled drafts are those of `Sizes.tested` prompts, generated or read.

    Raises
    ------
    UsageError, RunStopped
        As `spar.eval.runner.evaluate`.
    """
    tested: dict[tuple[int, int], Path] = {}
    for time in loops.times:
        for place, (seed, models) in enumerate(
            zip(plan.seed_values, loops.models(time), strict=True)
        ):
            name = f"{arm}-{time}" if time else "start"
            folder = plan.shared_folder("tests") / f"{name}-seed-{seed}"
            for title in DRAFTS:
                await _draft(plan, folder / title, models.actor, seed, greedy=title == GREEDY)
            tested[time, place] = folder
    return replace(loops, tested=tested)


async def _draft(plan: Plan, out: Path, actor: str, seed: int, *, greedy: bool) -> None:
    sizes = Sizes.of(plan)
    settings = {
        "engine": plan.engine,
        "seed": seed,
        "limit": sizes.tested,
        "prompt_seed": sizes.prompt_seed,
        "actor_model": actor,
        "greedy_first": greedy,
    }
    await run_evaluation(plan, DRAFTS_BENCHMARK, load_eval(OWN, settings), out)
