"""The benchmark that a name stands for: one of spar's or of an installed plug-in, a class by its path, or a task of lm-eval."""

from __future__ import annotations

from functools import partial

from spar.errors import UsageError, did_you_mean
from spar.eval.benchmark import Benchmark, BenchmarkSpec
from spar.hardware import has_package
from spar.plugins import BENCHMARKS, is_path


def benchmark_spec(name: str) -> BenchmarkSpec:
    """What opens a benchmark; a name that nobody knows is refused when it is opened."""
    if name in BENCHMARKS or is_path(name) or BENCHMARKS.is_registered(name):
        return BENCHMARKS.spec(name)
    return BENCHMARKS.spec_of(partial(_harness_task, name))


def _harness_task(name: str) -> Benchmark:
    hint, more = did_you_mean(name, BENCHMARKS), "with lm-eval installed, one of its tasks"
    if has_package("lm_eval"):
        from spar.eval.lm_harness.benchmark import is_mentioned, known_tasks, task

        more = "a task of lm-eval"
        if not hint or is_mentioned(name):  # their index takes a minute
            tasks = known_tasks()
            if name in tasks:
                return task(name)
            hint = hint or did_you_mean(name, tasks)
    raise UsageError(
        f"unknown benchmark {name!r}{hint} (accepted: {', '.join(BENCHMARKS)}, module:attribute, or {more})"
    )
