"""LLMBar as the paper uses it (Tables 2, 8 and 9): does a single output follow its instruction?

Dataset: 419 pairs, so 838 judgements. The label of the preferred output of a pair is Yes, of the other No.
Metric: accuracy and F1 of Yes in each subset, plain means over the four adversarial ones and over all
five. Pattern: the run's judge with spar's judge template; one greedy judgement, or the majority of
`--judge-votes N` sampled votes.

Unparsed judgements and tied votes are wrong in `acc` and a No in `f1`. `acc_parsed` and `f1_parsed` leave
them out, as the paper's numbers seem to. `acc@K` is the accuracy of the first K votes of a run with more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from spar.config import EvalConfig
from spar.eval import paper
from spar.eval.benchmark import ANSWERS, Answer, Benchmark, JobOutputs, JobRunner, Work, in_turns
from spar.eval.datasets.local import DataFolder
from spar.eval.given_responses import (
    RESPONSE,
    f1_share,
    judged_roots,
    judging_limits,
    judging_settings,
    majority,
    read_verdict,
)
from spar.eval.llmbar.pairs import DATA, SUBSETS, Pair, place_of, read_pairs, subset_means
from spar.eval.paper import PaperTable
from spar.infer.roles import Roles
from spar.record.evaluation import Example, Scored, Share, Verdict
from spar.run.build import judge_with
from spar.run.job import Job
from spar.types import Message, Prompt, SearchTree, Usage


class Pointwise(Benchmark):
    """The benchmark `llmbar`; see the module's docstring."""

    data: tuple[str, ...] = (DATA,)
    measures = "judge"
    paper: ClassVar[PaperTable | None] = paper.LLMBAR

    @staticmethod
    def prompt_texts(folder: DataFolder | None) -> Iterator[tuple[str, str]]:
        """The instructions of the pairs."""
        assert folder is not None
        for subset, path in SUBSETS.items():
            for index, row in enumerate(folder.json(path)):
                yield f"{subset}/{index}", row["input"]

    def load(self, config: EvalConfig) -> list[Prompt]:
        """Both outputs of every pair, with ids such as `Natural/17/1`."""
        return [prompt for pair in read_pairs(config.data) for prompt in _prompts(pair)]

    def limited(self, examples: Sequence[Prompt], limit: int | None) -> Sequence[Prompt]:
        """A pair of each subset in turn."""
        return in_turns(examples, limit, place_of)

    async def respond(self, runner: JobRunner, examples: Sequence[Prompt]) -> None:
        """Judge every output; the only node of each tree is the output with its judgement."""
        await runner.run(
            Job(
                ANSWERS,
                examples,
                settings=judging_settings(runner.config),
                limits=judging_limits(runner.config),
                roles=("judge",),
                change=Roles.with_one_round,
                roots=judged_roots(runner.config.seed),
            )
        )

    def work(self, config: EvalConfig, examples: Sequence[Prompt]) -> Work:
        """One round of votes on each output."""
        judge, _ = judge_with(config)
        return Work(calls=len(examples) * judge.num_calls(config.changed(judging_settings(config))))

    def score(self, examples: Sequence[Prompt], outputs: JobOutputs) -> Scored:
        """Compare judgements, the run's or external ones, with the labels."""
        stored = {tree.prompt.id: _votes_of(tree) for tree in outputs.trees(ANSWERS)}
        if not stored:
            answers = outputs.answers().items()
            stored = {
                id_: Votes((read_verdict(a.text),), a.text, a.usage)
                for id_, a in answers
                if a.text is not None
            }
        votes = {prompt.id: stored[prompt.id] for prompt in examples if prompt.id in stored}
        # Odd numbers of votes below all of them.
        sizes = range(1, max((len(each.verdicts) for each in votes.values()), default=0), 2)
        scored = [_example(prompt, votes.get(prompt.id, Votes()), sizes) for prompt in examples]
        prefixes = [f"acc@{size}" for size in sizes]
        return Scored(
            examples=tuple(scored),
            means=subset_means("acc", "f1", "acc_parsed", "f1_parsed", *prefixes),
            counts={
                "undecided": sum(
                    bool(each.verdicts) and each.majority is None for each in votes.values()
                ),
                "unjudged": sum(not each.verdicts for each in votes.values()),
                "absent": sum(prompt.id not in votes for prompt in examples),
            },
            notes=_notes(sum(example.verdicts[0].passed is None for example in scored)),
        )

    def stored_answer(self, tree: SearchTree) -> Answer:
        """The text of a vote on the majority's side, None if the votes have no majority."""
        votes = _votes_of(tree)
        return Answer(None if votes.majority is None else votes.text, tree.usage)


@dataclass(frozen=True, slots=True)
class Votes:
    """The judge's votes on one output."""

    verdicts: tuple[bool | None, ...] = ()
    """One for each vote; () if the judge failed, for instance because the prompt is too long for it."""
    text: str | None = None
    """The text of the first vote on the majority's side."""
    usage: Usage = Usage()

    @property
    def majority(self) -> bool | None:
        """The majority of the parsed votes, None if there is none."""
        return majority(self.verdicts)


def _prompts(pair: Pair) -> Iterator[Prompt]:
    for number, output in enumerate(pair.outputs, start=1):
        yield Prompt(
            id=f"{pair.id}/{number}",
            messages=(Message(role="user", content=pair.input),),
            source=DATA,
            meta={
                "subset": pair.subset,
                "pair": pair.id,
                "label": number == pair.preferred,
                RESPONSE: output,
            },
        )


def _votes_of(tree: SearchTree) -> Votes:
    judgement = tree.nodes[0].judgement
    if judgement is None:
        return Votes(usage=tree.usage)
    # Programs and votes on requirements make one verdict, as one vote does.
    verdicts = judgement.verdicts or (judgement.verdict,)
    return Votes(verdicts, judgement.critique, tree.usage)


def _example(prompt: Prompt, votes: Votes, sizes: Sequence[int]) -> Example:
    label, verdict = prompt.meta["label"], votes.majority
    return Example(
        id=prompt.id,
        group=prompt.meta["pair"],
        response=votes.text,
        passed=verdict is label,
        verdicts=(Verdict(name="follows", passed=verdict, why=_why(votes)),),
        scores=_scores(prompt.meta["subset"], label, votes.verdicts, sizes),
        usage=votes.usage,
        facts={"subset": prompt.meta["subset"], "label": label},
    )


def _scores(
    subset: str, label: bool, verdicts: tuple[bool | None, ...], sizes: Sequence[int]
) -> dict[str, Share]:
    verdict = majority(verdicts)
    right, f1 = (float(verdict is label), 1.0), f1_share(verdict, label)
    scores = {f"acc/{subset}": right, f"f1/{subset}": f1}
    if verdict is not None:
        scores |= {f"acc_parsed/{subset}": right, f"f1_parsed/{subset}": f1}
    for size in sizes:
        scores[f"acc@{size}/{subset}"] = (float(majority(verdicts[:size]) is label), 1.0)
    return scores


def _why(votes: Votes) -> str:
    if not votes.verdicts:
        return "no judgement"
    num_yes, num_no = votes.verdicts.count(True), votes.verdicts.count(False)
    unparsed = len(votes.verdicts) - num_yes - num_no
    return f"{num_yes} yes, {num_no} no" + (f", {unparsed} unparsed" if unparsed else "")


def _notes(num: int) -> tuple[str, ...]:
    note = f"outputs without a verdict: {num}; wrong in acc and f1, left out of acc_parsed and f1_parsed"
    return (note,) if num else ()
