"""Settings of `spar evolve`: a decode run with one sampled draft for each request and no judge.

A recipe's `decode` section selects the model; its optional `evolve` section overrides any of these settings. The
sampling of the paper's code replaces the sampling of the `decode` section.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from spar.config import (
    DecodeConfig,
    SamplingConfig,
    explain,
    load_decode,
    override,
    section,
    setting,
)
from spar.errors import UsageError

FORCED: Mapping[str, Any] = {
    "strategy": "greedy",
    "strategy_args": {},
    "budget": 1,
    "greedy_first": False,
}
"""Fixed settings of an evolution: one sampled draft for each request."""
TEMPERATURE, TOP_P = 0.7, 1.0
"""Of the teacher (paper, code: 0.7, top_p as the server has it)."""


class EvolveConfig(DecodeConfig):
    """Settings of `spar evolve`; `prompts` are the seeds."""

    panel = "Evolution"

    strategy: str = "greedy"
    """Always greedy: one draft for each request."""
    budget: int = setting(1, ge=1)
    """Always one."""
    greedy_first: bool = False
    """Never: drafts are sampled."""
    draft: SamplingConfig = SamplingConfig(temperature=TEMPERATURE, top_p=TOP_P, max_tokens=2048)
    """The teacher's replies (paper, code: 0.7)."""
    per_prompt: int = setting(1, ge=1)
    """Requests for each seed prompt, each with its own main constraint."""
    templates: str = ""
    """Folder with an evolve.txt to use instead of spar's."""
    data: str = ""
    """Folder with the benchmarks' data; empty for $SPAR_DATA or the cache."""
    template_digest: str = setting("", flag="")
    """Digest of the instruction text, so that a run cannot be resumed with another one."""


def load_evolve(recipe: str, overrides: Mapping[str, Any]) -> EvolveConfig:
    """Settings of an evolution; parameters and errors as `spar.config.load_decode`'s."""
    values = {**section(recipe, "evolve", optional=True)}
    values["draft"] = (
        {"top_p": 1.0, "max_tokens": 2048, **values["draft"]}
        if isinstance(values.get("draft"), Mapping)
        else {"temperature": TEMPERATURE, "top_p": TOP_P}
    )
    values = override(EvolveConfig, values, overrides)
    own = {name: values.pop(name) for name in _OWN if name in values}
    base = load_decode(recipe, {**values, **FORCED}, by_hand=overrides)
    try:
        return EvolveConfig(**base.stored(), **own)
    except ValidationError as error:
        raise UsageError(explain(error, recipe, EvolveConfig, overrides)) from error


_OWN = tuple(EvolveConfig.model_fields.keys() - DecodeConfig.model_fields.keys())
