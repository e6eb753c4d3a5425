"""Settings out of the keyword arguments of the Python API."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from spar.config import DecodeConfig, EvalConfig, default_recipe, load_decode, load_eval
from spar.errors import UsageError
from spar.plugins import ENGINES, JUDGES, REFINERS, STRATEGIES, check_name, is_path


def decode_config(recipe: str | None, settings: Mapping[str, Any]) -> DecodeConfig:
    """Settings of a search out of keyword arguments."""
    values = plugin_names(settings)
    _check_settings(values, DecodeConfig)
    return load_decode(recipe or default_recipe(values), values)


def eval_config(recipe: str | None, settings: Mapping[str, Any]) -> EvalConfig:
    """Settings of an evaluation out of keyword arguments."""
    values = plugin_names(settings)
    _check_settings(values, EvalConfig)
    return load_eval(recipe or default_recipe(values), values)


_NAMES: Mapping[str, Callable[[Any], str]] = {
    "strategy": STRATEGIES.name_of,
    "judge": JUDGES.name_of,
    "refiner": REFINERS.name_of,
    "engine": ENGINES.name_of,
}


def check_importable(name: str, setting: str) -> None:
    """Raise `UsageError` for an object that worker processes cannot import by its name."""
    if is_path(name) and not name.startswith("__main__:"):
        return
    if "__main__:" in name or "<" in name or "#" in name:
        raise UsageError(
            f"{setting} {name!r} is defined in a script or inside a function; stages run in processes of "
            "their own, so define it in a module that they can import"
        )


def plugin_names(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with every plug-in by its name."""
    values = dict(settings)
    if "verifier" in values:
        if "judge" in values:
            raise UsageError("both judge and verifier are given; a verifier is a judge, give one")
        values["judge"] = values.pop("verifier")
    engine = values.get("engine")
    if engine is not None and hasattr(engine, "generate") and not values.get("model"):
        values["model"] = engine.model
    for name, name_of in _NAMES.items():
        if values.get(name) is not None:
            values[name] = name_of(values[name])
    return values


def _check_settings(values: dict[str, Any], kind: type[DecodeConfig]) -> None:
    for name in values:
        check_name(kind.model_fields, "setting", name)
    for name, value in values.items():
        if isinstance(value, str) and "tuple" in str(kind.model_fields[name].annotation):
            values[name] = (value,)
        if isinstance(value, Path):
            values[name] = str(value)
