"""Table 7: what the models of a loop still do of what they were not trained for.

The paper has GSM8K, TriviaQA, MMLU and HumanEval; `--loop DIR` measures them for the loops of a model of one's own
(`spar.experiments.loops.general_tasks`). They are beyond the embedded model, whose other tasks stand in: the actor, which is
trained to answer, judges; the refiner, which is trained to judge and refine, answers; and how likely texts are that a program
wrote in the model's language, after their prompts and alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spar.config import load_eval
from spar.eval.nano_if import VOTE
from spar.eval.paper import GENERAL
from spar.eval.perplexity import PER_TOKEN
from spar.eval.statistics import SeedMean, over_seeds
from spar.experiments.evaluations import digests_of, run_evaluation
from spar.experiments.experiment import (
    Cost,
    Experiment,
    Plan,
    Wordings,
    as_number,
    line,
    paper_table,
)
from spar.experiments.loops.general_tasks import (
    PEOPLES_REPLIES,
    asked_benchmarks,
    measure_general_tasks,
    num_questions,
    read_loops,
)
from spar.experiments.loops.loops import (
    OWN,
    Loops,
    Sizes,
    iteration_plot,
    iteration_table,
)
from spar.experiments.loops.pool import WHOLE, run_loops
from spar.experiments.loops.table2_tables45 import SHARED_TIME
from spar.nano.tasks import prompts as nano_prompts
from spar.record.evaluation import Share, shares_of
from spar.record.experiments import Cell, Measured, Table
from spar.train.references import with_references
from spar.train.stage_runner import write_prompts
from spar.types import Message, Prompt

JUDGES, ANSWERS = "the actor judges: one vote right", "the refiner answers: sampled"
REPLIES, TEXTS = "replies", "texts alone"
_LIKELIHOODS = (REPLIES, TEXTS, PEOPLES_REPLIES)
_HEADLINES = {JUDGES: "the actor's judging"}
"""Measure to its name in the index, where it has another."""
HUMANEVAL_LEFT_OUT = "HumanEval is left out: it runs code that the models write, which `--allow-code-execution` permits."
_EMBEDDED_NOTES = (
    SHARED_TIME,
    "The drafts that are judged are the first actor's, sampled, the same for all iterations. The texts are a program's, which meet their "
    "prompts; a lower number of nats is a likelier text.",
    "The paper's benchmarks are beyond the embedded model: `--loop` measures loops of your own at them.",
)
KEEPS = Wordings(
    "Training costs no other ability ({which}).",
    holds="It holds: it gains {difference} after {last} iterations.",
    fails="It does not hold: it loses, {difference}, after {last} iterations.",
    open="No loss is shown: it changes by {difference} after {last} iterations.",
)

LIKELY = Wordings(
    "(Not in the paper.) Training makes no other text less likely ({which}).",
    holds="It holds: a token is likelier by {difference} after {last} iterations.",
    fails="It does not hold: a token is less likely, {difference}, after {last} iterations.",
    open="No loss is shown: the log-likelihood of a token changes by {difference} after {last} iterations.",
    unit="nats",
)

Found = Mapping[str, list[dict[str, Share]]]
"""Measure to each seed's shares."""


async def measure_table7(plan: Plan) -> Measured:
    """The last models of every iteration at tasks that they were not trained for."""
    if plan.loops:
        general = await measure_general_tasks(plan, plan.folder("table7"))
        return _measured(general, title="Tasks that were not trained", notes=_general_notes(plan))
    (loops,) = await run_loops(plan, WHOLE)
    found = {time: await _measure(plan, loops, time) for time in loops.times}
    title = f"Tasks that were not trained, n = {over_seeds(found[0][JUDGES]).n}"
    return _measured(found, title=title, notes=_EMBEDDED_NOTES)


def _measured(found: Mapping[int, Found], *, title: str, notes: tuple[str, ...]) -> Measured:
    """Tables, plot and claims of what was measured at each iteration, 0 first."""
    last = max(found)
    gains = {time: _gains(found, time) for time in found if time}
    tasks = [name for name in found[0] if name not in _LIKELIHOODS]
    rows: list[tuple[Cell, ...]] = [
        (
            time,
            *(
                as_number(over_seeds(each), "" if name in _LIKELIHOODS else "%")
                for name, each in shares.items()
            ),
        )
        for time, shares in found.items()
    ]
    columns = (
        f"{name}, nats a token" if name in _LIKELIHOODS else f"{name}, %" for name in found[0]
    )
    lines = [
        line(name, [(float(time), over_seeds(shares[name])) for time, shares in found.items()])
        for name in tasks
    ]
    first = gains[last][tasks[0]]
    return Measured(
        tables=(iteration_table("table7", columns, rows), _gains_table(gains)),
        plots=(iteration_plot("table7", title, lines),),
        claims=tuple(
            (LIKELY if name in _LIKELIHOODS else KEEPS).of(which=name).judge(gain, last=last)
            for name, gain in gains[last].items()
        ),
        notes=notes,
        headline=f"{_HEADLINES.get(tasks[0], tasks[0])}: {100 * first.value:+.1f} points",
    )


def _general_notes(plan: Plan) -> tuple[str, ...]:
    """What a reader must know of the paper's benchmarks here."""
    loops = read_loops(plan.loops)
    iterations = len(loops.actors[0]) - 1
    left_out = () if plan.allow_code_execution else (HUMANEVAL_LEFT_OUT,)
    return (
        f"Trained by `spar train` from {loops.start}: loops {len(loops.actors)}, iterations that all of them have {iterations}. Each loop counts as a seed, and "
        "all answers are greedy.",
        f"At most {num_questions(plan):,} questions of a benchmark, MMLU's spread over its subjects. GSM8K, TriviaQA and MMLU are lm-eval's tasks with "
        f"their own numbers of worked examples. {PEOPLES_REPLIES.capitalize()} are self-instruct's, after their prompts; a lower number of nats is a likelier text.",
        *left_out,
    )


def _gains(found: Mapping[int, Found], time: int) -> dict[str, SeedMean]:
    """What every measure has gained since the start; of texts, by how much likelier a token is."""
    return {
        name: over_seeds(found[0][name], found[time][name])
        if name in _LIKELIHOODS
        else over_seeds(found[time][name], found[0][name])
        for name in found[time]
    }


def _gains_table(gains: Mapping[int, Mapping[str, SeedMean]]) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (
            time,
            *(
                as_number(g, "nats" if name in _LIKELIHOODS else "points")
                for name, g in each.items()
            ),
        )
        for time, each in gains.items()
    ]
    return Table(
        name="table7-gains",
        title="Points gained since the start, with 95 % intervals, and by how many nats a token of the texts is likelier (±, one standard error).",
        columns=("iteration", *gains[max(gains)]),
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


def _cost(plan: Plan) -> Cost:
    if plan.loops:
        questions, asked = num_questions(plan), asked_benchmarks(plan)
        models = 1 + sum(len(actors) - 1 for actors in read_loops(plan.loops).actors)
        return Cost(
            models * len(asked) * questions,
            f"{models} models at {', '.join(asked)}, {questions} questions of each at most",
        )
    return Cost(
        plan.seeds * (Sizes.of(plan).iterations + 1) * _limit(plan) * 10,
        f"{_limit(plan)} prompts judged and answered, and as many texts, at each iteration",
        loops=(OWN,),
    )


def _sizes(plan: Plan) -> dict[str, Any]:
    if plan.loops:
        return {
            "actors": [list(each) for each in read_loops(plan.loops).actors],
            "benchmarks": list(asked_benchmarks(plan)),
            "prompts": num_questions(plan),
        }
    return {**Sizes.of(plan).stored(), "kept_prompts": _limit(plan)}


def _data(plan: Plan) -> dict[str, str]:
    return digests_of(plan, asked_benchmarks(plan)) if plan.loops else {}


def _lacks(plan: Plan) -> str:
    if plan.embedded or plan.loops:
        return ""
    return "it compares the models of training loops: give the folders that spar train wrote, --loop DIR, in place of a model"


TABLE7 = Experiment(
    name="table7",
    source="Table 7",
    title="What training keeps",
    question="Do the models of later iterations still do what they were not trained for?",
    measure=measure_table7,
    cost=_cost,
    sizes=_sizes,
    data=_data,
    lacks=_lacks,
    paper_numbers=lambda: (paper_table(GENERAL),),
)
