"""Settings of `spar evolve --checkable`."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from spar.config import Settings, explain, setting
from spar.errors import UsageError
from spar.evolve.checkable.conflicts import go_together
from spar.evolve.checkable.constraint_types import CONSTRAINT_TYPES
from spar.evolve.checkable.draw import Mix

MOST_CONSTRAINTS = 8
"""Of one prompt."""
ALL = "all"
"""What stands for every type in `types`."""


class CheckableGroup(Settings):
    """What only `--checkable` has."""

    panel = "Checkable prompts"

    n: int = setting(2000, ge=1)
    """With --checkable: how many prompts to make, without those held out."""
    constraints: str = "1-4"
    """With --checkable: constraints of a prompt. A number; a range, of which the smaller numbers come more often;
    or numbers with weights, such as 1=2,3=1."""
    types: str = ALL
    """With --checkable: constraint types to draw, such as no_comma,title; -json_format leaves one out, and no_comma=3
    makes one three times as frequent (all,no_comma=3)."""
    holdout: int = setting(0, ge=0)
    """With --checkable: how many prompts to hold out in a file of their own, made from other seed prompts."""
    witnesses: bool = False
    """With --checkable: store the text that proves that a prompt's constraints go together."""


class CheckableConfig(CheckableGroup):
    """Settings of `spar evolve --checkable`; `prompts` are the seeds. The last five are `spar evolve`'s."""

    prompts: str = setting(flag="")
    """The seed prompts, as `spar.prompts.read_prompts` takes them."""
    prompt_field: str = setting("", omit_default=True)
    """Field of the rows that holds the seed prompt; empty for the names that docs/decode.md lists."""
    limit: int | None = setting(None, ge=0)
    """Use only the first seed prompts."""
    seed: int | None = 0
    """Random seed of the draws."""
    data: str = ""
    """Folder with the benchmarks' data; empty for $SPAR_DATA or the cache."""

    @property
    def mix(self) -> Mix:
        """Which constraints are drawn, and how often.

        Raises
        ------
        UsageError
            `constraints` or `types` is not of an accepted form, or never so many of the types go together.
        """
        mix = Mix(parse_counts(self.constraints), parse_types(self.types))
        fewest, types = min(mix.counts), [*mix.weights]
        if not go_together(fewest, types):
            most = max(number for number in range(fewest) if go_together(number, types))
            raise UsageError(
                f"--constraints {self.constraints}: of --types {self.types} at most {most} go together in one prompt; "
                "ask for fewer constraints, or name more types"
            )
        return mix


def load_checkable(overrides: Mapping[str, Any]) -> CheckableConfig:
    """The settings; raises `UsageError` for an unknown one or a value out of range."""
    try:
        config = CheckableConfig(**overrides)
    except ValidationError as error:
        raise UsageError(explain(error, None, CheckableConfig, overrides)) from error
    _ = config.mix
    return config


def parse_counts(text: str) -> dict[int, float]:
    """Number of constraints to weight, from `3`, `1-4` or `1=2,3=1`.

    Raises
    ------
    UsageError
        The text has another form, or a number is out of range.
    """
    counts: dict[int, float] = {}
    if match := re.fullmatch(r"\s*(\d+)(?:\s*-\s*(\d+))?\s*", text):
        first, last = int(match[1]), int(match[2] or match[1])
        counts = {number: last - number + 1.0 for number in range(first, min(last, 99) + 1)}
    elif re.fullmatch(r"(?:\s*\d+\s*=\s*\d+(?:\.\d+)?\s*(?:,|$))+", text):
        pairs = (item.split("=") for item in text.split(",") if item.strip())
        counts = {int(number): float(weight) for number, weight in pairs}
    counts = {number: weight for number, weight in counts.items() if weight}
    if not counts or not all(1 <= number <= MOST_CONSTRAINTS for number in counts):
        raise UsageError(
            f"--constraints {text!r}; accepted: a number of 1 to {MOST_CONSTRAINTS}, a range such as 1-4, or "
            "numbers with weights such as 1=2,3=1"
        )
    return counts


def parse_types(text: str) -> dict[str, float]:
    """Constraint type to weight, from names with `-` before those to leave out and `=WEIGHT` after any.

    Raises
    ------
    UsageError
        A name is unknown, a weight is no number, or no type is left.
    """
    items = [item.strip() for item in text.split(",") if item.strip()]
    every = {each.id: each.weight for each in CONSTRAINT_TYPES.values()}
    only_left_out = all(item.startswith("-") for item in items)
    weights = dict(every) if ALL in items or only_left_out else {}
    for item in items:
        name, equals, factor = item.partition("=")
        if item == ALL:
            continue  # where it stands does not matter
        if name.startswith("-") and not equals:
            weights.pop(_type_id(name[1:]), None)
        else:
            type_id = _type_id(name)
            weights[type_id] = every[type_id] * (_factor(factor, item) if equals else 1.0)
    weights = {type_id: weight for type_id, weight in weights.items() if weight}
    if not weights:
        raise UsageError(f"--types {text!r} leaves no constraint type; name one, or {ALL}")
    return {type_id: weights[type_id] for type_id in CONSTRAINT_TYPES if type_id in weights}


def _type_id(name: str) -> str:
    """The id of a type by its full id or by what stands after the colon."""
    names = {type_id.partition(":")[2]: type_id for type_id in CONSTRAINT_TYPES}
    if name in CONSTRAINT_TYPES or name in names:
        return names.get(name, name)
    close = difflib.get_close_matches(name, [*names, *CONSTRAINT_TYPES], n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    raise UsageError(
        f"--types: no constraint type {name!r}{hint}; accepted: {ALL}, {', '.join(names)}"
    )


def _factor(text: str, item: str) -> float:
    try:
        factor = float(text)
    except ValueError:
        factor = -1.0
    if not 0 <= factor < 1e6:
        raise UsageError(f"--types: {item!r} has no weight; accepted: a number of 0 or more")
    return factor
