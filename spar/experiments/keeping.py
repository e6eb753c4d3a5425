"""Table 7: what the models of a loop still do of what they were not trained for.

The paper has GSM8K, TriviaQA, MMLU and HumanEval, which are beyond the embedded model (`spar eval gsm8k --model DIR` has them for
another). Its own other tasks stand in: the actor, which is trained to answer, judges; the refiner, which is trained to judge and
refine, answers; and how likely texts are that a program wrote in the model's language, after their prompts and alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from spar.config import load_eval
from spar.eval.nano_if import VOTE
from spar.eval.paper import GENERAL
from spar.eval.perplexity import PER_TOKEN
from spar.eval.statistics import SeedMean, over_seeds
from spar.experiments.evaluations import run_evaluation
from spar.experiments.experiment import (
    Cost,
    Experiment,
    Plan,
    Wordings,
    as_number,
    line,
    paper_table,
)
from spar.experiments.loop_pool import WHOLE, run_loops
from spar.experiments.loops import (
    OWN,
    Loops,
    Sizes,
    iteration_plot,
    iteration_table,
    only_embedded,
)
from spar.experiments.training import SHARED_TIME
from spar.nano.tasks import prompts as nano_prompts
from spar.record.evaluation import Share, shares_of
from spar.record.experiments import Cell, Measured, Table
from spar.train.references import with_references
from spar.train.stage_runner import write_prompts
from spar.types import Message, Prompt

JUDGES, ANSWERS = "the actor judges: one vote right", "the refiner answers: sampled"
REPLIES, TEXTS = "replies", "texts alone"
_LIKELIHOODS = (REPLIES, TEXTS)
KEEPS = Wordings(
    "Training costs no other ability ({which}).",
    holds="It holds: it gains {difference} after {last} iterations.",
    fails="It does not hold: it loses, {difference}, after {last} iterations.",
    open="No loss can be told: it changes by {difference} after {last} iterations.",
)

LIKELY = Wordings(
    "(Not in the paper.) Training makes no other text less likely ({which}).",
    holds="It holds: a token is likelier by {difference} after {last} iterations.",
    fails="It does not hold: a token is less likely, {difference}, after {last} iterations.",
    open="No loss can be told: the log-likelihood of a token changes by {difference} after {last} iterations.",
    unit="nats",
)

Found = Mapping[str, list[dict[str, Share]]]
"""Measure to each seed's shares."""


async def measure_table7(plan: Plan) -> Measured:
    """The last models of every iteration at tasks that they were not trained for."""
    (loops,) = await run_loops(plan, WHOLE)
    found = {time: await _measure(plan, loops, time) for time in loops.times}
    last = _gains(found, loops.last)
    rows: list[tuple[Cell, ...]] = [
        (
            time,
            *(as_number(over_seeds(shares[name])) for name in (JUDGES, ANSWERS)),
            *(as_number(over_seeds(shares[name]), "") for name in (REPLIES, TEXTS)),
        )
        for time, shares in found.items()
    ]
    columns = (
        *(f"{name}, %" for name in (JUDGES, ANSWERS)),
        *(f"{name}, nats a token" for name in (REPLIES, TEXTS)),
    )
    lines = [
        line(name, [(float(time), over_seeds(shares[name])) for time, shares in found.items()])
        for name in (JUDGES, ANSWERS)
    ]
    title = f"Tasks that were not trained, n = {last[JUDGES].n}"
    return Measured(
        tables=(iteration_table("table7", columns, rows), _gains_table(found)),
        plots=(iteration_plot("table7", title, lines),),
        claims=tuple(
            (LIKELY if name in _LIKELIHOODS else KEEPS).of(which=name).judge(gain, last=loops.last)
            for name, gain in last.items()
        ),
        notes=(
            SHARED_TIME,
            "The drafts that are judged are the first actor's, sampled, the same for all iterations. The texts are a program's, which meet their "
            "prompts; a lower number of nats is a likelier text.",
            "The paper's benchmarks are beyond the embedded model: with one of your own, `spar eval` has gsm8k, mmlu, triviaqa and humaneval.",
        ),
        headline=f"the actor's judging: {100 * last[JUDGES].value:+.1f} points",
    )


def _gains(found: Mapping[int, Found], time: int) -> dict[str, SeedMean]:
    """What every measure has gained since the start; of texts, by how much likelier a token is."""
    return {
        name: over_seeds(found[0][name], found[time][name])
        if name in _LIKELIHOODS
        else over_seeds(found[time][name], found[0][name])
        for name in found[time]
    }


def _gains_table(found: Mapping[int, Found]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for time in list(found)[1:]:
        gains = _gains(found, time).items()
        cells = (as_number(g, "nats" if name in _LIKELIHOODS else "points") for name, g in gains)
        rows.append((time, *cells))
    return Table(
        name="table7-gains",
        title="Points gained since the start, with 95 % intervals, and by how many nats a token of the texts is likelier (±, one standard error).",
        columns=("iteration", JUDGES, ANSWERS, REPLIES, TEXTS),
        rows=tuple(rows),
    )


async def _measure(plan: Plan, loops: Loops, time: int) -> Found:
    """Every measure at one iteration."""
    found: dict[str, list[dict[str, Share]]] = {
        name: [] for name in (JUDGES, ANSWERS, REPLIES, TEXTS)
    }
    starts = loops.models(0)
    for seed, models, start in zip(plan.seed_values, loops.models(time), starts, strict=True):
        out = plan.folder("table7") / f"seed-{seed}" / f"iteration-{time}"
        common = {"engine": plan.engine, "seed": seed, "limit": _limit(plan)}
        sampled = {**common, "greedy_first": False, "prompt_seed": Sizes.of(plan).prompt_seed}
        judging = {**sampled, "actor_model": start.actor, "refiner_model": models.actor}
        examples = await run_evaluation(plan, "nano-if", load_eval(OWN, judging), out / "judges")
        found[JUDGES].append(shares_of(examples, VOTE))
        answering = {**sampled, "actor_model": models.refiner}
        examples = await run_evaluation(
            plan, "nano-if-answers", load_eval(OWN, answering), out / "answers"
        )
        found[ANSWERS].append(shares_of(examples, "pass"))
        for name, file in _files(plan).items():
            scoring = {**common, "actor_model": models.actor, "prompts": str(file)}
            examples = await run_evaluation(
                plan, "perplexity", load_eval(OWN, scoring), out / file.stem
            )
            found[name].append(shares_of(examples, PER_TOKEN))
    return found


def _files(plan: Plan) -> Mapping[str, Path]:
    """The texts to score, which are written where they are missing."""
    folder = plan.folder("table7")
    files = {REPLIES: folder / "replies.jsonl", TEXTS: folder / "texts.jsonl"}
    if all(file.is_file() for file in files.values()):
        return files
    folder.mkdir(parents=True, exist_ok=True)
    tests = nano_prompts("test", Sizes.of(plan).prompt_seed, _limit(plan))
    prompts = list(with_references(tests))
    write_prompts(files[REPLIES], prompts)
    alone = (Message(role="user", content=str(prompt.meta["output"])) for prompt in prompts)
    write_prompts(
        files[TEXTS], (Prompt(id=f"text-{n}", messages=(each,)) for n, each in enumerate(alone))
    )
    return files


def _limit(plan: Plan) -> int:
    """They cost little next to the training, so a share of the prompts has them all."""
    return 20 if plan.quick else 200


TABLE7 = Experiment(
    name="table7",
    source="Table 7",
    title="What training keeps",
    question="Do the models of later iterations still do what they were not trained for?",
    measure=measure_table7,
    cost=lambda plan: Cost(
        plan.seeds * (Sizes.of(plan).iterations + 1) * _limit(plan) * 10,
        f"{_limit(plan)} prompts judged and answered, and as many texts, at each iteration",
        loops=(OWN,),
    ),
    sizes=lambda plan: {**Sizes.of(plan).stored(), "kept_prompts": _limit(plan)},
    lacks=only_embedded,
    paper_numbers=lambda: (paper_table(GENERAL),),
)
