"""LLMBar as the paper uses it (Tables 2, 8 and 9): one output at a time, does it follow the instruction?

Dataset: 419 pairs, so 838 judgements; the preferred output of a pair deserves a Yes, the other a No.
Metric: accuracy and F1 of Yes in each subset, plain means over the four adversarial ones and over all
five. Pattern: the run's judge, with spar's own judge template, one greedy judgement or
`--judge-votes N` sampled ones, of which the majority counts.

A judgement that cannot be read, or votes that tie, count as wrong (and as no Yes). `acc_parsed` and
`f1_parsed` leave these out, as the paper's own numbers seem to. `acc@K` is the accuracy of the first K
votes of a run with more of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from spar.config import EvalConfig
from spar.eval.benchmark import ANSWERS, Answer, Benchmark, JobOutputs, JobRunner
from spar.eval.given_responses import (
    RESPONSE,
    f1_share,
    judged_roots,
    judging_settings,
    majority,
    read_verdict,
)
from spar.eval.llmbar.pairs import DATA, Pair, read_pairs, subset_means
from spar.infer.search import Roles
from spar.record.evaluation import Example, Scored, Share, Verdict
from spar.run.job import Job
from spar.types import Message, Prompt, SearchTree, Usage


class Pointwise(Benchmark):
    """The benchmark `llmbar`."""

    data = (DATA,)
    measures = "judge"

    def load(self, config: EvalConfig) -> list[Prompt]:
        """Both outputs of every pair, ids such as `Natural/17/1`."""
        return [prompt for pair in read_pairs(config.data) for prompt in _prompts(pair)]

    async def respond(self, runner: JobRunner, examples: Sequence[Prompt]) -> None:
        """Have every output judged: a tree's only node is the output and its judgement."""
        await runner.run(
            Job(
                ANSWERS,
                examples,
                settings=judging_settings(runner.config),
                roles=("judge",),
                change=Roles.with_one_round,
                roots=judged_roots(runner.config.seed),
            )
        )

    def score(self, examples: Sequence[Prompt], outputs: JobOutputs) -> Scored:
        """Compare judgements, the run's own or a person's, with the labels."""
        known = {tree.prompt.id: _of_tree(tree) for tree in outputs.trees(ANSWERS)}
        if not known:
            answers = outputs.answers().items()
            known = {id_: _of_text(a.text, a.usage) for id_, a in answers if a.text is not None}
        said = {prompt.id: known[prompt.id] for prompt in examples if prompt.id in known}
        sizes = _sizes(max((len(one.verdicts) for one in said.values()), default=0))
        absent = Said((), None)
        found = [_example(prompt, said.get(prompt.id, absent), sizes) for prompt in examples]
        prefixes = [f"acc@{size}" for size in sizes]
        return Scored(
            examples=tuple(found),
            means=subset_means("acc", "f1", "acc_parsed", "f1_parsed", *prefixes),
            counts={
                "undecided": sum(
                    bool(one.verdicts) and one.verdict is None for one in said.values()
                ),
                "unjudged": sum(not one.verdicts for one in said.values()),
                "absent": sum(prompt.id not in said for prompt in examples),
            },
            notes=_notes(sum(example.verdicts[0].passed is None for example in found)),
        )

    def stored_answer(self, tree: SearchTree) -> Answer:
        """A judgement on the majority's side; none where the votes decided nothing."""
        said = _of_tree(tree)
        return Answer(None if said.verdict is None else said.text, tree.usage)


@dataclass(frozen=True, slots=True)
class Said:
    """What a judge made of one output."""

    verdicts: tuple[bool | None, ...]
    """One a vote, () where there was no judgement: the prompt is too long for the judge, say."""
    text: str | None
    """The judgement, of several the first on the majority's side."""
    usage: Usage = Usage()

    @property
    def verdict(self) -> bool | None:
        """What the votes come to."""
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


def _of_tree(tree: SearchTree) -> Said:
    judgement = tree.nodes[0].judgement
    if judgement is None:
        return Said((), None, tree.usage)
    return Said(judgement.verdicts, judgement.critique, tree.usage)


def _of_text(text: str, usage: Usage) -> Said:
    return Said((read_verdict(text),), text, usage)


def _sizes(num_votes: int) -> range:
    """Odd numbers of votes below all of them."""
    return range(1, num_votes, 2)


def _example(prompt: Prompt, said: Said, sizes: Sequence[int]) -> Example:
    label, verdict = prompt.meta["label"], said.verdict
    return Example(
        id=prompt.id,
        group=prompt.meta["pair"],
        response=said.text,
        passed=verdict is label,
        verdicts=(Verdict(name="follows", passed=verdict, why=_why(said)),),
        scores=_scores(prompt.meta["subset"], label, said.verdicts, sizes),
        usage=said.usage,
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


def _why(said: Said) -> str:
    if not said.verdicts:
        return "no judgement"
    num_yes, num_no = said.verdicts.count(True), said.verdicts.count(False)
    unread = len(said.verdicts) - num_yes - num_no
    return f"{num_yes} yes, {num_no} no" + (f", {unread} unread" if unread else "")


def _notes(num: int) -> tuple[str, ...]:
    note = (
        f"{num} outputs have no verdict: wrong in acc and f1, left out of acc_parsed and f1_parsed"
    )
    return (note,) if num else ()
