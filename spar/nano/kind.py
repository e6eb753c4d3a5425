"""What nano-if knows of a constraint type, and what a constraint is."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from spar.nano.draft import Draft

Kwargs = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Constraint:
    """One requirement."""

    id: str
    kwargs: Kwargs


@dataclass(frozen=True, slots=True)
class Kind:
    """All that nano-if knows of one constraint type."""

    id: str
    sample: Callable[[random.Random, list[str]], Kwargs]
    """Draw arguments; the list holds keywords not yet taken, and the draw takes from it."""
    wordings: Callable[[Kwargs], tuple[str, ...]]
    """Ways to ask for it."""
    describe: Callable[[Kwargs], str]
    """The short name that critiques and reflections use."""
    observe: Callable[[str, Kwargs], str]
    """What a critique says it saw in a response."""
    achieve: Callable[[Draft, Kwargs, random.Random], None]
    """One edit towards meeting it."""
    violate: Callable[[Draft, Kwargs, random.Random], None]
    """Edits that most likely break it."""
    group: str = ""
    """Types of one group exclude each other."""
