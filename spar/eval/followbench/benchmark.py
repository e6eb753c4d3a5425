"""FollowBench: instructions that gain a constraint a level, from 1 to 5.

Dataset: six files (content, situation, style, format, example, mixed), 164 groups of 5 levels, 820
answers; 350 are scored by rules, 470 by a judge that decides on each constraint.
Metrics: HSR (all constraints satisfied), SSR (share of them), CSL (levels in a row); see `metrics`.
Pattern: the bare instruction as one turn, answered greedily with at most 2,048 tokens in the paper.

    spar eval followbench --model M --grader-model JUDGE
    spar eval followbench --responses FILE --judge-outputs FILE

Rules, judge conversation and aggregates follow YJiangcm/FollowBench. An output of the judge that cannot
be read is requested again, three attempts in all, then counts as not satisfied.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from spar.config import EvalConfig
from spar.errors import UsageError
from spar.eval import paper
from spar.eval.benchmark import Answer, Benchmark, JobOutputs, JobRunner, in_turns
from spar.eval.datasets.local import DataFolder, open_data
from spar.eval.followbench import dataset, metrics
from spar.eval.followbench.judge import comparable, conversation, graded_answer, job, last_line
from spar.eval.followbench.outcome import Outcome, outcome
from spar.eval.followbench.rules import JUDGE, shown
from spar.record.evaluation import Example, Scored, Share
from spar.types import Prompt

_NO_OUTPUT = "there is no output of a judge; let a grader judge them, or give --judge-outputs FILE"
_EMPTY = (
    "the judge was called and wrote nothing (grades/log.txt says why); judge with another model "
    "(--grader-model, --grader-url), or count -1 with --official-scoring"
)
_AVERAGES = (
    "levels and averages are over six files, .../without_example (--details) over five; "
    "which of the two the paper's table shows is not known"
)


class FollowBenchOptions(BaseModel):
    """Options of FollowBench."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    official_scoring: bool = False
    """Count a grade that cannot be read as -1, as the published scripts do."""


@dataclass(slots=True)
class FollowBench(Benchmark):
    """The benchmark. Ids of examples are `file/group/level`, such as `content/14/3`, in stored answers
    and in stored judge outputs alike; an answer may also be matched by its instruction's text."""

    official_scoring: bool = False
    """Whether an output of the judge that cannot be read counts as -1, as in the original's scripts,
    and nothing is read that these do not read."""
    options = FollowBenchOptions
    data = ("followbench",)
    uses_grader = True
    grader_role = "actor"
    headline = "ssr_avg"
    paper = paper.FOLLOWBENCH

    @staticmethod
    def prompt_texts(folder: DataFolder | None) -> Iterator[tuple[str, str]]:
        """The instructions at every level, the unscored level 0 included."""
        assert folder is not None
        for path in folder.checksums:
            for row in folder.json(path):
                file = path.removesuffix("_constraints.json")
                yield f"{file}/{row['example_id']}/{row['level']}", row["instruction"]

    def load(self, config: EvalConfig) -> list[Prompt]:
        """All 820 scored instructions."""
        return dataset.prompts(open_data("followbench", config.data))

    def limited(self, examples: Sequence[Prompt], limit: int | None) -> Sequence[Prompt]:
        """A group of each file in turn."""
        return in_turns(examples, limit, lambda prompt: prompt.meta["group"])

    async def grade(self, runner: JobRunner, examples: Sequence[Prompt]) -> None:
        """Have the grader judge the answers that no rule scores."""
        answers = runner.outputs.answers()
        questions = [
            _question(example, text)
            for example in examples
            if example.meta["rule"] == JUDGE and (text := _text(answers, example)) is not None
        ]
        if questions:
            await runner.run(job(questions, runner.config, strict=self.official_scoring))

    def graded_example(
        self, text: str, examples: Sequence[Prompt], answers: Mapping[str, Answer]
    ) -> str | None:
        """The example with the turn's last instruction, else with its answer and level.

        A turn about another answer than the example's is of another run, and belongs to none.
        """
        graded = graded_answer(text)
        if graded is None:
            return None
        same_level = [p for p in examples if p.meta["level"] == graded.level]
        named = [p.id for p in same_level if p.messages[-1].content == graded.instruction]
        texts = {p.id: comparable(answers[p.id].text or "") for p in same_level if p.id in answers}
        if named:
            return named[0] if texts.get(named[0], graded.answer) == graded.answer else None
        answered = [id_ for id_, answer in texts.items() if answer == graded.answer]
        return answered[0] if len(answered) == 1 and graded.answer else None

    def score(self, examples: Sequence[Prompt], outputs: JobOutputs) -> Scored:
        """Verdicts and shares of every example.

        Raises
        ------
        UsageError
            There are answers for a judge, and not one output that can be read.
        """
        answers, replies = outputs.answers(), outputs.grader_replies()
        outcomes = {
            example.id: outcome(
                example,
                _text(answers, example),
                replies.get(example.id, ()),
                official_scoring=self.official_scoring,
            )
            for example in examples
        }
        if not self.official_scoring:
            _refuse_mute_judge(outcomes, replies)
        groups = _complete_groups(examples)
        counts = _counts(examples, outcomes, groups)
        return Scored(
            examples=tuple(
                _example(example, outcomes, answers.get(example.id), groups) for example in examples
            ),
            means=dict(metrics.means()),
            counts=counts,
            notes=tuple(_notes(counts, official_scoring=self.official_scoring)),
            units=dict(metrics.UNITS),
        )


Groups = Mapping[str, Sequence[str]]
"""Group to the ids of its five levels in order, groups that have all five."""


def _text(answers: Mapping[str, Answer], example: Prompt) -> str | None:
    answer = answers.get(example.id)
    return None if answer is None else answer.text


def _question(example: Prompt, answer: str) -> Prompt:
    file, level, path = (example.meta[name] for name in ("file", "level", "path"))
    meta = {"file": file, "group": example.meta["group"], "level": level}
    messages = conversation(file, path, answer)
    return Prompt(id=example.id, messages=messages, source=example.source, meta=meta)


def _group(example: Prompt) -> str:
    return f"{example.meta['file']}/{example.meta['group']}"


def _complete_groups(examples: Sequence[Prompt]) -> Groups:
    groups: dict[str, dict[int, str]] = defaultdict(dict)
    for example in examples:
        groups[_group(example)][example.meta["level"]] = example.id
    return {
        group: [levels[level] for level in metrics.LEVELS]
        for group, levels in groups.items()
        if len(levels) == len(metrics.LEVELS)
    }


def _example(
    example: Prompt, outcomes: Mapping[str, Outcome], answer: Answer | None, groups: Groups
) -> Example:
    result = outcomes[example.id]
    facts = {"file": example.meta["file"], "level": example.meta["level"], "state": result.state}
    facts |= {"rule": example.meta["rule"]} if result.state == "ruled" else {}
    return Example(
        id=example.id,
        group=_group(example),
        response=answer.text if answer else None,
        passed=result.passed,
        verdicts=result.verdicts,
        scores=_scores(example, outcomes, groups),
        facts=facts,
        **({"usage": answer.usage} if answer else {}),
    )


def _scores(example: Prompt, outcomes: Mapping[str, Outcome], groups: Groups) -> dict[str, Share]:
    file, level, result = example.meta["file"], example.meta["level"], outcomes[example.id]
    scores = metrics.shares(file, level, hard=result.hard, soft=result.soft)
    ids = groups.get(_group(example))
    if ids is not None:
        scores |= metrics.weighted_shares(file, level, hard=result.hard, soft=result.soft)
    if ids is not None and level == 1:  # a group's length is booked on its first row
        scores |= metrics.csl_share(file, [outcomes[name].hard for name in ids])
    return scores


def _counts(
    examples: Sequence[Prompt], outcomes: Mapping[str, Outcome], groups: Groups
) -> dict[str, int]:
    states = Counter(result.state for result in outcomes.values())
    return {
        "judged": states["judged"],
        "unanswered": states["unanswered"],
        "unjudged": states["unjudged"],
        "unparsed": states["unparsed"],
        "judged_again": sum(result.attempts > 1 for result in outcomes.values()),
        "incomplete_groups": len({_group(example) for example in examples} - set(groups)),
    }


def _notes(counts: Mapping[str, int], *, official_scoring: bool) -> list[str]:
    lost, cut = counts["unjudged"] + counts["unparsed"], counts["incomplete_groups"]
    way = "as -1, as in the original" if official_scoring else "as not satisfied"
    notes = [_AVERAGES]
    if lost:
        notes.append(
            f"answers without an output of the judge that can be read: {lost}; they count {way}"
        )
    if cut:
        notes.append(f"groups that lack a level: {cut}; csl and the weighted means leave them out")
    return notes


def _refuse_mute_judge(
    outcomes: Mapping[str, Outcome], replies: Mapping[str, tuple[str, ...]]
) -> None:
    states = Counter(result.state for result in outcomes.values())
    waiting = states["unjudged"] + states["unparsed"]
    if states["judged"] or not waiting:
        return
    unread = next((name for name, result in outcomes.items() if result.state == "unparsed"), None)
    is_empty = any(
        result.state == "unjudged" and name in replies for name, result in outcomes.items()
    )
    nothing = _EMPTY if is_empty else _NO_OUTPUT
    reason = nothing if unread is None else _mute(replies[unread][-1])
    raise UsageError(f"followbench: answers that a judge must score: {waiting}; {reason}")


def _mute(output: str) -> str:
    return (
        "no output of the judge ends in a list of YES or NO "
        f"(one ends in {shown(last_line(output))}); "
        "judge with another model (--grader-model, --grader-url), or count -1 with --official-scoring"
    )
