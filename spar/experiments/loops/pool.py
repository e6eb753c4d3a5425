"""Trains the loops that an experiment needs, several at once: of whatever arms and seeds, since none waits for another.

    RUNS/embedded/loops/nano-seed-0/      a loop as `spar train` writes it; experiments share it, and more iterations continue it

What a loop learns does not depend on how many run at once: each stage is a process with one thread.
"""

from __future__ import annotations

import asyncio
import heapq
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from spar.cores import THREADS, usable_cores
from spar.errors import Interrupted, RunStopped, SparError, UsageError
from spar.experiments.experiment import Plan
from spar.experiments.loops.loops import OWN, Loops, Sizes
from spar.hardware import available_memory, visible_gpus
from spar.infer.gather import gather
from spar.listener import Activity, Listener
from spar.store import MANIFEST
from spar.train.recipe import TrainConfig, load_train
from spar.train.status import read_config, read_loop, read_scores
from spar.train_runner import TrainResult, cancellable, train

_LOOP_BYTES = 2 << 30
"""Memory of a loop of the embedded model, with room to spare."""
_SAME_DRAFTS = ("eval.draft.temperature=0.9", "eval.draft.top_p=0.9")
"""How test prompts are sampled: as the paper's recipe does, whatever a rival's recipe trains on, since colder drafts pass more often."""


@dataclass(frozen=True, slots=True)
class Arm:
    """Loops with the same settings, one a seed."""

    name: str
    """Part of the folders' names."""
    changes: tuple[str, ...] = ()
    """Settings that differ from the recipe's, as `--set` takes them."""
    recipe: str = OWN


WHOLE = Arm(OWN)
"""The paper's loop with all its parts."""


async def run_loops(plan: Plan, *arms: Arm) -> list[Loops]:
    """Run the loops of some arms, or resume them, `num_parallel` of them at once; the loops of each arm in their order.

    Raises
    ------
    UsageError, RunStopped
        As `spar.train_runner.train`, with the loop's name in front, once the stages of the other loops have ended.
    """
    folders = {
        arm: [loop_folder(plan, arm.name, seed) for seed in plan.seed_values] for arm in arms
    }
    remaining = iter([(arm, seed, folders[arm][seed]) for arm in arms for seed in plan.seed_values])

    async def work() -> None:
        for arm, seed, folder in remaining:
            run = _training(plan, _config(plan, arm, seed), folder)
            try:
                await cancellable(run, _LoopNotes(folder.name, plan.listener))
            except Interrupted:
                raise
            except SparError as error:
                kind = UsageError if isinstance(error, UsageError) else RunStopped
                raise kind(f"{folder.name}: {error}") from error

    workers = [asyncio.create_task(work()) for _ in range(num_parallel(plan))]
    await gather(workers, lambda _: False)  # where one fails the others end their stage
    return [_loops(plan, folders[arm]) for arm in arms]


def num_parallel(plan: Plan) -> int:
    """How many loops run at once: what the plan says, or as many as this machine has cores and memory for.

    With GPUs it is one, since each of its stages uses all of them.
    """
    if plan.parallel_loops is not None:
        return plan.parallel_loops
    if visible_gpus():
        return 1
    return max(1, min(usable_cores(), available_memory() // _LOOP_BYTES))


def one_thread() -> dict[str, str]:
    """The variables of stages with one thread each, or as many as `OMP_NUM_THREADS` says."""
    return {THREADS: os.environ.get(THREADS, "1")}


def calls_of_loops(plan: Plan, arm: str) -> list[float]:
    """About what each of an arm's loops still takes, 0 for those that have ended."""
    sizes = Sizes.of(plan)
    folders = (loop_folder(plan, arm, seed) for seed in plan.seed_values)
    return [sizes.calls * _open_share(folder, sizes.iterations) for folder in folders]


def last_end(durations: Iterable[float], at_once: int) -> float:
    """When the last of some loops ends that are run in this order, so many at once."""
    ends = [0.0] * at_once
    for duration in durations:
        heapq.heapreplace(ends, ends[0] + duration)
    return max(ends)


def loop_folder(plan: Plan, arm: str, seed: int) -> Path:
    """Folder of a loop."""
    return plan.shared_folder("loops") / f"{arm}-seed-{seed}"


def _loops(plan: Plan, folders: Sequence[Path]) -> Loops:
    times = sorted(read_loop(folders[0]).scores)
    return Loops(tuple(folders), tuple(time for time in times if time <= Sizes.of(plan).iterations))


def _config(plan: Plan, arm: Arm, seed: int) -> TrainConfig:
    sizes = Sizes.of(plan)
    return load_train(
        arm.recipe,
        {
            "engine": plan.engine,
            "seed": seed,
            "iterations": sizes.iterations,
            "prompts_per_iteration": sizes.prompts,
            "min_pairs": 4,
        },
        [
            f"eval.limit={sizes.limit}",
            f"eval.prompt_seed={sizes.prompt_seed}",
            *_SAME_DRAFTS,
            *arm.changes,
        ],
    )


def _training(plan: Plan, config: TrainConfig, folder: Path) -> Callable[[Listener], TrainResult]:
    return lambda listener: train(config, out=folder, listener=listener, execute=plan.execute_stage)


class _LoopNotes(Listener):
    """Lines that name their loop, one for each of its stages in place of the progress of searches."""

    def __init__(self, loop: str, listener: Listener) -> None:
        self._loop, self._listener = loop, listener

    def started(self, activity: Activity) -> None:
        """Name the stage."""
        self.note(activity.name)

    def note(self, line: str) -> None:
        """Pass on."""
        self._listener.note(f"{self._loop}: {line}")


def _open_share(folder: Path, iterations: int) -> float:
    """The part of a loop's iterations that are still to be run."""
    if not (folder / MANIFEST).is_file():
        return 1.0
    config, origin = read_config(folder)
    # Those of this plan: the loop's own setting is that of its last start, and iterations beyond it are there all the same.
    config = config.model_copy(update={"iterations": iterations})
    evaluated = read_scores(folder, config, origin)
    return max(0, config.last_iteration - max(evaluated, default=0)) / config.last_iteration
