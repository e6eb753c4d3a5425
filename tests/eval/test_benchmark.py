"""A benchmark declares everything about itself in its class: one file adds one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest

from spar.config import EvalConfig
from spar.eval.benchmark import Benchmark, JobOutputs, as_spec, declared_spec
from spar.eval.datasets.local import DataFolder
from spar.eval.paper import PaperTable
from spar.eval.sweep_table import headline
from spar.evolve.benchmarks import load_benchmark_prompts
from spar.plugins import BENCHMARKS
from spar.record.evaluation import Metric, Results, Scored
from spar.types import Prompt

TABLE = PaperTable("Table 0", {"loudness": "dB"}, {"a model": (1.0,)})


class Shouting(Benchmark):
    """Declares a headline, a table of the paper and its prompts."""

    headline = "loudness"
    paper = TABLE

    @staticmethod
    def prompt_texts(folder: DataFolder | None) -> Iterator[tuple[str, str]]:
        """One prompt, without a data set."""
        assert folder is None
        yield "0", "Shout the name of the river that runs through Vienna."

    def load(self, config: EvalConfig) -> list[Prompt]:
        """No example."""
        return []

    def score(self, examples: Sequence[Prompt], outputs: JobOutputs) -> Scored:
        """No score."""
        return Scored(examples=())


@dataclass(slots=True)
class Whispering(Shouting):
    """A dataclass with slots that has a field with the name of a declaration."""

    headline: str = "silence"


def test_the_declarations_of_a_class_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """The headline in sweeps, the paper's table in reports, the prompts in contamination checks."""
    monkeypatch.setitem(BENCHMARKS, "shouting", f"{__name__}:Shouting")
    metric = Metric(value=1.0, stderr=None, n=1)
    results = Results(benchmark="shouting", n=1, metrics={"first": metric, "loudness": metric})
    assert headline(results) == "loudness"
    spec = declared_spec("shouting")
    assert spec is not None and spec.paper is TABLE
    loaded, _ = load_benchmark_prompts()
    (prompts,) = (benchmark for benchmark in loaded if benchmark.name == "shouting")
    assert list(prompts.texts) == ["0"] and not prompts.whole_only


def test_a_task_of_lm_eval_declares_nothing() -> None:
    """A name outside the table has no spec, and its headline is its first metric."""
    assert declared_spec("hellaswag") is None
    metric = Metric(value=1.0, stderr=None, n=1)
    assert headline(Results(benchmark="hellaswag", n=1, metrics={"acc": metric})) == "acc"


def test_fields_of_a_class_with_slots_are_not_declarations() -> None:
    """The field of an object is used; for the class, the default of the spec is."""
    assert as_spec(Whispering).headline == ""
    assert as_spec(Whispering()).headline == "silence"
