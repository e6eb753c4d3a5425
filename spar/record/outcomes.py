"""What a search did for its prompt: the facts behind every screen, page and table.

    outcome = outcome_of(tree, check)                 # check: `spar.export.run.check_constraints`, or None
    outcome.change, outcome.judge_wrong               # "fixed", False
    story(outcome)                                    # failed: no commas → fixed in 2 refinements, 12 calls

`spar.record.run_outcomes` adds them up.

| word | meaning |
|---|---|
| passes | by ground truth where a program or an evaluation says, else by the judge |
| before, after | the first draft, and the answer |
| fixed, broken | fails before and passes after; passes before and fails after |
| judge wrong | judge and ground truth disagree on the answer |
| failing constraint | one that the response does not meet: by ground truth, else as judged |

This module computes no ground truth: a verifier and an evaluation's verdict are passed in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from spar.types import Finding, Node, Role, SearchTree, Stop, Usage

ConstraintCheck = Callable[[SearchTree, Node], Sequence[Finding]]
"""Returns each constraint of the prompt and whether the node's response meets it; empty without a verifier."""

Change = Literal["fixed", "broken", "passed", "failed"]
"""From the first draft to the answer; `passed` and `failed` are the same before and after."""

_NAMED = 2
"""Failing constraints that a story names."""


@dataclass(frozen=True, slots=True)
class ResponseResult:
    """What is known of one response."""

    node: int | None
    """The node's id; None if there is no response, which fails whatever can be checked."""
    depth: int
    """Refinements that led to it."""
    judge: bool | None
    """Whether the judge passed it; None without a judgement."""
    truth: bool | None
    """Whether it passes by ground truth; None where that is unknown."""
    score: float | None
    """The judgement's score; None without a judgement."""
    findings: tuple[Finding, ...]
    """Its constraints by ground truth; those of the judgement where there is none."""

    @property
    def passes(self) -> bool | None:
        """By ground truth where it is known, else by the judge; None where neither is."""
        return self.judge if self.truth is None else self.truth

    @property
    def failing(self) -> tuple[Finding, ...]:
        """The constraints that it does not meet."""
        return tuple(finding for finding in self.findings if not finding.met)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the search of one tree did."""

    prompt_id: str
    stop: Stop
    before: ResponseResult
    """Of the first draft."""
    after: ResponseResult
    """Of the answer."""
    is_judged: bool
    """Whether a judge was called; greedy decoding neither solves nor fails."""
    nodes: int
    drafts: int
    """Nodes without a parent."""
    faults: int
    best_scores: tuple[float, ...]
    """Depth to the best score at it or above; empty without a judgement."""
    roles: Mapping[Role, Usage]
    """Cost by role, failed and cancelled attempts included."""
    seconds: float

    @property
    def solved(self) -> bool:
        """Whether the judge passed some node."""
        return self.stop == "solved"

    @property
    def refinements(self) -> int:
        """Nodes below the drafts."""
        return self.nodes - self.drafts

    @property
    def change(self) -> Change | None:
        """What became of the first draft; None where that is unknown."""
        before, after = self.before.passes, self.after.passes
        if before is None or after is None:
            return None
        if before is after:
            return "passed" if after else "failed"
        return "fixed" if after else "broken"

    @property
    def judge_wrong(self) -> bool:
        """Whether judge and ground truth disagree on the answer."""
        judge, truth = self.after.judge, self.after.truth
        return judge is not None and truth is not None and judge is not truth

    @property
    def usage(self) -> Usage:
        """Cost of the whole tree."""
        return sum(self.roles.values(), Usage())


def outcome_of(
    tree: SearchTree, check: ConstraintCheck | None = None, *, graded: bool | None = None
) -> Outcome:
    """What the search of a tree did.

    Parameters
    ----------
    check:
        Ground truth of a response, constraint by constraint; None without verifiers.
    graded:
        An evaluation's verdict on the answer, which counts more than `check`; None without one.
    """
    draft = tree.nodes[0] if tree.nodes else None
    where = tree.selected
    answer = tree.nodes[where] if where is not None and 0 <= where < len(tree.nodes) else None
    before = _result_of(tree, draft, check)
    after = before if answer is draft else _result_of(tree, answer, check)
    if graded is not None:
        after = replace(after, truth=graded)
        before = after if answer is draft else before
    return Outcome(
        prompt_id=tree.prompt.id,
        stop=tree.stop,
        before=before,
        after=after,
        is_judged=not tree.nodes
        or bool(tree.faults)
        or any(node.judgement is not None for node in tree.nodes),
        nodes=len(tree.nodes),
        drafts=sum(node.parent is None for node in tree.nodes),
        faults=len(tree.faults),
        best_scores=_best_scores(tree),
        roles=tree.usage_by_role,
        seconds=tree.seconds,
    )


def with_verdicts(
    check: ConstraintCheck | None, verdicts: Callable[[str], Sequence[Finding]]
) -> ConstraintCheck:
    """A check that takes the findings of an evaluation on the answer, by the prompt's id, where `check` has none."""

    def findings(tree: SearchTree, node: Node) -> Sequence[Finding]:
        own = check(tree, node) if check else ()
        if own or node.id != tree.selected:
            return own
        return verdicts(tree.prompt.id)

    return findings


def story(outcome: Outcome) -> str:
    """What the search did in one line: `failed: no commas → fixed in 2 refinements, 12 calls`."""
    calls = pluralize(outcome.usage.calls, "call")
    before, after = failures(outcome.before), failures(outcome.after)
    match outcome.change:
        case None if outcome.after.node is None:
            return f"no answer, {calls}"
        case None:
            return f"answered, not judged, {calls}"
        case "fixed":
            return f"failed{before} → fixed {_means(outcome)}, {calls}"
        case "broken":
            return f"passed at first → broken {_means(outcome)}{after}, {calls}"
        case "passed" if outcome.before is outcome.after:
            return f"passed at the first draft, {calls}"
        case "passed":
            return f"passed at first → passes {_means(outcome)}, {calls}"
    if outcome.nodes + outcome.faults <= 1:
        return f"fails{after}, {calls}"
    tried = [pluralize(n, name) for n, name in _tried(outcome) if n]
    return f"failed{before} → still fails{after if after != before else ''} after {' and '.join(tried)}, {calls}"


def failures(result: ResponseResult) -> str:
    """`: no commas, at least 300 words and 2 more`; empty where no failing constraint is known."""
    failing = [finding.constraint for finding in result.failing]
    if not failing:
        return ""
    more = f" and {len(failing) - _NAMED} more" if len(failing) > _NAMED else ""
    return f": {', '.join(failing[:_NAMED])}{more}"


def pluralize(number: int, noun: str) -> str:
    """A number with its noun: `1 tree`, `1,000 trees`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _result_of(
    tree: SearchTree, node: Node | None, check: ConstraintCheck | None
) -> ResponseResult:
    # A blank response meets no constraint, so the check also says whether there is anything to check.
    checked = node or Node(id=0, parent=None, depth=0, response="")
    findings = tuple(check(tree, checked)) if check else ()
    truth = all(finding.met for finding in findings) if findings else None
    judgement = node.judgement if node else None
    if judgement is not None and math.isnan(judgement.score):
        judgement = None
    return ResponseResult(
        node=node.id if node else None,
        depth=node.depth if node else 0,
        judge=judgement.passed(tree.gate) if judgement else None,
        truth=truth,
        score=judgement.score if judgement else None,
        findings=findings or (judgement.findings if judgement else ()),
    )


def _best_scores(tree: SearchTree) -> tuple[float, ...]:
    """Depth to the best score at it or above; a depth without a judged node takes the one above it."""
    best: dict[int, float] = {}
    for node in tree.nodes:
        score = math.nan if node.judgement is None else node.judgement.score
        if score >= best.get(node.depth, 0.0):  # not if it is NaN
            best[node.depth] = score
    scores: list[float] = []
    for depth in range(max(best, default=-1) + 1):
        scores.append(max(scores[-1] if scores else 0.0, best.get(depth, 0.0)))
    return tuple(scores)


def _means(outcome: Outcome) -> str:
    """How the search came to its answer."""
    if outcome.after.depth:
        return f"in {pluralize(outcome.after.depth, 'refinement')}"
    return f"by another of {pluralize(outcome.drafts, 'draft')}"


def _tried(outcome: Outcome) -> tuple[tuple[int, str], ...]:
    return (
        (outcome.refinements, "refinement"),
        (outcome.drafts if outcome.drafts > 1 else 0, "draft"),
        (outcome.faults, "failed attempt"),
    )
