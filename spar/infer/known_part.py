"""What of a prompt's constraints programs know: all that the judge `hybrid` checks by program and `rewrite` edits for."""

from __future__ import annotations

from dataclasses import dataclass

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
    meta = {**prompt.meta, CONSTRAINTS: names, "kwargs": arguments}
    part = prompt.model_copy(update={"meta": meta})
    return KnownPart(part, len(known) < len(constraints))
