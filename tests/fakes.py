"""Named fakes: scripted models, slow and hanging engines, roles that follow a table."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from spar.infer.engine import Completion, Engine, Request, Sampling
from spar.infer.engines.fake import FakeEngine, Reply
from spar.infer.judges import JudgeSettings, VotesJudge
from spar.infer.roles import Actor, AttemptFailed, Generation, Refiner, Roles, Seeds
from spar.infer.search import SearchSettings
from spar.infer.strategy import SearchConfig
from spar.infer.votes import VoteRule
from spar.listener import Listener
from spar.plugins import STRATEGIES
from spar.templates import load
from spar.types import Fault, Finding, Judgement, Message, Node, Prompt, SearchTree, Usage

YES = "- all of it: met.\nFinal Judgement: Yes"
NO = "- the wording: not met.\nFinal Judgement: No"
MUTE = "- the wording: I cannot say."
"""A vote without a verdict."""


def make_prompt(text: str = "Write a line.", prompt_id: str = "p") -> Prompt:
    """A prompt of one user turn."""
    return Prompt(id=prompt_id, messages=(Message(role="user", content=text),))


def make_root(response: str = "r", num_yes: int = 0, node_id: int = 0, calls: int = 0) -> Node:
    """A root with `num_yes` of five votes."""
    return Node(
        id=node_id,
        parent=None,
        depth=0,
        response=response,
        judgement=make_judgement(num_yes),
        usage=Usage(calls=calls),
    )


def make_judgement(num_yes: int) -> Judgement:
    """A judgement of five votes."""
    verdicts = (True,) * num_yes + (False,) * (5 - num_yes)
    return Judgement(verdicts=verdicts, critique=NO if num_yes < 3 else YES)


def make_findings(*met: bool) -> tuple[Finding, ...]:
    """Constraints `c0`, `c1`, ... and whether each is met."""
    return tuple(
        Finding(type=f"type:{n}", constraint=f"c{n}", met=each) for n, each in enumerate(met)
    )


def make_settings(name: str, **fields: object) -> SearchSettings:
    """Settings of a search by a listed strategy; the paper's by default."""
    chosen = SearchSettings(STRATEGIES.spec(name).plan, name, SearchConfig())
    return replace(chosen, **fields)  # type: ignore[arg-type]  # the tests' own keywords


def timeless(tree: SearchTree) -> SearchTree:
    """The tree without clock readings and prefix cache hits, which differ between runs."""

    def still(item: Node | Fault) -> dict[str, Usage]:
        costs = {"usage": item.usage, "judge_usage": item.judge_usage}
        return {
            k: cost.model_copy(update={"seconds": 0.0, "cached_tokens": 0})
            for k, cost in costs.items()
        }

    nodes = tuple(node.model_copy(update=still(node)) for node in tree.nodes)
    faults = tuple(fault.model_copy(update=still(fault)) for fault in tree.faults)
    return tree.model_copy(update={"nodes": nodes, "faults": faults, "seconds": 0.0})


def kind_of(request: Request) -> str:
    """The step that sent a request: draft, judge or refine."""
    if len(request.messages) == 3:
        return "refine"
    return "judge" if request.messages[-1].content.endswith("### Verification") else "draft"


@dataclass(frozen=True, slots=True)
class World:
    """Replies that follow from the request and its seed alone."""

    seed: int = 0
    yes: float = 0.4
    """Maximum share of a response's votes that say yes."""
    mute: float = 0.0
    """Share of votes without a verdict."""
    broken: float = 0.0
    """Share of refinements that cannot be parsed, and of drafts that are empty."""
    variety: int = 1000
    """Number of different responses."""
    dressed: float = 0.0
    """Share of refinements that are not in the canonical form."""

    def __call__(self, request: Request) -> str:
        """The reply to a request."""
        conversation = "|".join(message.content for message in request.messages)
        dice = random.Random(f"{self.seed}|{conversation}|{request.sampling.seed}")
        kind = kind_of(request)
        if kind == "judge":
            if dice.random() < self.mute:
                return MUTE
            leaning = random.Random(f"{self.seed}|{conversation}").random()
            return YES if dice.random() < self.yes * leaning * 2 else NO
        if dice.random() < self.broken:
            return " " if kind == "draft" else "To mend: all of it."
        text = refined(f"answer {dice.randrange(self.variety)}", kind)
        dressed = kind == "refine" and dice.random() < self.dressed
        return f"{text}\nI hope that this will do." if dressed else text


def refined(response: str, kind: str = "refine") -> str:
    """A reply with a response: plain, or between a refiner's markers."""
    if kind == "draft":
        return response
    return f"To mend: wording.\nFinal Refined Output:\n[[start]]\n{response}\n[[end]]"


class DelayedEngine(FakeEngine):
    """Answers each call after a random number of turns of the event loop."""

    def __init__(self, reply: Reply, order: int) -> None:
        super().__init__(reply)
        self._dice = random.Random(order)

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """One completion per request, in order."""
        for _ in range(self._dice.randrange(12)):
            await asyncio.sleep(0)
        return await super().generate(requests)


class HangingEngine(FakeEngine):
    """Never answers a call with a request that `held` names; notes which of them were cancelled."""

    def __init__(self, reply: Reply, held: Sequence[str]) -> None:
        super().__init__(reply)
        self._held = held
        self.cancelled: list[str] = []

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """One completion per request, in order, or never."""
        instruction = requests[0].messages[0].content
        for name in self._held:
            if name in instruction:
                try:
                    await asyncio.Event().wait()
                finally:
                    self.cancelled.append(name)
        return await super().generate(requests)


def real_roles(engine: Engine, *, votes: int = 5, vote_rule: VoteRule = "full") -> Roles:
    """spar's own roles over one engine, with its own templates."""
    sampling = Sampling(temperature=0.7)
    return Roles(
        actor=Actor(engine, sampling),
        judge=VotesJudge(JudgeSettings(engine, sampling, load(), votes, vote_rule)),
        refiner=Refiner(engine, sampling, load()),
    )


@dataclass(slots=True)
class TableRoles:
    """Roles without an engine: `r` is refined to `ra`, `rb` ...; `scores` gives yes votes of five.

    Counts the calls; an attempt that `broken` names fails.
    """

    scores: Mapping[str, int] = field(default_factory=dict)
    broken: tuple[str, ...] = ()
    drafted: list[str] = field(default_factory=list)
    refined: list[str] = field(default_factory=list)
    judged: list[str] = field(default_factory=list)
    made: Counter[str] = field(default_factory=Counter)

    @property
    def roles(self) -> Roles:
        """This table in all three roles."""
        return Roles(self, self, self)

    async def draft(self, prompt: Prompt, index: int, seeds: Seeds) -> Generation:
        """`r`, `s`, `t` ..."""
        response = chr(ord("r") + index)
        self.drafted.append(response)
        return self._write(response, seeds)

    async def refine(self, prompt: Prompt, parent: Node, seeds: Seeds) -> Generation:
        """The parent's response and the next letter."""
        response = parent.response + "abcdefghijklmnopq"[self.made[parent.response]]
        self.made[parent.response] += 1
        self.refined.append(response)
        return self._write(response, seeds)

    async def judge(self, prompt: Prompt, response: str, seeds: Seeds) -> tuple[Judgement, Usage]:
        """The judgement in the table; no yes if it has none."""
        self.judged.append(response)
        return make_judgement(self.scores.get(response, 0)), Usage(calls=5)

    def _write(self, response: str, seeds: Seeds) -> Generation:
        if response in self.broken:
            raise AttemptFailed("broken on purpose", response, Usage(calls=3))
        return Generation(response, None, Usage(calls=1), seeds(0))


class Notes(Listener):
    """Collects the notes of a run."""

    def __init__(self, lines: list[str] | None = None) -> None:
        self.lines = [] if lines is None else lines

    def note(self, line: str) -> None:
        """Append the line."""
        self.lines.append(line)
