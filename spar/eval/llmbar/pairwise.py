"""LLMBar by its own protocol: which of two outputs follows the instruction, asked in both orders.

Dataset: 419 pairs, each asked as given and swapped. Metric: accuracy, the mean of the two orders';
agreement, the share of pairs with the same winner in both. Each in every subset, with plain means over
the four adversarial ones and over all five. Pattern: the judge's model with a comparison prompt of
our own (`pairwise.txt`), by the settings of a grader, which are greedy.

A reply that names no winner is wrong and agrees with nothing. (The benchmark's script takes two such
replies for agreement.)
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from importlib.resources import files

from spar.config import EvalConfig
from spar.eval.benchmark import ANSWERS, Answer, Benchmark, JobOutputs, JobRunner
from spar.eval.given_responses import GREEDY, sampling_of
from spar.eval.llmbar.pairs import DATA, Pair, read_pairs, subset_means
from spar.infer.roles import Actor
from spar.infer.search import Roles
from spar.record.evaluation import Example, Scored, Verdict
from spar.run.job import Job
from spar.templates import render
from spar.types import Message, Prompt

GIVEN, SWAPPED = "given", "swapped"

_HEADING = re.compile(r"final\s+judge?ment", re.IGNORECASE)
_DRESS = r"[\s:*_#>\"'`(\[-]*"
_WINNER = re.compile(rf"{_DRESS}(?:(?:response|output|number)\b{_DRESS})?([12])(?!\w)", re.I)
_ANOTHER = re.compile(
    rf"{_DRESS}[*_\"'`)\]]*\s*(?:or|and|nor|[/,&|-])\s*(?:response|output)?\s*[12](?!\w)", re.I
)
"""What follows a number that stands in a list: `1 or 2` names no winner."""


class Pairwise(Benchmark):
    """The benchmark `llmbar-pairwise`."""

    data = (DATA,)
    measures = "judge"

    def load(self, config: EvalConfig) -> list[Prompt]:
        """Every pair in both orders, ids such as `Natural/17/swapped`."""
        return [prompt for pair in read_pairs(config.data) for prompt in _prompts(pair)]

    async def respond(self, runner: JobRunner, examples: Sequence[Prompt]) -> None:
        """Have the judge's model answer each comparison once."""
        sampling = sampling_of(runner.config.grade)

        def compare(roles: Roles) -> Roles:
            return replace(roles, actor=Actor(roles.judge_engine(), sampling, greedy_first=False))

        await runner.run(Job(ANSWERS, examples, settings=GREEDY, roles=("judge",), change=compare))

    def score(self, examples: Sequence[Prompt], outputs: JobOutputs) -> Scored:
        """Read the winners, the run's own or a person's, and compare them with labels and orders."""
        answers = outputs.answers()
        replies = {prompt.id: answers.get(prompt.id, Answer(None)) for prompt in examples}
        winners = {id_: parse_winner(reply.text or "") for id_, reply in replies.items()}
        found = [_example(prompt, replies[prompt.id], winners) for prompt in examples]
        unread = sum(winner is None for winner in winners.values())
        return Scored(
            examples=tuple(found),
            means=subset_means("acc", "agreement"),
            counts={
                "unparsed": unread,
                "absent": sum(prompt.id not in answers for prompt in examples),
            },
            notes=(f"{unread} comparisons name no winner and count as wrong",) if unread else (),
        )


def parse_winner(text: str) -> int | None:
    """The number that follows the last `Final Judgement`, or stands alone; None where there is none."""
    if text.strip() in ("1", "2"):
        return int(text)
    headings = list(_HEADING.finditer(text))
    match = _WINNER.match(text, headings[-1].end()) if headings else None
    if match is None or _ANOTHER.match(text, match.end()):
        return None
    return int(match[1])


def comparison(instruction: str, first: str, second: str) -> str:
    """The text that asks for a comparison; markers inside its parts are shielded."""
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
    meta, said = prompt.meta, winners[prompt.id]
    right = None if said is None else said == meta["label"]
    scores = {f"acc/{meta['subset']}": (float(right or False), 1.0)}
    swapped = f"{meta['pair']}/{SWAPPED}"
    if meta["order"] == GIVEN and swapped in winners:
        agree = said is not None and winners[swapped] == 3 - said
        scores[f"agreement/{meta['subset']}"] = (float(agree), 1.0)
    why = "names no winner" if said is None else f"says {said}, right is {meta['label']}"
    return Example(
        id=prompt.id,
        group=meta["pair"],
        response=answer.text,
        passed=bool(right),
        verdicts=(Verdict(name="winner", passed=right, why=why),),
        scores=scores,
        usage=answer.usage,
        facts={name: meta[name] for name in ("subset", "order", "label")} | {"winner": said},
    )
