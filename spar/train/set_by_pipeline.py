"""Settings of searches and evaluations that a training pipeline sets itself: given, they would change nothing.

They are refused where a recipe or `--set` has them, with the setting that does what was meant. A stored loop of an earlier
version, which ignored them, still opens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spar.config import EvalConfig
from spar.errors import UsageError
from spar.train.assignments import assignment, put_value


@dataclass(frozen=True, slots=True)
class SetByPipeline:
    """What a pipeline sets."""

    pipeline: str
    """What it is, in messages."""
    sections: Mapping[str, Mapping[str, str]]
    """Section of a recipe to its settings that are set, each with what to give instead; "" for nothing."""
    without_effect: tuple[str, ...]
    """Those that a run of an earlier version may have: they may differ, since they change nothing."""


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
OF_LOOP = SetByPipeline(
    "loop",
    {
        "decode": {**_SEARCH, "limit": "prompts_per_iteration", "seed": "seed"},
        "search": {**_SEARCH, "limit": "prompts_per_iteration"},
        "eval": {**_EVALUATION, "seed": "seed"},
        "benchmarks": _EVALUATION,
    },
    ("decode.prompts", "decode.prompt_field", "decode.seed", "eval.seed"),
)
"""Those of `spar train`; an evaluation in `benchmarks` may have a seed of its own."""
_BOOTSTRAP = {**_SEARCH, "limit": "num_actor_prompts and num_refiner_prompts", "seed": "seed"}
OF_BOOTSTRAP = SetByPipeline(
    "bootstrap",
    dict.fromkeys(("decode", "student", "teacher", "search"), _BOOTSTRAP),
    tuple(
        f"{section}.{name}"
        for section in ("student", "teacher", "search")
        for name in ("prompts", "prompt_field", "seed")
    ),
)
"""Those of `spar bootstrap`."""


def refuse_set(known: SetByPipeline, values: Mapping[str, Any], source: str) -> None:
    """Reject settings that are not the defaults.

    Parameters
    ----------
    values:
        Sections of a recipe.
    source:
        Where they come from: a recipe's name, or `--set`.

    Raises
    ------
    UsageError
        With the setting to give instead.
    """
    origin = source if source.startswith("-") else f"recipe {source}"
    for section, names in known.sections.items():
        for where, given in _given(section, values.get(section)):
            for name, other in names.items():
                if name in given and given[name] != EvalConfig.model_fields[name].default:
                    advice = f"give {other} instead" if other else "remove it"
                    raise UsageError(
                        f"{origin}: {where}.{name} is set by the {known.pipeline}; {advice}"
                    )


def refuse_assignments(known: SetByPipeline, assignments: Sequence[str]) -> None:
    """`refuse_set` for the values of `--set`."""
    values: dict[str, Any] = {}
    for key, value in map(assignment, assignments):
        put_value(key, value, values)
    refuse_set(known, values, "--set")


def _given(section: str, value: Any) -> list[tuple[str, Mapping[str, Any]]]:
    """The settings that a section has, each with its name: those of every evaluation in `benchmarks`."""
    if isinstance(value, Mapping):
        return [(section, value)]
    items = value if isinstance(value, Sequence) and not isinstance(value, str) else ()
    own = (item.get("settings") for item in items if isinstance(item, Mapping))
    return [(f"{section}.settings", settings) for settings in own if isinstance(settings, Mapping)]
