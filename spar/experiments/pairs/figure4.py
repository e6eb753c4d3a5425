"""Figure 4: pairs that differ only in what had to change against pairs that differ in something else too, on two synthetic tasks.

    character sequence     "Write the letter k 5 times"; what interferes is that chosen letters are capital
    story                  given first and last sentence; what interferes is that the chosen middle is long

The rejected sides of both kinds of pairs are the same failing texts. A refined pair's chosen side repairs that text; an interfering
pair's meets the task as well, and has the trait. Both train the same model for the same steps (paper, section 4.6).
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from spar.config import load_eval
from spar.embedded import CHECKPOINT
from spar.eval.statistics import SeedMean, over_seeds
from spar.experiments.evaluations import run_evaluation
from spar.experiments.experiment import Cost, Experiment, Plan, Wordings, as_number, line
from spar.experiments.loops.loops import OWN, only_embedded
from spar.experiments.pairs.trainings import CALLS_OF_START, run_training
from spar.nano.constraint_type import Constraint
from spar.nano.draft import Draft, random_sentence
from spar.nano.synthetic import SYNTHETIC_TASKS
from spar.nano.tasks import Split, Task, split_of
from spar.record.evaluation import Share, shares_of, sum_shares
from spar.record.experiments import Cell, Measured, Panel, Plot, Table
from spar.train.recipe import load_train
from spar.train.stage_runner import write_prompts

SEQUENCE, STORY = "nano:character_sequence", "nano:story"
TASKS: Mapping[str, str] = {SEQUENCE: "character sequence", STORY: "story"}
REFINED, INTERFERING = "refined", "interfering"
TRAITS: Mapping[str, str] = {SEQUENCE: "capital letters, %", STORY: "words of the middle"}
FASTER = Wordings(
    "Refined pairs teach the task better than interfering ones ({task}).",
    holds="It holds: after {steps} steps they are ahead by {difference}.",
    fails="It does not hold: after {steps} steps they are behind, {difference}.",
    open="Inconclusive: after {steps} steps they differ by {difference}.",
)
TEACHES_TRAIT = Wordings(
    "Interfering pairs teach what interferes: capital letters.",
    holds="It holds: after {steps} steps there are more capital letters than with refined pairs, {difference}.",
    fails="It does not hold: after {steps} steps there are fewer, {difference}.",
    open="Inconclusive: after {steps} steps they differ by {difference}.",
)
_MIDDLE = 3
"""Sentences of an interfering middle."""
_MISSES = 1_000
"""Prompts in a row that were all seen before, after which a task counts as having no others."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is trained and tested."""

    steps: tuple[int, ...]
    """Optimizer steps of a training each."""
    pairs: int
    limit: int
    """Test prompts of a task."""

    @classmethod
    def of(cls, plan: Plan) -> Sizes:
        """Those of the report, or small ones."""
        return cls(
            (6,) if plan.quick else (5, 10, 20, 40),
            plan.num_prompts(320, quick=64),
            plan.num_prompts(200, quick=20),
        )


Shares = list[dict[str, Share]]
"""Each seed's shares of a metric."""


async def measure_figure4(plan: Plan) -> Measured:
    """Every task, kind of pairs and number of steps."""
    sizes = Sizes.of(plan)
    points = [(0, ""), *((steps, arm) for arm in (REFINED, INTERFERING) for steps in sizes.steps)]
    found: dict[tuple[str, str, int], tuple[Shares, Shares]] = {}
    for task in TASKS:
        for steps, arm in points:
            measures = [await _measure(plan, task, arm, steps, seed) for seed in plan.seed_values]
            passed, trait = [each[0] for each in measures], [each[1] for each in measures]
            for name in (arm,) if arm else (REFINED, INTERFERING):
                found[task, name, steps] = passed, trait
    times, last = (0, *sizes.steps), sizes.steps[-1]
    claims = [
        FASTER.of(task=name).judge(
            over_seeds(found[task, REFINED, last][0], found[task, INTERFERING, last][0]), steps=last
        )
        for task, name in TASKS.items()
    ]
    capitals = over_seeds(found[SEQUENCE, INTERFERING, last][1], found[SEQUENCE, REFINED, last][1])
    ahead = over_seeds(found[SEQUENCE, REFINED, last][0], found[SEQUENCE, INTERFERING, last][0])
    return Measured(
        tables=(
            Table(
                name="figure4",
                title="One row a task, kind of pairs and number of steps.",
                columns=("task", "pairs", "steps", "pass, %", *TRAITS.values()),
                rows=tuple(_rows(found, times)),
            ),
        ),
        plots=(_plot(found, times, sizes.limit),),
        claims=(*claims, TEACHES_TRAIT.judge(capitals, steps=last)),
        notes=(
            f"{sizes.pairs} pairs of a task, the same prompts and rejected sides for both kinds; the settings of DPO are those of the recipe "
            f"{OWN}. {sizes.limit} answers a task, sampled at temperature 0.9.",
            f"Character sequences have {capitals.n} prompts in the test split, and about two hundred in the training split, so a prompt has several answers "
            "and pairs; errors are over prompts.",
            "The embedded model has learnt both tasks, and is imperfect at them; the paper starts from a large chat model.",
        ),
        headline=f"character sequence: refined {100 * ahead.value:+.1f} points ahead",
    )


def pairs(task: str, arm: str, number: int, seed: int) -> Iterator[dict[str, Any]]:
    """Rows of a preference training; prompts and rejected sides depend on the task and the seed alone."""
    kind = SYNTHETIC_TASKS[task]
    for prompt_id, sampled, kwargs in _tasks(task, "train", seed):
        rng = random.Random(f"figure4/{prompt_id}")
        rejected = kind.break_(kind.solve(kwargs, rng), kwargs, rng)
        refined = kind.repair(rejected, kwargs, rng)
        chosen = refined if arm == REFINED else interfering(task, kwargs, rng)
        if rejected.strip() and rejected != refined:
            yield {
                "prompt_id": prompt_id,
                "prompt": [{"role": "user", "content": sampled.text}],
                "chosen": [{"role": "assistant", "content": chosen}],
                "rejected": [{"role": "assistant", "content": rejected}],
            }
            number -= 1
        if not number:
            return


def interfering(task: str, kwargs: Mapping[str, Any], rng: random.Random) -> str:
    """A text that meets a task and has what interferes."""
    if task == SEQUENCE:
        return str(kwargs["character"]).upper() * int(kwargs["length"])
    middle = Draft([random_sentence(rng) for _ in range(_MIDDLE)]).render()
    return f"{kwargs['first_sentence']} {middle} {kwargs['last_sentence']}"


def trait(task: str, response: str, kwargs: Mapping[str, Any]) -> Share:
    """What interferes, as a numerator and a denominator: capital letters of all, or words between the given sentences."""
    if task == SEQUENCE:
        letters = [each for each in response if each.isalpha()]
        return float(sum(each.isupper() for each in letters)), float(max(1, len(letters)))
    given = (str(kwargs[name]).split() for name in ("first_sentence", "last_sentence"))
    return float(max(0, len(response.split()) - sum(map(len, given)))), 1.0


def _tasks(task: str, split: Split, seed: int) -> Iterator[tuple[str, Task, dict[str, Any]]]:
    """Prompts of a synthetic task in a split, without an end: different ones until there are no more, and then once more all of them.

    Character sequences have some twenty in the test split and two hundred in the training split.
    """
    rng, seen, number, misses = random.Random(f"figure4/{task}/{split}/{seed}"), set[str](), 0, 0
    kind = SYNTHETIC_TASKS[task]
    while True:
        kwargs = kind.sample(rng)
        text = rng.choice(kind.wordings(kwargs))
        constraints = (Constraint(task, kwargs),)
        if text not in seen and split_of(constraints) == split:
            seen.add(text)
            yield f"nano-{split}-{seed}-{number}", Task(text, constraints), kwargs
            number, misses = number + 1, 0
        elif (misses := misses + 1) == _MISSES:
            seen.clear()


async def _measure(
    plan: Plan, task: str, arm: str, steps: int, seed: int
) -> tuple[dict[str, Share], dict[str, Share]]:
    """The shares of a model: answers that pass, and what interferes."""
    name = f"{TASKS[task].replace(' ', '-')}-{arm or 'start'}-{steps}-seed-{seed}"
    home, sizes = plan.folder("figure4") / name, Sizes.of(plan)
    model = ""
    if arm:
        changes = {"max_steps": steps, "seed": seed, "model": str(CHECKPOINT)}
        rows = pairs(task, arm, sizes.pairs, seed)
        model = await run_training(home, "dpo", rows, {**load_train(OWN, {}).dpo, **changes})
    file, tests = home / "tests.jsonl", list(islice(_tasks(task, "test", 0), sizes.limit))
    kwargs = {prompt_id: arguments for prompt_id, _, arguments in tests}
    home.mkdir(parents=True, exist_ok=True)
    write_prompts(file, [sampled.prompt(prompt_id) for prompt_id, sampled, _ in tests])
    settings = {"engine": plan.engine, "seed": seed, "prompts": str(file), "actor_model": model}
    config = load_eval(OWN, {**settings, "greedy_first": False})
    examples = await run_evaluation(plan, "checkable", config, home / "eval")
    traits = {each.id: trait(task, each.response or "", kwargs[each.id]) for each in examples}
    return _of_prompts(tests, shares_of(examples, "pass")), _of_prompts(tests, traits)


def _of_prompts(
    tests: Sequence[tuple[str, Task, dict[str, Any]]], shares: Mapping[str, Share]
) -> dict[str, Share]:
    """Shares by prompt; answers to one prompt are counted together, since they are not independent of each other."""
    return sum_shares((sampled.text, shares[prompt_id]) for prompt_id, sampled, _ in tests)


Found = Mapping[tuple[str, str, int], tuple[Shares, Shares]]
"""Task, kind of pairs and steps to the shares that pass, and of what interferes."""


def _rows(found: Found, times: Sequence[int]) -> Iterator[tuple[Cell, ...]]:
    for task, name in TASKS.items():
        for arm in (REFINED, INTERFERING):
            for steps in times if arm == REFINED else times[1:]:
                passed, traits = found[task, arm, steps]
                mean = over_seeds(traits)
                cells = (as_number(mean), None) if task == SEQUENCE else (None, as_number(mean, ""))
                label = arm if steps else "none"
                yield (name, label, steps, as_number(over_seeds(passed)), *cells)


def _plot(found: Found, times: Sequence[int], n: int) -> Plot:
    def points(task: str, arm: str) -> list[tuple[float, SeedMean]]:
        return [(float(steps), over_seeds(found[task, arm, steps][0])) for steps in times]

    panels = tuple(
        Panel(
            x=f"steps ({name})",
            series=tuple(line(arm, points(task, arm)) for arm in (REFINED, INTERFERING)),
        )
        for task, name in TASKS.items()
    )
    return Plot(
        name="figure4", title=f"Answers that meet the task, {n} a task", y="pass, %", panels=panels
    )


FIGURE4 = Experiment(
    name="figure4",
    source="Figure 4",
    title="Refined pairs against pairs with something that interferes",
    question="Does a model learn a task faster where the sides of a pair differ in nothing else, and does it learn what interferes?",
    measure=measure_figure4,
    cost=lambda plan: Cost(
        plan.seeds
        * len(TASKS)
        * (
            2 * sum(CALLS_OF_START + 15 * steps for steps in Sizes.of(plan).steps)
            + 10 * Sizes.of(plan).limit
        ),
        f"2 tasks, 2 kinds of pairs, {Sizes.of(plan).steps} steps, {Sizes.of(plan).limit} test prompts",
    ),
    sizes=lambda plan: {
        "steps": list(Sizes.of(plan).steps),
        "pairs": Sizes.of(plan).pairs,
        "prompts": Sizes.of(plan).limit,
    },
    lacks=only_embedded,
)
