"""Totals of a run, added up tree by tree."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from spar.nano.verifiers import passes
from spar.types import SearchTree


@dataclass(slots=True)
class Summary:
    """What a run has found so far, without keeping its trees."""

    trees: int = 0
    """Prompts that are done."""
    stops: Counter[str] = field(default_factory=Counter)
    """Why their searches ended."""
    nodes: int = 0
    """Responses."""
    faults: int = 0
    """Attempts that gave no node."""
    unanswered: int = 0
    """Trees without any response."""
    calls: int = 0
    """Requests to the engine."""
    prompt_tokens: int = 0
    """Tokens read."""
    completion_tokens: int = 0
    """Tokens generated."""
    verified: int = 0
    """Prompts whose constraints a program can check."""
    passed_before: int = 0
    """Of these, first drafts that pass by ground truth."""
    passed_after: int = 0
    """Of these, answers that pass by ground truth."""
    seconds: float = 0.0
    """Wall-clock time of the run, summed over resumptions."""

    def add(self, tree: SearchTree) -> None:
        """Count one tree."""
        usage = tree.usage
        self.trees += 1
        self.stops[tree.stop] += 1
        self.nodes += len(tree.nodes)
        self.faults += len(tree.faults)
        self.unanswered += tree.selected is None
        self.calls += usage.calls
        self.prompt_tokens += usage.prompt_tokens
        self.completion_tokens += usage.completion_tokens
        self._add_truth(tree)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values; shares are fractions, with the standard error beside each."""
        return {
            "trees": self.trees,
            "solved": self.stops["solved"],
            "stops": dict(self.stops),
            "nodes": self.nodes,
            "faults": self.faults,
            "unanswered": self.unanswered,
            "calls": self.calls,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "verified": self.verified,
            **self._share("passed_before", self.passed_before),
            **self._share("passed_after", self.passed_after),
            "seconds": round(self.seconds, 3),
        }

    def _add_truth(self, tree: SearchTree) -> None:
        if passes("", tree.prompt.meta) is None:
            return
        self.verified += 1
        if tree.answer is not None:
            self.passed_before += bool(passes(tree.nodes[0].response, tree.prompt.meta))
            self.passed_after += bool(passes(tree.answer, tree.prompt.meta))

    def _share(self, name: str, hits: int) -> dict[str, Any]:
        if not self.verified:
            return {name: None, f"{name}_stderr": None}
        share = hits / self.verified
        return {name: share, f"{name}_stderr": share_stderr(share, self.verified)}


def share_stderr(share: float, n: int) -> float:
    """Standard error of a share of `n` independent yes-or-no outcomes, in the share's unit."""
    return math.sqrt(share * (1 - share) / n)
