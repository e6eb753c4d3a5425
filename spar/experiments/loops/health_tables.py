"""Tables of what tells a healthy training loop from a sick one: the drafts that its iterations train on, and what they learn of the pairs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean

from spar.experiments.loops.loops import Loops
from spar.record.experiments import Cell, Number, Table, Unit
from spar.record.health import MEASURES, IterationHealth, Measure, read_health

_UNITS: Mapping[str, tuple[str, Unit]] = {
    "share": (", %", "%"),
    "score": ("", ""),
    "words": ("", ""),
    "nats": (", nats", "nats"),
}
"""Unit of a measure to what follows its heading, and to the unit of its cells."""
_OPTIMISM = Measure(lambda health: health.optimism, "share", "judge passes less true")
_STEPS = "steps"
HEALTH_IN_WORDS = "Health of the loops, of the drafts that an iteration trains on: " + "; ".join(
    (
        *(f"{name}, {measure.meaning}" for name, measure in MEASURES.items()),
        f"optimism, {_OPTIMISM.meaning}",
        f"{_STEPS}, optimizer steps of the actor's training",
    )
)
"""What the columns mean."""


def health_table(name: str, methods: Mapping[str, Loops]) -> Table:
    """A row a method and iteration, means over seeds; without the methods where there is one."""
    many = len(methods) > 1
    heads = (f"{name}{_UNITS[measure.unit][0]}" for name, measure in MEASURES.items())
    return Table(
        name=name,
        title="Health of the loops: the drafts that each iteration trains on, and what it learns of the pairs; means over seeds.",
        columns=(*(("method",) if many else ()), "iteration", *heads, "optimism", _STEPS),
        rows=tuple(
            (method, *cells) if many else cells
            for method, loops in methods.items()
            for cells in _rows(loops)
        ),
    )


def _rows(loops: Loops) -> Iterator[tuple[Cell, ...]]:
    by_seed = [{each.iteration: each for each in read_health(folder)} for folder in loops.folders]
    for time in loops.times[1:]:
        healths = [found[time] for found in by_seed if time in found]
        cells = (_mean(m, healths, _UNITS[m.unit][1]) for m in MEASURES.values())
        steps = round(fmean(each.steps for each in healths)) if healths else None
        yield (time, *cells, _mean(_OPTIMISM, healths, "points"), steps)


def _mean(measure: Measure, healths: Sequence[IterationHealth], unit: Unit) -> Cell:
    known = [value for each in healths if (value := measure.of(each)) is not None]
    if not known:
        return None
    if measure.unit == "words":
        return round(fmean(known), 1)
    prompts = round(fmean(each.drafts.prompts if each.drafts else 0 for each in healths))
    return Number(
        value=fmean(known),
        stderr=None,
        low=None,
        high=None,
        n=prompts,
        by_seed=tuple(known),
        unit=unit,
    )
