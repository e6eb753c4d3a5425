"""LLMBar by its own protocol: which of two outputs follows the instruction, in both orders.

Dataset: 419 pairs, each compared in its original and in swapped order. Metric: accuracy, the mean of the two orders';
agreement, the share of pairs with the same winner in both. Each in every subset, with plain means over
the four adversarial ones and over all five. Pattern: the judge's model with spar's comparison prompt
(`pairwise.txt`) and the sampling of a grader, which is greedy.

A reply that names no winner is wrong and agrees with nothing. (The benchmark's script counts two such
replies as agreement.)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from importlib.resources import files

from spar.config import EvalConfig
from spar.eval.benchmark import ANSWERS, Answer, Benchmark, JobOutputs, JobRunner, Work, in_turns
from spar.eval.given_responses import GREEDY
from spar.eval.llmbar.pairs import DATA, Pair, place_of, read_pairs, subset_means
from spar.infer.roles import Actor, Roles
from spar.record.evaluation import Example, Scored, Verdict
from spar.run.job import Job
from spar.run.sampling import sampling_of
from spar.templates import NARROW, render
from spar.templates.verdicts import Answers, find_answer
from spar.types import Message, Prompt

GIVEN, SWAPPED = "given", "swapped"
"""The order of the outputs, as ids and records name it."""

WINNERS = Answers(
    "[12]",
    label="response|output|number",
    followers="is|follows|meets|does|because|since|as|due|the|it|this",
)
"""What the judge of a pair says."""


class Pairwise(Benchmark):
    """The benchmark `llmbar-pairwise`; see the module's docstring."""

    data = (DATA,)
    measures = "judge"

    def load(self, config: EvalConfig) -> list[Prompt]:
        """Every pair in both orders, with ids such as `Natural/17/swapped`."""
        return [prompt for pair in read_pairs(config.data) for prompt in _prompts(pair)]

    def limited(self, examples: Sequence[Prompt], limit: int | None) -> Sequence[Prompt]:
        """A pair of each subset in turn."""
        return in_turns(examples, limit, place_of)

    async def respond(self, runner: JobRunner, examples: Sequence[Prompt]) -> None:
        """Let the judge's model make each comparison once."""
        sampling = sampling_of(runner.config, runner.config.grade)

        def compare(roles: Roles) -> Roles:
            return replace(roles, actor=Actor(roles.judge_engine(), sampling, greedy_first=False))

        await runner.run(
            Job(
                ANSWERS,
                examples,
                settings=GREEDY,
                roles=("judge",),
                change=compare,
                limits={"actor": "grade.max_tokens"},
            )
        )

    def work(self, config: EvalConfig, examples: Sequence[Prompt]) -> Work:
        """A call for each comparison."""
        return Work(calls=len(examples))

    def score(self, examples: Sequence[Prompt], outputs: JobOutputs) -> Scored:
        """Parse the winners, of the run or of external answers, and compare them with the labels."""
        answers = outputs.answers()
        replies = {prompt.id: answers.get(prompt.id, Answer(None)) for prompt in examples}
        winners = {id_: parse_winner(reply.text or "") for id_, reply in replies.items()}
        scored = [_example(prompt, replies[prompt.id], winners) for prompt in examples]
        unparsed = sum(winner is None for winner in winners.values())
        return Scored(
            examples=tuple(scored),
            means=subset_means("acc", "agreement"),
            counts={
                "unparsed": unparsed,
                "absent": sum(prompt.id not in answers for prompt in examples),
            },
            notes=(f"comparisons that name no winner: {unparsed}; they count as wrong",)
            if unparsed
            else (),
        )


def parse_winner(text: str) -> int | None:
    """The number behind `Final Judgement`, by the rules for verdicts, or the whole text if it is 1 or 2; else None."""
    if text.strip() in ("1", "2"):
        return int(text)
    span = find_answer(text, WINNERS)
    return None if span is None else int(text[slice(*span)].translate(NARROW))


def comparison(instruction: str, first: str, second: str) -> str:
    """The prompt for a comparison; markers inside its parts are escaped."""
    return render(_template(), instruction=instruction, first=first, second=second)


@cache
def _template() -> str:
    path = files(__package__).joinpath("pairwise.txt")
    return path.read_text(encoding="utf-8").removesuffix("\n")


def _prompts(pair: Pair) -> Iterator[Prompt]:
    for order, (first, second) in ((GIVEN, pair.outputs), (SWAPPED, pair.outputs[::-1])):
        text = comparison(pair.input, first, second)
        yield Prompt(
            id=f"{pair.id}/{order}",
            messages=(Message(role="user", content=text),),
            source=DATA,
            meta={
                "subset": pair.subset,
                "pair": pair.id,
                "order": order,
                "label": pair.preferred if order == GIVEN else 3 - pair.preferred,
            },
        )


def _example(prompt: Prompt, answer: Answer, winners: Mapping[str, int | None]) -> Example:
    meta, winner = prompt.meta, winners[prompt.id]
    right = None if winner is None else winner == meta["label"]
    scores = {f"acc/{meta['subset']}": (float(right or False), 1.0)}
    swapped = f"{meta['pair']}/{SWAPPED}"
    if meta["order"] == GIVEN and swapped in winners:
        agree = winner is not None and winners[swapped] == 3 - winner
        scores[f"agreement/{meta['subset']}"] = (float(agree), 1.0)
    why = "names no winner" if winner is None else f"says {winner}, right is {meta['label']}"
    return Example(
        id=prompt.id,
        group=meta["pair"],
        response=answer.text,
        passed=bool(right),
        verdicts=(Verdict(name="winner", passed=right, why=why),),
        scores=scores,
        usage=answer.usage,
        facts={name: meta[name] for name in ("subset", "order", "label")} | {"winner": winner},
    )
