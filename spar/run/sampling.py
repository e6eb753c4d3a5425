"""From a role's settings to the sampling of its requests, and the check that an engine has what they need."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from spar.config import DecodeConfig, SamplingConfig, names_credential
from spar.errors import UsageError
from spar.infer.engine import Accepts, Sampling
from spar.plugins import ENGINES
from spar.types import Role

_FLAGS = {
    "chat_template_args": "--chat-template-arg",
    "reasoning_effort": "--reasoning-effort",
    "extra_body": "--extra-body",
}
_SET_BY_SPAR = frozenset(
    "model messages prompt stop n seed stream temperature top_p max_tokens max_completion_tokens "
    "logprobs top_logprobs echo reasoning_effort chat_template_kwargs".split()
)


def sampling_of(config: DecodeConfig, role: SamplingConfig) -> Sampling:
    """How a role samples and is prompted; what its own settings leave open is the run's."""
    return Sampling(
        role.temperature,
        role.top_p,
        role.max_tokens,
        top_k=role.top_k,
        min_p=role.min_p,
        reasoning_effort=config.effort(role),
        chat_template_args={**config.chat_template_args, **role.chat_template_args},
        extra_body={**config.extra_body, **role.extra_body},
    )


def server_fields(config: DecodeConfig, role: SamplingConfig) -> dict[str, Any]:
    """The fields that every request of a role to a server has beside how it samples."""
    sampling = sampling_of(config, role)
    fields: dict[str, Any] = {
        "reasoning_effort": sampling.reasoning_effort,
        "chat_template_kwargs": dict(sampling.chat_template_args),
    }
    return {**{name: value for name, value in fields.items() if value}, **sampling.extra_body}


def chat_template_args(config: DecodeConfig, role: Role) -> Mapping[str, Any]:
    """Variables of the chat template in a role's requests."""
    settings = {"actor": config.draft, "judge": config.vote, "refiner": config.refine}
    return config.template_arguments(settings[role])


def check_sampling(config: DecodeConfig, accepts: Collection[Accepts]) -> None:
    """Check how the roles are prompted, before anything runs.

    Parameters
    ----------
    accepts:
        Groups of settings that the run's engines have.

    Raises
    ------
    UsageError
        No engine has a setting, or a field for servers is not the user's to set.
    """
    if config.header and "server_fields" not in accepts:
        raise UsageError(
            f"--header needs --engine {first_accepting('server_fields')}, not {config.engine}"
        )
    roles = {name: getattr(config, name, None) for name in ("draft", "vote", "refine", "grade")}
    _check("", config, config.engine, accepts)
    for name, role in roles.items():
        if role is not None:
            _check(f"{name}.", role, config.engine, accepts)


def first_accepting(group: Accepts) -> str:
    """The first engine that has a group of settings."""
    return next(name for name in ENGINES if group in ENGINES.spec(name).accepts)


def _check(
    prefix: str, settings: DecodeConfig | SamplingConfig, engine: str, accepts: Collection[Accepts]
) -> None:
    """Check the run's own settings, or those of a role, whose names in a recipe begin with `prefix`."""

    def shown(name: str) -> str:
        return f"{prefix}{name}" if prefix else _FLAGS[name]

    groups: dict[str, tuple[Accepts, bool]] = {
        "chat_template_args": ("chat_template", bool(settings.chat_template_args)),
        "reasoning_effort": ("chat_template", settings.reasoning_effort != "auto"),
        "extra_body": ("server_fields", bool(settings.extra_body)),
    }
    for name, (group, is_set) in groups.items():
        if is_set and group not in accepts:
            raise UsageError(f"{shown(name)} needs --engine {first_accepting(group)}, not {engine}")
    for name in settings.extra_body:
        if name in _SET_BY_SPAR:
            raise UsageError(
                f"{shown('extra_body')} {name}: spar sets this field itself; use its own setting"
            )
        if names_credential(name):
            raise UsageError(
                f"{shown('extra_body')} {name}: would be written into run.json; pass a key with --api-key-env"
            )
