"""The page of Figure 1: tables, plots and notes of what `spar.experiments.pairs.figure1` has measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from spar.eval.statistics import SeedMean, over_seeds
from spar.experiments.experiment import Plan, as_number, line
from spar.experiments.pairs.arms import START, Measures, PairFacts, Sizes, Treatment
from spar.experiments.pairs.subjects import dpo_settings, start_examples, subject_of
from spar.record.evaluation import Share
from spar.record.experiments import Cell, Number, Panel, Plot, Series, Table


@dataclass(frozen=True, slots=True)
class Results:
    """What was measured, a value a seed each."""

    treatments: Mapping[Treatment, tuple[Measures, ...]]
    facts: Mapping[str, tuple[PairFacts, ...]]
    """Arm to the facts of its pairs."""
    rate: float
    """The recipe's learning rate."""

    @property
    def scored(self) -> bool:
        """Whether the likelihoods of texts were measured."""
        return bool(self.treatments[START][0].logprobs)

    def mean(self, treatment: Treatment, measure: ModelMeasure) -> SeedMean:
        """A measure of a training."""
        return over_seeds(self._shares(treatment, measure))

    def difference(self, treatment: Treatment, other: Treatment, measure: ModelMeasure) -> SeedMean:
        """A measure of one training less that of another one, paired by prompt and seed."""
        return over_seeds(self._shares(treatment, measure), self._shares(other, measure))

    def _shares(self, treatment: Treatment, measure: ModelMeasure) -> list[dict[str, Share]]:
        pairs = zip(self.treatments[treatment], self.treatments[START], strict=True)
        return [measure(measures, start) for measures, start in pairs]

    def words(self, part: float) -> str:
        """A learning rate in words."""
        return f"learning rate {part * self.rate:g}"


ModelMeasure = Callable[[Measures, Measures], dict[str, Share]]
"""A measure of a model, given the start's."""


def passed(model: Measures, _: Measures) -> dict[str, Share]:
    return model.passed


def _cut(model: Measures, _: Measures) -> dict[str, Share]:
    return model.cut


_SCORED: Mapping[str, tuple[str, ModelMeasure]] = {
    "gained, nats": (
        "a text that meets its prompt has gained on the same text with one constraint violated",
        Measures.margin_growth,
    ),
    "likelier, nats": ("that text has become likelier by itself", Measures.likelier),
    "style moved, nats": (
        "the choice between two texts that differ in style alone has moved, up or down",
        Measures.style_moved,
    ),
}
"""Column to what it measures, in words, and the measure."""


def pairs_table(results: Results, traits: Sequence[str]) -> Table:
    """One row a kind of pairs."""

    def row(arm: str, facts: Sequence[PairFacts]) -> tuple[Cell, ...]:
        distances = ([each.traits[name] for each in facts] for name in traits)
        return (
            arm,
            sum(each.pairs for each in facts),
            _mean([each.similarity for each in facts]),
            _mean([each.words_more for each in facts]),
            *(_mean(values) for values in distances),
        )

    return Table(
        name="figure1-pairs",
        title="The pairs, over all seeds: edit similarity of the sides, words of the chosen side more, and how far apart the sides are in "
        "what nobody asked for (shares as fractions).",
        columns=(
            "pairs",
            "number",
            "similarity",
            "words more",
            *(f"apart in {name.removesuffix(', %')}" for name in traits),
        ),
        rows=tuple(row(arm, facts) for arm, facts in results.facts.items()),
    )


def trainings_table(results: Results, traits: Sequence[str]) -> Table:
    """One row a training, and one for the start."""
    scored = _SCORED if results.scored else {}
    nats = "; ".join(
        f"{words} ({name.removesuffix(', nats')})" for name, (words, _) in scored.items()
    )
    explained = f" Since the start: by how many nats {nats}." if scored else ""
    own = "Own pairs: TRL's accuracy and margin of rewards on the pairs that are trained on, as they stand at the end."
    cut = "Cut: answers that end at the token limit."

    def row(treatment: Treatment) -> tuple[Cell, ...]:
        trained, models = treatment != START, results.treatments[treatment]
        gained = (
            as_number(results.mean(treatment, measure), "nats") if trained else None
            for _, measure in scored.values()
        )
        answers = (
            as_number(
                over_seeds([each.traits[name] for each in models]),
                "%" if name.endswith("%") else "",
            )
            for name in traits
        )
        return (
            treatment.arm or "none",
            f"{treatment.part * results.rate:g}" if trained else "-",
            treatment.steps,
            as_number(results.mean(treatment, passed)),
            as_number(results.mean(treatment, _cut)),
            *gained,
            *answers,
            _mean([each.accuracy for each in models]),
            _mean([each.margin for each in models]),
        )

    return Table(
        name="figure1",
        title=f"One row a training.{explained} {own} {cut}",
        columns=(
            *("pairs", "learning rate", "steps", "pass, %", "cut, %"),
            *scored,
            *traits,
            *("own pairs: accuracy", "own pairs: margin"),
        ),
        rows=tuple(row(treatment) for treatment in results.treatments),
    )


def _mean(values: Sequence[float | None]) -> Number | None:
    """The mean over the seeds that have a value; None if none has."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    return Number(
        value=fmean(known),
        stderr=None,
        low=None,
        high=None,
        n=len(known),
        by_seed=tuple(known),
        unit="",
    )


def plots(results: Results, sizes: Sizes) -> Iterator[Plot]:
    def panels(measure: ModelMeasure, scale: float) -> tuple[Panel, ...]:
        return tuple(
            Panel(
                x=f"steps ({results.words(part)})",
                series=tuple(_lines(results, sizes, part, measure, scale)),
            )
            for part in sizes.parts
        )

    n = results.mean(START, passed).n
    yield Plot(
        name="figure1",
        title=f"Answers that meet their prompt, n = {n}",
        y="pass, %",
        panels=panels(passed, 100),
    )
    if not results.scored:
        return
    growth = Measures.margin_growth
    yield Plot(
        name="figure1-gained",
        title="What texts that meet their prompt gain on broken ones",
        y="nats",
        panels=panels(growth, 1),
    )
    yield Plot(
        name="figure1-similarity",
        title=f"Learning by the similarity of the sides, {sizes.steps[-1]} steps",
        y="gained, nats",
        panels=(
            Panel(x="mean edit similarity", series=tuple(_by_similarity(results, sizes, growth))),
        ),
    )


def _lines(
    results: Results, sizes: Sizes, part: float, measure: ModelMeasure, scale: float
) -> Iterator[Series]:
    for arm in results.facts:
        treatments = [treatment for treatment in sizes.treatments([arm]) if treatment.part == part]
        if treatments:
            points = [
                (float(treatment.steps), results.mean(treatment, measure))
                for treatment in (START, *treatments)
            ]
            yield line(arm, points, scale=scale)


def _by_similarity(results: Results, sizes: Sizes, measure: ModelMeasure) -> Iterator[Series]:
    """A line a learning rate, through the kinds of pairs from the least to the most alike."""
    by_similarity = sorted(
        (fmean(each.similarity for each in facts), arm) for arm, facts in results.facts.items()
    )
    for part in sizes.parts:
        points = [
            (similarity, results.mean(treatment, measure))
            for similarity, arm in by_similarity
            for treatment in [Treatment(arm, part, sizes.steps[-1])]
            if treatment in results.treatments
        ]
        yield line(results.words(part), points, scale=1)


def notes(plan: Plan) -> Iterator[str]:
    """What a reader must know of the pairs, the start and the texts."""
    subject = subject_of(plan)
    yield (
        "All kinds of pairs have the same prompts and the same rejected sides, in the same order, and the same steps: drafts that fail by the "
        "truth, refined by a program, or set against another draft that passes. Prompts that have not every kind are left out. DPO's settings are "
        f"those of the recipe {subject.recipe}, with batches of {dpo_settings(subject)['batch']}; none of these was chosen "
        "on these prompts. How long the embedded model is trained to write long texts was set after its own pass rate and lengths had been seen, partly on "
        "them, before any pairs were compared."
    )
    if plan.embedded:
        yield (
            "The embedded model ends after one or two sentences whatever number is asked for. So it first learns to write long texts, by SFT on "
            f"{start_examples(plan)} drafts of a program, which have 10 to 20 sentences, violate each constraint but the "
            "length with a chance of 15 %, and have a style of their own: how often a noun has an adjective, and how often a sentence opens with a "
            'word such as "today", each 10, 50 or 90 %. All seeds start from that one model. The pairs are made of other drafts of that program, since '
            "the model's own often do not end in time; the refiner is a program too, so refined pairs are as clean as they can be."
        )
        yield (
            "The texts whose likelihood is measured are a program's, of the test prompts. Half rewritten pairs: the refined text with every other "
            "sentence replaced by another one of the same style; it still passes."
        )
    yield (
        "Margins and accuracies on the pairs that are trained on depend on how unlike the sides are and do not compare between kinds of pairs; "
        "what is gained on common texts does."
    )
    if not plan.embedded:
        yield "The texts are the model's own drafts, and the refiner is the program `rewrite`, which knows IFEval's types of constraints."
