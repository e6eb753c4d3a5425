"""Strategies: pure generators that yield waves of children to make and are sent the judged ones.

A strategy never sees an engine, a budget, an await or a text template. It may yield waves of any size: the driver clips each wave to the budget, stops it once a node passes, and sends back only the
children that exist and were judged.
"""

from __future__ import annotations

import math
import operator
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from spar.errors import UsageError
from spar.types import ROLES, Node, Role

if TYPE_CHECKING:
    from pydantic import BaseModel

DRAFT_ATTEMPTS = 3
"""Drafts that a refining strategy makes before it ends without a judged one."""
UNLIMITED = sys.maxsize
"""As many children as the budget allows."""


@dataclass(frozen=True, slots=True)
class Expand:
    """Ask for `n` children of a node: refinements of it, or drafts where `parent` is None."""

    parent: int | None
    """Id of the node to refine; None for drafts."""
    n: int
    """How many; the budget may leave fewer."""
    judged: bool = True
    """Whether the children are judged; an unjudged child never passes."""
    second_parent: int | None = None
    """Another node whose response and critique the refiner reads, too; a refiner that cannot merge refines `parent`."""
    statistics: Mapping[str, bool | int | float | str] = field(default_factory=dict)
    """What the strategy computed for this choice (arm, visits, posterior); stored in the record of each child."""

    def __post_init__(self) -> None:
        """Raise `UsageError` for ids and numbers that are none, and for statistics that the record cannot hold."""
        for name in ("parent", "n", "second_parent"):
            if type(value := getattr(self, name)) is not int and (value is not None or name == "n"):
                object.__setattr__(self, name, _integer(name, value))
        if self.n < 0:
            raise UsageError(
                f"n of an Expand is {self.n}; expected how many children to make, or 0"
            )
        for name, value in self.statistics.items():
            if not isinstance(value, bool | int | float | str) or (
                isinstance(value, float) and not math.isfinite(value)
            ):
                raise UsageError(
                    f"statistic {name!r} of an Expand is {value!r}; expected a finite number, a text, true or false"
                )


def _integer(name: str, value: Any) -> int:
    """An id or a number as Python's own type, of NumPy's too, which no record holds."""
    try:
        return int(operator.index(value))
    except TypeError:
        expected = "a whole number" if name == "n" else "the id of a node, such as node.id, or None"
        received = "a Node" if isinstance(value, Node) else repr(value)
        raise UsageError(f"{name} of an Expand is {received}; expected {expected}") from None


Plan = Generator[Sequence[Expand], tuple[Node, ...], None]
"""Yields waves; is sent the wave's judged children in order; returning means nothing is left to try."""


@dataclass(frozen=True, slots=True)
class SearchConfig:
    """The shape of a search, as strategies see it."""

    branching: int = 3
    """Refinements of each expanded node (paper: 3)."""
    beam_width: int = 2
    """Children of a level that are expanded further (paper: 2)."""
    depth: int = 3
    """Levels of refinement below a root (paper: 3)."""
    seed: int = 0
    """Seed of a strategy that draws at random. The driver derives it from the run's seed and the prompt's id, so a
    search, its resumption and its replay draw alike."""


class Strategy(Protocol):
    """A function from roots that are passed in (often none) and the search's shape to a plan."""

    def __call__(self, roots: tuple[Node, ...], config: SearchConfig) -> Plan: ...


@dataclass(frozen=True, slots=True)
class StrategySpec:
    """A strategy, and what spar must know of it before it runs.

    The defaults are safe for any strategy: every model is loaded, and where the models take turns in
    memory the whole budget of drafts is written first.
    """

    plan: Callable[..., Plan]
    """The strategy; with `options`, called with an instance of them as its third argument."""
    roles: frozenset[Role] = frozenset(ROLES)
    """Roles that it uses. One that leaves the judge out yields `Expand(..., judged=False)` only,
    one that leaves the refiner out only drafts."""
    max_drafts: int | Callable[[Any], int | None] | None = None
    """Most drafts of a tree, however large the budget; None where the budget alone limits them. A function of the
    options where it depends on them."""
    max_responses: Callable[[SearchConfig], int] | None = None
    """Most drafts and refinements of a tree when no draft fails, by the shape of the search; None
    where the budget alone limits them."""
    merges: bool = False
    """Whether it asks for refinements of two nodes, whose template then belongs to the run."""
    options: type[BaseModel] | None = None
    """Options of its own (`--strategy-arg NAME=VALUE`), as a pydantic model with defaults."""

    def __post_init__(self) -> None:
        """Raise `UsageError` for roles that there are not."""
        unknown = sorted(set(self.roles) - set(ROLES))
        if unknown:
            raise UsageError(
                f"a StrategySpec has the role {unknown[0]!r}; accepted: {', '.join(ROLES)}"
            )

    def bind(self, options: Any) -> Strategy:
        """The strategy with its options, an instance of `self.options` or None."""
        if self.options is None:
            return self.plan
        return partial(_with_options, self.plan, options)

    def with_options(self, options: Any) -> StrategySpec:
        """The spec of the strategy with its options, an instance of `self.options` or None; it has none of its own."""
        limit = self.max_drafts(options) if callable(self.max_drafts) else self.max_drafts
        return replace(self, plan=self.bind(options), max_drafts=limit, options=None)

    @property
    def drafts_again(self) -> bool:
        """Whether it may draft although it was given a response to refine; ask it of a spec whose options are set."""
        return self.max_drafts is None and "refiner" in self.roles

    def num_responses(self, config: SearchConfig, budget: int) -> int:
        """Most drafts and refinements of a tree within a budget."""
        return min(budget, self.max_responses(config)) if self.max_responses else budget

    def num_drafts(self, budget: int) -> int:
        """Most drafts of a tree within a budget."""
        limit = None if callable(self.max_drafts) else self.max_drafts
        return budget if limit is None else min(limit, budget)


def as_spec(target: object) -> StrategySpec:
    """A spec as it is, or a plain strategy function with the safe defaults.

    Raises
    ------
    UsageError
        It is neither.
    """
    if isinstance(target, StrategySpec):
        return target
    if callable(target):
        return StrategySpec(plan=target)
    raise UsageError(
        f"{target!r} is not a strategy; expected a StrategySpec or a function (roots, config) -> plan"
    )


def _with_options(
    plan: Callable[..., Plan], options: Any, roots: tuple[Node, ...], config: SearchConfig
) -> Plan:
    return plan(roots, config, options)


def drafted(
    roots: tuple[Node, ...],
) -> Generator[Sequence[Expand], tuple[Node, ...], tuple[Node, ...]]:
    """The roots that are passed in, or else one draft; a draft that cannot be judged is made again.

    Empty after `DRAFT_ATTEMPTS` drafts without a judgement: a prompt that does not fit, say.
    """
    for _ in range(DRAFT_ATTEMPTS):
        if roots:
            break
        roots = yield [Expand(None, 1)]
    return roots
