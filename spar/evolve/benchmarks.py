"""The prompts of the benchmarks that this machine has, to keep evolved prompts out of them.

Taken are the texts that a model is given: IFEval's prompts, FollowBench's instructions at every level, LLMBar's
instructions, the questions of GSM8K's, MMLU's and TriviaQA's tests, HumanEval's functions. The test
prompts of nano-if are always available; since they are drawn from few templates, only the same words count there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePath

from spar.errors import UsageError
from spar.eval.datasets.local import DataFolder, data_root, open_data
from spar.eval.datasets.registry import data_set
from spar.eval.humaneval.benchmark import FILE as HUMANEVAL
from spar.eval.ifeval import FILE as IFEVAL
from spar.eval.llmbar.pairs import SUBSETS
from spar.evolve.contamination import BenchmarkPrompts
from spar.nano.tasks import prompts as nano_prompts

Items = Iterator[tuple[str, str]]
"""Name and text of each prompt."""


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
    for name, items in _ITEMS.items():
        try:
            folder = open_data(name, data)
        except UsageError:
            if _is_partial(name, data):
                raise
            absent.append(name)
            continue
        benchmarks.append(BenchmarkPrompts(name, dict(items(folder)), folder.digest))
    nano = {prompt.id: prompt.messages[-1].content for prompt in nano_prompts("test")}
    return [*benchmarks, BenchmarkPrompts("nano-if", nano, whole_only=True)], tuple(absent)


def _is_partial(name: str, data: str) -> bool:
    folder = data_root(data) / name
    return any((folder / path).exists() for path in data_set(name).files)


def _ifeval(folder: DataFolder) -> Items:
    for row in folder.jsonl(IFEVAL):
        yield str(row["key"]), row["prompt"]


def _followbench(folder: DataFolder) -> Items:
    for path in data_set("followbench").files:
        for row in folder.json(path):
            file = path.removesuffix("_constraints.json")
            yield f"{file}/{row['example_id']}/{row['level']}", row["instruction"]


def _llmbar(folder: DataFolder) -> Items:
    for subset, path in SUBSETS.items():
        for index, row in enumerate(folder.json(path)):
            yield f"{subset}/{index}", row["input"]


def _gsm8k(folder: DataFolder) -> Items:
    for index, row in enumerate(folder.jsonl("test.jsonl")):
        yield str(index), row["question"]


def _humaneval(folder: DataFolder) -> Items:
    for row in folder.jsonl(HUMANEVAL):
        yield row["task_id"], row["prompt"]


def _mmlu(folder: DataFolder) -> Items:
    for path in data_set("mmlu").files:
        if path.startswith("test/"):
            subject = PurePath(path).stem.removesuffix("_test")
            for index, row in enumerate(folder.csv(path)):
                yield f"{subject}/{index}", row["question"]


def _triviaqa(folder: DataFolder) -> Items:
    for row in folder.jsonl("validation_unfiltered.jsonl"):
        yield str(row["id"]), row["question"]


_ITEMS: Mapping[str, Callable[[DataFolder], Items]] = {
    "ifeval": _ifeval,
    "followbench": _followbench,
    "llmbar": _llmbar,
    "gsm8k": _gsm8k,
    "humaneval": _humaneval,
    "mmlu": _mmlu,
    "triviaqa": _triviaqa,
}
"""Data set to the function that reads its prompts."""
