"""Before an evaluation or a sweep: its examples, its first prompt as it will be sent, and the most calls it can make.

Reads the benchmarks' data; loads no model and writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from spar.config import EvalConfig
from spar.estimate.calls import conversation, most_calls, most_responses
from spar.eval.benchmark import Benchmark
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
    lines = [*_opening(opened), f"{len(points)} points:"]
    total = 0
    for point in points:
        searched = opened.config.model_copy(update=point.changes(opened.config.strategy_args))
        calls = most_calls(searched, len(opened.examples))[1]
        total += calls
        lines.append(
            f"  {point.name}: at most {most_responses(searched)} responses per example, {calls:,} calls"
        )
    lines.append(f"at most {total:,} calls; trees that a larger point holds are not searched again")
    return "\n".join([*lines, *_more_calls(opened)])


def _opening(opened: OpenedBenchmark) -> Iterator[str]:
    yield f"== {opened.config.benchmark} =="
    yield f"directory: {opened.outputs.directory}"
    yield f"{len(opened.examples):,} of {opened.whole:,} examples; the first one:"
    if opened.examples:
        yield conversation(opened.examples[0].messages)


def _cost(opened: OpenedBenchmark) -> Sequence[str]:
    if opened.outputs.external_answers is not None:
        return [f"responses: from {opened.config.responses}, no calls", *_more_calls(opened)]
    config, count = opened.config, len(opened.examples)
    once, retried = most_calls(config, count)
    return [
        f"strategy {config.strategy}, budget {config.budget}: at most {most_responses(config)} responses "
        f"per example, {once:,} calls if every reply parses, {retried:,} at most",
        *_more_calls(opened),
    ]


def _more_calls(opened: OpenedBenchmark) -> list[str]:
    lines: list[str] = []
    if (
        opened.outputs.external_answers is None
        and type(opened.benchmark).respond is not Benchmark.respond
    ):
        lines.append("plus the calls of the benchmark's own jobs")
    if opened.benchmark.uses_grader and opened.outputs.external_grades is None:
        lines.append("plus the calls of the grader")
    return lines
