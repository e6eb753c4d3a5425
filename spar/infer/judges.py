"""Judges: how a response gets its judgement.

`votes` samples several verdicts and counts them (the paper's), `logprob` samples one critique and reads the
probability of Yes at its verdict, `verifier` runs a program that knows the ground truth. `hybrid`, which has both
programs and votes, is in `spar.infer.hybrid_judge`.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from spar.errors import UsageError
from spar.infer.cut_replies import count_cut
from spar.infer.engine import Engine, Request, Sampling
from spar.infer.reporting import Report
from spar.infer.roles import AttemptFailed, Judge, Seeds, ask, judge_messages
from spar.infer.seeds import run_of_seeds
from spar.infer.verdict_probability import verdict_probability
from spar.infer.votes import (
    VOTE_RULES,
    Forecast,
    Vote,
    VoteRule,
    cast_all,
    count_votes,
    cut_reason,
    empty_reason,
    judgement_of,
    read_vote,
    with_task_callback,
)
from spar.plugin_parameters import require_constructor
from spar.templates import Templates
from spar.types import Judgement, Message, Prompt, Usage

if TYPE_CHECKING:
    from spar.config import DecodeConfig

JUDGE_ATTEMPTS = 3
"""Rounds of votes before judging a response fails (paper, code)."""
_TOP_LOGPROBS = 20


@dataclass(frozen=True, slots=True)
class JudgeSettings:
    """What any judge may need."""

    engine: Engine
    """The engine of the judge's model."""
    sampling: Sampling
    """How votes are sampled, without a seed."""
    templates: Templates
    """The texts of the run's conversations."""
    votes: int = 5
    """Votes a response (paper: 5)."""
    vote_rule: VoteRule = "full"
    """Name of the rule that ends a round of votes."""
    keep_votes: bool = False
    """Whether the text of every vote is part of the judgement."""

    def one_round(self, messages: tuple[Message, ...], first: int | None) -> list[Request]:
        """The requests of a round of votes, whose seeds are in a row from one that was derived."""
        return [
            Request(messages, replace(self.sampling, seed=seed))
            for seed in run_of_seeds(first, self.votes)
        ]


@dataclass(frozen=True, slots=True)
class VotesJudge:
    """Majority of sampled step-by-step verdicts. A tie, or no vote that can be parsed, starts another round."""

    settings: JudgeSettings

    @property
    def engine(self) -> Engine:
        """The model's engine."""
        return self.settings.engine

    def one_round(self) -> OneRoundJudge:
        """The same judge limited to one round of votes."""
        return OneRoundJudge(self.settings)

    async def judge(self, prompt: Prompt, response: str, seeds: Seeds) -> tuple[Judgement, Usage]:
        """Ask for votes until they decide, `JUDGE_ATTEMPTS` rounds at most."""
        return await self._judge(prompt, response, seeds, None)

    async def judge_early(
        self, prompt: Prompt, response: str, seeds: Seeds, report: Report
    ) -> tuple[Judgement, Usage]:
        """The same judgement; `report` is called with the one to expect once a vote says No."""
        return await self._judge(prompt, response, seeds, report)

    async def _judge(
        self, prompt: Prompt, response: str, seeds: Seeds, report: Report | None
    ) -> tuple[Judgement, Usage]:
        messages = judge_messages(self.settings.templates, prompt, response)
        votes: list[Vote] = []
        usage = Usage()
        for attempt in range(JUDGE_ATTEMPTS):
            sampled = self.settings.one_round(messages, seeds(attempt))
            rule, on_vote = self.settings.vote_rule, None
            if report is not None:
                report(None)
                on_vote = Forecast(rule, len(sampled), report).add
            votes, usage = await VOTE_RULES[rule](
                self.settings.engine, sampled, usage, response, with_task_callback(on_vote)
            )
            judgement = count_votes(votes, keep=self.settings.keep_votes)
            if judgement is not None:
                return judgement, usage
        reason = f"the votes decided nothing in {JUDGE_ATTEMPTS} rounds of {self.settings.votes}"
        reason += cut_reason(usage, self.settings.sampling) + empty_reason(votes)
        raise AttemptFailed(reason, votes[0].text, usage)


@dataclass(frozen=True, slots=True)
class OneRoundJudge:
    """One round of votes, all of them cast. A tie is a judgement without a majority, not a failure."""

    settings: JudgeSettings

    async def judge(self, prompt: Prompt, response: str, seeds: Seeds) -> tuple[Judgement, Usage]:
        """Ask for all votes together, with the seeds of a search's first round."""
        messages = judge_messages(self.settings.templates, prompt, response)
        requests = self.settings.one_round(messages, seeds(0))
        votes, usage = await cast_all(self.settings.engine, requests, Usage(), response)
        keep = self.settings.keep_votes
        judgement = count_votes(votes, keep=keep)
        return judgement or judgement_of(votes, votes[0].text, keep=keep), usage


@dataclass(frozen=True, slots=True)
class LogprobJudge:
    """One critique, decoded greedily; the score is P(Yes) / (P(Yes) + P(No)) at its verdict."""

    settings: JudgeSettings

    @property
    def engine(self) -> Engine:
        """The model's engine."""
        return self.settings.engine

    async def judge(self, prompt: Prompt, response: str, seeds: Seeds) -> tuple[Judgement, Usage]:
        """Ask once; a critique without a verdict is sampled again."""
        messages = judge_messages(self.settings.templates, prompt, response)
        usage, text, empty = Usage(), "", ""
        for attempt in range(JUDGE_ATTEMPTS):
            sampling = replace(
                self.settings.sampling, seed=seeds(attempt), top_logprobs=_TOP_LOGPROBS
            )
            if attempt == 0:
                sampling = replace(sampling, temperature=0.0)
            (reply,), usage = await ask(self.settings.engine, [Request(messages, sampling)], usage)
            text = reply.text
            vote = read_vote(reply, response)
            usage += count_cut("judge", [vote.is_cut], sampling.max_tokens)
            empty = empty_reason([vote])
            probability = (
                vote.probability if reply.logprobs else verdict_probability(reply, response)
            )
            if probability is not None:
                return Judgement(
                    verdicts=(probability > 0.5,), critique=text, probability=probability
                ), usage
        reason = f"no verdict in {JUDGE_ATTEMPTS} critiques"
        reason += cut_reason(usage, self.settings.sampling) + empty
        raise AttemptFailed(reason, text, usage)


Verdict = bool | float | tuple[bool | float, str] | Judgement
"""What a plain function may return of a response: whether it passes, a score from 0 to 1 (a probability
that it passes), either of them with a critique for the refiner, or a whole judgement."""


@dataclass(frozen=True, slots=True)
class FunctionJudge:
    """A plain function as a judge.

    Parameters
    ----------
    function:
        Called with the prompt and the response; may be `async`. It runs in the event loop, so a slow one
        should be `async` and leave the loop (`asyncio.to_thread`).
    """

    function: Callable[[Prompt, str], Verdict | Awaitable[Verdict]]

    async def judge(self, prompt: Prompt, response: str, seeds: Seeds) -> tuple[Judgement, Usage]:
        """Call the function; costs no call of a model."""
        returned = self.function(prompt, response)
        verdict = await returned if inspect.isawaitable(returned) else returned
        return as_judgement(verdict), Usage()


def as_judgement(verdict: Verdict) -> Judgement:
    """The judgement for a function's verdict.

    Raises
    ------
    UsageError
        It is none of what a function may return.
    """
    if isinstance(verdict, Judgement):
        return verdict
    critique = ""
    if isinstance(verdict, tuple) and len(verdict) == 2 and isinstance(verdict[1], str):
        verdict, critique = verdict
    if not isinstance(verdict, tuple) and hasattr(verdict, "item"):
        verdict = verdict.item()  # NumPy's booleans and numbers
    if isinstance(verdict, bool):
        score, probability = float(verdict), None
    elif isinstance(verdict, int | float) and 0 <= verdict <= 1:
        score, probability = float(verdict), float(verdict)
    else:
        raise UsageError(
            f"a judge returned {verdict!r}; expected a bool, a score from 0 to 1, (either, critique), or "
            "a spar.Judgement"
        )
    ending = f"Final Judgement: {'Yes' if score > 0.5 else 'No'}"
    text = "\n".join(filter(None, [critique, ending]))
    return Judgement(verdicts=(score > 0.5,), critique=text, probability=probability)


Conversations = Callable[["DecodeConfig", Templates, Prompt, str], Sequence[tuple[Message, ...]]]
"""From settings, templates, a prompt and a response to the conversations that a judge sends."""


@dataclass(frozen=True, slots=True)
class JudgeSpec:
    """A judge, and what spar must know of it before it judges."""

    make: Callable[..., Judge]
    """Called with the `JudgeSettings`; with `options`, also with an instance of them."""
    uses_model: bool = True
    """Whether it calls the judge's model, which is then loaded."""
    calls: Callable[[DecodeConfig], int] = lambda config: config.votes
    """Calls of a judgement when every reply can be parsed; at most, where some judgements need none."""
    shared_calls: int = 0
    """Calls that the judgements of a tree share, each made once (`spar.infer.tree_judge`)."""
    attempts: int = JUDGE_ATTEMPTS
    """How often at most it calls again where no verdict can be parsed."""
    options: type[BaseModel] | None = None
    """Options of its own (`--judge-arg NAME=VALUE`), as a pydantic model with defaults."""
    check_prompts: Callable[[Iterable[Prompt]], None] | None = None
    """Raises `UsageError` if it cannot judge every prompt; called before anything is generated."""
    prompt_note: Callable[[Prompt], str] | None = None
    """What its judgements of a prompt may not mean as intended, in one line, "" for nothing; called for prompts that
    `check_prompts` has accepted, and shown for the first of them."""
    needs_model: Callable[[Prompt], bool] | None = None
    """Whether the model may be called for a prompt, where programs decide on some alone; None: for every prompt."""
    conversation: Callable[[Templates, Prompt, str], tuple[Message, ...]] | None = None
    """What the model is asked for one judgement of a response, where judgements can be compared; else None."""
    templates: Callable[[DecodeConfig], tuple[str, ...]] = lambda config: ()
    """Templates that it uses besides those of every run, for the manifest."""
    validate: Callable[[DecodeConfig], None] | None = None
    """Raises `UsageError` for settings that it cannot have; called before a model is loaded."""
    takes_vote_rule: bool = True
    """Whether `--vote-rule` has an effect."""
    conversations: Conversations | None = None
    """What it sends about a response, for `--dry-run`; None: what every judge of whole responses sends."""

    def asks_model(self, prompt: Prompt) -> bool:
        """Whether the judge's model may be called for this prompt."""
        return self.uses_model and (self.needs_model is None or self.needs_model(prompt))

    def num_calls(self, config: DecodeConfig) -> int:
        """Calls of a judgement when every reply can be parsed; 0 without a model."""
        return self.calls(config) if self.uses_model else 0

    def open(self, settings: JudgeSettings, options: Any = None) -> Judge:
        """The judge, with its options where it has any; None: their defaults."""
        if self.options is None:
            return self.make(settings)
        return self.make(settings, self.options() if options is None else options)


class VotesOptions(BaseModel):
    """Options of the judge `votes`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    probabilities: bool = False
    """Read P(Yes) at the verdict of each vote, where the engine gives probabilities; strategies then rank by their mean."""


def votes_judge(settings: JudgeSettings, options: VotesOptions) -> VotesJudge:
    """The paper's judge, with the probabilities of its votes where they are asked for."""
    if options.probabilities:
        sampling = replace(settings.sampling, top_logprobs=_TOP_LOGPROBS)
        settings = replace(settings, sampling=sampling)
    return VotesJudge(settings)


def require_majority(config: DecodeConfig) -> None:
    """Raise `UsageError` where votes end early at a majority, and another share of yes is needed to pass."""
    if config.vote_rule != "full" and config.threshold != 0.5:
        raise UsageError(
            f"--vote-rule {config.vote_rule} stops at a majority, which decides at --threshold 0.5 only, not at "
            f"{config.threshold:g}; leave one of them out"
        )


VOTES = JudgeSpec(
    votes_judge, options=VotesOptions, conversation=judge_messages, validate=require_majority
)
"""The paper's judge."""
LOGPROB = JudgeSpec(LogprobJudge, calls=lambda _: 1, takes_vote_rule=False)
"""One critique and the probability of its verdict."""


def as_spec(target: object) -> JudgeSpec:
    """A spec as it is, or one of a judge, of a class of judges, or of a function of prompt and response.

    A class is called with the `JudgeSettings` and taken to call the judge's model; an object and a
    function are taken to call none. Where that is wrong, write a `JudgeSpec`.

    Raises
    ------
    UsageError
        It is none of these.
    """
    if isinstance(target, JudgeSpec):
        return target
    if isinstance(target, type) and hasattr(target, "judge"):
        require_constructor(target, "judge", "settings")
        return JudgeSpec(target)
    if hasattr(target, "judge"):
        judge: Any = target
        return JudgeSpec(lambda _: judge, uses_model=False)
    if callable(target):
        function = FunctionJudge(target)
        return JudgeSpec(lambda _: function, uses_model=False)
    raise UsageError(
        f"{target!r} is not a judge; expected a JudgeSpec, an object with a method `judge`, or a function "
        "(prompt, response) -> bool"
    )
