"""Before an evaluation or a sweep: its examples, its first prompt as it will be sent, and the most calls it can make.

Reads the benchmarks' data; loads no model and writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

from spar.config import EvalConfig
from spar.estimate.calls import conversation, most_calls, most_responses
from spar.eval.benchmark import Work
from spar.eval.runner import (
    EvalRequest,
    OpenedBenchmark,
    default_directory,
    find_benchmarks,
    open_benchmark,
)
from spar.eval.sweep import plan
from spar.eval.sweep_runner import Sweep
from spar.eval.sweep_runner import default_directory as default_sweep_directory
from spar.infer.strategy import SearchConfig
from spar.record.outcomes import pluralize


def evaluation_text(config: EvalConfig, request: EvalRequest) -> str:
    """What `spar eval` would do.

    Raises
    ------
    UsageError
        An unknown benchmark, a package that is missing, or data or a file of responses that is missing or wrong.
    """
    find_benchmarks(config, request)
    directory = request.out or default_directory(config)
    blocks: list[str] = []
    for name in request.names:
        opened = open_benchmark(name, config, request, directory / name)
        blocks.append("\n".join([*_opening(opened), *_cost(opened)]))
    return "\n\n".join(blocks)


def sweep_text(config: EvalConfig, request: EvalRequest, grid: Sweep) -> str:
    """What `spar sweep` would do; parameters and errors as for `spar.eval.sweep_runner.sweep`."""
    shape = SearchConfig(config.branching, config.beam_width, config.depth)
    points = plan(grid.strategies, grid.budgets, shape, deepen=grid.deepen)
    find_benchmarks(config, request)
    name = request.names[0]
    directory = (request.out or default_sweep_directory(config)) / name
    opened = open_benchmark(name, config, request, directory)
    work = opened.benchmark.work(opened.config, opened.examples)
    lines = [*_opening(opened), f"{len(points)} points:"]
    total = 0
    for point in points:
        searched = opened.config.model_copy(update=point.changes(opened.config.strategy_args))
        calls = most_calls(searched, work.searches)[1] if work.searches else 0
        total += calls
        cost = f"at most {_responses(searched, opened, work)}, {calls:,} calls"
        lines.append(f"  {point.name}: {cost if work.searches else 'nothing is searched'}")
    if work.searches:
        lines.append(
            f"at most {total:,} calls; trees that a larger point holds are not searched again"
        )
    if grid.metric:
        lines.append(
            f"--metric {grid.metric}: whether {name} has it is known once the first point is scored"
        )
    each = [f"at each point {line}" for line in _not_searched(opened, work)]
    return "\n".join([*lines, *each, *_more_calls(opened, work)])


def _opening(opened: OpenedBenchmark) -> Iterator[str]:
    yield f"== {opened.config.benchmark} =="
    yield f"directory: {opened.outputs.directory}"
    yield f"{len(opened.examples):,} of {opened.whole:,} examples; the first one:"
    if opened.examples:
        yield conversation(opened.examples[0].messages)


def _cost(opened: OpenedBenchmark) -> Iterator[str]:
    if opened.outputs.external_answers is not None:
        yield f"responses: from {opened.config.responses}, no calls"
        yield from _more_calls(opened, Work())
        return
    config = opened.config
    work = opened.benchmark.work(config, opened.examples)
    if work.searches:
        once, retried = most_calls(config, work.searches)
        yield (
            f"strategy {config.strategy}, budget {config.budget}: at most {_responses(config, opened, work)}, "
            f"{once:,} calls if every reply parses, {retried:,} at most"
        )
    yield from _not_searched(opened, work)
    yield from _more_calls(opened, work)


def _responses(config: EvalConfig, opened: OpenedBenchmark, work: Work) -> str:
    """The most responses of a tree, and how many trees there are where not every example is searched."""
    whole = work.searches == len(opened.examples)
    each = "per example" if whole else f"for each of {work.searches:,} prompts"
    return f"{pluralize(most_responses(config), 'response')} {each}"


def _not_searched(opened: OpenedBenchmark, work: Work) -> Iterator[str]:
    """What is asked of a model without a search, whatever the strategy and the budget."""
    if work.texts:
        each = f"{work.texts / max(1, len(opened.examples) - work.searches):,.1f}"
        yield f"{work.texts:,} texts to score, {each.removesuffix('.0')} per example; they are not searched"
    if work.calls:
        yield f"{pluralize(work.calls, 'call')}; nothing is searched"


def _more_calls(opened: OpenedBenchmark, work: Work) -> Iterator[str]:
    if work.more:
        yield f"plus {work.more}"
    if opened.benchmark.uses_grader and opened.outputs.external_grades is None:
        yield "plus the calls of the grader"
