"""The Python API: what `import spar` offers, and what the commands do.

    tree = spar.search("Write two lines about rain.", model="Qwen/Qwen3-8B", budget=15)
    run = spar.decode("prompts.jsonl", base_url="http://host:8000/v1", out="runs/mine")    # resumes
    evaluation = spar.evaluate("ifeval", model="Qwen/Qwen3-8B", strategy=my_strategy, judge=my_function)

Keyword arguments are the settings of the commands (`spar.config`), by their Python names; `recipe` names a
YAML file or a shipped recipe that they override. `strategy`, `engine`, `judge`, `refiner` and a benchmark
may be given by name, as a spec, as an object or as a plain function (`spar.plugins`).

Each function has an async form for callers with an event loop of their own. The others work everywhere:
in a script, under pytest, and in a notebook, whose running loop they leave alone. Ctrl-C cancels what is
running; a run with a directory can be resumed by the same call.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spar.config import DecodeConfig
from spar.errors import UsageError
from spar.eval.compare import Comparison
from spar.eval.compare import compare as compare_evaluations
from spar.eval.runner import EvalRequest
from spar.eval.runner import evaluate as run_evaluation
from spar.eval.sweep import BUDGETS
from spar.eval.sweep_runner import Sweep
from spar.eval.sweep_runner import sweep as run_sweep
from spar.eval.sweep_table import Row
from spar.listener import Broadcast, Listener, LogListener
from spar.plugins import BENCHMARKS, STRATEGIES
from spar.record.evaluation import Example, Results, read_examples
from spar.run.blocking import blocking
from spar.run.decoding import (
    IN_MEMORY,
    DecodeResult,
    PromptLike,
    as_prompts,
    prompt_source,
    run_decode,
    source_of,
)
from spar.run.interactive import Session
from spar.run.keywords import decode_config, eval_config
from spar.run.resume import PromptSource
from spar.types import SearchTree


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


async def search_async(
    prompt: PromptLike,
    *,
    listener: Listener | None = None,
    recipe: str | None = None,
    **settings: Any,
) -> SearchTree:
    """Search an answer to one prompt; stores nothing.

    Loads the model and frees it again. For several searches, use `open_session`, or `decode`.

    Parameters
    ----------
    prompt:
        A text, a row such as `{"messages": [...]}`, or a `Prompt`.
    listener:
        Receives the events of the search; by default notes go to the logger "spar".
    recipe:
        A YAML file or a shipped recipe; by default the paper's settings, for the embedded model its own.
    settings:
        Fields of `spar.config.DecodeConfig`: `model`, `base_url`, `strategy`, `budget`, ...

    Returns
    -------
    The tree; `tree.answer` is the text of the best node, None where every attempt failed.

    Raises
    ------
    UsageError
        An unknown setting, a value out of range, or a model that cannot be loaded.
    EngineError
        A request could not be served.
    """
    result = await decode_async([prompt], listener=listener, recipe=recipe, **settings)
    return next(iter(result))


search = blocking(search_async)


async def decode_async(
    prompts: str | Path | Iterable[PromptLike] = "",
    *,
    out: str | Path | None = None,
    overwrite: bool = False,
    listener: Listener | None = None,
    recipe: str | None = None,
    **settings: Any,
) -> DecodeResult:
    """Search an answer to every prompt.

    Parameters
    ----------
    prompts:
        A file of prompts (.jsonl, .json, .txt), or texts, rows or `Prompt` objects; "" for the built-in
        prompts of nano-if.
    out:
        The run directory. The same call resumes it; other settings are refused. None stores nothing.
    overwrite:
        Delete an earlier run in the directory first.
    listener, recipe, settings:
        As in `search`. `spar.progress.ProgressBar()` is a listener that shows progress.

    Returns
    -------
    The trees in the order of the prompts, and the totals of the run.

    Raises
    ------
    UsageError
        As in `search`; a wrong row; a directory that holds something else.
    ConfigChanged
        The directory holds a run with other settings; the message has the difference.
    RunStopped
        A request could not be served, or the disk is full. The same call resumes.
    """
    listener = listener or LogListener()
    config, source = _prompts(decode_config(recipe, settings), prompts)
    ids = tuple(prompt.id for prompt in source.read())
    if out is not None:
        decoded = await run_decode(
            config, source, out=Path(out), overwrite=overwrite, listener=listener
        )
        return DecodeResult(decoded.directory, decoded.summary, ids)
    trees = _Trees()
    with _temporary() as directory:
        decoded = await run_decode(
            config, source, out=directory, listener=Broadcast(trees, listener)
        )
    return DecodeResult(None, decoded.summary, ids, trees.by_id)


decode = blocking(decode_async)


async def evaluate_async(
    benchmark: Any,
    *,
    out: str | Path | None = None,
    overwrite: bool = False,
    responses: str | Path = "",
    judge_outputs: str | Path = "",
    allow_missing: bool = False,
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
        A file with the replies of a grader in place of asking one.
    allow_missing:
        Score the examples that `responses` has; unanswered ones fail.
    overwrite, listener, recipe:
        As in `decode`.
    settings:
        Fields of `spar.config.EvalConfig`. The strategy is greedy decoding unless given.

    Returns
    -------
    Totals and every example with its verdicts.

    Raises
    ------
    UsageError
        As in `decode`; an unknown benchmark, or data that is missing.
    RunStopped
        A request could not be served; the same call resumes.
    """
    name = BENCHMARKS.name_of(benchmark)
    config = eval_config(recipe, {**settings, "responses": str(responses)})
    with _directory(out) as directory:
        request = EvalRequest(
            (name,),
            out=directory,
            overwrite=overwrite,
            judge_outputs=str(judge_outputs),
            allow_missing=allow_missing,
        )
        results, error = await run_evaluation(config, request, listener or LogListener())
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
    budgets: Sequence[int] = BUDGETS,
    metric: str = "",
    out: str | Path | None = None,
    overwrite: bool = False,
    listener: Listener | None = None,
    recipe: str | None = None,
    **settings: Any,
) -> list[Row]:
    """Measure strategies at several budgets; smaller budgets are read out of larger searches.

    Parameters
    ----------
    strategies:
        Names, specs or functions.
    budgets:
        Most responses of a prompt, one point each.
    metric:
        The metric of the rows; "" for the benchmark's headline.
    benchmark, out, overwrite, listener, recipe, settings:
        As in `evaluate`. With `out`, also writes `sweep.csv`, `sweep.md` and `sweep.png` there.

    Returns
    -------
    One row a point: value, standard error, and the cost of a prompt in nodes, calls, tokens and seconds.

    Raises
    ------
    UsageError, RunStopped
        As in `evaluate`.
    """
    name = BENCHMARKS.name_of(benchmark)
    config = eval_config(recipe, settings)
    grid = Sweep(
        tuple(STRATEGIES.name_of(strategy) for strategy in strategies),
        tuple(budgets),
        metric=metric,
        deepen="depth" not in settings,
    )
    with _directory(out) as directory:
        request = EvalRequest((name,), out=directory, overwrite=overwrite)
        return await run_sweep(
            config, request, grid, directory=directory / name, listener=listener or LogListener()
        )


sweep = blocking(sweep_async)


def compare(
    first: str | Path, second: str | Path, *, allow_missing: bool = False
) -> list[Comparison]:
    """Compare two evaluations example by example: paired bootstrap, flips, McNemar's test.

    Parameters
    ----------
    first, second:
        Directories of evaluations, or folders of several.
    allow_missing:
        Compare the examples that both have where the sets differ.

    Raises
    ------
    UsageError
        A directory holds no finished evaluation, or they have no benchmark in common.
    """
    return compare_evaluations(Path(first), Path(second), allow_missing=allow_missing)


async def compare_async(
    first: str | Path, second: str | Path, *, allow_missing: bool = False
) -> list[Comparison]:
    """Like `compare`, in a thread."""
    return await asyncio.to_thread(compare, first, second, allow_missing=allow_missing)


def open_session(
    *, listener: Listener | None = None, recipe: str | None = None, **settings: Any
) -> Session[DecodeConfig]:
    """A session, whose models stay loaded from one search to the next; close it, or use `with`.

    Parameters
    ----------
    listener, recipe, settings:
        As in `search`.

    Raises
    ------
    UsageError
        An unknown setting, or a value out of range.
    """
    return Session(decode_config(recipe, settings), listener or LogListener())


class _Trees(Listener):
    """Collects the trees of a run that stores nothing."""

    def __init__(self) -> None:
        self.by_id: dict[str, SearchTree] = {}

    def tree(self, tree: SearchTree) -> None:
        """Store it under its prompt's id."""
        self.by_id[tree.prompt.id] = tree


@contextmanager
def _temporary() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="spar-") as folder:
        yield Path(folder) / "run"


@contextmanager
def _directory(out: str | Path | None) -> Iterator[Path]:
    if out is not None:
        yield Path(out)
        return
    with _temporary() as directory:
        yield directory


def _prompts(
    config: DecodeConfig, prompts: str | Path | Iterable[PromptLike]
) -> tuple[DecodeConfig, PromptSource]:
    if isinstance(prompts, str | Path):
        config = config.model_copy(update={"prompts": str(prompts)})
        return config, prompt_source(config)
    config = config.model_copy(update={"prompts": IN_MEMORY})
    source = source_of(list(as_prompts(prompts))[: config.limit])
    if not source.count:
        raise UsageError("there are no prompts; give at least one")
    return config, source
