"""The settings of a decode run and of an evaluation: all groups together, flat.

The order of the bases is the reverse of the order in which fields are stored and shown.
"""

from __future__ import annotations

from spar.config.fields import changeable
from spar.config.groups import (
    BenchmarkGroup,
    EngineGroup,
    GraderGroup,
    LlmbarGroup,
    LmEvalGroup,
    ModelGroup,
    NanoIfGroup,
    PromptGroup,
    RunGroup,
    SamplingGroup,
    SearchGroup,
    ServerGroup,
)


class DecodeConfig(
    SamplingGroup, RunGroup, ServerGroup, EngineGroup, ModelGroup, SearchGroup, PromptGroup
):
    """Settings of `spar decode`."""


class EvalConfig(NanoIfGroup, LmEvalGroup, LlmbarGroup, GraderGroup, BenchmarkGroup, DecodeConfig):
    """Settings of `spar eval`: one benchmark, and the search that answers it."""

    strategy: str = "greedy"


FREE = (*changeable(EvalConfig), "out", "fresh", "per_prompt")
"""Stored names of the settings that may differ when a run is resumed, in every manifest: they change how it
runs, not its trees. The last three are flags of commands, not fields here."""
