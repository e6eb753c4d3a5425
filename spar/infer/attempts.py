"""What comes of one attempt of a search: a generation and its judgement, or the fault that is recorded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from spar.infer.roles import AttemptFailed, Generation
from spar.infer.strategy import Expand
from spar.types import Fault, Judgement, Usage

FaultStage = Literal["draft", "judge", "refine"]
"""Which role a fault happened in."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one attempt: a generation, its judgement, or a fault."""

    expand: Expand
    generation: Generation | None
    judgement: Judgement | None = None
    judge_usage: Usage = Usage()
    fault: Fault | None = None


def fault_of(expand: Expand, stage: FaultStage, error: AttemptFailed) -> Fault:
    """The fault of an attempt at a node, or at two."""
    return Fault(
        parent=expand.parent,
        stage=stage,
        reason=error.reason,
        text=error.text,
        usage=error.usage,
        is_final=error.is_final and stage == "refine",
        second_parent=expand.second_parent,
    )
