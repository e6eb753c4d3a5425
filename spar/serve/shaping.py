"""What a request asks of its answer, put around the roles of a search: sampling, stop strings, a format.

Drafts are sampled as the request says. A refinement is the refiner's reply in spar's own format, so that it is cut at the
stop strings and at the limit of tokens once it is parsed. Temperature 0 makes the first draft greedy and leaves the others as the settings have
them: a search has no use for equal drafts, and with a seed it repeats itself anyway.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

from spar.errors import PromptRefused
from spar.findings import critique, finding_lines
from spar.infer.engine import Sampling
from spar.infer.engines.stops import find_stop
from spar.infer.reporting import judge_reporting
from spar.infer.roles import (
    Actor,
    ActorProtocol,
    AttemptFailed,
    Generation,
    Judge,
    Refiner,
    RefinerProtocol,
    Roles,
    Seeds,
)
from spar.serve.lengths import AnswerLimit, ReplyWatch
from spar.serve.request import Shape
from spar.serve.schema import AnswerFormat, extract_json
from spar.templates.parse import Refinement, refinement_text
from spar.types import Judgement, Node, Prompt, Usage


@dataclass(slots=True)
class Refusals:
    """What the engine refused in a search, which its tree has in words only."""

    first: PromptRefused | None = None
    """What the engine raised for the first draft that it refused."""
    count: int = 0
    """Drafts that it refused."""


def shaped_roles(
    roles: Roles, shape: Shape, limit: AnswerLimit, *, first: bool
) -> tuple[Roles, Refusals]:
    """Roles that heed a request.

    Parameters
    ----------
    limit:
        Of the answers of this search.
    first:
        Whether this is the request's first answer; further ones begin with a sampled draft, so that they differ.
    """
    refusals = Refusals()
    actor = roles.actor
    if isinstance(actor, Actor):
        greedy_first = first and (
            actor.greedy_first if shape.temperature is None else not shape.temperature
        )
        actor = replace(
            actor, sampling=draft_sampling(actor.sampling, shape), greedy_first=greedy_first
        )
    judge, refiner = roles.judge, roles.refiner
    if shape.format is not None:
        judge = FormatJudge(judge, shape.format)
    if shape.format is not None or shape.stop or shape.max_tokens is not None:
        refiner = ShapedRefiner(refiner, shape, limit)
    return Roles(ShapedActor(actor, shape, limit, refusals), judge, refiner), refusals


def draft_sampling(sampling: Sampling, shape: Shape) -> Sampling:
    """How a request's drafts are sampled; never longer than the settings allow."""
    changes: dict[str, Any] = {"stop": shape.stop}
    if shape.max_tokens is not None:
        changes["max_tokens"] = min(shape.max_tokens, sampling.max_tokens)
    if shape.temperature:
        changes["temperature"] = shape.temperature
    if shape.top_p is not None:
        changes["top_p"] = shape.top_p
    return replace(sampling, **changes)


def shaped_text(text: str, shape: Shape) -> str:
    """An answer cut at the stop strings, and its JSON alone where JSON is asked for."""
    text = text[: find_stop(text, shape.stop)]
    return text if shape.format is None else extract_json(text)


def shaped_beginning(text: str, shape: Shape) -> str:
    """As much of the answer as is certain while its draft is generated: the beginning of `shaped_text`."""
    text = text.strip()
    if shape.format is not None and text.startswith("`"):  # a fence goes, if it is one around all
        return ""
    return text[: find_stop(text, shape.stop)].rstrip()


@dataclass(frozen=True, slots=True)
class ShapedActor:
    """An actor whose drafts are shaped, and that notes what the engine refused."""

    actor: ActorProtocol
    shape: Shape
    limit: AnswerLimit
    refusals: Refusals = field(default_factory=Refusals)

    async def draft(self, prompt: Prompt, index: int, seeds: Seeds) -> Generation:
        """The draft at `index`."""
        try:
            generation = await self.actor.draft(prompt, index, seeds)
        except AttemptFailed as error:
            if isinstance(error.__cause__, PromptRefused):
                self.refusals.first = self.refusals.first or error.__cause__
                self.refusals.count += 1
            raise
        response = shaped_text(generation.response, self.shape)
        if not isinstance(self.actor, Actor):  # one of the caller's own, which may know no limit
            return replace(generation, response=self.limit.apply(response))
        self.limit.count(generation.response, generation.usage.completion_tokens)
        if generation.usage.cut_calls:
            self.limit.cut.add(response)
        return replace(generation, response=response)


class ShapedRefiner:
    """A refiner whose refinements are shaped."""

    def __init__(self, refiner: RefinerProtocol, shape: Shape, limit: AnswerLimit) -> None:
        self._refiner, self._shape, self._limit = refiner, shape, limit
        self.reads_critique_only = getattr(refiner, "reads_critique_only", False)
        if hasattr(refiner, "merge"):
            self.merge = self._merge

    async def refine(self, prompt: Prompt, parent: Node, seeds: Seeds) -> Generation:
        """A refinement of a judged node."""
        return await self._shaped(lambda refiner: refiner.refine(prompt, parent, seeds))

    async def _merge(self, prompt: Prompt, parents: tuple[Node, Node], seeds: Seeds) -> Generation:
        return await self._shaped(lambda refiner: refiner.merge(prompt, parents, seeds))

    async def _shaped(self, write: Callable[[Any], Awaitable[Generation]]) -> Generation:
        refiner, watch = self._refiner, None
        if isinstance(refiner, Refiner):
            watch = ReplyWatch(refiner.engine)
            refiner = replace(refiner, engine=watch)
        generation = await write(refiner)
        num_tokens = None
        if watch is not None and watch.last is not None:
            num_tokens = watch.last.completion_tokens
            self._limit.count(watch.last.text, num_tokens)
        response = self._limit.apply(shaped_text(generation.response, self._shape), num_tokens)
        if response == generation.response:
            return generation
        if not response.strip():
            raise AttemptFailed(
                "the refinement begins with a stop string", generation.response, generation.usage
            )
        whole = generation.text
        if whole is None and generation.reflection is not None:
            whole = refinement_text(Refinement(generation.reflection, generation.response))
        return replace(generation, response=response, text=whole)


@dataclass(frozen=True, slots=True)
class FormatJudge:
    """A program that checks the format, then the judge of the settings where it is met."""

    judging: Judge
    format: AnswerFormat

    async def judge(self, prompt: Prompt, response: str, seeds: Seeds) -> tuple[Judgement, Usage]:
        """An answer of another format fails without a call."""
        finding = self.format.finding(response)
        if not finding.met:
            text = critique([finding])
            return Judgement(verdicts=(), critique=text, findings=(finding,)), Usage()
        judgement, usage = await judge_reporting(self.judging, prompt, response, seeds, None)
        text = "\n".join([*finding_lines([finding]), "", judgement.critique])
        findings = (finding, *judgement.findings)
        return judgement.model_copy(update={"critique": text, "findings": findings}), usage
