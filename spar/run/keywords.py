"""Settings out of the keyword arguments of the Python API."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import isroutine
from pathlib import Path
from typing import Any

from spar.config import (
    DecodeConfig,
    EvalConfig,
    default_recipe,
    load_decode,
    load_eval,
    validated,
)
from spar.errors import UsageError
from spar.plugins import ENGINES, JUDGES, REFINERS, STRATEGIES, check_name, is_path, load


def decode_config(recipe: str | None, settings: Mapping[str, Any]) -> DecodeConfig:
    """Settings of a search out of keyword arguments."""
    values = plugin_names(settings)
    _check_settings(values, DecodeConfig)
    return load_decode(recipe or default_recipe(values), values)


def eval_config(
    recipe: str | None, settings: Mapping[str, Any], *, options_of_search: bool = False
) -> EvalConfig:
    """Settings of an evaluation out of keyword arguments; `options_of_search` as in `load_eval`."""
    values = plugin_names(settings)
    _check_settings(values, EvalConfig)
    named = recipe or default_recipe(values)
    return load_eval(named, values, options_of_search=options_of_search)


_NAMES: Mapping[str, Callable[[Any], str]] = {
    "strategy": STRATEGIES.name_of,
    "judge": JUDGES.name_of,
    "refiner": REFINERS.name_of,
    "engine": ENGINES.name_of,
}


def checked_changes(config: DecodeConfig, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a configuration to change, out of keyword arguments, validated as in `decode_config`.

    Raises
    ------
    UsageError
        An unknown setting, or a value out of range.
    """
    values = plugin_names(settings)
    kind = type(config)
    _check_settings(values, kind)
    current = {name: getattr(config, name) for name in kind.model_fields}
    changed = validated(kind, None, current, values)
    return {name: getattr(changed, name) for name in values}


def session_changes(config: DecodeConfig, settings: Mapping[str, Any]) -> dict[str, Any]:
    """`checked_changes` for a search of a session.

    Raises
    ------
    UsageError
        As `checked_changes`, or a total budget, which the prompts of a run share.
    """
    changes = checked_changes(config, settings)
    if changes.get("total_budget", config.total_budget) is not None:
        raise UsageError(
            "total_budget is what the prompts of a run share, and a session searches each prompt by itself; give budget, "
            "or spar.decode the prompts"
        )
    return changes


def importable_name(name: str, setting: str, value: object = None) -> str:
    """The name by which worker processes import a plug-in: without the number of a function that was defined again.

    Parameters
    ----------
    value:
        What was passed for the setting: its name, or the object, which must be what the name imports.

    Raises
    ------
    UsageError
        They cannot import it.
    """
    if isroutine(value) or isinstance(value, type):
        name = name.partition("#")[0]
    passed = value is None or isinstance(value, str)
    importable = is_path(name) and not name.startswith("__main__:")
    if importable and (passed or load(name, setting) is value):
        return name
    if not passed or "__main__:" in name or "<" in name or "#" in name:
        raise UsageError(
            f"{setting} {name!r} is defined in a script or inside a function; stages run in processes of "
            "their own, so define it in a module that they can import"
        )
    return name


def plugin_names(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with every plug-in by its name."""
    values = dict(settings)
    if "verifier" in values:
        if "judge" in values:
            raise UsageError("both judge and verifier are given; a verifier is a judge, give one")
        values["judge"] = values.pop("verifier")
    engine: Any = values.get("engine")
    for name, name_of in _NAMES.items():
        if values.get(name) is not None:
            values[name] = name_of(values[name])  # raises for an object that is none of its kind
    is_opened = hasattr(engine, "generate") and not isinstance(engine, type)
    if is_opened and not values.get("model"):
        values["model"] = engine.model
    return values


def _check_settings(values: dict[str, Any], kind: type[DecodeConfig]) -> None:
    for name in values:
        check_name(kind.model_fields, "setting", name)
    for name, value in values.items():
        if isinstance(value, Path):
            values[name] = str(value)
