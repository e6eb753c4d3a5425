"""A job: one search over many prompts, with whatever differs from the plain search of the settings.

Decoding is a job without changes; an evaluation, an evolution of prompts and a training stage run jobs of
their own. A job is data and small functions; `spar.run.session` runs it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from spar.config import DecodeConfig
from spar.infer.answers import Select, select_best
from spar.infer.decode import RootsProvider
from spar.infer.roles import Roles
from spar.infer.search import SearchSettings
from spar.run.resolve import required_roles
from spar.types import Prompt, Role


@dataclass(frozen=True, slots=True)
class Job:
    """One search over many prompts, with whatever differs from the run's own settings."""

    name: str
    """Directory below the benchmark's, `ANSWERS` for that one itself."""
    prompts: Sequence[Prompt]
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Fields of `EvalConfig` to change, such as `{"strategy": "greedy", "budget": 1}`."""
    roles: tuple[Role, ...] | None = None
    """Roles that call a model; None for those that the strategy, the judge and the refiner of the settings require."""
    grader: bool = False
    """Whether the models are the grader's in place of the run's."""
    change: Callable[[Roles], Roles] = lambda roles: roles
    """Puts roles of the benchmark's own in place of some, made from the run's."""
    roots: Callable[[Roles], RootsProvider] | None = None
    """From the roles to what gives a prompt its roots."""
    limits: Mapping[Role, str] = field(default_factory=dict)
    """Settings that limit a role's replies, where not its own (`spar.infer.cut_replies.LIMITS`)."""
    strategy: Callable[..., Any] | None = None
    """A `spar.infer.strategy.Strategy` in place of the named one."""
    strategy_name: str = ""
    """Its name in the record."""
    select: Select = select_best
    """Which node of a tree answers."""

    def model_roles(self, config: DecodeConfig) -> tuple[Role, ...]:
        """Roles that call a model, () where programs do all."""
        return required_roles(config) if self.roles is None else self.roles

    def changed(self, settings: SearchSettings) -> SearchSettings:
        """The settings of a search with this job's own strategy and choice of an answer, where it has them."""
        settings = replace(settings, select=self.select)
        if self.strategy is None:
            return settings
        return replace(settings, strategy=self.strategy, name=self.strategy_name)
