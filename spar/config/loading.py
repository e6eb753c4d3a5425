"""Settings from YAML recipes and command-line overrides.

A recipe is a YAML file with a section for each command (`decode:`), every key of which is a field of its settings.
`load_decode` takes the recipe, then the overrides; anything else has its default. `load_eval` takes the
recipe's `decode` section, greedy decoding in place of its search, then its `eval` section and the overrides.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from spar.config.fields import Settings, accepts_none, specs
from spar.config.keys import check_headers, check_key_name
from spar.config.settings import DecodeConfig, EvalConfig, without_options_of_others
from spar.config.yaml_text import load_yaml
from spar.errors import UsageError, did_you_mean
from spar.files import expand_home_in
from spar.plugins import ENGINES, JUDGES, REFINERS, STRATEGIES

RECIPES = Path(__file__).parents[1] / "recipes"
SECTIONS = ("decode", "eval", "evolve", "train", "bootstrap", "serve")
"""Sections of a recipe, one for each command that has settings of its own."""
_PROMPTS = ("prompts", "prompt_field")
"""Settings of a recipe's `decode` section that are no part of its search: an evaluation has prompts of its own."""
_MAPPING = re.compile(r"valid dictionary( or instance of \w+)?")
_SHOWN = 200

C = TypeVar("C", bound=DecodeConfig)


def load_decode(
    recipe: str | None, overrides: Mapping[str, Any], *, by_hand: Mapping[str, Any] | None = None
) -> DecodeConfig:
    """Settings of a decode run.

    Parameters
    ----------
    recipe:
        A YAML file, or the name of one in `spar/recipes`.
    overrides:
        Field name to value; None is ignored where a setting does not accept it, as the seed does. A part of a nested
        setting, such as `{"draft": {"temperature": 0.5}}`, leaves its other parts as they are.
    by_hand:
        Those of the overrides that are no recipe's, for errors; None for all.

    Raises
    ------
    UsageError
        An unknown recipe, field or name, or a value out of range.
    """
    refuse_ambiguous(overrides)
    values = section(recipe, "decode") if recipe else {}
    return validated(DecodeConfig, recipe, values, overrides, by_hand=by_hand)


def load_eval(
    recipe: str | None, overrides: Mapping[str, Any], *, options_of_search: bool = False
) -> EvalConfig:
    """Settings of an evaluation; parameters and errors as for `load_decode`.

    Parameters
    ----------
    options_of_search:
        Keep the options of the strategy with which the recipe searches, as for the strategies of a sweep; else they are
        left out where no strategy is named for the evaluation, which is greedy then.
    """
    refuse_ambiguous(overrides)
    search = section(recipe, "decode") if recipe else {}
    values = {name: value for name, value in search.items() if name not in _PROMPTS}
    own = section(recipe, "eval", optional=True) if recipe else {}
    if not (own.get("strategy") or overrides.get("strategy")):
        values["strategy"] = EvalConfig.model_fields["strategy"].default
        if not options_of_search:
            values.pop("strategy_args", None)
    values = {**without_options_of_others(EvalConfig, values, own), **own}
    return validated(EvalConfig, recipe, values, overrides)


def refuse_ambiguous(names: Iterable[str]) -> None:
    """Raise `UsageError` for `max_tokens` (or `--max-tokens`) alone: elsewhere it limits a reply, and here it limited a tree."""
    if any(name.removeprefix("--").replace("-", "_") == "max_tokens" for name in names):
        raise UsageError(
            "max_tokens is ambiguous here: draft.max_tokens (--max-new-tokens) limits a draft, max_tree_tokens (--max-tree-tokens) a whole tree"
        )


def validated(
    kind: type[C],
    recipe: str | None,
    values: Mapping[str, Any],
    overrides: Mapping[str, Any],
    *,
    by_hand: Mapping[str, Any] | None = None,
) -> C:
    """Settings with overrides, checked with all that depends on more than one field.

    Parameters
    ----------
    kind:
        The settings to build.
    recipe:
        Where `values` come from, for errors; None for no recipe.
    by_hand:
        As `load_decode` takes them.

    Raises
    ------
    UsageError
        An unknown field or name, or a value out of range.
    """
    try:
        config = kind.model_validate(override(kind, values, overrides))
    except ValidationError as error:
        chosen = overrides if by_hand is None else by_hand
        raise UsageError(explain(error, recipe, kind, chosen)) from error
    check_plugins(config)
    check_key_name(config.api_key_env)
    check_headers(config.header)
    return config


def check_plugins(config: DecodeConfig) -> None:
    """Raise `UsageError` unless every plug-in that the settings name can be found; imports none."""
    STRATEGIES.check(config.strategy)
    JUDGES.check(config.judge)
    if config.refiner:
        REFINERS.check(config.refiner)
    if config.engine != "auto":
        ENGINES.check(config.engine, more="auto, or module:attribute")


def override(
    kind: type[Settings], values: Mapping[str, Any], overrides: Mapping[str, Any]
) -> dict[str, Any]:
    """`values` for `kind` with the overrides, as `load_decode` takes them.

    Options of a strategy or a judge are left out where the overrides name another one.
    """
    result = without_options_of_others(kind, values, overrides)
    for name, value in overrides.items():
        if value is None and not accepts_none(kind, name):
            continue
        field = kind.model_fields.get(name)
        if field is not None and isinstance(field.default, Settings) and isinstance(value, Mapping):
            current = result.get(name, field.default)
            current = current.stored() if isinstance(current, Settings) else current
            value = {**(current if isinstance(current, Mapping) else {}), **value}
        result[name] = value
    for name, value in result.items():
        default = kind.model_fields[name].default if name in kind.model_fields else None
        if isinstance(default, Settings) and isinstance(value, Mapping):
            result[name] = _completed(value, default)
    return result


def _completed(values: Mapping[str, Any], default: Settings) -> Mapping[str, Any]:
    """Settings in a setting; where a required one is missing, what they do not name stays as it is."""
    required = (name for name, field in type(default).model_fields.items() if field.is_required())
    return values if all(name in values for name in required) else {**default.stored(), **values}


def section(recipe: str, name: str, *, optional: bool = False) -> Mapping[str, Any]:
    """One section of a recipe, a YAML file or the name of one in `spar/recipes`.

    Raises
    ------
    UsageError
        There is no such recipe, it is not YAML, or it lacks a required section.
    """
    path = _recipe_path(recipe, name)
    try:
        content = load_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"recipe {path}: cannot be read: {error.strerror}") from error
    except ValueError as error:  # no UTF-8 is one
        raise UsageError(f"recipe {path}: not YAML ({error})") from error
    unknown = [key for key in content if key not in SECTIONS] if isinstance(content, dict) else []
    if unknown:
        hint = did_you_mean(str(unknown[0]), SECTIONS)
        hint = hint or f"; a setting stands below its section, such as {name!r}"
        raise UsageError(
            f"recipe {path}: unknown section {unknown[0]!r}{hint} (accepted: {', '.join(SECTIONS)})"
        )
    settings = content.get(name) if isinstance(content, dict) else None
    if settings is None and optional:
        return {}
    if not isinstance(settings, dict):
        raise UsageError(
            f"recipe {path}: lacks a section {name!r} with settings; shipped recipes with one: "
            f"{', '.join(_shipped(name))}"
        )
    return settings


def _recipe_path(recipe: str, name: str) -> Path:
    for path in (Path(expand_home_in(recipe)), RECIPES / f"{recipe}.yaml"):
        with suppress(OSError):  # a name that no file can have
            if path.is_file():
                return path
    shipped = _shipped(name)
    hint = did_you_mean(recipe, shipped)
    recipe = recipe if len(recipe) <= _SHOWN else f"{recipe[:_SHOWN]}..."
    raise UsageError(
        f"recipe {recipe!r}: no such file, nor a shipped recipe{hint} (shipped with a section "
        f"{name!r}: {', '.join(shipped)})"
    )


def _shipped(name: str) -> list[str]:
    """The shipped recipes that have a section."""
    recipes = sorted(RECIPES.glob("*.yaml"))
    return [path.stem for path in recipes if name in load_yaml(path.read_text(encoding="utf-8"))]


def explain(
    error: ValidationError,
    recipe: str | None,
    kind: type[Settings],
    overrides: Mapping[str, Any],
) -> str:
    """A wrong setting in one line: where it comes from, the value, what is accepted.

    Parameters
    ----------
    recipe:
        The recipe of all that `overrides` do not have; None for no recipe.
    overrides:
        The settings that were given by hand, which are named by their flags.
    """
    first: Any = error.errors(include_url=False)[0]
    name = ".".join(map(str, first["loc"]))
    by_hand = recipe is None or _has(kind.field_names(overrides), first["loc"])
    origin = "" if by_hand else f"recipe {recipe}: "
    if first["type"] == "extra_forbidden":
        known = {spec.name for spec in specs(kind)}
        hint = did_you_mean(name, sorted({*known, *kind.model_fields}))
        return f"{origin}unknown setting {name!r}{hint}"
    value = f"{first['input']!r}: {reason_of(first)}"
    if not by_hand:
        return f"{origin}{name} is {value}"
    flags = {spec.name: spec.flag for spec in specs(kind)}
    return f"{flags.get(name) or flags.get(name.partition('.')[0]) or name} {value}"


def _has(values: Any, location: Sequence[Any]) -> bool:
    """Whether nested values have what stands at a place of them, or a value that should have it."""
    for part in location:
        if not isinstance(values, Mapping):
            return True
        if values.get(part) is None:
            return False
        values = values[part]
    return True


def reason_of(wrong: Mapping[str, Any]) -> str:
    """What pydantic says is wrong with a value, in the words of recipes: a list for a tuple, a mapping for a dictionary."""
    if wrong["type"] == "value_error":
        return str(wrong["ctx"]["error"])
    message = _MAPPING.sub("mapping", wrong["msg"]).replace("valid tuple", "list")
    return message[:1].lower() + message[1:]


def default_recipe(values: Mapping[str, Any]) -> str:
    """The embedded model's own recipe where no other model or server is given, else the paper's.

    Parameters
    ----------
    values:
        Field name to value, as given.
    """
    models = ("model", "actor_model", "base_url", "actor_url")
    engine = values.get("engine") or "auto"
    embedded = engine == "auto" or ENGINES.spec(engine).urls == "refused"
    return "nano" if embedded and not any(values.get(name) for name in models) else "paper"
