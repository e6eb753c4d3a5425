"""Table 9, and the first rows of Tables 2 and 8: a greedy judgement against the majority of several votes.

Two sets of outputs, each with the truth. On the embedded language, where programs know it: *natural*, the actor's sampled
drafts; *adversarial*, the drafts that pass and each of them broken by one minimal edit (a word left out or repeated), without
those that no such edit breaks. For other models LLMBar's subset Natural, and its four adversarial ones.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from spar.config import EvalConfig, default_recipe, load_eval
from spar.eval.benchmark import ANSWERS, JobOutputs
from spar.eval.given_responses import f1_share, majority, with_response
from spar.eval.llmbar.pairs import DATA, SUBSETS
from spar.eval.llmbar.pointwise import Pointwise
from spar.eval.nano_if import MAJORITY, judge_scores
from spar.eval.needed_data import present
from spar.eval.paper import LLMBAR, PaperTable
from spar.eval.statistics import SeedMean, over_seeds
from spar.experiments.evaluations import digests_of, run_evaluation
from spar.experiments.experiment import (
    Cost,
    Experiment,
    Plan,
    Wordings,
    as_number,
    line,
    paper_table,
)
from spar.record.evaluation import Example, Scored, Share, sum_shares
from spar.record.experiments import Cell, Claim, Measured, Panel, Plot, Series, Table
from spar.store import read_trees
from spar.types import Prompt, SearchTree
from spar.verifiers import passes

VOTES = (1, 3, 5, 7, 9)
NATURAL, ADVERSARIAL = SETS = ("natural", "adversarial")
BROKEN = (
    "the drafts that pass, and each of them with one word left out or repeated so that it fails; those that no such edit breaks are "
    "left out"
)
"""The adversarial drafts in words."""
VOTED, ONCE = "votes", "greedy"
"""The two ways to judge: sampled votes, and one greedy judgement."""
JUDGEMENTS = ((ONCE, 1), *((VOTED, size) for size in VOTES))
"""Way to judge, and how many votes are counted."""
_NATURAL_SUBSET = next(iter(SUBSETS))

FIVE_BEAT_GREEDY = Wordings(
    "The majority of five sampled votes judges better than one greedy judgement ({which} outputs).",
    holds="It holds: the majority of five is right more often, by {difference}.",
    fails="It does not hold: the majority of five is right less often, by {difference}.",
    open="Inconclusive: the two differ by {difference} (n = {n}).",
)
MORE_VOTES = Wordings(
    "(Not in the paper.) More votes judge better ({which} outputs, nine votes against one).",
    holds="It holds: nine votes are right more often than one, by {difference}.",
    fails="It does not hold: nine votes are right less often than one, by {difference}.",
    open="Inconclusive: nine votes and one differ by {difference} (n = {n}).",
)


class JudgedDraftsOptions(BaseModel):
    """`--benchmark-arg drafts=RUN`."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    drafts: str
    """Run directory of drafts that programs can check."""
    only: Literal["", "natural", "adversarial"] = ""
    """The set to judge; "" for both."""


class JudgedDrafts(Pointwise):
    """Drafts of a run, and those that pass broken by one edit: the judge says which pass."""

    data: tuple[str, ...] = ()
    paper: ClassVar[PaperTable | None] = None
    options: ClassVar[type[BaseModel] | None] = JudgedDraftsOptions

    def __init__(self, drafts: str, only: str = "") -> None:
        self.drafts = drafts
        self.sets = (only,) if only else SETS

    def load(self, config: EvalConfig) -> list[Prompt]:
        """Every draft, in the order of the run's prompts, with its broken form after it."""
        found = []
        for tree in read_trees(Path(self.drafts)):
            response = tree.nodes[0].response if tree.nodes else ""
            if response:
                found += [
                    output
                    for output in _outputs(tree.prompt, response)
                    if any(name in self.sets for name in output.meta["sets"])
                ]
        return sorted(found, key=lambda prompt: prompt.id)

    def score(self, examples: Sequence[Prompt], outputs: JobOutputs) -> Scored:
        """A judge's scores as in `nano-if`, by set."""
        return Scored(examples=tuple(self._scored(tree) for tree in outputs.trees(ANSWERS)))

    def _scored(self, tree: SearchTree) -> Example:
        meta = tree.prompt.meta
        scores = judge_scores(tree.nodes[0].judgement, meta["label"])
        return Example(
            id=tree.prompt.id,
            group=meta["pair"],
            response=None,
            passed=scores[MAJORITY][0] == 1,
            scores={
                f"{metric}/{name}": share
                for name in meta["sets"]
                if name in self.sets
                for metric, share in scores.items()
            },
        )


DRAFTS = f"{__name__}:{JudgedDrafts.__name__}"
"""`JudgedDrafts` by name, as a benchmark."""


def _outputs(prompt: Prompt, response: str) -> Iterator[Prompt]:
    label = bool(passes(response, prompt))
    edited = break_once(prompt, response) if label else None
    yield _labelled(prompt, response, label, (NATURAL,) if edited is None else SETS)
    if edited is not None:
        yield _labelled(prompt, edited, False, (ADVERSARIAL,))


def _labelled(prompt: Prompt, response: str, label: bool, sets: Sequence[str]) -> Prompt:
    meta = {**prompt.meta, "label": label, "pair": prompt.id, "sets": list(sets)}
    suffix = "" if NATURAL in sets else "/edited"
    changed = prompt.model_copy(update={"id": f"{prompt.id}{suffix}", "meta": meta})
    return with_response(changed, response)


def break_once(prompt: Prompt, response: str) -> str | None:
    """The response with one word left out or repeated so that it no longer passes; None where no such edit breaks it."""
    rng, words = random.Random(f"{prompt.id} {response}"), response.split(" ")
    edits = [(index, count) for index in range(len(words)) for count in (0, 2)]
    rng.shuffle(edits)
    for index, count in edits:
        edited = " ".join([*words[:index], *[words[index]] * count, *words[index + 1 :]])
        if edited.strip() and not passes(edited, prompt):
            return edited
    return None


@dataclass(frozen=True, slots=True)
class Judged:
    """The votes on one output."""

    id: str
    pair: str
    """Outputs of one pair, or of one prompt, are not independent."""
    sets: tuple[str, ...]
    label: bool
    verdicts: tuple[bool | None, ...]


def read_judged(trees: Any) -> Iterator[Judged]:
    """The judged outputs of a run."""
    for tree in trees:
        meta, judgement = tree.prompt.meta, tree.nodes[0].judgement
        sets = meta.get("sets") or [SETS[meta["subset"] != _NATURAL_SUBSET]]
        yield Judged(
            tree.prompt.id,
            meta["pair"],
            tuple(sets),
            bool(meta["label"]),
            judgement.verdicts if judgement else (),
        )


async def _judge(plan: Plan, seed: int) -> dict[str, list[Judged]]:
    """`votes` and `greedy` to the judged outputs of a seed."""
    folder = plan.folder("table9") / f"seed-{seed}"
    if plan.embedded:
        name, drafts = DRAFTS, folder / "drafts" / "nano-if-answers"
        await _evaluate(
            plan,
            "nano-if-answers",
            folder / "drafts",
            seed=seed,
            limit=_num_outputs(plan),
            prompt_seed=4,
            greedy_first=False,
        )
        chosen: dict[str, Any] = {"benchmark_args": {"drafts": str(drafts)}}
    else:
        name, chosen = (
            "llmbar",
            {"limit": _num_outputs(plan) if plan.quick or plan.share < 1 else None},
        )
    judged = {}
    for way, votes in ((VOTED, VOTES[-1]), (ONCE, 0)):
        await _evaluate(plan, name, folder / way, seed=seed, judge_votes=votes, **chosen)
        judged[way] = list(read_judged(read_trees(folder / way / name)))
    return judged


async def _evaluate(plan: Plan, name: str, out: Path, **settings: Any) -> None:
    values = plan.settings(**settings)
    config = load_eval(default_recipe(values), values)
    await run_evaluation(plan, name, config, out)


async def measure_table9(plan: Plan) -> Measured:
    """The same outputs, judged greedily and by nine votes, of which the first K are counted."""
    by_seed = [await _judge(plan, seed) for seed in plan.seed_values]
    accuracy = {
        (name, way, size): over_seeds(_shares(by_seed, way, size, name))
        for name in SETS
        for way, size in JUDGEMENTS
    }
    rows = tuple(_row(by_seed, accuracy, way, size) for way, size in JUDGEMENTS)
    columns = ("judgement", *(f"{name} {what}, %" for name in SETS for what in ("accuracy", "F1")))
    unread = _unread(by_seed)
    return Measured(
        tables=(
            Table(
                name="table9",
                title="One row a way to judge; the same outputs and, for the votes, the same nine votes.",
                columns=columns,
                rows=rows,
            ),
        ),
        plots=(
            Plot(
                name="table9",
                title="Judgements that are right, by votes",
                y="right, %",
                panels=(Panel(x="votes", series=tuple(_series(accuracy))),),
            ),
        ),
        claims=tuple(_claims(by_seed)),
        notes=(
            _what(plan),
            "Outputs of one prompt or pair count as one draw. A tied or unread judgement is wrong, and a No in F1.",
            f"{unread[0]:,} of {unread[1]:,} sampled votes and {unread[2]:,} of {unread[3]:,} greedy judgements could not be read.",
        ),
        headline=f"majority of 5 right on {100 * accuracy[NATURAL, VOTED, 5].value:.1f} % of natural outputs",
    )


BySeed = Sequence[Mapping[str, Sequence[Judged]]]
"""Each seed's judged outputs, by the way to judge."""
Accuracy = Mapping[tuple[str, str, int], SeedMean]
"""Set, way to judge and number of votes to the share of right judgements."""


def _row(by_seed: BySeed, accuracy: Accuracy, way: str, size: int) -> tuple[Cell, ...]:
    label = ONCE if way == ONCE else f"majority of {size}" if size > 1 else "one vote"
    cells: list[Cell] = [label]
    for name in SETS:
        f1 = over_seeds(_shares(by_seed, way, size, name, f1=True))
        cells += [as_number(accuracy[name, way, size]), as_number(f1)]
    return tuple(cells)


def _claims(by_seed: BySeed) -> Iterator[Claim]:
    for name in SETS:
        five, greedy = _shares(by_seed, VOTED, 5, name), _shares(by_seed, ONCE, 1, name)
        nine, one = _shares(by_seed, VOTED, 9, name), _shares(by_seed, VOTED, 1, name)
        yield FIVE_BEAT_GREEDY.of(which=name).judge(over_seeds(five, greedy))
        yield MORE_VOTES.of(which=name).judge(over_seeds(nine, one))


def _what(plan: Plan) -> str:
    if plan.embedded:
        return f"Natural: the actor's sampled drafts (temperature 0.9). Adversarial: {BROKEN}."
    return "Natural and adversarial: LLMBar's subsets."


def _shares(
    by_seed: BySeed,
    way: str,
    size: int,
    name: str,
    *,
    f1: bool = False,
) -> list[dict[str, Share]]:
    """Each seed's shares by pair."""

    def share(one: Judged) -> Share:
        verdict = majority(one.verdicts[:size])
        return f1_share(verdict, one.label) if f1 else (float(verdict is one.label), 1.0)

    return [
        sum_shares((one.pair, share(one)) for one in judged[way] if name in one.sets)
        for judged in by_seed
    ]


def _unread(by_seed: BySeed) -> list[int]:
    counts = []
    for way, size in ((VOTED, VOTES[-1]), (ONCE, 1)):
        outputs = [one for judged in by_seed for one in judged[way]]
        num_read = sum(verdict is not None for one in outputs for verdict in one.verdicts)
        counts += [size * len(outputs) - num_read, size * len(outputs)]
    return counts


def _series(accuracy: Accuracy) -> Iterator[Series]:
    for name in SETS:
        greedy = 100 * accuracy[name, ONCE, 1].value
        yield line(
            f"{name}, majority", [(float(size), accuracy[name, VOTED, size]) for size in VOTES]
        )
        yield Series(
            label=f"{name}, greedy",
            x=(float(VOTES[0]), float(VOTES[-1])),
            y=(greedy, greedy),
            error=(None, None),
            reference_of=f"{name}, majority",
        )


def _num_outputs(plan: Plan) -> int:
    return plan.num_prompts(300, quick=45)


def _lacks(plan: Plan) -> str:
    if plan.embedded or present((DATA,), plan.data):
        return ""
    return f"LLMBar's data are not here (spar data fetch {DATA})"


TABLE9 = Experiment(
    name="table9",
    source="Tables 9, 2 and 8",
    title="Judging greedily, and by the majority of votes",
    question="How often does the judge say rightly whether an output follows its instruction, and do more votes help?",
    measure=measure_table9,
    cost=lambda plan: Cost(
        plan.seeds * _num_outputs(plan) * 17,
        f"{_num_outputs(plan)} drafts, their edits, 10 judgements each",
    ),
    sizes=lambda plan: {"drafts": _num_outputs(plan), "votes": list(VOTES)},
    data=lambda plan: {} if plan.embedded else digests_of(plan, [DATA]),
    lacks=_lacks,
    paper_numbers=lambda: (
        paper_table(LLMBAR),
        "The text at hand has no numbers of Table 9.",
    ),
)
