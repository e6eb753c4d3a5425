"""A benchmark of a few arithmetic prompts, for tests of what runs benchmarks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from spar.config import EvalConfig
from spar.errors import UsageError
from spar.eval.benchmark import GRADES, Benchmark, JobOutputs, JobRunner
from spar.record.evaluation import Example, Scored, Verdict
from spar.run.job import Job
from spar.types import Message, Prompt, Usage

NUM_PROMPTS = 12


@dataclass(frozen=True, slots=True)
class Toy(Benchmark):
    """An answer passes when its number of letters is even; a grader is asked about each."""

    official_scoring: bool = False
    uses_grader = True

    def load(self, config: EvalConfig) -> list[Prompt]:
        """A dozen prompts."""
        return [_prompt(f"t{i}", f"Say {i}.") for i in range(NUM_PROMPTS)]

    async def grade(self, runner: JobRunner, examples: Sequence[Prompt]) -> None:
        """One question an answer."""
        answers = runner.outputs.answers()
        asked = [_prompt(p.id, f"Is it good? {answers[p.id].text}") for p in examples]
        settings = {"strategy": "greedy"}
        await runner.run(Job(GRADES, asked, settings, roles=("actor",), grader=True))

    def score(self, examples: Sequence[Prompt], outputs: JobOutputs) -> Scored:
        """Share of even answers, and of graded ones."""
        answers, grades = outputs.answers(), outputs.grader_replies()
        scored = []
        for prompt in examples:
            text = answers[prompt.id].text if prompt.id in answers else None
            passed = len(text or "") % 2 == 0
            scores = {"even": (float(passed), 1.0), "graded": (float(prompt.id in grades), 1.0)}
            usage = answers[prompt.id].usage if prompt.id in answers else Usage()
            scored.append(
                Example(
                    id=prompt.id,
                    response=text,
                    passed=passed,
                    verdicts=(Verdict(name="even", passed=passed),),
                    scores=scores,
                    usage=usage,
                )
            )
        return Scored(examples=tuple(scored), means={"both": ("even", "graded")})


class ToyOfJudges(Toy):
    """The same, as a benchmark of judges."""

    measures = "judge"


class ToyUnread(Toy):
    """The same, with a judge that never answers as asked."""

    def score(self, examples: Sequence[Prompt], outputs: JobOutputs) -> Scored:
        """Refuse."""
        raise UsageError("the judge's outputs are such as nobody can read")


def _prompt(prompt_id: str, text: str) -> Prompt:
    return Prompt(id=prompt_id, messages=(Message(role="user", content=text),))
