"""What of a prompt's constraints programs know: all that the judge `hybrid` checks by program and `rewrite` edits for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from spar.errors import UsageError
from spar.types import Prompt
from spar.verifiers import CONSTRAINTS, KNOWN_TYPES, constraints_of


@dataclass(frozen=True, slots=True)
class KnownPart:
    """What of a prompt's constraints programs know."""

    prompt: Prompt | None
    """The prompt under these alone; None without any."""
    is_partial: bool
    """Whether the prompt has constraints that they do not know, or none that is listed."""


def known_part(prompt: Prompt) -> KnownPart:
    """The constraints of a prompt whose types programs know.

    Raises
    ------
    UsageError
        The fields with the constraints are malformed.
    """
    try:
        constraints = constraints_of(prompt)
    except ValueError as error:
        raise UsageError(f"prompt {prompt.id!r}: {error}") from error
    known = [each for each in constraints if each[0] in KNOWN_TYPES]
    if not known:
        return KnownPart(None, True)
    names, arguments = ([*column] for column in zip(*known, strict=True))
    return KnownPart(_under(prompt, names, arguments), len(known) < len(constraints))


def also_under(prompt: Prompt, type_: str) -> Prompt:
    """The prompt under one more constraint, of a type without arguments, unless it has it already."""
    constraints = constraints_of(prompt)
    if any(name == type_ for name, _ in constraints):
        return prompt
    names = [*(name for name, _ in constraints), type_]
    arguments = [*(each for _, each in constraints), {}]
    return _under(prompt, names, arguments)


def _under(prompt: Prompt, names: list[str], arguments: list[dict[str, Any]]) -> Prompt:
    meta = {**prompt.meta, CONSTRAINTS: names, "kwargs": arguments}
    return prompt.model_copy(update={"meta": meta})
