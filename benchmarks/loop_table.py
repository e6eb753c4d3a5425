"""Scores of training loops over seeds: by iteration, and the gain of the last iteration over the first.

    spar train --iterations 3 --seed 0 --out runs/loop-0        likewise with other seeds
    python benchmarks/loop_table.py runs/loop-0 runs/loop-1 runs/loop-2

A cell is the mean over loops with its standard error over prompts, and each loop's own figure. A gain is
paired over the prompts that both iterations of a loop have, with a 95 % interval by resampling prompts.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from spar.record.evaluation import Share, read_examples
from spar.record.training import iteration_folder
from spar.train.evaluations import EvalSpec
from spar.train.status import LoopState, read_loop

_NONE: Share = (0.0, 0.0)
_DRAWS = 2000


def main() -> None:
    """Print the table of the loops named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("loops", nargs="+", type=Path)
    loops = [read_loop(path) for path in parser.parse_args().loops]
    times = sorted(loops[0].scores)
    print(f"| % | {' | '.join(map(str, times))} | gain |\n|---|{'---|' * (len(times) + 1)}")
    for item, metric in _shown(loops[0]):
        cells = [_cell(loops, item, metric, time) for time in times]
        gain = _gain(loops, item, metric, (times[0], times[-1]))
        print(f"| {item.title} {metric} | {' | '.join(cells)} | {gain} |")
    for loop in loops:
        seconds = [one.record.seconds for one in loop.stages if one.record]
        starts = max(one.record.starts for one in loop.stages if one.record)
        print(
            f"{loop.run.name}: {sum(seconds) / 60:.1f} min in all stages, at most {starts} start(s) each"
        )


def _shown(loop: LoopState) -> Iterator[tuple[EvalSpec, str]]:
    for item in loop.config.benchmarks:
        for metric in item.show:
            yield item, metric


def _cell(loops: Sequence[LoopState], item: EvalSpec, metric: str, time: int) -> str:
    table = _table([[_shares(loop, item, metric, time)] for loop in loops])
    drawn = [_rates(one).mean() for one in _resampled(table)]
    each = ", ".join(f"{value:.1f}" for value in _rates(table)[:, 0])
    return f"{_rates(table).mean():.1f} +- {np.std(drawn):.1f} ({each})"


def _gain(loops: Sequence[LoopState], item: EvalSpec, metric: str, times: tuple[int, int]) -> str:
    table = _table([[_shares(loop, item, metric, time) for time in times] for loop in loops])
    drawn = [_difference(one) for one in _resampled(table)]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return f"{_difference(table):+.1f} ({low:.1f} to {high:.1f}), n={table.shape[2]}"


def _table(shares: Sequence[Sequence[Mapping[str, Share]]]) -> np.ndarray:
    """Loops x times x prompts x (sum, weight); a prompt that a loop has not at all its times counts for nothing."""
    known = [set.intersection(*(set(one) for one in times)) for times in shares]
    ids = sorted(set.union(*known))
    return np.array(
        [
            [[one[i] if i in has else _NONE for i in ids] for one in times]
            for times, has in zip(shares, known, strict=True)
        ]
    )


def _resampled(table: np.ndarray) -> Iterator[np.ndarray]:
    """Draws of prompts, the same ones for every loop and time, since all have the same prompts."""
    dice, num = np.random.default_rng(0), table.shape[2]
    for _ in range(_DRAWS):
        yield table[:, :, dice.integers(num, size=num)]


def _rates(table: np.ndarray) -> np.ndarray:
    sums = table.sum(axis=2)
    return 100 * sums[..., 0] / np.maximum(sums[..., 1], 1e-9)


def _difference(table: np.ndarray) -> float:
    rates = _rates(table)
    return float((rates[:, 1] - rates[:, 0]).mean())


def _shares(loop: LoopState, item: EvalSpec, metric: str, time: int) -> dict[str, Share]:
    folder = iteration_folder(loop.run, time) / "eval" / item.title / item.benchmark
    return {one.id: one.scores[metric] for one in read_examples(folder) if metric in one.scores}


if __name__ == "__main__":
    main()
