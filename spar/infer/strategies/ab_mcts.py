"""AB-MCTS-A: one rule decides between a new draft, another refinement of a node, and going deeper.

Adaptive branching Monte Carlo tree search (Inoue et al. 2025, arXiv 2503.04412), the variant with node aggregation. Every
node, and the empty root above the drafts, has two arms: *generate* a child here, and *descend* into one of its children.
Thompson sampling, from the empty root down: draw from the posterior of both arms; where generate wins, or there is no
child, a child is made (a draft at the root, a refinement elsewhere); else draw from the posterior of each child and
descend into the best. What a judgement says of the new child is added to its parent's generate arm, and above that to
each node on the way and to the descend arm of the node above it.

With `posterior: beta` the votes are counted, as `spar.infer.rank.evidence` counts them, on Jeffreys' prior. With
`gaussian` the rank is one observation of a normal-inverse-gamma posterior with TreeQuest's prior. An attempt that
failed counts as a single no. With `own_score` a new child's own judgement counts for its `entered` posterior too, as TreeQuest
has it (`register_new_child_node`). All draws come from `SearchConfig.seed`, so that a replay draws alike.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

from spar.infer.rank import PRIOR, evidence, rank
from spar.infer.strategy import Expand, Plan, SearchConfig, StrategySpec
from spar.types import Node


class ABMCTSOptions(BaseModel):
    """`--strategy-arg posterior=gaussian --strategy-arg batch=3`."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    posterior: Literal["beta", "gaussian"] = "beta"
    """What is believed of an arm: `beta` counts yes and no votes, `gaussian` observes ranks."""
    batch: int = Field(default=1, ge=1)
    """Children of a wave. Each is drawn before any of the wave is judged, so wide waves make wide trees (TreeQuest
    advises at most 5)."""
    own_score: bool = False
    """Whether what a node's own judgement says counts where one of its siblings or itself is descended into, as in TreeQuest; else only what
    was made below it does, and a node without children is as likely as any other."""


class Posterior(Protocol):
    """What is believed of the responses that an arm leads to."""

    def observe(self, supporting: float, opposing: float, value: float) -> None:
        """Learn from a judged response: its evidence, and its rank."""
        ...

    def draw(self, rng: random.Random) -> float:
        """A plausible mean."""
        ...

    @property
    def text(self) -> str:
        """The posterior in words, for the record."""
        ...


@dataclass(slots=True)
class BetaPosterior:
    """Yes and no votes on Jeffreys' prior."""

    a: float = PRIOR
    b: float = PRIOR

    def observe(self, supporting: float, opposing: float, value: float) -> None:
        """Count the evidence."""
        self.a += supporting
        self.b += opposing

    def draw(self, rng: random.Random) -> float:
        """A plausible share of yes."""
        return rng.betavariate(self.a, self.b)

    @property
    def text(self) -> str:
        """Its parameters."""
        return f"Beta({self.a:g}, {self.b:g})"


@dataclass(slots=True)
class GaussianPosterior:
    """Normal-inverse-gamma over the mean and the variance of the ranks, updated one observation at a time."""

    mean: float = 0.0
    kappa: float = 1.0
    nu: float = 1.0
    tau_squared: float = 0.1
    """Prior guess of the variance; this and the other priors are TreeQuest's."""

    def observe(self, supporting: float, opposing: float, value: float) -> None:
        """Add one value."""
        squares = self.nu * self.tau_squared
        squares += self.kappa * (value - self.mean) ** 2 / (self.kappa + 1)
        self.mean = (self.kappa * self.mean + value) / (self.kappa + 1)
        self.kappa, self.nu = self.kappa + 1, self.nu + 1
        self.tau_squared = squares / self.nu

    def draw(self, rng: random.Random) -> float:
        """A plausible mean: first a variance, then a mean with it."""
        precision = rng.gammavariate(self.nu / 2, 2 / (self.nu * self.tau_squared))
        return rng.gauss(self.mean, 1 / math.sqrt(max(precision, 1e-12) * self.kappa))

    @property
    def text(self) -> str:
        """Its mean and the weight behind it."""
        return f"Normal({self.mean:.3g}, kappa {self.kappa:g})"


@dataclass(slots=True)
class _Arms:
    """The beliefs at a node; None is the empty root."""

    kind: type[BetaPosterior] | type[GaussianPosterior]
    parent: int | None = None
    children: list[int] = field(default_factory=list)
    visits: int = 0
    """Responses made at the node or below it."""
    generate: Posterior = field(init=False)
    descend: Posterior = field(init=False)
    entered: Posterior = field(init=False)
    """Belief of the parent in this node: what came of descending into it."""

    def __post_init__(self) -> None:
        self.generate, self.descend, self.entered = self.kind(), self.kind(), self.kind()


def ab_mcts(
    roots: tuple[Node, ...], config: SearchConfig, options: ABMCTSOptions = ABMCTSOptions()
) -> Plan:
    """Draft, refine or descend by Thompson sampling until a node passes or the budget binds."""
    tree = _Tree(random.Random(config.seed), options)
    for root in roots:
        tree.add(None, root)
    batch = options.batch if roots else 1
    while True:
        wave = [tree.select() for _ in range(batch)]
        children = yield wave
        remaining = list(children)
        for expand in wave:  # children come in the wave's order; those that failed are missing
            if remaining and remaining[0].parent == expand.parent:
                tree.add(expand.parent, remaining.pop(0))
            else:
                tree.add(expand.parent, None)
        batch = options.batch


class _Tree:
    """The arms of all nodes."""

    def __init__(self, rng: random.Random, options: ABMCTSOptions) -> None:
        self._rng, self._own_score = rng, options.own_score
        kind = BetaPosterior if options.posterior == "beta" else GaussianPosterior
        self._arms: dict[int | None, _Arms] = defaultdict(lambda: _Arms(kind))

    def select(self) -> Expand:
        """Where the next child is made, by drawing from the root down."""
        node: int | None = None
        while (arms := self._arms[node]).children:
            draws = arms.generate.draw(self._rng), arms.descend.draw(self._rng)
            if draws[0] >= draws[1]:
                break
            node = self._best_child(arms.children)
        statistics = {
            "arm": "draft" if node is None else "refine",
            "visits": arms.visits,
            "generate": arms.generate.text,
            "descend": arms.descend.text,
        }
        return Expand(node, 1, statistics=statistics)

    def _best_child(self, children: Sequence[int]) -> int:
        draws = [self._arms[child].entered.draw(self._rng) for child in children]
        return children[draws.index(max(draws))]

    def add(self, parent: int | None, child: Node | None) -> None:
        """Learn what came of a child; None failed, which counts as a single no."""
        judgement = child.judgement if child else None
        supporting, opposing = evidence(judgement) if judgement else (0.0, 1.0)
        value = max(rank(child), 0.0) if child else 0.0
        if child is not None:
            self._arms[parent].children.append(child.id)
            self._arms[child.id].parent = parent
            if self._own_score:
                self._arms[child.id].entered.observe(supporting, opposing, value)
        self._arms[parent].generate.observe(supporting, opposing, value)
        node: int | None = parent
        while True:
            self._arms[node].visits += 1
            if node is None:
                return
            above = self._arms[node].parent
            self._arms[node].entered.observe(supporting, opposing, value)
            self._arms[above].descend.observe(supporting, opposing, value)
            node = above


SPEC = StrategySpec(ab_mcts, options=ABMCTSOptions)
