"""What an experiment is: its name, its place in the paper, how it is measured, and what that costs.

    FIGURE5 = Experiment("figure5", "Figure 5", "Strategies by what they cost", measure, cost)

An experiment's function gets a `Plan` and returns tables, plots and claims. A claim comes with three wordings; the
95 % interval of a difference chooses among them, so that no sentence of a page is written after seeing its number.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spar.eval.paper import PaperTable
from spar.eval.statistics import SeedMean
from spar.listener import Listener, LogListener
from spar.plugins import safe_name
from spar.record.experiments import Claim, Measured, Number, Unit

QUICK_SEEDS, SEEDS = 1, 3
"""Seeds of a quick and of a full report."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a report is asked for."""

    model: str = ""
    """"" for the embedded model."""
    engine: str = "auto"
    seeds: int = SEEDS
    quick: bool = False
    """Whether fewer prompts, budgets and iterations are measured."""
    runs: Path = Path("runs/report")
    """Where the runs and results are."""
    data: str = ""
    """Folder of the benchmarks' data; "" for the default."""
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
        name = safe_name(Path(self.model).name) if self.model else "embedded"
        return self.runs / (f"{name}-quick" if self.quick else name) / experiment

    def settings(self, **changes: Any) -> dict[str, Any]:
        """Settings of an evaluation."""
        values = {"model": self.model, "engine": self.engine, "data": self.data}
        return {**{name: value for name, value in values.items() if value}, **changes}


@dataclass(frozen=True, slots=True)
class Cost:
    """What an experiment takes, before it is run."""

    calls: float
    """Calls of a model, generation and judging together, without those of the loops."""
    why: str
    """The sizes in words: prompts, budgets, iterations."""
    loops: tuple[str, ...] = ()
    """Arms whose training loops it reads, one a seed (`spar.experiments.loops`); experiments share them."""


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

    def judge(self, difference: SeedMean, **words: object) -> Claim:
        """The claim with the sentence that the interval of the difference chooses."""
        shown = as_number(difference, "points")
        values = {"difference": in_words(shown), "n": shown.n, **words}
        low, high = difference.low, difference.high
        if low is not None and low > 0:
            return Claim(
                paper=self.paper,
                verdict="holds",
                text=self.holds.format(**values),
                difference=shown,
            )
        if high is not None and high < 0:
            return Claim(
                paper=self.paper,
                verdict="does not hold",
                text=self.fails.format(**values),
                difference=shown,
            )
        return Claim(
            paper=self.paper,
            verdict="cannot be told",
            text=self.open.format(**values),
            difference=shown,
        )


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


def in_words(number: Number) -> str:
    """A difference with its interval, as in `+21.0 points (15.5 to 27.0)`."""
    value = f"{100 * number.value:+.1f} points"
    if number.low is None or number.high is None:
        return value
    return f"{value} (95 % interval {100 * number.low:+.1f} to {100 * number.high:+.1f})"


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
