"""The attempts of a search: what a wave asks for, and what comes of it: a generation and its judgement, or a fault."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from spar.infer.roles import AttemptFailed, Generation
from spar.infer.strategy import Expand
from spar.types import Fault, Judgement, Node, Role, Usage

FaultStage = Literal["draft", "judge", "refine"]
"""Which role a fault happened in."""

Place = tuple[int | None, int, tuple[tuple[str, str | None], ...]]
"""All that decides what an attempt writes, beside the run itself: parent, index, and the texts that are refined."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One child that a wave asks for."""

    expand: Expand
    index: int
    """Number of attempts at the same parent before it; its seed follows from both."""
    parents: tuple[Node, ...]
    """The nodes to refine; () for a draft."""

    @property
    def role(self) -> Role:
        """Who writes it."""
        return "refiner" if self.parents else "actor"

    @property
    def stage(self) -> FaultStage:
        """What is written."""
        return "refine" if self.parents else "draft"

    @property
    def place(self) -> Place:
        """All that decides what is written, beside the run itself."""
        texts = tuple((node.response, _critique(node)) for node in self.parents)
        return self.expand.parent, self.index, texts

    def make_node(
        self,
        node_id: int,
        generation: Generation,
        judgement: Judgement | None,
        *,
        judge_usage: Usage = Usage(),
    ) -> Node:
        """The node that it becomes."""
        return Node(
            id=node_id,
            parent=self.expand.parent,
            depth=0 if self.expand.parent is None else self.parents[0].depth + 1,
            response=generation.response,
            reflection=generation.reflection,
            text=generation.text,
            judgement=judgement,
            usage=generation.usage + judge_usage,
            judge_usage=judge_usage,
            seed=generation.seed,
            second_parent=self.expand.second_parent,
            statistics=dict(self.expand.statistics),
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one attempt: a generation, its judgement, or a fault."""

    attempt: Attempt
    generation: Generation | None
    judgement: Judgement | None = None
    judge_usage: Usage = Usage()
    fault: Fault | None = None


def fault_of(attempt: Attempt, stage: FaultStage, error: AttemptFailed) -> Fault:
    """The fault of an attempt at a node, or at two."""
    return Fault(
        parent=attempt.expand.parent,
        stage=stage,
        reason=error.reason,
        text=error.text,
        usage=error.usage,
        is_final=error.is_final and stage == "refine",
        second_parent=attempt.expand.second_parent,
    )


def attempts_of(
    wave: Iterable[Expand], nodes: Mapping[int, Node] | Sequence[Node], tried: Counter[int | None]
) -> Iterator[Attempt]:
    """The attempts of a wave, in order; counts them in `tried`."""
    for expand in wave:
        parents = tuple(
            nodes[parent] for parent in (expand.parent, expand.second_parent) if parent is not None
        )
        for _ in range(expand.n):
            yield Attempt(expand, tried[expand.parent], parents)
            tried[expand.parent] += 1


def _critique(node: Node) -> str | None:
    return None if node.judgement is None else node.judgement.critique
