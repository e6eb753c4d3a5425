"""How often all votes of a refiner agree, over the iterations, and how often they are wrong together: no majority outvotes such an error.

Read from the judgements that Table 2 counts, natural outputs from the loops' own evaluations, without a model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from spar.eval.nano_if import JUDGE
from spar.eval.statistics import over_seeds
from spar.experiments.experiment import Plan, as_number
from spar.experiments.loops.loops import OWN, REFINER, Loops
from spar.experiments.loops.tested import tests_folder
from spar.experiments.searches.table9 import ADVERSARIAL, DRAFTS, NATURAL, SETS, Judged, read_judged
from spar.record.evaluation import Share, sum_shares
from spar.record.experiments import Cell, Table
from spar.record.training import iteration_folder
from spar.store import read_trees
from spar.verifiers import passes


def _unanimous(one: Judged) -> bool:
    return bool(one.verdicts) and one.verdicts[0] is not None and len(set(one.verdicts)) == 1


def _wrong(one: Judged) -> bool:
    return _unanimous(one) and one.verdicts[0] is not one.label


AGREEING: Mapping[str, Callable[[Judged], bool]] = {
    "all agree": _unanimous,
    "all agree and are wrong": _wrong,
}
"""Column to whether it counts an output."""


def agreement_table(name: str, plan: Plan, loops: Loops) -> Table:
    """A row an iteration: shares of both sets of outputs, and how many more are wrong unanimously than at the start."""
    shares = {time: _by_column(plan, loops, time) for time in loops.times}
    columns = (
        heading
        for kind in SETS
        for heading in (
            *(f"{kind}: {column}, %" for column in AGREEING),
            f"{kind}: of these more than at the start, points",
        )
    )
    return Table(
        name=name,
        title="How often the five votes on an output agree, and are wrong together.",
        columns=("iteration", *columns),
        rows=tuple(tuple(_row(time, shares)) for time in loops.times),
    )


def judged(plan: Plan, folder: Path, kind: str, time: int, seed: int) -> Iterator[Judged]:
    """The natural or adversarial outputs that a loop's refiner has judged."""
    if kind == ADVERSARIAL:
        tests = tests_folder(plan, OWN, time, seed) / ADVERSARIAL
        yield from read_judged(read_trees(tests / DRAFTS))
        return
    run = iteration_folder(folder, time) / "eval" / REFINER / "nano-if" / JUDGE
    for tree in read_trees(run):
        root = tree.nodes[0]
        yield Judged(
            tree.prompt.id,
            tree.prompt.id,
            (NATURAL,),
            bool(passes(root.response, tree.prompt)),
            root.judgement.verdicts if root.judgement else (),
        )


def _by_column(
    plan: Plan, loops: Loops, time: int
) -> dict[tuple[str, str], list[dict[str, Share]]]:
    shares: dict[tuple[str, str], list[dict[str, Share]]] = {}
    for kind in SETS:
        for seed, folder in zip(plan.seed_values, loops.folders, strict=True):
            outputs = list(judged(plan, folder, kind, time, seed))
            for column, counts in AGREEING.items():
                of_seed = sum_shares((one.pair, (float(counts(one)), 1.0)) for one in outputs)
                shares.setdefault((kind, column), []).append(of_seed)
    return shares


Shares = Mapping[int, Mapping[tuple[str, str], list[dict[str, Share]]]]
"""Iteration, then set and column, to each seed's shares."""


def _row(time: int, shares: Shares) -> Iterator[Cell]:
    start = min(shares)
    yield time
    for kind in SETS:
        for column in AGREEING:
            yield as_number(over_seeds(shares[time][kind, column]))
        last = (kind, [*AGREEING][-1])
        gain = over_seeds(shares[time][last], shares[start][last])
        yield as_number(gain, "points") if time != start else None
