"""Figure 1, and how the similarity of a pair's sides matters: pairs that differ in what had to change, against pairs that differ in all else too.

The paper's Figure 1 is an argument: two independent responses to a prompt tell other stories in other styles, and a model that is trained on
such pairs learns these differences with the one that matters. Here it is measured on long texts, where there is room for a style
that no prompt asks for (`spar.experiments.pairs.arms` makes the pairs, `spar.experiments.pairs.subjects` has the texts).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from spar.errors import UsageError
from spar.experiments.experiment import Cost, Experiment, Plan, Wordings
from spar.experiments.pairs.arms import (
    HALF,
    INDEPENDENT,
    REFINED,
    START,
    Measures,
    PairFacts,
    Sizes,
    Treatment,
    facts_of,
    open_arms,
)
from spar.experiments.pairs.figure1_page import (
    ModelMeasure,
    Results,
    notes,
    pairs_table,
    passed,
    plots,
    trainings_table,
)
from spar.experiments.pairs.subjects import (
    dpo_settings,
    lacks_prompts,
    prompt_digests,
    start_examples,
    subject_of,
)
from spar.experiments.pairs.trainings import CALLS_OF_START
from spar.record.experiments import Claim, Measured

PASSES_MORE = Wordings(
    "The model that learns from refined pairs follows instructions better ({rate}).",
    holds="It holds: after {steps} steps it is ahead of the one that learns from independent pairs by {difference}.",
    fails="It does not hold: after {steps} steps it is behind the one that learns from independent pairs, {difference}.",
    open="Inconclusive: after {steps} steps the two differ by {difference}.",
)
LEARNS_FASTER = Wordings(
    "Refined pairs teach what matters faster ({rate}).",
    holds="It holds: after {steps} steps a text that meets its prompt has gained more on the same text with one constraint violated than "
    "with independent pairs, by {difference}.",
    fails="It does not hold: after {steps} steps a text that meets its prompt has gained less on the same text with one constraint violated "
    "than with independent pairs, by {difference}.",
    open="Inconclusive: after {steps} steps what a text that meets its prompt has gained on the same text with one constraint violated "
    "differs from that with independent pairs by {difference}.",
    unit="nats",
)
MOVES_STYLE = Wordings(
    "Independent pairs move the style, which nobody asked for, more than refined ones do ({rate}).",
    holds="It holds: after {steps} steps the choice between two texts that differ in style alone has moved further with independent pairs, by "
    "{difference}.",
    fails="It does not hold: after {steps} steps the choice between two texts that differ in style alone has moved less far with independent "
    "pairs, by {difference}.",
    open="Inconclusive: how far the choice between two texts that differ in style alone has moved after {steps} steps differs by "
    "{difference}.",
    unit="nats",
)
MORE_SIMILAR = Wordings(
    "(Not in the paper.) Of sides in one style the more similar ones teach what matters faster ({rate}).",
    holds="It holds: refined pairs are ahead of half rewritten ones after {steps} steps, by {difference}.",
    fails="It does not hold: refined pairs are behind half rewritten ones after {steps} steps, by {difference}.",
    open="Inconclusive: refined and half rewritten pairs differ after {steps} steps by {difference}.",
    unit="nats",
)
SAME_WORDS_APART = Wordings(
    "(Not in the paper.) A style that differs too makes it slower still ({rate}).",
    holds="It holds: half rewritten pairs, whose sides share a style, are ahead of independent ones after {steps} steps, by "
    "{difference}.",
    fails="It does not hold: half rewritten pairs, whose sides share a style, are behind independent ones after {steps} steps, by "
    "{difference}.",
    open="Inconclusive: half rewritten and independent pairs differ after {steps} steps by {difference}.",
    unit="nats",
)
_CALLS_OF_PAIR = 4
"""What could be generated while a pair of long texts is trained on once."""


async def measure_figure1(plan: Plan) -> Measured:
    """Pairs of every kind, every training, every model's answers and likelihoods."""
    sizes, subject, kinds = Sizes.of(plan), subject_of(plan), _kinds(plan)
    treatments: dict[Treatment, list[Measures]] = {}
    facts: dict[str, list[PairFacts]] = {}
    for seed in plan.seed_values:
        arms = await open_arms(
            plan, seed, prompts=sizes.prompts, samples=sizes.samples, tests=sizes.limit
        )
        if not arms.pairs:
            raise UsageError(
                f"figure1: none of {sizes.prompts} prompts has a failing draft that can be refined and one that passes; "
                "give more prompts (a larger --share), or a model that passes some of them"
            )
        for kind in kinds:
            facts.setdefault(kind, []).append(facts_of(subject, arms.pairs[kind]))
        for treatment in (START, *sizes.treatments(kinds)):
            plan.listener.note(f"figure1: seed {seed}, {_in_words(treatment)}")
            treatments.setdefault(treatment, []).append(await arms.measure(treatment))
    results = Results(
        {treatment: tuple(each) for treatment, each in treatments.items()},
        {name: tuple(each) for name, each in facts.items()},
        dpo_settings(subject)["learning_rate"],
    )
    traits = list(subject.traits)
    first = Treatment(REFINED, sizes.parts[0], sizes.steps[-1])
    ahead = results.difference(first, Treatment(INDEPENDENT, first.part, first.steps), passed)
    return Measured(
        tables=(pairs_table(results, traits), trainings_table(results, traits)),
        plots=tuple(plots(results, sizes)),
        claims=tuple(_claims(results, sizes)),
        notes=tuple(notes(plan)),
        headline=f"refined less independent pairs: {100 * ahead.value:+.1f} points, sampled",
    )


def _kinds(plan: Plan) -> tuple[str, ...]:
    """The kinds of pairs that are trained on."""
    halves = subject_of(plan).rewrite_half is not None and not plan.quick
    return (REFINED, INDEPENDENT, HALF) if halves else (REFINED, INDEPENDENT)


def _in_words(treatment: Treatment) -> str:
    return (
        "the start"
        if treatment == START
        else f"{treatment.arm}, {treatment.part:g} of the rate, {treatment.steps} steps"
    )


def _claims(results: Results, sizes: Sizes) -> Iterator[Claim]:
    steps = sizes.steps[-1]
    growth, moved = Measures.margin_growth, Measures.style_moved
    contrasts: list[tuple[Wordings, str, str, ModelMeasure]] = [
        (PASSES_MORE, REFINED, INDEPENDENT, passed)
    ]
    if results.scored:
        contrasts += [
            (LEARNS_FASTER, REFINED, INDEPENDENT, growth),
            (MOVES_STYLE, INDEPENDENT, REFINED, moved),
            (MORE_SIMILAR, REFINED, HALF, growth),
            (SAME_WORDS_APART, HALF, INDEPENDENT, growth),
        ]
    for wordings, arm, other, measure in contrasts:
        for part in sizes.parts:
            pair = Treatment(arm, part, steps), Treatment(other, part, steps)
            if all(treatment in results.treatments for treatment in pair):
                difference = results.difference(*pair, measure)
                yield wordings.of(rate=results.words(part)).judge(difference, steps=steps)


def _cost(plan: Plan) -> Cost:
    sizes, kinds = Sizes.of(plan), _kinds(plan)
    calls_of_step = dpo_settings(subject_of(plan))["batch"] * _CALLS_OF_PAIR
    treatments = sizes.treatments(kinds)
    training = sum(CALLS_OF_START + calls_of_step * treatment.steps for treatment in treatments)
    drafts = 0 if plan.embedded else sizes.samples * sizes.prompts
    answers = 4 * (drafts + 2 * sizes.limit * (len(treatments) + 1))
    start = start_examples(plan) * _CALLS_OF_PAIR / 2
    return Cost(
        plan.seeds * (training + answers) + start,
        f"{sizes.prompts} prompts, {sizes.samples} drafts each, {len(kinds)} kinds of pairs, {len(sizes.parts)} learning "
        f"rate{'s' if len(sizes.parts) > 1 else ''}, {' and '.join(map(str, sizes.steps))} steps, "
        f"{sizes.limit} test prompts",
    )


def _sizes(plan: Plan) -> dict[str, Any]:
    sizes = Sizes.of(plan)
    return {
        "start_examples": start_examples(plan),
        "parts_of_learning_rate": list(sizes.parts),
        "steps": list(sizes.steps),
        "training_prompts": sizes.prompts,
        "samples": sizes.samples,
        "prompts": sizes.limit,
    }


FIGURE1 = Experiment(
    name="figure1",
    source="Figure 1",
    title="Refined pairs against independent ones, on long texts with a style that nobody asked for",
    question="Does a model learn faster from pairs that differ in what had to change, and does it learn the rest from pairs that differ in it?",
    measure=measure_figure1,
    cost=_cost,
    sizes=_sizes,
    data=prompt_digests,
    lacks=lacks_prompts,
    paper_numbers=lambda: (
        "Figure 1 has no numbers in the texts at hand. String similarity of the two sides of a pair, from a secondary source: about 0.90 "
        "refined, 0.85 independent.",
    ),
)
