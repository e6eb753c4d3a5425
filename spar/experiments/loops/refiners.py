"""Table 5: how the refiners of loops judge the first actor's drafts, and what they were trained on, held against programs.

    RUNS/embedded/tests/nano-2-seed-0/judged/    a loop's refiner after its second iteration, judging natural and adversarial outputs

A judgement costs little next to a training prompt, so the drafts of all test prompts are judged. The labels of the training
examples are the judge's own majorities; programs say which of them are right.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from statistics import fmean

from spar.config import load_eval
from spar.eval.given_responses import majority
from spar.eval.statistics import over_seeds
from spar.experiments.evaluations import run_evaluation
from spar.experiments.experiment import Plan, as_number
from spar.experiments.loops.loops import OWN, REFINER, Loops
from spar.experiments.loops.tested import first_tested_drafts, tests_folder
from spar.experiments.searches.table9 import ADVERSARIAL, DRAFTS, NATURAL, Judged, read_judged
from spar.record.evaluation import Example, Share, sum_shares
from spar.record.experiments import Cell, Table
from spar.record.layout import BUILD_STAGE, LAST_TRAINING, LOOP_SOURCES, RFT_FILE
from spar.record.training import TRAIN_REPORT, TrainReport, iteration_folder
from spar.record.training_data import RefinerExample
from spar.store import read_trees
from spar.train.data.draft_measures import true_verdict
from spar.types import Message, Node, Prompt

VOTES = 5
"""Votes on each output, as many as the loops' evaluations cast."""
VOTE_RIGHT, BROKEN_RIGHT = "one vote right, %", "adversarial: one vote right, %"


def _vote(one: Judged) -> Share:
    return float(one.verdicts.count(one.label)), float(len(one.verdicts))


def _majority(one: Judged) -> Share:
    return float(majority(one.verdicts) is one.label), 1.0


_Measure = tuple[str, Callable[[Judged], Share], bool | None]
"""A set of outputs, the share of an output, and the label that the outputs have; None for either."""
JUDGING: Mapping[str, _Measure] = {
    VOTE_RIGHT: (NATURAL, _vote, None),
    "Yes to drafts that pass, %": (NATURAL, _vote, True),
    "No to drafts that fail, %": (NATURAL, _vote, False),
    "majority right, %": (NATURAL, _majority, None),
    BROKEN_RIGHT: (ADVERSARIAL, _vote, None),
    "adversarial: majority right, %": (ADVERSARIAL, _majority, None),
}
"""Column to what it measures."""
REFINED = "refinements pass, %"

SharesBySeed = list[dict[str, Share]]
Judgings = Mapping[str, SharesBySeed]
"""Column to each seed's shares."""


async def judge_outputs(
    plan: Plan, out: Path, seed: int, refiner: str, drafts: Path, **options: str
) -> list[Example]:
    """A refiner's votes on the drafts of a run and on their broken forms, scored; `options` are those of `JudgedDraftsOptions`.

    Raises
    ------
    UsageError, RunStopped
        As `spar.eval.runner.evaluate`.
    """
    values = plan.settings(
        seed=seed,
        refiner_model=refiner,
        judge_votes=VOTES,
        benchmark_args={"drafts": str(drafts), **options},
    )
    return await run_evaluation(plan, DRAFTS, load_eval(OWN, values), out)


async def judge_tests(plan: Plan, arm: str, loops: Loops, time: int) -> Judgings:
    """How the refiners of an iteration judge the first actor's drafts of all test prompts, and what they refine.

    Raises
    ------
    UsageError, RunStopped
        As `spar.eval.runner.evaluate`.
    """
    found: dict[str, SharesBySeed] = {column: [] for column in JUDGING}
    runs = await first_tested_drafts(plan, loops)
    for seed, drafts, models in zip(plan.seed_values, runs, loops.models(time), strict=True):
        out = tests_folder(plan, arm, time, seed) / "judged"
        await judge_outputs(plan, out, seed, models.refiner, drafts)
        judged = list(read_judged(read_trees(out / DRAFTS)))
        for column, (name, share, label) in JUDGING.items():
            shares = (
                (one.pair, share(one))
                for one in judged
                if name in one.sets and label in (None, one.label)
            )
            found[column].append(sum_shares(shares))
    return {**found, REFINED: loops.shares(REFINER, "refine_pass", time)}


def judging_table(
    name: str,
    judged: Mapping[tuple[str, int], Judgings],
    compared: Sequence[tuple[tuple[str, int], tuple[str, int]]],
) -> Table:
    """A row a loop and iteration, then a row for each comparison of two of them, paired by prompt and seed."""
    columns = (*JUDGING, REFINED)
    rows: list[tuple[Cell, ...]] = [
        (*key, *(as_number(over_seeds(shares[column])) for column in columns))
        for key, shares in judged.items()
    ]
    for first, second in compared:
        label = first[0] if first[0] == second[0] else f"{first[0]} - {second[0]}"
        times = first[1] if first[1] == second[1] else f"{first[1]} - {second[1]}"
        differences = (over_seeds(judged[first][c], judged[second][c]) for c in columns)
        rows.append((label, times, *(as_number(each, "points") for each in differences)))
    return Table(
        name=name,
        title="The refiners on the first actor's drafts, the same for all: how often a single vote is right, of all, of those that pass and of those that "
        "fail, and the majority of five; the same of adversarial outputs; refinements. Then differences, in points.",
        columns=("loop", "iteration", *columns),
        rows=tuple(rows),
    )


@dataclass(frozen=True, slots=True)
class _Example:
    """An example of a refiner's training data, and the node that it is about."""

    example: RefinerExample
    prompt: Prompt
    node: Node

    @property
    def is_judgement(self) -> bool:
        return self.example.verdict is not None

    @property
    def of_refinement(self) -> bool:
        return self.node.parent is not None

    def label_right(self) -> Share:
        """Whether its verdict is the programs', or its refinement passes by them; no share where they cannot tell."""
        truth, label = true_verdict(self.node, self.prompt), self.example.verdict
        known = truth is not None
        return float(known and truth is (True if label is None else label)), float(known)

    def votes_right(self) -> Share:
        """How many of the votes behind its label are right."""
        truth = true_verdict(self.node, self.prompt)
        verdicts = self.node.judgement.verdicts if self.node.judgement else ()
        return (0.0, 0.0) if truth is None else (float(verdicts.count(truth)), float(len(verdicts)))


def examples_table(name: str, loops: Mapping[str, Loops]) -> Table:
    """A row a loop and iteration with what its refiners were trained on; the first loop is that which others are compared with."""
    whole = next(iter(loops.values()))
    examples = {
        loop: {
            time: [list(_examples(iteration_folder(folder, time))) for folder in of.folders]
            for time in of.times[1:]
        }
        for loop, of in loops.items()
    }
    of_whole = next(iter(examples.values())).values()
    taught = [
        {one.example.messages for one in chain(*of_seed)} for of_seed in zip(*of_whole, strict=True)
    ]
    rows: list[tuple[Cell, ...]] = []
    for loop, of in loops.items():
        for time, by_seed in examples[loop].items():
            steps = fmean(_steps(iteration_folder(folder, time)) for folder in of.folders)
            shared = None if of is whole else _shared(by_seed, taught)
            rows.append((loop, time, *_cells(by_seed), shared, round(steps)))
    return Table(
        name=name,
        title="What the refiners were trained on: means over seeds, labels held against programs; and how many of the judgements the whole loop's "
        "refiner of the same seed learns too, in whichever iteration.",
        columns=(
            *("loop", "iteration", "judgements", "of refinements, %"),
            *("label right, %", "a vote on the same right, %"),
            *("refinements", "refinement passes, %", "judgements the whole loop has, %", "steps"),
        ),
        rows=tuple(rows),
    )


def _cells(by_seed: Sequence[Sequence[_Example]]) -> Iterator[Cell]:
    refinements = [[one for one in each if not one.is_judgement] for each in by_seed]
    judgements = [[one for one in each if one.is_judgement] for each in by_seed]
    yield round(fmean(map(len, judgements)))
    yield _mean(judgements, lambda _, one: (float(one.of_refinement), 1.0))
    yield _mean(judgements, lambda _, one: one.label_right())
    yield _mean(judgements, lambda _, one: one.votes_right())
    yield round(fmean(map(len, refinements)))
    yield _mean(refinements, lambda _, one: one.label_right())


def _shared(
    by_seed: Sequence[Sequence[_Example]], taught: Sequence[Container[tuple[Message, ...]]]
) -> Cell:
    """The share of the judgements that are among the conversations of the same seed."""
    judgements = [[one for one in each if one.is_judgement] for each in by_seed]
    return _mean(judgements, lambda seed, one: (float(one.example.messages in taught[seed]), 1.0))


def _mean(by_seed: Sequence[Sequence[_Example]], share: Callable[[int, _Example], Share]) -> Cell:
    """Over prompts and seeds; None without an example."""
    shares = [
        sum_shares((one.example.prompt_id, share(seed, one)) for one in examples)
        for seed, examples in enumerate(by_seed)
    ]
    return as_number(over_seeds(shares)) if any(shares) else None


def _examples(folder: Path) -> Iterator[_Example]:
    """The examples of an iteration with the nodes of its runs that they are about."""
    trees = {
        (run, tree.prompt.id): tree
        for run, stage in LOOP_SOURCES.items()
        for tree in read_trees(folder / stage)
    }
    for row in (folder / BUILD_STAGE / RFT_FILE).read_bytes().splitlines():
        example = RefinerExample.model_validate_json(row)
        tree = trees[example.run, example.prompt_id]
        yield _Example(example, tree.prompt, tree.nodes[example.node])


def _steps(folder: Path) -> int:
    report = (folder / LAST_TRAINING / TRAIN_REPORT).read_bytes()
    return TrainReport.model_validate_json(report).steps
