"""What an experiment is: its name, its place in the paper, how it is measured, and what that costs.

    FIGURE5 = Experiment("figure5", "Figure 5", "Strategies by what they cost", measure, cost)

An experiment's function gets a `Plan` and returns tables, plots and claims. A claim comes with three wordings; the
95 % interval of a difference chooses among them, so that no sentence of a page is written after seeing its number.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from spar.eval.paper import PaperTable
from spar.eval.statistics import SeedMean
from spar.listener import Listener, LogListener
from spar.plugins import safe_name
from spar.record.experiments import Claim, Measured, Number, Series, Unit, Verdict
from spar.train.stage_runner import ExecuteStage

QUICK_SEEDS, SEEDS = 1, 3
"""Seeds of a quick and of a full report."""
NOT_IN_THE_PAPER = "not in the paper"
"""Source of an experiment that the paper has not."""
REFERENCE = 15
"""Budget of the search that others are compared with, the paper's."""
SCALES: Mapping[Unit, tuple[int, int]] = {
    "%": (100, 1),
    "points": (100, 1),
    "nats": (1, 2),
    "": (1, 3),
}
"""Unit to the factor that a number is shown with, and the digits after its point."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a report is asked for."""

    model: str = ""
    """"" for the embedded model."""
    engine: str = "auto"
    seeds: int = SEEDS
    quick: bool = False
    """Whether fewer prompts, budgets and iterations are measured."""
    share: float = 1.0
    """The part of the full report's prompts that is trained and tested on, above 0 and at most 1; where tests cost little next to
    the training, they have them all."""
    iterations: int | None = None
    """Iterations of training loops; None for those of the report."""
    max_budget: int | None = None
    """Leaves out searches with more responses, at least `REFERENCE`; None for none."""
    strategies: tuple[str, ...] = ()
    """Strategies that `strategies` and `failing` compare besides their own, written as for a sweep."""
    parallel_loops: int | None = None
    """Training loops that run at once, of an experiment's arms and seeds; None for as many as this machine has cores and memory for."""
    runs: Path = Path("runs/report")
    """Where the runs and results are."""
    data: str = ""
    """Folder of the benchmarks' data; "" for the default."""
    response_cache: str = ""
    """File of a response cache for the searches; their seconds are then not measured."""
    loops: tuple[Path, ...] = ()
    """Folders of one's own training loops, a seed each, for an experiment that reads them; the model is then their start."""
    allow_code_execution: bool = False
    """Whether code that a model wrote may be run."""
    execute_stage: ExecuteStage | None = field(default=None, compare=False)
    """Executes a stage of a loop; None as `spar.train_runner.train` does."""
    listener: Listener = field(default_factory=LogListener, compare=False)

    @property
    def embedded(self) -> bool:
        """Whether the embedded model is measured, which knows only its own small language."""
        return not self.model

    @property
    def label(self) -> str:
        """The model in words."""
        return self.model or "the embedded model"

    @property
    def seed_values(self) -> range:
        """The seeds, from 0."""
        return range(self.seeds)

    def folder(self, experiment: str) -> Path:
        """Folder of an experiment's runs."""
        name = self._sized + (f"-{self.iterations}-iterations" if self.iterations else "")
        return self.runs / name / experiment

    def shared_folder(self, name: str) -> Path:
        """Folder of runs that are the same for any number of iterations, such as loops, which can go on."""
        return self.runs / self._sized / name

    @property
    def _sized(self) -> str:
        name = safe_name(Path(self.model).name) if self.model else "embedded"
        return name + ("-quick" if self.quick else "" if self.share == 1 else f"-{self.share:g}")

    def budgets(self, full: tuple[int, ...], *, quick: tuple[int, ...]) -> tuple[int, ...]:
        """Numbers of responses where the full report has `full`, and a quick one `quick`."""
        if self.quick:
            return quick
        return tuple(one for one in full if self.max_budget is None or one <= self.max_budget)

    def num_prompts(self, full: int, *, quick: int) -> int:
        """How many prompts are used where the full report uses `full`, and a quick one `quick`."""
        return quick if self.quick else max(1, round(full * self.share))

    def settings(self, **changes: Any) -> dict[str, Any]:
        """Settings of an evaluation."""
        values = {
            "model": self.model,
            "engine": self.engine,
            "data": self.data,
            "response_cache": self.response_cache,
        }
        return {**{name: value for name, value in values.items() if value}, **changes}


@dataclass(frozen=True, slots=True)
class Cost:
    """What an experiment takes, before it is run."""

    calls: float
    """Calls of a model, generation and judging together, without those of the loops."""
    why: str
    """The sizes in words: prompts, budgets, iterations."""
    loops: tuple[str, ...] = ()
    """Arms whose training loops it reads, one a seed (`spar.experiments.loops.loops`); experiments share them."""
    iterations: int | None = None
    """Iterations of these loops where the plan names none; None for those of a report."""


Measure = Callable[[Plan], Awaitable[Measured]]


@dataclass(frozen=True, slots=True)
class Experiment:
    """One experiment of the paper."""

    name: str
    source: str
    """The figure or table."""
    title: str
    question: str
    """What it asks, in a sentence or two."""
    measure: Measure
    cost: Callable[[Plan], Cost]
    sizes: Callable[[Plan], dict[str, Any]]
    """What decides its numbers besides the model and the seeds."""
    data: Callable[[Plan], Mapping[str, str]] = lambda plan: {}
    """Name to digest of the data sets and files that it reads, those that are on this machine."""
    lacks: Callable[[Plan], str] = lambda plan: ""
    """Why it cannot be run here, in words; "" if it can."""
    paper_numbers: Callable[[], tuple[str, ...]] = lambda: ()
    """Paragraphs with the paper's numbers, or why there are none."""


@dataclass(frozen=True, slots=True)
class Wordings:
    """A claim of the paper, and a sentence for each outcome; `{difference}` stands for the number."""

    paper: str
    holds: str
    fails: str
    open: str
    unit: Unit = "points"
    """Of the difference: points, or nats."""

    def of(self, **words: str) -> Wordings:
        """The wordings of a claim that is made of several things, with this one's words in it."""
        return replace(self, paper=self.paper.format(**words))

    def judge(self, difference: SeedMean, **words: object) -> Claim:
        """The claim with the sentence that the interval of the difference chooses."""
        shown = as_number(difference, self.unit)
        values = {"difference": in_words(shown), "n": shown.n, **words}
        verdict, text = self._chosen(difference)
        return Claim(
            paper=self.paper, verdict=verdict, text=text.format(**values), difference=shown
        )

    def _chosen(self, difference: SeedMean) -> tuple[Verdict, str]:
        if difference.low is not None and difference.low > 0:
            return "holds", self.holds
        if difference.high is not None and difference.high < 0:
            return "does not hold", self.fails
        return "inconclusive", self.open


def as_number(mean: SeedMean, unit: Unit = "%") -> Number:
    """A mean over seeds as it is stored."""
    return Number(
        value=mean.value,
        stderr=mean.stderr,
        low=mean.low,
        high=mean.high,
        n=mean.n,
        by_seed=mean.by_seed,
        unit=unit,
    )


def line(label: str, points: Iterable[tuple[float, SeedMean]], *, scale: float = 100.0) -> Series:
    """A line of a plot through means over seeds with their standard errors; in percent, unless another scale is given."""
    x, means = zip(*points, strict=True)
    return Series(
        label=label,
        x=x,
        y=tuple(scale * mean.value for mean in means),
        error=tuple(None if mean.stderr is None else scale * mean.stderr for mean in means),
    )


def in_words(number: Number) -> str:
    """A difference with its interval, as in `+21.0 points (95 % interval +15.5 to +27.0)`."""
    scale, digits = SCALES[number.unit]
    value = f"{scale * number.value:+.{digits}f} {number.unit}"
    if number.low is None or number.high is None:
        return value
    low, high = (f"{scale * end:+.{digits}f}" for end in (number.low, number.high))
    return f"{value} (95 % interval {low} to {high})"


def paper_table(table: PaperTable, *models: str) -> str:
    """Rows of a table of the paper as Markdown, those of models whose names start so; () for all."""
    rows = [
        [name, *table.cells(values)]
        for name, values in table.rows.items()
        if not models or name.startswith(models)
    ]
    heads = ["the paper, %", *table.headings]
    lines = [heads, ["---", *["---:"] * len(table.headings)], *rows]
    return f"{table.source}:\n\n" + "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
