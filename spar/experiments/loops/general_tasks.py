"""GSM8K, TriviaQA, MMLU and HumanEval over the iterations of one's own training loops (Table 7).

    spar report table7 --loop runs/seed-0 --loop runs/seed-1 --allow-code-execution

Each loop counts as a seed. Its actors answer greedily; the benchmarks are those of `spar eval` (lm-eval's tasks, and HumanEval in
the sandbox). Beside them is the likelihood of replies that people wrote. The start is measured once for all loops.

    RUNS/MODEL/table7/start/gsm8k/                  evaluations, as `spar eval` writes them
    RUNS/MODEL/table7/seed-0/iteration-1/gsm8k/
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from spar.config import load_eval
from spar.errors import UsageError
from spar.eval import paper
from spar.eval.perplexity import PER_TOKEN
from spar.experiments.evaluations import run_evaluations
from spar.experiments.experiment import Plan
from spar.record.evaluation import Share, shares_of
from spar.train.loop_stages import models_after
from spar.train.status import read_config, trained_iterations

PERPLEXITY, HUMANEVAL = "perplexity", "humaneval"
"""Benchmarks: the likelihood of texts, and the one that runs what a model wrote."""
PEOPLES_REPLIES = "replies that people wrote"
QUESTIONS = 1_000
"""Questions of a benchmark in a full report, at most."""
_QUICK_QUESTIONS = 20
_TABLES: Mapping[str, paper.PaperTable] = {
    "gsm8k": paper.GSM8K,
    "triviaqa": paper.TRIVIAQA,
    "mmlu": paper.MMLU,
    HUMANEVAL: paper.HUMANEVAL,
}
"""Benchmark to its column of the paper's Table 7, in the paper's order."""

Shares = dict[str, Share]


@dataclass(frozen=True, slots=True)
class TrainedLoops:
    """Loops of one start, a seed each."""

    actors: tuple[tuple[str, ...], ...]
    """Of each loop, its actor before the first iteration and after each one that all loops have."""

    @property
    def start(self) -> str:
        """The model that all loops start from."""
        return self.actors[0][0]


def read_loops(folders: Sequence[Path]) -> TrainedLoops:
    """The actors of training loops.

    Raises
    ------
    UsageError
        A folder is named twice, is no loop, or has no trained iteration; loops start from different models.
    """
    resolved = [folder.resolve() for folder in folders]
    if twice := next((one for one in folders if resolved.count(one.resolve()) > 1), None):
        raise UsageError(f"--loop {twice} is given twice; each loop counts as a seed")
    actors = [_actors(folder) for folder in folders]
    starts = dict.fromkeys(each[0] for each in actors)
    if len(starts) > 1:
        raise UsageError(
            f"the loops start from different models ({', '.join(starts)}); give those of one"
        )
    iterations = min(map(len, actors))
    return TrainedLoops(tuple(each[:iterations] for each in actors))


def asked_benchmarks(plan: Plan) -> dict[str, str]:
    """Benchmark to its name on the page: the paper's, HumanEval only where generated code may be run, and the perplexity."""
    names = (name for name in _TABLES if name != HUMANEVAL or plan.allow_code_execution)
    return {**{name: paper.GENERAL.columns[name] for name in names}, PERPLEXITY: PEOPLES_REPLIES}


def num_questions(plan: Plan) -> int:
    """Questions of a benchmark, at most."""
    return plan.num_prompts(QUESTIONS, quick=_QUICK_QUESTIONS)


async def measure_general_tasks(plan: Plan, folder: Path) -> dict[int, dict[str, list[Shares]]]:
    """Iteration and benchmark, by its name on the page, to each loop's shares; those of 0 are the start's."""
    loops = read_loops(plan.loops)
    start = await _measure(plan, loops.start, folder / "start")
    found = {0: {title: [shares] * len(loops.actors) for title, shares in start.items()}}
    for time in range(1, len(loops.actors[0])):
        measured = [
            await _measure(plan, actors[time], folder / f"seed-{seed}" / f"iteration-{time}")
            for seed, actors in enumerate(loops.actors)
        ]
        found[time] = {title: [each[title] for each in measured] for title in start}
    return found


async def _measure(plan: Plan, model: str, out: Path) -> dict[str, Shares]:
    """A model's shares by the names of the benchmarks on the page."""
    settings = {"engine": plan.engine, "data": plan.data, "limit": num_questions(plan)}
    config = load_eval(None, {**settings, "model": model, "seed": 0})
    titles = asked_benchmarks(plan)
    examples = await run_evaluations(plan, tuple(titles), config, out)
    return {title: shares_of(examples[name], _metric(name)) for name, title in titles.items()}


def _metric(benchmark: str) -> str:
    if benchmark == PERPLEXITY:
        return PER_TOKEN
    return next(iter(_TABLES[benchmark].columns))


def _actors(folder: Path) -> tuple[str, ...]:
    config, origin = read_config(folder)
    trained = trained_iterations(config, folder, origin)
    if not trained:
        raise UsageError(f"--loop {folder}: no iteration of it is trained yet")
    times = (origin.iteration, *trained)
    return tuple(models_after(config, folder, time, origin).actor for time in times)
