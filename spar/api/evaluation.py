"""`spar.evaluate`, `spar.sweep` and `spar.compare`."""

from __future__ import annotations

import asyncio
import operator
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, SupportsIndex

from spar.api.decoding import temporary_run
from spar.errors import UsageError
from spar.eval.compare import Comparison
from spar.eval.compare import compare as compare_evaluations
from spar.eval.runner import EvalRequest
from spar.eval.runner import evaluate as run_evaluation
from spar.eval.sweep import BUDGETS
from spar.eval.sweep_runner import Sweep, read_budgets, read_names
from spar.eval.sweep_runner import sweep as run_sweep
from spar.eval.sweep_table import Row
from spar.files import expand_home, expand_home_in
from spar.listener import Listener, checked_listener
from spar.plugins import BENCHMARKS, STRATEGIES
from spar.record.evaluation import Example, Results, read_examples
from spar.run.blocking import blocking
from spar.run.keywords import eval_config


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What an evaluation found."""

    results: Results
    """Every metric with n and its standard error, counts and notes."""
    examples: tuple[Example, ...]
    """What was answered to each example, every verdict and why."""
    directory: Path | None
    """The evaluation's directory, None where nothing was stored."""

    @property
    def metrics(self) -> dict[str, float]:
        """Metric to its value; a fraction unless `results.units` says otherwise."""
        return {name: metric.value for name, metric in self.results.metrics.items()}


async def evaluate_async(
    benchmark: Any,
    *,
    out: str | Path | None = None,
    overwrite: bool = False,
    responses: str | Path = "",
    judge_outputs: str | Path = "",
    allow_missing: bool = False,
    offline: bool = False,
    listener: Listener | None = None,
    recipe: str | None = None,
    **settings: Any,
) -> Evaluation:
    """Measure a model, or a model with a search on top, on a benchmark.

    Parameters
    ----------
    benchmark:
        A name, a task of lm-eval, or a `Benchmark` of your own.
    out:
        Directory that gets one for the benchmark below it; the same call resumes. None stores nothing.
    responses:
        A file or run directory with answers to score in place of generating them.
    judge_outputs:
        A file with the replies of a grader, for a benchmark that uses one; no grader is asked.
    allow_missing:
        Score the examples that `responses` has; unanswered ones fail.
    offline:
        Download no data; a benchmark whose data are not on this machine is an error.
    overwrite, listener, recipe:
        As in `decode`.
    settings:
        Fields of `spar.config.EvalConfig`. The strategy is greedy decoding unless given.

    Returns
    -------
    Evaluation
        Totals and every example with its verdicts.

    Raises
    ------
    UsageError
        As in `decode`; an unknown benchmark, or data that is missing.
    RunStopped
        A request could not be served; the same call resumes.
    """
    name = BENCHMARKS.name_of(benchmark)
    config = eval_config(recipe, {**settings, "responses": str(responses) or None})
    with _directory(out) as directory:
        request = EvalRequest(
            (name,),
            out=directory,
            overwrite=overwrite,
            judge_outputs=expand_home_in(str(judge_outputs)),
            allow_missing=allow_missing,
            offline=offline,
        )
        results, error = await run_evaluation(config, request, checked_listener(listener))
        if error is not None:
            raise error
        folder = Path(results[0].run["directory"])
        examples = tuple(read_examples(folder))
    if out is None:
        run = {**results[0].run, "directory": ""}
        return Evaluation(results[0].model_copy(update={"run": run}), examples, None)
    return Evaluation(results[0], examples, folder)


evaluate = blocking(evaluate_async)


async def sweep_async(
    benchmark: Any,
    *,
    strategies: Sequence[Any] = ("greedy", "best-of-n", "iterative", "bfs", "dfs"),
    budgets: Iterable[SupportsIndex] | SupportsIndex | str = BUDGETS,
    metric: str = "",
    out: str | Path | None = None,
    overwrite: bool = False,
    offline: bool = False,
    listener: Listener | None = None,
    recipe: str | None = None,
    **settings: Any,
) -> list[Row]:
    """Measure strategies at several budgets; smaller budgets are read out of larger searches.

    Parameters
    ----------
    strategies:
        Names, specs or functions; a name may have options of its own: "best-of-n:waves=growing". A text is a
        list of names: "greedy,bfs".
    budgets:
        Most responses of a prompt, one point each.
    metric:
        The metric of the rows; "" for the benchmark's headline.
    benchmark, out, overwrite, offline, listener, recipe, settings:
        As in `evaluate`. With `out`, also writes `sweep.csv`, `sweep.md` and `sweep.png` there.

    Returns
    -------
    list[Row]
        One row a point: `strategy`, `budget`, `metric`, its `value` and `stderr` (fractions, unless there is a `unit`), and the
        means of a prompt: `nodes`, `calls`, generated `tokens`, `seconds` and dependent `steps`.

    Raises
    ------
    UsageError, RunStopped
        As in `evaluate`.
    """
    name = BENCHMARKS.name_of(benchmark)
    config = eval_config(recipe, settings, options_of_search=True)
    listed = read_names(strategies) if isinstance(strategies, str) else strategies
    grid = Sweep(
        tuple(STRATEGIES.name_of(strategy) for strategy in listed),
        _budgets(budgets),
        metric=metric,
        deepen="depth" not in settings,
    )
    with _directory(out) as directory:
        request = EvalRequest((name,), out=directory, overwrite=overwrite, offline=offline)
        return await run_sweep(
            config,
            request,
            grid,
            directory=directory / BENCHMARKS.recorded_name(name),
            listener=checked_listener(listener),
        )


sweep = blocking(sweep_async)


def _budgets(budgets: Iterable[SupportsIndex] | SupportsIndex | str) -> tuple[int, ...]:
    """The numbers of a sweep as integers of Python, from numpy's too."""
    if isinstance(budgets, str):
        return read_budgets(budgets)
    try:
        listed = list(budgets) if isinstance(budgets, Iterable) else [budgets]
        return tuple(map(operator.index, listed))
    except TypeError as error:
        raise UsageError(
            f"budgets={budgets!r}: expected whole numbers, such as (1, 3, 7)"
        ) from error


def compare(
    first: str | Path, second: str | Path, *others: str | Path, allow_missing: bool = False
) -> list[Comparison]:
    """Compare evaluations with the first, example by example: paired bootstrap, flips, McNemar's test.

    Parameters
    ----------
    first, second:
        Directories of evaluations, or folders of several.
    others:
        More of them, each of which is compared with `first`.
    allow_missing:
        Compare the examples that all have where the sets differ.

    Returns
    -------
    list[Comparison]
        One for each benchmark that all have and each run after the first, whose directory is `second`; a benchmark's stand
        together, in the order of the runs. `metrics` has, by name, `first`, `second`, `value` (second minus first) and its
        95 % interval `low`, `high`, as fractions unless `units` says otherwise; `gained` and `lost` are the flipped examples,
        `p` is that of McNemar's exact test on them, `adjusted_p` the one adjusted by Holm's method for the number of runs,
        None for two.

    Raises
    ------
    UsageError
        A directory holds no finished evaluation, they have no benchmark in common, or they have different examples and
        `allow_missing` is not set.
    """
    paths = [expand_home(Path(path)) for path in (first, second, *others)]
    return compare_evaluations(*paths, allow_missing=allow_missing)


async def compare_async(
    first: str | Path, second: str | Path, *others: str | Path, allow_missing: bool = False
) -> list[Comparison]:
    """Like `compare`, in a thread."""
    return await asyncio.to_thread(compare, first, second, *others, allow_missing=allow_missing)


@contextmanager
def _directory(out: str | Path | None) -> Iterator[Path]:
    if out is not None:
        yield expand_home(Path(out))
        return
    with temporary_run() as directory:
        yield directory
