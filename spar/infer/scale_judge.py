"""The judges `scale` and `curation`: several judgements with points each, whose mean counts.

Source: Self-Rewarding Language Models (arXiv 2401.10020), an additive rubric of five points, reasons first and the sum
last, three judgements a response; Meta-Rewarding (arXiv 2407.19594) has eleven and leaves out those that cannot be
read. `scale` has 0 to 5 points. `curation` grades a text as an answer from 1 to 5 (Humpback, arXiv 2308.06259: one grade, its
reasons first). The rubrics (`spar/templates/scale.txt`, `curation.txt`) are in spar's own words; so is its last line, `Final Judgement: 4`, which is
read by the rules of verdicts (`spar.templates.verdicts`). The score is the mean divided by 5; a response passes if it
is above `--threshold`. `--vote-rule` has no part in it: every judgement is made.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from statistics import fmean

from spar.infer.cut_replies import count_cut
from spar.infer.engine import Completion, Engine
from spar.infer.judges import JUDGE_ATTEMPTS, JudgeSettings, JudgeSpec
from spar.infer.roles import AttemptFailed, Seeds, ask
from spar.infer.votes import Vote, cut_reason, empty_reason
from spar.templates import NARROW, read_template, render, transcript
from spar.templates.verdicts import Answers, find_answer
from spar.types import Judgement, Message, Prompt, Usage

MOST_POINTS = 5
"""Points of a perfect response (source: 5)."""
_REASON = r"(?:[ \t]+for[ \t]+[^\n=+\u2212\u2013-]{0,59}[^\s=+\u2212\u2013-])?"
_ADDEND = rf"\d(?:\.\d+)?(?:[ \t]+points?)?{_REASON}"
_SUM = rf"(?:{_ADDEND}(?:[ \t]*[+\u2212\u2013-][ \t]*{_ADDEND}){{1,10}}[ \t]*=[ \t]*)?"
POINTS = Answers(
    rf"(?<!-){_SUM}\d(?:\.\d+)?(?:(?:\s*/\s*|(?:\s+out)?\s+of\s+)5)?(?!\s*/\s*\d)",
    label="score|points|total",
    followers="because|since|as|due|the|it|this|points?|for",
    unit=r"(?:[ \t]+points?)?",
)
"""What a judge on the scale says: `4`, `3.5`, `4/5`, `4 points`, `1 point + 2 points = 3 points`."""


@dataclass(frozen=True, slots=True)
class Rubric:
    """What the points mean, and how few of them there can be."""

    template: str
    """Name of the template that asks for them."""
    least: int
    """Fewest points of a response."""


ADDITIVE, CURATING = Rubric("scale", 0), Rubric("curation", 1)
"""Points that add up (Self-Rewarding); grades from 1 to 5 of a text as an answer (Humpback)."""


@dataclass(frozen=True, slots=True)
class ScaleJudge:
    """The mean of several judgements on the scale; those that cannot be read are left out."""

    settings: JudgeSettings
    rubric: Rubric = ADDITIVE

    @property
    def engine(self) -> Engine:
        """The model's engine."""
        return self.settings.engine

    async def judge(self, prompt: Prompt, response: str, seeds: Seeds) -> tuple[Judgement, Usage]:
        """Ask for all judgements together; where none can be read, again, `JUDGE_ATTEMPTS` times at most."""
        messages = scale_messages(prompt, response, self.rubric)
        sampling = self.settings.sampling
        usage = Usage()
        replies: list[Completion] = []
        for attempt in range(JUDGE_ATTEMPTS):
            requests = self.settings.one_round(messages, seeds(attempt))
            replies, usage = await ask(self.settings.engine, requests, usage)
            least = self.rubric.least
            points = tuple(parse_points(reply.text, response, least=least) for reply in replies)
            is_cut = [
                reply.finish == "length" and given is None
                for reply, given in zip(replies, points, strict=True)
            ]
            usage += count_cut("judge", is_cut, sampling.max_tokens)
            if any(given is not None for given in points):
                keep = self.settings.keep_votes
                return _judgement(replies, points, is_cut, keep=keep), usage
        reason = f"none of {len(replies)} judgements had points that can be read, in {JUDGE_ATTEMPTS} rounds"
        empty = [Vote(reply.text, None, empty_reason=reply.empty_reason) for reply in replies]
        reason += cut_reason(usage, sampling) + empty_reason(empty)
        raise AttemptFailed(reason, replies[0].text, usage)


def _judgement(
    replies: list[Completion],
    points: tuple[float | None, ...],
    is_cut: list[bool],
    *,
    keep: bool,
) -> Judgement:
    """Its critique is the first text whose points are closest to the mean; all texts are part of it if `keep`."""
    readable = [(given, n) for n, given in enumerate(points) if given is not None]
    mean = fmean(given for given, _ in readable)
    closest = min(readable, key=lambda each: (abs(each[0] - mean), each[1]))[1]
    return Judgement(
        verdicts=(),
        critique=replies[closest].text,
        probability=mean / MOST_POINTS,
        points=points,
        cut=tuple(number for number, cut in enumerate(is_cut) if cut),
        votes=tuple(reply.text for reply in replies) if keep else (),
    )


def scale_messages(prompt: Prompt, response: str, rubric: Rubric = ADDITIVE) -> tuple[Message, ...]:
    """The conversation that asks for the points of a response."""
    text = render(
        _template(rubric.template), instruction=transcript(prompt.messages), response=response
    )
    return (Message(role="user", content=text),)


def parse_points(text: str, response: str = "", *, least: int = 0) -> float | None:
    """The points that a judgement gives, None where none from `least` to 5 can be read for certain.

    Parameters
    ----------
    response:
        The response that was judged, as in `spar.templates.verdicts.parse_verdict`.
    """
    span = find_answer(text, POINTS, response)
    answer = text.translate(NARROW)[slice(*span)] if span else ""
    number = re.match(r"\s*(\d(?:\.\d+)?)", answer.rpartition("=")[2])
    points = float(number[1]) if number else None
    return points if points is not None and least <= points <= MOST_POINTS else None


@cache
def _template(name: str) -> str:
    return read_template(name, ("instruction", "response"))


SCALE = JudgeSpec(
    ScaleJudge,
    conversation=lambda _, prompt, response: scale_messages(prompt, response),
    takes_vote_rule=False,
)
"""Points from 0 to 5, averaged; `--votes` judgements a response."""
CURATION = JudgeSpec(
    lambda settings: ScaleJudge(settings, CURATING),
    conversation=lambda _, prompt, response: scale_messages(prompt, response, CURATING),
    takes_vote_rule=False,
)
"""Grades from 1 to 5 of a text as an answer, averaged."""
