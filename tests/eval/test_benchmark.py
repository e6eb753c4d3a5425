"""A benchmark declares everything about itself in its class: one file adds one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from spar.cli.app import app
from spar.config import EvalConfig
from spar.eval.benchmark import Benchmark, JobOutputs, JobRunner, as_spec, declared_spec
from spar.eval.datasets.local import DataFolder
from spar.eval.paper import PaperTable
from spar.eval.sweep_table import headline
from spar.evolve.benchmarks import load_benchmark_prompts
from spar.plugins import BENCHMARKS
from spar.prompts import prompt_from_text
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


@pytest.mark.data
@pytest.mark.evalharness
@pytest.mark.parametrize(
    ("benchmark", "lines"),
    [
        ("gsm8k", ["strategy bfs, budget 15: at most 15 responses per example, 180 calls"]),
        ("mmlu", ["8 texts to score, 4 per example; they are not searched"]),
        ("perplexity", ["2 texts to score, 1 per example; they are not searched"]),
        ("llmbar --judge-votes 3", ["6 calls; nothing is searched"]),
        ("llmbar-pairwise", ["2 calls; nothing is searched"]),
        ("humaneval --allow-code-execution", ["strategy bfs, budget 15: at most 15 responses"]),
        ("nano-if-answers", ["strategy bfs, budget 15: at most 15 responses per example"]),
        ("nano-if", ["strategy bfs, budget 15: at most", "plus the judgement of each first draft"]),
        ("refinement", ["15 responses for each of 2 prompts", "plus at most 20 greedy drafts"]),
        (f"{__name__}:OwnJobs", ["strategy bfs", "plus the calls of the benchmark's own jobs"]),
    ],
    ids=lambda value: value.split()[0] if isinstance(value, str) else "",
)
def test_a_benchmark_says_what_it_asks_of_models(
    benchmark: str, lines: list[str], data_root: Path
) -> None:
    """A search is priced where there is one, likelihoods and judgements are counted, and nothing is counted twice."""
    pytest.importorskip("lm_eval")
    search = "--limit 2 --strategy bfs --budget 15 --engine fake --dry-run"
    command = f"eval {benchmark} {search} --data {data_root}"
    result = CliRunner().invoke(app, command.split())
    assert result.exit_code == 0, result.output
    found = re.findall(r"^(?:strategy|plus|[\d,]+ (?:texts|calls)).*", result.output, re.MULTILINE)
    found = [line for line in found if line != "plus the calls of the grader"]
    assert len(found) == len(lines), found
    assert all(words in line for words, line in zip(lines, found, strict=True)), found


@pytest.mark.data
@pytest.mark.evalharness
def test_a_sweep_of_what_is_not_searched(data_root: Path) -> None:
    """Its points are as many scorings of the same texts."""
    pytest.importorskip("lm_eval")
    grid = "--strategies greedy,bfs --budgets 1,3 --limit 2 --engine fake --dry-run"
    result = CliRunner().invoke(app, f"sweep mmlu {grid} --data {data_root}".split())
    assert result.exit_code == 0, result.output
    assert result.output.rstrip().endswith(
        "3 points:\n  bfs-3: nothing is searched\n  bfs-1: nothing is searched\n  greedy-1: nothing is searched\n"
        "at each point 8 texts to score, 4 per example; they are not searched"
    )


class OwnJobs(Benchmark):
    """It does not say what its jobs do."""

    def load(self, config: EvalConfig) -> list[Prompt]:
        """Two prompts."""
        return [prompt_from_text("Say a."), prompt_from_text("Say b.")]

    async def respond(self, runner: JobRunner, examples: Sequence[Prompt]) -> None:
        """Not run here."""

    def score(self, examples: Sequence[Prompt], outputs: JobOutputs) -> Scored:
        """Not run here."""
        return Scored(examples=())
