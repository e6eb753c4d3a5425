"""Judges: how a response gets its judgement.

`votes` asks the model several times and counts (the paper's), `logprob` asks once and reads the
probability of Yes at the verdict, `verifier` asks a program for the ground truth.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

from spar.errors import UsageError
from spar.infer.engine import Completion, Engine, Request, Sampling
from spar.infer.gather import gather
from spar.infer.roles import AttemptFailed, Seeds, ask, judge_messages
from spar.infer.seeds import run_of_seeds
from spar.templates import Templates
from spar.templates.parse import find_verdict, parse_verdict
from spar.types import Judgement, Prompt, Usage

VoteRule = Literal["full", "majority", "race"]
"""`full` casts every vote; `majority` casts the rest only where the first few split; `race` casts all
at once and cuts the rest off as soon as a majority agrees, so its score depends on who is fast."""

JUDGE_ATTEMPTS = 3
"""Rounds of votes before a response is given up (paper, code)."""
_TOP_LOGPROBS = 20


class Judge(Protocol):
    """Turns a response into a judgement, or raises `AttemptFailed`."""

    async def judge(
        self, prompt: Prompt, response: str, seeds: Seeds
    ) -> tuple[Judgement, Usage]: ...


@dataclass(frozen=True, slots=True)
class JudgeSettings:
    """What any judge may need."""

    engine: Engine
    sampling: Sampling
    templates: Templates
    votes: int = 5
    """Votes a response (paper: 5)."""
    vote_rule: VoteRule = "full"


@dataclass(frozen=True, slots=True)
class VotesJudge:
    """Majority of sampled step-by-step verdicts. A tie, or no parsed vote, asks again."""

    settings: JudgeSettings

    async def judge(self, prompt: Prompt, response: str, seeds: Seeds) -> tuple[Judgement, Usage]:
        """Ask for votes until they decide, `JUDGE_ATTEMPTS` rounds at most."""
        messages = judge_messages(self.settings.templates, prompt, response)
        texts: list[str] = []
        usage = Usage()
        for attempt in range(JUDGE_ATTEMPTS):
            sampled = [
                Request(messages, replace(self.settings.sampling, seed=seed))
                for seed in run_of_seeds(seeds(attempt), self.settings.votes)
            ]
            cast = _RULES[self.settings.vote_rule]
            texts, usage = await cast(self.settings.engine, sampled, usage)
            judgement = count_votes(texts)
            if judgement is not None:
                return judgement, usage
        reason = f"the votes decided nothing in {JUDGE_ATTEMPTS} rounds of {self.settings.votes}"
        raise AttemptFailed(reason, texts[0], usage)


@dataclass(frozen=True, slots=True)
class LogprobJudge:
    """One critique, decoded greedily; the score is P(Yes) / (P(Yes) + P(No)) at its verdict."""

    settings: JudgeSettings

    async def judge(self, prompt: Prompt, response: str, seeds: Seeds) -> tuple[Judgement, Usage]:
        """Ask once; a critique without a verdict is sampled again."""
        messages = judge_messages(self.settings.templates, prompt, response)
        usage, text = Usage(), ""
        for attempt in range(JUDGE_ATTEMPTS):
            sampling = replace(
                self.settings.sampling, seed=seeds(attempt), top_logprobs=_TOP_LOGPROBS
            )
            if attempt == 0:
                sampling = replace(sampling, temperature=0.0)
            (reply,), usage = await ask(self.settings.engine, [Request(messages, sampling)], usage)
            text = reply.text
            probability = verdict_probability(reply)
            if probability is not None:
                return Judgement(
                    verdicts=(probability > 0.5,), critique=text, probability=probability
                ), usage
        raise AttemptFailed(f"no verdict in {JUDGE_ATTEMPTS} critiques", text, usage)


@dataclass(frozen=True, slots=True)
class VerifierJudge:
    """A program's ground truth, for prompts with `instruction_id_list` and `kwargs` in their meta.

    Raises
    ------
    UsageError
        The prompt has no constraints, or one that no verifier knows.
    """

    settings: JudgeSettings

    async def judge(self, prompt: Prompt, response: str, seeds: Seeds) -> tuple[Judgement, Usage]:
        """Verify at once; costs no call."""
        from spar.verifiers import VERIFIERS, passes, verify_meta

        verdict = passes(response, prompt.meta)
        if verdict is None:
            ids = prompt.meta.get("instruction_id_list") or "none"
            raise UsageError(
                f"prompt {prompt.id!r}: --judge verifier needs an instruction_id_list that its "
                f"verifiers know, got {ids} (accepted: {', '.join(VERIFIERS)}); use --judge votes"
            )
        lines = [
            f"- {what}: {'met' if ok else 'not met'}."
            for what, ok in verify_meta(response, prompt.meta)
        ]
        critique = "\n".join([*lines, f"Final Judgement: {'Yes' if verdict else 'No'}"])
        return Judgement(verdicts=(verdict,), critique=critique), Usage()


Cast = tuple[list[str], Usage]
"""The texts of the votes that came in, in order, and what was spent so far."""


async def cast_all(engine: Engine, requests: Sequence[Request], spent: Usage) -> Cast:
    """Every vote, together."""
    replies, spent = await ask(engine, requests, spent)
    return [reply.text for reply in replies], spent


async def cast_majority(engine: Engine, requests: Sequence[Request], spent: Usage) -> Cast:
    """As many votes as a majority needs; the rest where these split or say nothing."""
    needed = len(requests) // 2 + 1
    texts, spent = await cast_all(engine, requests[:needed], spent)
    verdicts = {parse_verdict(text) for text in texts}
    if needed == len(requests):
        return texts, spent
    if len(verdicts) == 1 and None not in verdicts:
        return texts, spent + Usage(skipped_calls=len(requests) - needed)
    rest, spent = await cast_all(engine, requests[needed:], spent)
    return texts + rest, spent


async def cast_race(engine: Engine, requests: Sequence[Request], spent: Usage) -> Cast:
    """All votes at once; once a majority of them agrees, those on their way are aborted."""
    tally: Counter[bool | None] = Counter()

    def decided(result: tuple[list[Completion], Usage]) -> bool:
        tally[parse_verdict(result[0][0].text)] += 1
        return max(tally[True], tally[False]) > len(requests) // 2

    tasks = [asyncio.ensure_future(ask(engine, [request])) for request in requests]
    results = await gather(tasks, decided)
    for _, cost in results:
        spent += cost
    spent += Usage(aborted_calls=len(requests) - len(results))
    return [replies[0].text for replies, _ in results], spent


_RULES = {"full": cast_all, "majority": cast_majority, "race": cast_race}


def count_votes(texts: Sequence[str]) -> Judgement | None:
    """The judgement that the votes make, None on a tie or where none was parsed."""
    verdicts = tuple(parse_verdict(text) for text in texts)
    num_yes, num_no = verdicts.count(True), verdicts.count(False)
    if num_yes == num_no:
        return None
    majority = num_yes > num_no
    dissent = next((t for t, v in zip(texts, verdicts, strict=True) if v is (not majority)), None)
    critique = texts[verdicts.index(majority)]
    return Judgement(verdicts=verdicts, critique=critique, dissent=dissent)


def verdict_probability(reply: Completion) -> float | None:
    """P(yes) among yes and no at the token that decides, None where there is no verdict."""
    verdict = parse_verdict(reply.text)
    if verdict is None:
        return None
    # Found in the joined tokens, since a character split over tokens makes them longer than the text.
    span, end = find_verdict("".join(token.token for token in reply.logprobs)), 0
    for token in reply.logprobs if span else ():
        end += len(token.token)
        if span and end > span[0]:
            return _share_of_yes(token.top)
    return float(verdict)


def _share_of_yes(top: Mapping[str, float]) -> float | None:
    mass = {"yes": 0.0, "no": 0.0}
    for token, logprob in top.items():
        word = token.strip(" \n*:\"'").lower()
        if word in mass:
            mass[word] += math.exp(logprob)
    total = mass["yes"] + mass["no"]
    return mass["yes"] / total if total else None


def open_judge(name: str, settings: JudgeSettings) -> Judge:
    """The judge that `spar.plugins.JUDGES` lists under `name`."""
    from spar.plugins import JUDGES, resolve

    judge: Any = resolve(JUDGES, "judge", name)
    made: Judge = judge(settings)
    return made
