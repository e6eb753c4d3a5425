"""Totals of a run, added up tree by tree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from spar.record.run_outcomes import share_stderr
from spar.types import ROLES, Role, SearchTree, Usage
from spar.verifiers import passes, unverifiable


@dataclass(slots=True)
class Summary:
    """The totals of a run, without its trees."""

    trees: int = 0
    """Prompts that are done."""
    stops: Counter[str] = field(default_factory=Counter)
    """Why their searches ended."""
    nodes: int = 0
    """Responses."""
    judged: int = 0
    """Responses with a judgement."""
    faults: int = 0
    """Attempts that gave no node."""
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Stage and reason of the faults, without the details behind a colon."""
    unanswered: int = 0
    """Trees without any response."""
    roles: dict[Role, Usage] = field(default_factory=lambda: dict.fromkeys(ROLES, Usage()))
    """The usage of each role."""
    responses: int = 0
    """Responses spent of the budgets, failed and cancelled attempts included."""
    total_budget: int | None = None
    """The most of them in the whole run (`--total-budget`)."""
    cancelled: int = 0
    """Attempts that `--early-stop first` cut off."""
    verified: int = 0
    """Prompts whose constraints a program can check."""
    passed_before: int = 0
    """Of these, first drafts that pass by ground truth."""
    passed_after: int = 0
    """Of these, answers that pass by ground truth."""
    seconds: float = 0.0
    """Wall-clock time of the run, summed over resumptions."""
    load_seconds: float = 0.0
    """The part of it that went by before the models were loaded."""
    engines: dict[str, dict[str, float]] = field(default_factory=dict)
    """Engine to its own counts (`spar.infer.engine_wrappers.InstrumentedEngine.counts`), summed over resumptions."""

    @property
    def usage(self) -> Usage:
        """Cost of all roles together."""
        return sum(self.roles.values(), Usage())

    def add(self, tree: SearchTree) -> None:
        """Count one tree."""
        self.trees += 1
        self.stops[tree.stop] += 1
        self.nodes += len(tree.nodes)
        self.judged += sum(node.judgement is not None for node in tree.nodes)
        self.faults += len(tree.faults)
        self.reasons.update((f.stage, f.reason.partition(": ")[0]) for f in tree.faults)
        self.unanswered += tree.selected is None
        self.cancelled += tree.cancelled
        self.responses += responses_spent(tree)
        for role, usage in tree.usage_by_role.items():
            self.roles[role] += usage
        self._add_truth(tree)

    def add_engine(self, name: str, counts: Mapping[str, float]) -> None:
        """Add an engine's counts to those of an earlier start of the run."""
        earlier = self.engines.get(name, {})
        names = [*earlier, *(fact for fact in counts if fact not in earlier)]
        self.engines[name] = {n: earlier.get(n, 0) + counts.get(n, 0) for n in names}

    def busy_share(self, name: str) -> float:
        """Share of the time since the models were loaded during which an engine had requests."""
        searched = self.seconds - self.load_seconds
        return self.engines[name]["busy_seconds"] / searched if searched > 0 else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values; shares are fractions, with the standard error beside each."""
        usage = self.usage
        shared = {"responses": self.responses, "total_budget": self.total_budget}
        return {
            "trees": self.trees,
            "solved": self.stops["solved"],
            "stops": dict(self.stops),
            "nodes": self.nodes,
            "faults": self.faults,
            "unanswered": self.unanswered,
            "cancelled": self.cancelled,
            **(shared if self.total_budget is not None else {}),
            **_costs(usage),
            "skipped_calls": usage.skipped_calls,
            "aborted_calls": usage.aborted_calls,
            "roles": {role: _costs(spent) for role, spent in self.roles.items()},
            "verified": self.verified,
            **self._share("passed_before", self.passed_before),
            **self._share("passed_after", self.passed_after),
            "engines": {
                name: {**counts, "busy_share": self.busy_share(name)}
                for name, counts in self.engines.items()
            },
            "seconds": round(self.seconds, 3),
            "load_seconds": round(self.load_seconds, 3),
        }

    def _add_truth(self, tree: SearchTree) -> None:
        if unverifiable(tree.prompt):
            return
        self.verified += 1
        if tree.answer is not None:
            self.passed_before += bool(passes(tree.nodes[0].response, tree.prompt))
            self.passed_after += bool(passes(tree.answer, tree.prompt))

    def _share(self, name: str, hits: int) -> dict[str, Any]:
        if not self.verified:
            return {name: None, f"{name}_stderr": None}
        share = hits / self.verified
        return {name: share, f"{name}_stderr": share_stderr(share, self.verified)}


def _costs(usage: Usage) -> dict[str, int]:
    cut = {"cut_calls": usage.cut_calls} if usage.cut_calls else {}
    return {
        "calls": usage.calls,
        "prompt_tokens": usage.prompt_tokens,
        "cached_tokens": usage.cached_tokens,
        "completion_tokens": usage.completion_tokens,
        **cut,
    }


def responses_spent(tree: SearchTree) -> int:
    """Responses that count toward the budget of a tree without given roots, failed and cancelled attempts included."""
    # A draft that could not be judged is a node and a fault.
    both = sum(fault.stage == "judge" and fault.parent is None for fault in tree.faults)
    return len(tree.nodes) + len(tree.faults) - both + tree.cancelled
