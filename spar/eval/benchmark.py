"""The contract of a benchmark: load examples, have them answered and graded, score the results.

    class Shouting(Benchmark):
        def load(self, config):                           the examples, as prompts
            return [...]
        def score(self, examples, outputs):               verdicts and metrics of the answers
            return Scored(examples=...)

A benchmark has its examples answered and graded by jobs (`spar.run.job.Job`). The job `ANSWERS` writes its
trees to the benchmark's own run directory, every other job to a directory below it, so each of them
resumes and can be browsed. `score` reads these directories, or external answers and grades from files in
their place, and never calls a model.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MemberDescriptorType
from typing import Any, ClassVar, Protocol

from pydantic import BaseModel

from spar.config import EvalConfig
from spar.errors import UsageError
from spar.eval.datasets.local import DataFolder
from spar.eval.paper import PaperTable
from spar.plugins import BENCHMARKS, parse_options
from spar.record.evaluation import Scored
from spar.run.job import Job
from spar.types import Prompt, Role, SearchTree, Usage

ANSWERS = ""
"""Name of the job that answers the examples; its trees are in the benchmark's own directory."""
GRADES = "grades"
"""Name of the job in which a grader judges the answers."""
PYTHON = "python"
"""Among a benchmark's packages: the interpreter."""

PromptTexts = Callable[[DataFolder | None], Iterator[tuple[str, str]]]
"""A function like `Benchmark.prompt_texts`."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one prompt."""

    text: str | None
    """None if every attempt failed."""
    usage: Usage = Usage()
    """What it cost; zero for an answer from a file."""

    @classmethod
    def of(cls, tree: SearchTree) -> Answer:
        """The answer of a search."""
        return cls(tree.answer, tree.usage)


@dataclass(frozen=True, slots=True)
class Work:
    """What a benchmark's `respond` asks of models, for `--dry-run`."""

    searches: int = 0
    """Prompts that the run's own search answers, at most."""
    texts: int = 0
    """Texts whose likelihoods are asked of the engine; they are not searched."""
    calls: int = 0
    """Calls of jobs that do not search, such as judgements of given responses."""
    more: str = ""
    """What comes on top and is not known before, such as `the judgement of each first draft`; "" for nothing."""


class JobRunner(Protocol):
    """Runs the jobs of a benchmark."""

    @property
    def config(self) -> EvalConfig:
        """The run's settings."""
        ...

    @property
    def outputs(self) -> JobOutputs:
        """The outputs of the jobs run so far."""
        ...

    async def run(self, job: Job) -> None:
        """Search every prompt of a job that has no tree in the job's directory yet."""
        ...


class JobOutputs(Protocol):
    """The outputs of a benchmark's jobs, and external answers and grades in their place."""

    @property
    def directory(self) -> Path | None:
        """The benchmark's directory, None if everything comes from files."""
        ...

    def trees(self, job: str) -> Iterable[SearchTree]:
        """The trees of a job; none if it was not run."""
        ...

    def answers(self, job: str = ANSWERS) -> Mapping[str, Answer]:
        """Prompt id to its answer: external answers if there are any, else those of the job's trees."""
        ...

    def grader_replies(self, job: str = GRADES) -> Mapping[str, tuple[str, ...]]:
        """Prompt id to the grader's replies, all attempts in order: external grades if there are any,
        else the responses of the job's trees."""
        ...


class Benchmark(ABC):
    """Base class of benchmarks. Subclasses implement `load` and `score`; the rest has defaults."""

    data: tuple[str, ...] = ()
    """Names of the data sets it reads (`spar.eval.datasets`), () if it makes its own examples."""
    optional_data: tuple[str, ...] = ()
    """Names of the data sets that it reads where they are on this machine; where one is absent, its notes say
    what is missing."""
    reads_prompts: bool = False
    """Whether its examples may come from the file of `--prompts`, in place of its data."""
    measures: Role = "actor"
    """The role whose model a report names."""
    limits_itself: bool = False
    """Whether `load` applies `--limit`; otherwise `limited` does."""
    extracts_answers: ClassVar[bool] = False
    """Whether it reads answers out of responses by which these can be compared (`--answer`)."""
    refines_responses: bool = False
    """Whether `--responses` gives responses to refine, rather than answers to score."""
    options: ClassVar[type[BaseModel] | None] = None
    """Options of its own (`--benchmark-arg NAME=VALUE`) as a pydantic model with defaults; the class is
    called with them as keyword arguments."""
    uses_grader: bool = False
    """Whether a grader may be called, or its replies be read from a file (`--judge-outputs`)."""
    grader_role: ClassVar[Role | None] = None
    """The role in which that grader is asked, whose settings decide the verdicts too; None where it is none of these alone."""
    packages: ClassVar[tuple[str, ...]] = ()
    """Distributions, and `python`, whose versions its verdicts can depend on; the results name the versions."""
    runs_code: ClassVar[bool] = False
    """Whether its verdicts run code that the model wrote, which `--allow-code-execution` must permit."""
    headline: str = ""
    """The metric that plots and sweeps show; "" for the first."""
    occasional_metrics: ClassVar[tuple[str, ...]] = ()
    """Metrics of some examples alone, such as rejected drafts, which an evaluation may therefore lack."""
    paper: ClassVar[PaperTable | None] = None
    """The paper's numbers, which `spar eval` prints below the results."""
    templated: ClassVar[bool] = False
    """Whether its prompts are drawn from few templates, so that only equal texts count as contaminated."""

    def require_packages(self) -> None:  # noqa: B027  most need none
        """Raise `MissingExtra` where a package that it always needs is not installed: before its data are downloaded."""

    @property
    def likelihoods_of(self) -> str:
        """The texts whose likelihoods it scores, known once it is loaded; "" where it scores replies, which `--responses` may give."""
        return ""

    @staticmethod
    def prompt_texts(folder: DataFolder | None) -> Iterator[tuple[str, str]]:
        """Name and text of each of its prompts, which `spar evolve` keeps out of training data; by default none.

        Parameters
        ----------
        folder:
            Its first data set, None if it has no data set.
        """
        return iter(())

    @abstractmethod
    def load(self, config: EvalConfig) -> list[Prompt]:
        """Every example as the prompt to answer, with whatever scoring needs in its meta.

        Raises
        ------
        UsageError
            The data is missing or damaged.
        """

    async def respond(self, runner: JobRunner, examples: Sequence[Prompt]) -> None:
        """Have the examples answered; by default with the search of the settings."""
        await runner.run(Job(ANSWERS, examples))

    def work(self, config: EvalConfig, examples: Sequence[Prompt]) -> Work:
        """What `respond` will ask of models. A benchmark with a `respond` of its own declares it here."""
        own = type(self).respond is not Benchmark.respond
        return Work(len(examples), more="the calls of the benchmark's own jobs" if own else "")

    async def grade(self, runner: JobRunner, examples: Sequence[Prompt]) -> None:  # noqa: B027  most need none
        """Have the answers graded by a model; by default nothing, as programs score most benchmarks."""

    @abstractmethod
    def score(self, examples: Sequence[Prompt], outputs: JobOutputs) -> Scored:
        """Verdicts and metrics of every example, in order. Reads files and calls no model."""

    def num_loaded(self, examples: Sequence[Prompt]) -> int:
        """How many examples `score` should score, given those that `load` made; where it scores fewer, a note says so."""
        return len(examples)

    def limited(self, examples: Sequence[Prompt], limit: int | None) -> Sequence[Prompt]:
        """The examples that `--limit` takes: the first ones (see `in_turns` for a benchmark in parts). A larger limit must take those of a smaller one too."""
        return examples[:limit]

    def packages_of(self, examples: Sequence[Prompt]) -> tuple[str, ...]:
        """The `packages` that the verdicts on these examples can depend on."""
        return self.packages

    def row_texts(self, prompt: Prompt) -> Sequence[str]:
        """Further texts by which rows of `--responses` may name an example, such as its bare question."""
        return ()

    def row_fields(self, prompt: Prompt) -> Mapping[str, Any]:
        """The fields of an example in its data set, which rows of `--responses` may have beside the response."""
        return {}

    def graded_example(
        self, text: str, examples: Sequence[Prompt], answers: Mapping[str, Answer]
    ) -> str | None:
        """Id of the example that a grader's prompt is about, for rows of `--judge-outputs`; None if unknown.

        Parameters
        ----------
        answers:
            The external answers, by example's id; empty if there are none.
        """
        return None

    def stored_answer(self, tree: SearchTree) -> Answer:
        """The answer of a tree where `--responses` names a run directory."""
        return Answer.of(tree)


@dataclass(frozen=True, slots=True)
class BenchmarkSpec:
    """A benchmark, and what it declares; see the attributes of `Benchmark` with these names."""

    make: Callable[..., Benchmark]
    """Called with the options as keyword arguments."""
    options: type[BaseModel] | None = None
    data: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    runs_code: bool = False
    headline: str = ""
    occasional_metrics: tuple[str, ...] = ()
    paper: PaperTable | None = None
    prompt_texts: PromptTexts = Benchmark.prompt_texts
    templated: bool = False
    uses_grader: bool = False
    reads_prompts: bool = False

    def open(self, name: str, values: Mapping[str, Any]) -> Benchmark:
        """The benchmark with its options; raises `UsageError` for one that it does not have."""
        return self.make(**self.parsed_options(name, values))

    def parsed_options(self, name: str, values: Mapping[str, Any]) -> dict[str, Any]:
        """All options, those that are not given at their defaults; raises `UsageError` as `open`."""
        parsed = parse_options(self.options, values, flag="--benchmark-arg", name=name)
        return parsed.model_dump() if parsed else {}


def in_turns(
    examples: Sequence[Prompt], limit: int | None, place: Callable[[Prompt], int]
) -> Sequence[Prompt]:
    """The first examples if the parts of a benchmark take turns, so that a few measure what all do.

    Parameters
    ----------
    limit:
        None takes all, in their own order.
    place:
        Position of an example, or of those that belong together, in its part.
    """
    return examples if limit is None else sorted(examples, key=place)[:limit]


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
        return BenchmarkSpec(lambda: target, **_declared(target))
    if isinstance(target, type) and issubclass(target, Benchmark):
        return BenchmarkSpec(target, options=target.options, **_declared(target))
    if callable(target):
        return BenchmarkSpec(target, options=getattr(target, "options", None))
    raise UsageError(
        f"{target!r} is not a benchmark; expected a BenchmarkSpec, a spar.Benchmark or its class"
    )


def declared_spec(name: str) -> BenchmarkSpec | None:
    """The spec of a benchmark by name, None for a task of lm-eval."""
    try:
        return BENCHMARKS.spec(name)
    except UsageError:
        return None


def _declared(benchmark: Benchmark | type[Benchmark]) -> dict[str, Any]:
    names = (
        *(
            "data",
            "packages",
            "headline",
            "occasional_metrics",
            "paper",
            "prompt_texts",
            "templated",
        ),
        *("uses_grader", "reads_prompts", "runs_code"),
    )
    # In a class with slots, a field is a descriptor that has no value.
    values = {name: getattr(benchmark, name) for name in names}
    return {
        name: value for name, value in values.items() if not isinstance(value, MemberDescriptorType)
    }
