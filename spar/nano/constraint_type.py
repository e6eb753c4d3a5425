"""Constraints and their types: how a type is drawn, worded, observed, met and violated."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from spar.nano.draft import Draft

Kwargs = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Constraint:
    """One requirement on a response."""

    id: str
    """Its type, as in IFEval's `instruction_id_list`."""
    kwargs: Kwargs
    """Its arguments, as in IFEval's `kwargs`."""


@dataclass(frozen=True, slots=True)
class ConstraintType:
    """One constraint type of nano-if; `spar.verifiers` checks it."""

    id: str
    sample: Callable[[random.Random, list[str]], Kwargs]
    """Draws arguments; pops the keywords that it uses from the list."""
    wordings: Callable[[Kwargs], tuple[str, ...]]
    """Alternative wordings of the instruction."""
    describe: Callable[[Kwargs], str]
    """Short name in critiques and reflections."""
    observe: Callable[[str, Kwargs], str]
    """The evidence that a critique quotes from a response."""
    achieve: Callable[[Draft, Kwargs, random.Random], None]
    """Makes one edit towards meeting the constraint."""
    violate: Callable[[Draft, Kwargs, random.Random], None]
    """Makes edits that most likely violate it."""
    group: str = ""
    """Types of one group exclude each other."""
