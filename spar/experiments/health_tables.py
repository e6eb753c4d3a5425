"""Tables of what tells a healthy training loop from a sick one: the drafts that its iterations train on, and what they learn of the pairs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from statistics import fmean

from spar.experiments.loops import Loops
from spar.record.experiments import Cell, Table
from spar.record.health import MEASURES, IterationHealth, Measure, read_health

_UNITS: Mapping[str, tuple[str, float, int]] = {
    "share": (", %", 100.0, 1),
    "score": ("", 1.0, 2),
    "words": ("", 1.0, 1),
    "nats": (", nats", 1.0, 2),
}
"""Unit of a measure to what follows its heading, the factor that it is shown with, and the digits after its point."""
_OPTIMISM = "optimism, points"
_COLUMNS: Mapping[str, Measure] = {
    **{f"{name}{_UNITS[measure.unit][0]}": measure for name, measure in MEASURES.items()},
    _OPTIMISM: Measure(lambda health: health.optimism, "share", "judge passes less true"),
}
HEALTH_IN_WORDS = "Health of the loops, of the drafts that an iteration trains on: " + "; ".join(
    f"{name}, {measure.meaning}"
    for name, measure in [*MEASURES.items(), ("optimism", _COLUMNS[_OPTIMISM])]
)
"""What the columns mean."""


def health_table(name: str, methods: Mapping[str, Loops]) -> Table:
    """A row a method and iteration, means over seeds; without the methods where there is one."""
    many = len(methods) > 1
    return Table(
        name=name,
        title="Health of the loops: the drafts that each iteration trains on, and what it learns of the pairs; means over seeds.",
        columns=(*(("method",) if many else ()), "iteration", *_COLUMNS),
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
        yield (time, *(_mean(measure, healths) for measure in _COLUMNS.values()))


def _mean(measure: Measure, healths: list[IterationHealth]) -> float | None:
    known = [value for each in healths if (value := measure.of(each)) is not None]
    _, scale, digits = _UNITS[measure.unit]
    return round(scale * fmean(known), digits) if known else None
