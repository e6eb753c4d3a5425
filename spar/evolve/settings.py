"""Settings of `spar evolve`: a decode run with one sampled draft a request and nobody who judges.

A recipe's `decode` section says which models run and how; its `evolve` section, where it has one, may change any
of these settings. The sampling of the paper's code takes the place of the decode section's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, ValidationError

from spar.config import DecodeConfig, SamplingConfig, explain, load_decode, section
from spar.errors import UsageError

FORCED: Mapping[str, Any] = {"strategy": "greedy", "budget": 1, "greedy_first": False}
"""What makes it an evolution: one draft a request, sampled."""
TEMPERATURE, TOP_P = 0.7, 1.0
"""Of the teacher (paper, code: 0.7, top_p as the server has it)."""


class EvolveConfig(DecodeConfig):
    """Settings of `spar evolve`; `prompts` are the seeds."""

    strategy: str = "greedy"
    """Always greedy: one draft a request."""
    budget: int = Field(default=1, ge=1)
    """Always one."""
    greedy_first: bool = False
    """Never: drafts are sampled."""
    draft: SamplingConfig = SamplingConfig(temperature=TEMPERATURE, top_p=TOP_P, max_tokens=2048)
    """The teacher's replies (paper, code: 0.7)."""
    per_prompt: int = Field(default=1, ge=1)
    """Requests a seed prompt, each with a main constraint of its own."""
    data: str = ""
    """Folder with the benchmarks' data; "" for `SPAR_DATA`, else the cache."""
    template_digest: str = ""
    """Digest of the instruction text, so that a run is not resumed with another one."""


def load_evolve(recipe: str, overrides: Mapping[str, Any]) -> EvolveConfig:
    """Settings of an evolution; parameters and errors as `spar.config.load_decode`'s."""
    given = {name: value for name, value in overrides.items() if value is not None}
    values = {**section(recipe, "evolve", optional=True), **given}
    new = {name: values.pop(name) for name in _OWN if name in values}
    base = load_decode(recipe, {**values, **FORCED})
    if "draft" not in values:
        update = {"temperature": TEMPERATURE, "top_p": TOP_P}
        base = base.model_copy(update={"draft": base.draft.model_copy(update=update)})
    try:
        return EvolveConfig(**base.model_dump(), **new)
    except ValidationError as error:
        raise UsageError(explain(error, recipe, EvolveConfig)) from error


_OWN = tuple(EvolveConfig.model_fields.keys() - DecodeConfig.model_fields.keys())
