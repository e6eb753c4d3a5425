"""The contract: what a benchmark is, and what it may ask of a run.

A benchmark loads its examples as prompts, has them answered and graded in stages, and scores what the
stages left behind. Each stage is a run directory of its own below the benchmark's, so that it resumes
and can be browsed; scoring reads these directories, or files that a person gave in their place, and
never calls a model.

    class Mine(Benchmark):
        data = ("mine",)                                  data sets it reads
        def load(self, config): ...                       examples
        async def respond(self, stages, examples): ...    if the configured search is not all that answers
        async def grade(self, stages, examples): ...      a judge's replies, where programs cannot tell
        def score(self, examples, kept): ...              verdicts and metrics
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

from pydantic import BaseModel

from spar.config import EvalConfig
from spar.errors import UsageError
from spar.plugins import parse_options
from spar.record.evaluation import Scored
from spar.run.job import Job
from spar.types import Prompt, Role, SearchTree, Usage

ANSWERS = ""
"""Name of the stage that answers; its trees lie in the benchmark's own directory."""
GRADES = "grades"
"""Name of the stage in which a grader is asked about the answers."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What answers one prompt."""

    text: str | None
    """None where every attempt failed."""
    usage: Usage = Usage()
    """What it cost, zero where it came from a file."""

    @classmethod
    def of(cls, tree: SearchTree) -> Answer:
        """What a search ended with."""
        return cls(tree.answer, tree.usage)


class JobRunner(Protocol):
    """What a run does for a benchmark."""

    @property
    def config(self) -> EvalConfig:
        """The run's settings."""
        ...

    @property
    def kept(self) -> JobOutputs:
        """What the stages so far have left, or what a person gave in their place."""
        ...

    async def run(self, job: Job) -> None:
        """Search every prompt of a stage that is not in its run directory yet."""
        ...


class JobOutputs(Protocol):
    """What stages left behind, or what a person gave in their place."""

    @property
    def directory(self) -> Path | None:
        """The benchmark's directory, None where everything comes from files."""
        ...

    def trees(self, job: str) -> Iterable[SearchTree]:
        """The trees of a stage, none where it did not run."""
        ...

    def answers(self, job: str = ANSWERS) -> Mapping[str, Answer]:
        """Prompt id to its answer: of the file that a person gave, where one was given, else of the
        stage's trees."""
        ...

    def outputs(self, job: str = GRADES) -> Mapping[str, tuple[str, ...]]:
        """Prompt id to what a grader wrote, all attempts in order: of the file that a person gave, where
        one was given, else the responses of the stage's trees."""
        ...


class Benchmark(ABC):
    """One benchmark: what to ask, and what the answers are worth."""

    data: tuple[str, ...] = ()
    """Names of the data sets that it reads (`spar.eval.datasets.local`), () where it makes its own."""
    measures: Role = "actor"
    """The role whose model a report names."""
    limits_itself: bool = False
    """Whether `load` heeds `--limit`; else the first examples are taken."""
    refines_responses: bool = False
    """Whether `--responses` gives what it works on, not answers to score."""
    options: ClassVar[type[BaseModel] | None] = None
    """Options of its own (`--benchmark-arg NAME=VALUE`) as a pydantic model with defaults; the class is
    called with them as keyword arguments."""
    graded: bool = False
    """Whether a grader may be asked, or its outputs be given (`--judge-outputs`)."""

    @abstractmethod
    def load(self, config: EvalConfig) -> list[Prompt]:
        """Every example, as the prompt that a model answers; whatever scoring needs is in its meta.

        Raises
        ------
        UsageError
            The data is missing or damaged.
        """

    async def respond(self, jobs: JobRunner, examples: Sequence[Prompt]) -> None:
        """Have the examples answered: by the run's own search."""
        await jobs.run(Job(ANSWERS, examples))

    async def grade(self, jobs: JobRunner, examples: Sequence[Prompt]) -> None:  # noqa: B027  most need none
        """Have the answers graded by a model; nothing where a program tells what they are worth."""

    @abstractmethod
    def score(self, examples: Sequence[Prompt], kept: JobOutputs) -> Scored:
        """Verdicts and metrics of every example, in order; pure but for reading files."""

    def stored_answer(self, tree: SearchTree) -> Answer:
        """What a tree that a person stored says, where `--responses` names a run directory."""
        return Answer.of(tree)


@dataclass(frozen=True, slots=True)
class BenchmarkSpec:
    """A benchmark, and the options that it is made with."""

    make: Callable[..., Benchmark]
    """Called with the options as keyword arguments."""
    options: type[BaseModel] | None = None

    def open(self, name: str, values: Mapping[str, Any]) -> Benchmark:
        """The benchmark with its options; raises `UsageError` for one that it does not have."""
        parsed = parse_options(self.options, values, flag="--benchmark-arg", name=name)
        return self.make(**(parsed.model_dump() if parsed else {}))


def as_spec(target: object) -> BenchmarkSpec:
    """A spec as it is, or one of a benchmark, a benchmark's class, or a function that makes one.

    Raises
    ------
    UsageError
        It is none of these.
    """
    if isinstance(target, BenchmarkSpec):
        return target
    if isinstance(target, Benchmark):
        return BenchmarkSpec(lambda: target)
    if callable(target):
        return BenchmarkSpec(target, options=getattr(target, "options", None))
    raise UsageError(
        f"{target!r} is not a benchmark; expected a BenchmarkSpec, a spar.Benchmark or its class"
    )
