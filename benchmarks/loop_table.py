"""Scores of training loops over seeds: by iteration, and the gain of the last iteration over the first.

    spar train --iterations 3 --seed 0 --out runs/loop-0        likewise with other seeds
    python benchmarks/loop_table.py runs/loop-0 runs/loop-1 runs/loop-2

A cell is the mean over loops with its standard error, and each loop's own figure. A gain is paired over the prompts
that both iterations of a loop have, with its 95 % interval. Errors and intervals are over prompts and training seeds
(`spar.eval.statistics.over_seeds`); those of a single loop are over prompts alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from reporting import run_benchmark

from spar.eval.statistics import over_seeds
from spar.record.evaluation import Share, read_examples, shares_of
from spar.record.training import iteration_folder
from spar.train.evaluations import EvalSpec
from spar.train.status import LoopState, read_loop


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
    mean = over_seeds([_shares(loop, item, metric, time) for loop in loops])
    each = ", ".join(f"{100 * value:.1f}" for value in mean.by_seed)
    return f"{100 * mean.value:.1f} ± {100 * (mean.stderr or 0):.1f} ({each})"


def _gain(loops: Sequence[LoopState], item: EvalSpec, metric: str, times: tuple[int, int]) -> str:
    first, last = ([_shares(loop, item, metric, time) for loop in loops] for time in times)
    gain = over_seeds(last, first)
    interval = f"({100 * (gain.low or 0):.1f} to {100 * (gain.high or 0):.1f})"
    return f"{100 * gain.value:+.1f} {interval}, n={gain.n}"


def _shares(loop: LoopState, item: EvalSpec, metric: str, time: int) -> dict[str, Share]:
    folder = iteration_folder(loop.run, time) / "eval" / item.title / item.benchmark
    return shares_of(read_examples(folder), metric)


if __name__ == "__main__":
    run_benchmark(main)
