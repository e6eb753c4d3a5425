"""Settings of recipes by their names: `KEY=VALUE`, the fields of the trainers, and errors that name the setting.

assignment("dpo.learning_rate=1e-6")                                 (("dpo", "learning_rate"), 1e-06)
merge({"dpo": {"beta": 0.1, "epochs": 3}}, {"dpo": {"beta": 0.2}})   {"dpo": {"beta": 0.2, "epochs": 3}}
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from spar.config import (
    DecodeConfig,
    EvalConfig,
    SamplingConfig,
    Settings,
    reason_of,
    without_options_of_others,
)
from spar.config.yaml_text import load_yaml
from spar.errors import UsageError
from spar.train.backtranslation import BacktranslationSettings
from spar.train.evaluations import EvalSpec
from spar.train.functions import FunctionSettings
from spar.train.harder import HarderSettings
from spar.train.settings import (
    SET_BY_LOOP,
    DpoSettings,
    LaunchSettings,
    LoraSettings,
    SftSettings,
    as_number,
)


def require_rows(prompt_field: str, *sources: str) -> None:
    """Raise `ValueError` where a field of rows is named, and no file or data set has rows."""
    if prompt_field and not any(sources):
        raise ValueError(
            "prompt_field is for prompts of a file or a data set; give one, or leave it out"
        )


def explain_validation_error(error: ValidationError, source: str, kind: type[Settings]) -> str:
    """A wrong setting of a recipe, or of a trainer in it, in one line.

    Parameters
    ----------
    source:
        Where the settings come from, a recipe's name or `--set`.
    """
    first: Any = error.errors(include_url=False)[0]
    names = list(map(str, first["loc"]))
    where, origin = ".".join(names), source if source.startswith("-") else f"recipe {source}"
    if first["type"] == "extra_forbidden":
        return f"{origin}: unknown setting {where!r}{_close(names, kind)}"
    if first["type"] == "missing":
        return f"{origin}: {where} is missing"
    if first["type"] == "value_error":
        return ": ".join(filter(None, (origin, where, str(first["ctx"]["error"]))))
    return f"{origin}: {where} is {first['input']!r}: {reason_of(first)}"


def _close(names: Sequence[str], kind: type[Settings]) -> str:
    """The setting that was probably meant, with the sections it stands in; "" where none is close."""
    above = [name for name in names[:-1] if not name.isdigit()]
    section_of = _SECTIONS.get(above[-1]) if above else kind
    decided = SET_BY_LOOP if section_of in (DpoSettings, SftSettings) else ()
    known = set(section_of.model_fields) - set(decided) if section_of else ()
    close = difflib.get_close_matches(names[-1], sorted(known), n=1)
    return f"; did you mean {'.'.join([*names[:-1], *close])!r}?" if close else ""


_SECTIONS: Mapping[str, type[Settings]] = {
    "dpo": DpoSettings,
    "rft": SftSettings,
    "sft": SftSettings,
    "actor": SftSettings,
    "refiner": SftSettings,
    "backward": SftSettings,
    "functions": FunctionSettings,
    "harder": HarderSettings,
    "backtranslation": BacktranslationSettings,
    "lora": LoraSettings,
    "launch": LaunchSettings,
    "benchmarks": EvalSpec,
    "decode": DecodeConfig,
    "eval": EvalConfig,
    "search": DecodeConfig,
    "student": DecodeConfig,
    "teacher": DecodeConfig,
    **dict.fromkeys(("draft", "vote", "refine", "grade"), SamplingConfig),
}
"""Section of a recipe to the fields that it has."""
_OPTIONAL = ("checkable", "search")
"""Sections with the settings that differ from others, where {} is for none."""


def assignment(text: str) -> tuple[tuple[str, ...], Any]:
    """`dpo.learning_rate=1e-6` to its names and its value; after the `=` nothing is the empty text.

    Raises
    ------
    UsageError
        It lacks the `=` or a name, or the value is not YAML.
    """
    key, equals, value = text.partition("=")
    names = tuple(name.strip() for name in key.split("."))
    if not equals or not all(names):
        raise UsageError(f"--set {text!r}: expected KEY=VALUE, such as dpo.learning_rate=1e-6")
    try:
        return names, as_number(load_yaml(value)) if value.strip() else ""
    except ValueError as error:
        raise UsageError(f"--set {key}: {value!r} is not a YAML value ({error})") from error


def put_value(key: Sequence[str], value: Any, values: dict[str, Any]) -> None:
    """Set one value of nested settings, as `merge` does; sections on the way are copied, or made."""
    for name in key[:-1]:
        below = values.get(name)
        values[name] = values = dict(below) if isinstance(below, Mapping) else {}
    values[key[-1]] = _changed(key[-1], values.get(key[-1]), value)


def merge(
    values: Mapping[str, Any], changes: Mapping[str, Any], kind: type[Settings] | None = None
) -> dict[str, Any]:
    """`values` with changes. A section that changes keeps the settings that the changes do not name, as do sections in it.

    Any other mapping, such as `engine_args`, takes the place of the earlier one, as does `{}` that of `search`.

    Parameters
    ----------
    kind:
        The settings that both are of: options of a plug-in are left out where the changes name another one.
    """
    result = without_options_of_others(kind, values, changes) if kind else dict(values)
    for name, value in changes.items():
        result[name] = _changed(name, result.get(name), value)
    return result


def _changed(name: str, current: Any, value: Any) -> Any:
    """What a setting is after a change."""
    is_section = name in _SECTIONS or name in _OPTIONAL
    if not (is_section and isinstance(value, Mapping) and isinstance(current, Mapping)):
        return value
    return {} if not value and name in _OPTIONAL else merge(current, value, _SECTIONS.get(name))


def tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values with a tuple for each list, as frozen settings want them."""
    return {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
