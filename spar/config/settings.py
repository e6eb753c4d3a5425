"""The settings of a decode run and of an evaluation: all groups together, flat.

The order of the bases is the reverse of the order in which fields are stored and shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from spar.chat_template import REASONING_EFFORT
from spar.config.fields import Settings, changeable, setting
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
    SamplingConfig,
    SamplingGroup,
    SearchGroup,
    ServerGroup,
)

OPTIONS: Mapping[str, str] = {
    "strategy": "strategy_args",
    "judge": "judge_args",
}
"""A setting that names a plug-in, to the one with the plug-in's own options. An engine's are passed on, as by Ray to vLLM, and stay."""


class DecodeConfig(
    SamplingGroup, RunGroup, ServerGroup, EngineGroup, ModelGroup, SearchGroup, PromptGroup
):
    """Settings of `spar decode`."""

    def effort(self, role: SamplingConfig) -> str:
        """How long a role's model thinks; "" leaves it to the model."""
        own = role.reasoning_effort
        effort = self.reasoning_effort if own == "auto" else own
        return "" if effort == "auto" else effort

    def changed(self, changes: Mapping[str, Any]) -> Self:
        """A copy with other settings; another strategy or judge does not take over the options of this one."""
        names = options_of_others(type(self), self.__dict__, changes)
        return self.model_copy(update={**{name: {} for name in names}, **changes})

    def template_arguments(self, role: SamplingConfig) -> dict[str, Any]:
        """Variables of the chat template in a role's conversations."""
        effort = {REASONING_EFFORT: self.effort(role)} if self.effort(role) else {}
        return {**effort, **self.chat_template_args, **role.chat_template_args}


def options_of_others(
    kind: type[Settings], values: Mapping[str, Any], changes: Mapping[str, Any]
) -> list[str]:
    """Settings among `values` with options of plug-ins in whose place `changes` name others, without options of their own.

    Options stay where `values` name no plug-in: they are for the one that is named beside them.
    """
    names = []
    for name, options in OPTIONS.items():
        if name not in kind.model_fields or changes.get(options) is not None:
            continue
        if name in values and changes.get(name) not in (None, values[name]):
            names.append(options)
    return names


def without_options_of_others(
    kind: type[Settings], values: Mapping[str, Any], changes: Mapping[str, Any]
) -> dict[str, Any]:
    """`values` without the settings of `options_of_others`, for the changes to be put over them."""
    others = options_of_others(kind, values, changes)
    return {name: value for name, value in values.items() if name not in others}


class EvalConfig(NanoIfGroup, LmEvalGroup, LlmbarGroup, GraderGroup, BenchmarkGroup, DecodeConfig):
    """Settings of `spar eval`: one benchmark, and the search that answers it."""

    strategy: str = "greedy"
    prompts: str = setting("", flag="prompts", is_path=True)
    """checkable, perplexity: a file of prompts or texts, or a data set of the hub."""


FREE = (*changeable(EvalConfig), "out", "fresh", "per_prompt")
"""Stored names of the settings that may differ when a run is resumed, in every manifest: they change how it
runs, not its trees. The last three are flags of commands, not fields here."""
