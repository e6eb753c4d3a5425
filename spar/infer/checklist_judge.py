"""The judge `checklist`: the instruction is split into requirements, and each gets its own votes.

The model splits the instruction once for all responses of a tree, greedily. Each vote is one reply with a line for
every requirement, or, with `per_requirement`, one reply for each of them. Where no list can be read, responses are voted
on as a whole, as by `votes`. Constraints of a prompt that programs know are checked by programs, as by `hybrid`: they
decide alone where they know all or where one is not met, and else the model's list has what is left.

The score is the share of requirements met, each to its share of yes; a response passes if every one is above the
threshold. Decomposed judging: InFoBench (2401.03601), TICK (2410.03608). The prompts are spar's own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from spar.errors import UsageError
from spar.findings import critique
from spar.infer.checklist_forms import JSON, LINES, ReplyForm
from spar.infer.cut_replies import count_cut
from spar.infer.engine import Engine, Request, StructuredOutputs
from spar.infer.engine_wrappers import constrains
from spar.infer.gather import gather
from spar.infer.hybrid_judge import (
    judge_by_programs,
    needs_votes,
    require_checkable,
    with_findings,
)
from spar.infer.judges import JUDGE_ATTEMPTS, JudgeSettings, JudgeSpec, VotesJudge, require_majority
from spar.infer.roles import USAGE_COUNTER, AttemptFailed, Seeds, UsageCounter, ask
from spar.infer.votes import VOTE_RULES, Vote, cut_reason, empty_reason
from spar.plugins import parse_options
from spar.templates import Templates
from spar.templates.checklist import RequirementAnswer
from spar.types import Finding, Judgement, Message, Prompt, Usage
from spar.verifiers import keyword_note

if TYPE_CHECKING:
    from spar.config import DecodeConfig

REQUIREMENT = "checklist"
"""Type of the findings on requirements of the model's list."""


class ChecklistOptions(BaseModel):
    """`--judge-arg per_requirement=true --judge-arg max_requirements=5 --judge-arg structured=true`."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    per_requirement: bool = False
    """Whether each requirement has requests of its own, so that no answer leans on another: as many times the calls."""
    max_requirements: int = Field(default=10, ge=1)
    """Most requirements that are taken from the model's list."""
    structured: bool = False
    """Whether replies are JSON that the engine holds to a schema; on an engine that cannot they are lines, as without."""


@dataclass(frozen=True, slots=True)
class ChecklistJudge:
    """Votes on each requirement of the instruction."""

    settings: JudgeSettings
    options: ChecklistOptions

    @property
    def engine(self) -> Engine:
        """The model's engine."""
        return self.settings.engine

    def for_tree(self, prompt: Prompt, judged: Sequence[Judgement]) -> TreeChecklist:
        """The judge of a tree, which splits the prompt once; not at all where a judgement has its requirements."""
        checklist = TreeChecklist(self.settings, self.options, prompt)
        for judgement in judged:
            listed = [each.constraint for each in judgement.findings if each.type == REQUIREMENT]
            if listed or judgement.has_votes:
                checklist.requirements = tuple(listed)
        return checklist

    async def judge(self, prompt: Prompt, response: str, seeds: Seeds) -> tuple[Judgement, Usage]:
        """Judge one response alone; splitting the instruction is part of its cost."""
        checklist = self.for_tree(prompt, ())
        try:
            judgement, usage = await checklist.judge(prompt, response, seeds)
        except AttemptFailed as error:
            cost = error.usage + checklist.claim(response)
            raise AttemptFailed(error.reason, error.text, cost) from error
        return judgement, usage + checklist.claim(response)


Answers = list[list[RequirementAnswer]]
"""For each requirement the answers of the votes that could be read."""


@dataclass(slots=True)
class TreeChecklist:
    """The requirements of one prompt, and the votes on the responses of its tree."""

    settings: JudgeSettings
    options: ChecklistOptions
    prompt: Prompt
    requirements: tuple[str, ...] | None = None
    """None before the instruction is split, () if no list can be read."""
    _split: asyncio.Task[tuple[str, ...]] | None = None
    _num_waiting: int = 0
    _cost: UsageCounter = field(default_factory=UsageCounter)
    """What splitting has cost and no response has claimed."""
    _needed_by: set[str] = field(default_factory=set)

    @property
    def form(self) -> ReplyForm:
        """The form of the replies."""
        return JSON if self.options.structured and constrains(self.settings.engine) else LINES

    async def judge(self, prompt: Prompt, response: str, seeds: Seeds) -> tuple[Judgement, Usage]:
        """Check by programs what they know; vote on the requirements unless that decides.

        Raises
        ------
        AttemptFailed
            No vote on some requirement can be read, or votes on the whole response decide nothing.
        UsageError
            A program knows a constraint and cannot check it.
        """
        findings, judgement = judge_by_programs(prompt, response)
        if judgement is not None:
            return judgement, Usage()
        self._needed_by.add(response)
        requirements = await self._split_once()
        if not requirements:
            votes, usage = await VotesJudge(self.settings).judge(prompt, response, seeds)
            return with_findings(votes, findings), usage
        vote = self._vote_on_each if self.options.per_requirement else self._vote_on_all
        answers, texts, usage = await vote(requirements, response, seeds)
        findings += tuple(map(_finding, requirements, answers))
        judgement = Judgement(
            verdicts=(),
            critique=critique(findings),
            findings=findings,
            votes=texts if self.settings.keep_votes else (),
        )
        return judgement, usage

    def claim(self, response: str | None) -> Usage:
        """What splitting cost, for the first response that asks and needed it."""
        if response is not None and response not in self._needed_by:
            return Usage()
        usage, self._cost.usage = self._cost.usage, Usage()
        return usage

    async def _split_once(self) -> tuple[str, ...]:
        if self.requirements is None:
            self._split = self._split or asyncio.ensure_future(self._ask_for_requirements())
            self._num_waiting += 1
            try:
                # Shielded: one that waits may be cancelled, and the others want the answer.
                self.requirements = await asyncio.shield(self._split)
            finally:
                self._num_waiting -= 1
                if not self._num_waiting and not self._split.done():
                    self._split.cancel()
                    self._split = None
        return self.requirements

    async def _ask_for_requirements(self) -> tuple[str, ...]:
        USAGE_COUNTER.set(self._cost)  # this task's own: what it costs is no single response's
        # Greedy and without a seed: whichever response asks first, the request is the same.
        form, most = self.form, self.options.max_requirements
        outputs = form.list_outputs(most)
        sampling = replace(
            self.settings.sampling, temperature=0.0, seed=None, structured_outputs=outputs
        )
        messages = form.split_messages(self.settings.templates, self.prompt)
        (reply,), _ = await ask(self.settings.engine, [Request(messages, sampling)])
        return form.read_list(reply.text, most, is_cut=reply.finish == "length")

    def _one_round(
        self,
        messages: tuple[Message, ...],
        first: int | None,
        outputs: StructuredOutputs | None,
    ) -> list[Request]:
        """The requests of a round of votes that must match `outputs`."""
        sampling = replace(self.settings.sampling, structured_outputs=outputs)
        return replace(self.settings, sampling=sampling).one_round(messages, first)

    async def _vote_on_all(
        self, requirements: Sequence[str], response: str, seeds: Seeds
    ) -> tuple[Answers, tuple[str, ...], Usage]:
        """Votes with a line for each requirement; more rounds where one has no answer in any of them."""
        templates, max_tokens = self.settings.templates, self.settings.sampling.max_tokens
        form, num = self.form, len(requirements)
        messages = form.checklist_messages(templates, self.prompt, response, requirements)
        answers: Answers = [[] for _ in requirements]
        usage, votes = Usage(), list[Vote]()
        texts: list[str] = []
        for attempt in range(JUDGE_ATTEMPTS):
            requests = self._one_round(messages, seeds(attempt), form.answers_outputs(num))
            replies, usage = await ask(self.settings.engine, requests, usage)
            votes = []
            for reply in replies:
                lines = form.read_answers(reply.text, num, response)
                for of_requirement, line in zip(answers, lines, strict=True):
                    of_requirement += [line] if line else []
                is_cut = reply.finish == "length" and None in lines
                votes.append(Vote(reply.text, None, is_cut, reply.empty_reason))
            usage += count_cut("judge", [vote.is_cut for vote in votes], max_tokens)
            texts += [vote.text for vote in votes]
            if all(answers):
                return answers, tuple(texts), usage
        raise self._undecided(requirements, answers, votes, usage)

    async def _vote_on_each(
        self, requirements: Sequence[str], response: str, seeds: Seeds
    ) -> tuple[Answers, tuple[str, ...], Usage]:
        """Votes on each requirement by itself, all at the same time."""
        tasks = [
            asyncio.ensure_future(self._vote_on(requirement, response, seeds))
            for requirement in requirements
        ]
        results = await gather(tasks, lambda _: False)
        usage = sum((cost for _, cost, _ in results), Usage())
        for _, _, refused in results:
            if refused is not None:
                raise AttemptFailed(refused.reason, refused.text, usage)
        answers: Answers = [
            [answer for vote in votes if (answer := self.form.read_answer(vote.text, response))]
            for votes, _, _ in results
        ]
        if not all(answers):
            votes = [vote for votes, _, _ in results for vote in votes]
            raise self._undecided(requirements, answers, votes, usage)
        return answers, tuple(vote.text for votes, _, _ in results for vote in votes), usage

    async def _vote_on(
        self, requirement: str, response: str, seeds: Seeds
    ) -> tuple[list[Vote], Usage, AttemptFailed | None]:
        """Votes on one requirement, what they cost, and why they were refused, if they were."""
        form, templates = self.form, self.settings.templates
        messages = form.requirement_messages(templates, self.prompt, response, requirement)
        votes, usage = list[Vote](), Usage()
        cast = VOTE_RULES[self.settings.vote_rule]
        try:
            for attempt in range(JUDGE_ATTEMPTS):
                requests = self._one_round(messages, seeds(attempt), form.answer_outputs)
                votes, usage = await cast(self.settings.engine, requests, usage, response)
                if any(vote.verdict is not None for vote in votes):
                    break
        except AttemptFailed as refused:
            return [], refused.usage, refused
        return votes, usage, None

    def _undecided(
        self, requirements: Sequence[str], answers: Answers, votes: Sequence[Vote], usage: Usage
    ) -> AttemptFailed:
        missing = [text for text, own in zip(requirements, answers, strict=True) if not own]
        reason = (
            f"no vote of {JUDGE_ATTEMPTS} rounds of {self.settings.votes} can be read on {len(missing)} of "
            f"{len(requirements)} requirements, such as {missing[0]!r}"
        )
        reason += cut_reason(usage, self.settings.sampling) + empty_reason(votes)
        return AttemptFailed(reason, votes[0].text, usage)


def _finding(requirement: str, answers: Sequence[RequirementAnswer]) -> Finding:
    """What the votes say of a requirement: met if most say yes, with the reason of the first on that side."""
    share = sum(answer.met for answer in answers) / len(answers)
    met = share > 0.5
    reason = next(answer.reason for answer in answers if answer.met is met)
    return Finding(type=REQUIREMENT, constraint=requirement, met=met, found=reason, share=share)


def _options(config: DecodeConfig) -> ChecklistOptions:
    options: ChecklistOptions = parse_options(
        ChecklistOptions, config.judge_args, flag="--judge-arg", name=config.judge
    )
    return options


def _calls(config: DecodeConfig) -> int:
    options = _options(config)
    return config.votes * (options.max_requirements if options.per_requirement else 1)


def _validate(config: DecodeConfig) -> None:
    if config.vote_rule != "full" and not _options(config).per_requirement:
        raise UsageError(
            f"--vote-rule {config.vote_rule} stops at a verdict on the whole response, and --judge {config.judge} has "
            "none; use --vote-rule full, or --judge-arg per_requirement=true to stop on each requirement"
        )
    require_majority(config)


def _conversations(
    config: DecodeConfig, templates: Templates, prompt: Prompt, response: str
) -> Sequence[tuple[Message, ...]]:
    """The two that are sent, with a placeholder for what the first returns."""
    placeholder = "(a requirement of the list)"
    options = _options(config)
    form = JSON if options.structured else LINES
    second = (
        form.requirement_messages(templates, prompt, response, placeholder)
        if options.per_requirement
        else form.checklist_messages(templates, prompt, response, [placeholder])
    )
    return form.split_messages(templates, prompt), second


def _templates(config: DecodeConfig) -> tuple[str, ...]:
    """With `structured`, which of the two forms the replies have depends on the engine."""
    return LINES.templates + (JSON.templates if _options(config).structured else ())


CHECKLIST = JudgeSpec(
    ChecklistJudge,
    calls=_calls,
    shared_calls=1,
    options=ChecklistOptions,
    check_prompts=require_checkable,
    prompt_note=keyword_note,
    needs_model=needs_votes,
    templates=_templates,
    validate=_validate,
    conversations=_conversations,
)
"""Votes on each requirement of the instruction."""
