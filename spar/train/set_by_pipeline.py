"""Settings of searches and evaluations that a training pipeline sets itself: given, they would change nothing.

They are refused where a recipe, `--set` or a keyword has them, with the setting that does what was meant. A stored loop of an
earlier version, which ignored them, still opens, and goes on without them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spar.config import EvalConfig, Settings
from spar.errors import UsageError
from spar.train.assignments import assignment, merge, put_value


@dataclass(frozen=True, slots=True)
class SetByPipeline:
    """What a pipeline sets."""

    pipeline: str
    """What it is, in messages."""
    sections: Mapping[str, Mapping[str, str]]
    """Section of a recipe to its settings that are set, each with what to give instead; "" for nothing. `benchmarks.settings`
    is that of every evaluation, `by_iteration.search` that of every entry."""


_SEARCH = {
    "prompts": "prompts",
    "prompt_field": "prompt_field",
    "total_budget": "",  # the searches start from drafts that are there, which leaves nothing to share out
}
_EVALUATION = {
    "model": "decode.model",
    "actor_model": "decode.actor_model",
    "refiner_model": "decode.refiner_model",
    "benchmark": "benchmarks",
    "data_digest": "",
}
_SEARCH_OF_LOOP = {**_SEARCH, "limit": "prompts_per_iteration"}
OF_LOOP = SetByPipeline(
    "loop",
    {
        "decode": {
            **_SEARCH,
            "limit": "prompts_per_iteration, or eval.limit for evaluations,",
            "seed": "seed",
        },
        "search": _SEARCH_OF_LOOP,
        "by_iteration.search": _SEARCH_OF_LOOP,
        "eval": {**_EVALUATION, "seed": "seed"},
        "benchmarks.settings": _EVALUATION,
    },
)
"""Those of `spar train`; an evaluation in `benchmarks` may have a seed of its own."""
_BOOTSTRAP = {**_SEARCH, "limit": "num_actor_prompts and num_refiner_prompts", "seed": "seed"}
OF_BOOTSTRAP = SetByPipeline(
    "bootstrap",
    dict.fromkeys(("decode", "student", "teacher", "search"), _BOOTSTRAP),
)
"""Those of `spar bootstrap`."""

KEYWORDS = "keywords"
"""The source of settings that Python passes."""


def refuse_set(known: SetByPipeline, values: Mapping[str, Any], source: str) -> None:
    """Reject settings that are not the defaults.

    Parameters
    ----------
    values:
        Sections of a recipe.
    source:
        Where they come from, in messages: `recipe nano`, `--set`, or `KEYWORDS`.

    Raises
    ------
    UsageError
        With the setting to give instead, and how a run that has it goes on: its folder is named by its settings.
    """
    for section, names in known.sections.items():
        for given in _settings(values, section.split(".")):
            for name, other in names.items():
                if name in given and given[name] != EvalConfig.model_fields[name].default:
                    advice = f"give {other} instead" if other else "remove it"
                    raise UsageError(
                        f"{source}: {section}.{name} is set by the {known.pipeline}; {advice} "
                        f"(a {known.pipeline} that has it goes on without it: give its folder as --out)"
                    )


def refuse_assignments(known: SetByPipeline, assignments: Sequence[str]) -> None:
    """`refuse_set` for the values of `--set`."""
    values: dict[str, Any] = {}
    for key, value in map(assignment, assignments):
        put_value(key, value, values)
    refuse_set(known, values, "--set")


def split_keywords(
    known: SetByPipeline, keywords: Mapping[str, Any], fields: Collection[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The keywords that are fields of the pipeline, and those of its section `decode`, without None values.

    Raises
    ------
    UsageError
        As `refuse_set`, or a section is no mapping.
    """
    generation = {name: value for name, value in keywords.items() if value is not None}
    own = {name: generation.pop(name) for name in [*generation] if name in fields}
    for name in ("decode", "eval"):
        value = own.get(name, {})
        own |= {name: value.stored()} if isinstance(value, Settings) else {}
        if not isinstance(own.get(name, {}), Mapping):
            raise UsageError(f"{name} is {value!r}; it must be a mapping of settings")
    decode = merge(generation, own.get("decode", {}))
    refuse_set(known, {**own, "decode": decode}, KEYWORDS)
    return own, generation


def without_set(
    known: SetByPipeline, stored: Mapping[str, Any], *, effective: Collection[str] = ()
) -> dict[str, Any]:
    """A stored recipe without these settings, as it would be had they been refused.

    Parameters
    ----------
    effective:
        Those that have an effect in this recipe, and stay.
    """
    result: Any = stored
    for section, names in known.sections.items():
        result = _without(result, section.split("."), names.keys() - set(effective))
    return dict(result)


def _settings(value: Any, path: Sequence[str]) -> list[Mapping[str, Any]]:
    """The settings of a section, in every item of a list on the way to it."""
    if isinstance(value, list | tuple):
        return [settings for item in value for settings in _settings(item, path)]
    if not isinstance(value, Mapping):
        return []
    return _settings(value.get(path[0]), path[1:]) if path else [value]


def _without(value: Any, path: Sequence[str], names: Collection[str]) -> Any:
    """`value` without these settings of a section; what this leaves empty is left out, too."""
    if isinstance(value, list | tuple):
        items = [_without(item, path, names) for item in value]
        return items if any(items) else []
    if not isinstance(value, Mapping):
        return value
    if not path:
        return {name: below for name, below in value.items() if name not in names}
    changed = {**value, path[0]: _without(value.get(path[0]), path[1:], names)}
    return {name: below for name, below in changed.items() if name != path[0] or below}
