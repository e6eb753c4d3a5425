"""The methods of Figure 3 for about as many generated tokens as SPaR: each trained on as many prompts as that takes.

RUNS/embedded/loops/humpback-equal-tokens-2-seed-0/    a loop of two iterations with that many prompts
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from spar.eval.paper import IFEVAL
from spar.experiments.experiment import (
    Cost,
    Experiment,
    Plan,
    Wordings,
    as_number,
    paper_table,
)
from spar.experiments.loops.figure3 import methods_table, tokens_plot
from spar.experiments.loops.health_tables import HEALTH_IN_WORDS, health_table
from spar.experiments.loops.loops import (
    GREEDY,
    OWN,
    PAPERS,
    SAMPLED,
    Loops,
    Sizes,
    only_embedded,
    rivals,
    sizes_in_words,
    stand_ins,
)
from spar.experiments.loops.pool import WHOLE, Arm, run_loops
from spar.experiments.loops.tested import calls_of_drafts, with_drafts
from spar.record.experiments import Cell, Measured, Table

_TITLES = (GREEDY, SAMPLED)
MOST_TIMES = 30
"""How many times as many prompts as SPaR's loop another method's has at most: with more, one that generates next to nothing
(SPIN has one draft a prompt, and no judge) would be trained for longer than all others together."""
_PROMPTS_OF_AN_INSTRUCTION = 3
"""Prompts of AutoIF for each instruction that its writer starts from: 215 of 60, five queries with each of the 43 that stay."""
_FEW_EVALUATIONS = "benchmarks=[{name: greedy, benchmark: nano-if-answers, show: [pass]}]"
"""The loops' own evaluations, without those of judges and refiners, which this experiment does not read."""

SAME_STEPS = f"{PAPERS}, batches of 16"
"""SPaR's loop with Self-Rewarding's batch: with its recipe's, of 32, it takes half as many optimizer steps from the same pairs."""
_SAME_STEPS = Arm("nano-batches-of-16", ("dpo.batch=16", "dpo.micro_batch=16"))

STEPS_MATTER = Wordings(
    f"(Not in the paper.) {PAPERS} ends above itself where batches of 16 give it about as many optimizer steps as Self-Rewarding has.",
    holds="It holds: the larger batches are ahead by {difference}, sampled.",
    fails="It does not hold: the larger batches are behind, {difference}, sampled, so steps are a reason for what it loses against others.",
    open="Inconclusive: they differ by {difference}, sampled.",
)
BEATS_RIVAL = Wordings(
    f"(Not in the paper.) {PAPERS} ends above {{rival}} for about as many generated tokens.",
    holds="It holds: by {difference}, sampled; tokens: {ours:,.0f} and {theirs:,.0f}.",
    fails="It does not hold: it ends below, {difference}, sampled; tokens: {ours:,.0f} and {theirs:,.0f}.",
    open="Inconclusive: they differ by {difference}, sampled; tokens: {ours:,.0f} and {theirs:,.0f}.",
)


@dataclass(frozen=True, slots=True)
class Method:
    """A method's loops, and what they were trained on."""

    prompts: int
    """Of an iteration."""
    loops: Loops


async def measure_equal_tokens(plan: Plan) -> Measured:
    """Loops of all methods with the same prompts say how many tokens a prompt takes; then each gets as many as SPaR had tokens."""
    names, sizes = rivals(plan), Sizes.of(plan)
    own, *same = await run_loops(plan, WHOLE, *(Arm(name, recipe=name) for name in names))
    target = own.tokens(own.last)
    prompts = {
        name: num_prompts(sizes.prompts, loops.tokens(loops.last), target)
        for name, loops in zip(names, same, strict=True)
    }
    arms = [
        Arm(_arm(plan, name), _changes(name, number), recipe=name)
        for name, number in prompts.items()
    ]
    own = await with_drafts(plan, OWN, own)
    methods = {PAPERS: Method(sizes.prompts, own)}
    if not plan.quick:
        (stepped,) = await run_loops(plan, _SAME_STEPS)
        stepped = await with_drafts(plan, _SAME_STEPS.name, stepped)
        methods[SAME_STEPS] = Method(sizes.prompts, stepped)
    for arm, loops in zip(arms, await run_loops(plan, *arms), strict=True):
        loops = await with_drafts(plan, arm.name, loops)
        methods[names[arm.recipe]] = Method(prompts[arm.recipe], loops)
    claims = []
    for name, method in list(methods.items())[1:]:
        loops = method.loops
        difference = own.ahead_of(loops, SAMPLED, "pass")
        tokens = {"ours": target, "theirs": loops.tokens(loops.last)}
        wordings = STEPS_MATTER if name == SAME_STEPS else BEATS_RIVAL.of(rival=name)
        claims.append(wordings.judge(difference, **tokens))
    loops_of = {name: method.loops for name, method in methods.items()}
    first = claims[0].difference
    return Measured(
        tables=(
            *_tables(methods),
            methods_table("equal-tokens-iterations", loops_of),
            health_table("equal-tokens-drafts", loops_of),
        ),
        plots=(tokens_plot("equal-tokens", loops_of, first.n if first else 0),),
        claims=tuple(claims),
        notes=(
            f"The number of prompts is {sizes.prompts} times the ratio of SPaR's tokens to the method's in loops of {sizes.prompts} prompts an "
            f"iteration (figure3), at most {MOST_TIMES * sizes.prompts:,}. Later models write longer or shorter replies, so the tokens are not "
            "quite equal. Nothing else of a recipe is changed, but that AutoIF's writer has more instructions.",
            "Tokens are those that the models generate for the training data: drafts, judgements, refinements, and what a backward model writes. "
            "What a program writes in the place of a stronger model or of people is not counted, nor is the training itself, which is longer "
            "where there are more prompts.",
            stand_ins(plan),
            f"{HEALTH_IN_WORDS}.",
            f"Drafts are tested on {sizes.tested} prompts, one greedy and one sampled at temperature 0.9.",
        ),
        headline="; ".join(
            f"{100 * claim.difference.value:+.1f} points against {name}"
            for name, claim in zip(list(methods)[1:], claims, strict=True)
            if claim.difference and name != SAME_STEPS
        ),
    )


def num_prompts(prompts: int, tokens: float, target: float) -> int:
    """How many prompts of an iteration take as many tokens as wanted.

    Parameters
    ----------
    prompts, tokens:
        The number of prompts of a loop, and what it generated.
    """
    return max(1, min(MOST_TIMES * prompts, round(prompts * target / max(tokens, 1.0))))


def _arm(plan: Plan, name: str) -> str:
    """The number of prompts depends on how many iterations there are, so each has loops of its own."""
    return f"{name}-equal-tokens-{Sizes.of(plan).iterations}"


def _changes(name: str, prompts: int) -> tuple[str, ...]:
    changes = [f"prompts_per_iteration={prompts}", _FEW_EVALUATIONS]
    if name == "autoif":
        needed = -(-prompts // _PROMPTS_OF_AN_INSTRUCTION)
        changes.append(f"functions.num_instructions={needed}")
    return tuple(changes)


def _tables(methods: Mapping[str, Method]) -> Iterator[Table]:
    """Where each method ends, and how far SPaR is ahead of it, with its own batches and with smaller ones."""
    ends: list[tuple[Cell, ...]] = []
    for name, method in methods.items():
        loops = method.loops
        means = (as_number(loops.mean(title, "pass", loops.last)) for title in _TITLES)
        ends.append((name, method.prompts, round(loops.tokens(loops.last)), *means))
    columns = ("prompts an iteration", "tokens for training", "greedy, %", "sampled, %")
    yield Table(
        name="equal-tokens",
        title="Each method after the last iteration.",
        columns=("method", *columns),
        rows=tuple(ends),
    )
    ours = {name: methods[name].loops for name in (PAPERS, SAME_STEPS) if name in methods}
    ahead: list[tuple[Cell, ...]] = [
        (
            name,
            *(
                as_number(own.ahead_of(method.loops, title, "pass"), "points")
                for own in ours.values()
                for title in _TITLES
            ),
        )
        for name, method in methods.items()
        if name not in ours
    ]
    yield Table(
        name="equal-tokens-ahead",
        title="By how many points SPaR is ahead, with 95 % intervals.",
        columns=("method", *(f"{name}: {title}" for name in ours for title in _TITLES)),
        rows=tuple(ahead),
    )


def _all_arms(plan: Plan) -> tuple[str, ...]:
    stepped = () if plan.quick else (_SAME_STEPS.name,)
    return (OWN, *stepped, *rivals(plan), *(_arm(plan, name) for name in rivals(plan)))


EQUAL_TOKENS = Experiment(
    name="equal-tokens",
    source="Tables 1 and 6",
    title="The methods for as many generated tokens",
    question="Where a method that takes fewer tokens for a prompt gets more prompts, so that all generate about as many tokens, which is ahead?",
    measure=measure_equal_tokens,
    cost=lambda plan: Cost(
        plan.seeds * Sizes.of(plan).tested * calls_of_drafts(plan, 1 + len(rivals(plan))),
        f"{len(rivals(plan))} methods with as many prompts as SPaR's tokens allow, beside {sizes_in_words(plan, tested=True)} of all",
        loops=_all_arms(plan),
    ),
    sizes=lambda plan: {
        **Sizes.of(plan).stored_tested(),
        "arms": list(_all_arms(plan)),
        "most_times": MOST_TIMES,
    },
    lacks=only_embedded,
    paper_numbers=lambda: (paper_table(IFEVAL),),
)
