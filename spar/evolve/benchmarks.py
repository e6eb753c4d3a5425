"""The prompts of the benchmarks that this machine has, to keep evolved prompts out of them.

A benchmark declares how its prompts are read (`spar.eval.benchmark.Benchmark.prompt_texts`): IFEval's prompts,
FollowBench's instructions at every level, the questions of MMLU's test, and so on. The prompts of a benchmark
without a data set, such as nano-if, are always available.
"""

from __future__ import annotations

from collections.abc import Sequence

from spar.data_folder import data_root
from spar.errors import UsageError
from spar.eval.benchmark import Benchmark
from spar.eval.datasets.local import open_data
from spar.eval.datasets.registry import data_set
from spar.evolve.contamination import BenchmarkPrompts
from spar.plugins import BENCHMARKS


def load_benchmark_prompts(data: str = "") -> tuple[list[BenchmarkPrompts], tuple[str, ...]]:
    """The prompts of every benchmark whose data are on this machine, and the names of the others.

    Parameters
    ----------
    data:
        As `spar.eval.datasets.local.open_data` takes it.

    Raises
    ------
    UsageError
        A benchmark's data are incomplete or damaged.
    """
    benchmarks, absent = [], []
    for name in BENCHMARKS:
        spec = BENCHMARKS.spec(name)
        if spec.prompt_texts is Benchmark.prompt_texts:
            continue
        folder = None
        if spec.data:
            try:
                folder = open_data(spec.data[0], data)
            except UsageError:
                if _is_partial(spec.data[0], data):
                    raise
                absent.append(name)
                continue
        texts = dict(spec.prompt_texts(folder))
        digest = folder.digest if folder else ""
        benchmarks.append(BenchmarkPrompts(name, texts, digest, whole_only=spec.templated))
    return benchmarks, tuple(absent)


def absent_note(absent: Sequence[str]) -> str:
    """The benchmarks that are missing on this machine; "" where there are none."""
    if not absent:
        return ""
    return (
        f"not compared with {', '.join(absent)}, whose data are not on this machine (spar data fetch "
        f"{' '.join(absent)}; --data DIR)"
    )


def _is_partial(name: str, data: str) -> bool:
    folder = data_root(data) / name
    return any((folder / path).exists() for path in data_set(name).files)
