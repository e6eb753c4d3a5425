"""Training loops of an experiment: the same settings but one, a loop a seed, and their scores by iteration.

    RUNS/embedded/loops/nano-seed-0/      a loop as `spar train` writes it; experiments share it, and more iterations continue it
    RUNS/embedded/tests/nano-2-seed-0/    drafts of its actors on more test prompts (`spar.experiments.loops.tested`)

Every loop sees the same training prompts in the same order and the same test prompts; the seed decides samples, draws and the
order of the training data.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from spar.config.loading import RECIPES
from spar.errors import UsageError
from spar.eval.statistics import SeedMean, over_seeds
from spar.experiments.experiment import Plan, as_number, line
from spar.record.evaluation import Share, read_examples, shares_of
from spar.record.experiments import Cell, Panel, Plot, Series, Table
from spar.record.training import iteration_folder
from spar.store import read_summary
from spar.train.loop_stages import Models, models_after
from spar.train.status import read_config, read_loop
from spar.types import Role

OWN = "nano"
"""The recipe of the paper's method on the embedded model."""
PAPERS = "SPaR"
"""The paper's method, as it stands on a page."""
RIVALS: Mapping[str, str] = {
    "self-rewarding": "Self-Rewarding",
    "meta-rewarding": "Meta-Rewarding",
    "self": "SELF",
    "humpback": "Humpback",
    "autoif": "AutoIF",
    "spin": "SPIN",
}
"""Recipe to the name of the method: those that the paper compares with, and SPIN; those without a recipe here are left out."""
_VOTED = ("self-rewarding", "meta-rewarding", "humpback")
"""Recipes that count votes where the source has points on a rubric."""
_PROGRAMS: Mapping[str, str] = {
    "meta-rewarding": "Meta-Rewarding's meta-judge",
    "humpback": "Humpback's texts and conversations",
    "autoif": "the writer of AutoIF's functions",
    "spin": "the authors of SPIN's replies",
}
"""Recipe to what a program stands in for."""
_GENERATED: Mapping[str, tuple[Role, ...]] = {
    "label": ("actor",),
    "draft": ("actor",),
    "judge": ("judge",),
    "judgements": ("actor",),
    "meta": ("actor",),
    "search": ("judge", "refiner"),
}
"""Stage to the roles whose tokens it generates; the drafts of its roots are those of an earlier stage. Judgements that are
compared, and their comparisons, are the drafts of their runs."""

GREEDY, SAMPLED, REFINER = "greedy", "sampled", "refiner"
"""Evaluations of the recipe: greedy and sampled drafts of the actor, and the refiner on the first actor's drafts."""
Measures = Mapping[str, tuple[str, str]]
"""Column of a table to the evaluation and its metric."""
_CALLS_OF_STARTS = 300
"""What could be generated while the processes of an iteration start, as forks, and its models train."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large the loops of a report are."""

    iterations: int
    prompts: int
    """Training prompts of an iteration."""
    limit: int
    """Test prompts of the loop's own evaluations."""
    tested: int
    """Test prompts of the actors' drafts where an experiment has more of them, for they cost little."""
    prompt_seed: int = 5
    """Which draw of test prompts; no earlier report used it."""

    @classmethod
    def of(cls, plan: Plan) -> Sizes:
        """Those of the recipe, or small ones."""
        return cls(
            plan.iterations or (2 if plan.quick else 3),
            plan.num_prompts(300, quick=24),
            plan.num_prompts(500, quick=24),
            24 if plan.quick else 500,
        )

    @property
    def calls(self) -> float:
        """About what a loop takes, in calls of a model; a training counts as what would be generated in its time."""
        generated = self.iterations * (40 * self.prompts + _CALLS_OF_STARTS)
        return generated + (self.iterations + 1) * 8.5 * self.limit

    def stored(self) -> dict[str, int]:
        """As part of a result's settings."""
        return {
            "iterations": self.iterations,
            "training_prompts": self.prompts,
            "prompts": self.limit,
            "prompt_seed": self.prompt_seed,
        }

    def stored_tested(self) -> dict[str, int]:
        """As part of the settings of a result whose drafts are tested on more prompts."""
        return {
            "iterations": self.iterations,
            "training_prompts": self.prompts,
            "test_prompts": self.tested,
            "prompt_seed": self.prompt_seed,
        }


@dataclass(frozen=True, slots=True)
class Loops:
    """The loops of one arm, a folder a seed."""

    folders: tuple[Path, ...]
    times: tuple[int, ...]
    """The iterations that were evaluated, 0 first."""
    tested: Mapping[tuple[str, str, int], list[dict[str, Share]]] = field(default_factory=dict)
    """Evaluation, metric and iteration to each seed's shares, where they were measured outside the loops (`spar.experiments.loops.tested`)."""

    @property
    def last(self) -> int:
        """The last iteration."""
        return self.times[-1]

    def shares(self, title: str, metric: str, time: int) -> list[dict[str, Share]]:
        """Each seed's shares of a metric at an iteration, of the evaluation with this title.

        Raises
        ------
        UsageError
            The loops have no such evaluation.
        """
        if (title, metric, time) in self.tested:
            return self.tested[title, metric, time]
        return [_shares(folder, title, metric, time) for folder in self.folders]

    def mean(self, title: str, metric: str, time: int) -> SeedMean:
        """A metric at an iteration."""
        return over_seeds(self.shares(title, metric, time))

    def gain(self, title: str, metric: str, first: int, last: int) -> SeedMean:
        """The change of a metric from one iteration to another, paired by prompt and seed."""
        return over_seeds(self.shares(title, metric, last), self.shares(title, metric, first))

    def ahead_of(
        self, other: Loops, title: str, metric: str, *, time: int | None = None
    ) -> SeedMean:
        """How much higher a metric is here than in other loops after their last iteration, paired by prompt and seed.

        `time` is the iteration here; the last one unless given.
        """
        ours = self.shares(title, metric, self.last if time is None else time)
        return over_seeds(ours, other.shares(title, metric, other.last))

    def points(self, title: str, metric: str) -> list[tuple[float, SeedMean]]:
        """A metric at each iteration, as the points of a line."""
        return [(float(time), self.mean(title, metric, time)) for time in self.times]

    def models(self, time: int) -> list[Models]:
        """Each seed's actor and refiner at the end of an iteration."""
        found = []
        for folder in self.folders:
            config, origin = read_config(folder)
            found.append(models_after(config, folder, time, origin))
        return found

    def seconds(self) -> float:
        """Wall-clock time of all stages of all loops, whenever they ran."""
        loops = map(read_loop, self.folders)
        return sum(stage.seconds for loop in loops for stage in loop.stages)

    def tokens(self, time: int) -> float:
        """Tokens that a loop had generated for its training data by the end of an iteration, mean over seeds."""
        total = 0
        for folder in self.folders:
            for iteration in range(time + 1):
                for stage, roles in _GENERATED.items():
                    run = iteration_folder(folder, iteration) / stage
                    if run.is_dir():
                        usage = read_summary(run)["roles"]
                        total += sum(usage[role]["completion_tokens"] for role in roles)
        return total / len(self.folders)


def rivals(plan: Plan) -> dict[str, str]:
    """Those of `RIVALS` that have a recipe here; a quick report has the first of them."""
    known = {
        name: method for name, method in RIVALS.items() if (RECIPES / f"{name}.yaml").is_file()
    }
    return dict(list(known.items())[: 1 if plan.quick else None])


def stand_ins(plan: Plan) -> str:
    """What the other methods of a report lack here of their sources, in words."""
    names = rivals(plan)
    voted = [method for recipe, method in names.items() if recipe in _VOTED]
    programs = [what for recipe, what in _PROGRAMS.items() if recipe in names]
    words = (
        f"the scores of {', '.join(voted)} are shares of yes among votes, not points on a rubric"
    )
    if programs:
        words += f"; programs stand in for {', '.join(programs)}, with a teacher's knowledge"
    return f"Where a source needs what the embedded model cannot give: {words}. docs/recipes.md has every departure."


def first_drafts(folder: Path) -> Path:
    """The run in a loop's folder with the first actor's sampled drafts, which the refiners of all iterations judge."""
    return iteration_folder(folder, 0) / "eval" / REFINER / "nano-if"


def _shares(folder: Path, title: str, metric: str, time: int) -> dict[str, Share]:
    config, _ = read_config(folder)
    for item in config.benchmarks:
        if item.title == title:
            run = iteration_folder(folder, time) / "eval" / title / item.benchmark
            return shares_of(read_examples(run), metric)
    raise UsageError(
        f"{folder} has no evaluation {title!r}; its recipe must list it in `benchmarks`"
    )


def iteration_table(name: str, columns: Iterable[str], rows: Iterable[tuple[Cell, ...]]) -> Table:
    """A table with a row an iteration, whose number is each row's first cell."""
    return Table(
        name=name,
        title="One row an iteration.",
        columns=("iteration", *columns),
        rows=tuple(rows),
    )


def iteration_plot(name: str, title: str, lines: Iterable[Series]) -> Plot:
    """A plot of shares over the iterations."""
    panel = Panel(x="iteration", series=tuple(lines))
    return Plot(name=name, title=title, y="%", panels=(panel,))


def score_table(name: str, loops: Loops, measures: Measures) -> Table:
    """A row an iteration with some of a loop's scores."""
    rows: list[tuple[Cell, ...]] = [
        (time, *(as_number(loops.mean(*measure, time)) for measure in measures.values()))
        for time in loops.times
    ]
    return iteration_table(name, measures, rows)


def gain_table(name: str, loops: Loops, measures: Measures) -> Table:
    """A row an iteration with what the same scores have gained since the start, paired by prompt and seed."""
    columns = [column.removesuffix(", %") for column in measures]
    rows: list[tuple[Cell, ...]] = [
        (time, *(as_number(loops.gain(*each, 0, time), "points") for each in measures.values()))
        for time in loops.times[1:]
    ]
    title = "Points gained since the start, with 95 % intervals."
    return Table(name=name, title=title, columns=("iteration", *columns), rows=tuple(rows))


def score_plot(name: str, title: str, loops: Loops, measures: Measures) -> Plot:
    """The same scores as lines."""
    lines = (
        line(column.removesuffix(", %"), loops.points(*measure))
        for column, measure in measures.items()
    )
    return iteration_plot(name, title, lines)


def only_embedded(plan: Plan) -> str:
    """Why a loop cannot be trained with the plan."""
    if plan.embedded:
        return ""
    return "the loops of the reports train the embedded model; train another with spar train and a recipe"


def sizes_in_words(plan: Plan, *, tested: bool = False) -> str:
    """The sizes of a report's loops; `tested` where drafts are tested on more prompts."""
    sizes = Sizes.of(plan)
    tests = sizes.tested if tested else sizes.limit
    return f"{sizes.iterations} iterations of {sizes.prompts} prompts, {tests} test prompts"
