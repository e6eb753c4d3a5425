"""How strategies compare nodes: one rank, finer than the share of five votes.

Votes are evidence about a response: with `yes` and `no` of them, Jeffreys' prior gives its chance of a yes the
posterior Beta(1/2 + yes, 1/2 + no), whose mean is the rank. A single no therefore ranks above five, though both have
no yes: fewer votes say less. Where P(Yes) of each vote is known, a vote counts as so much of a yes. P(Yes) of
the `logprob` judge and the share of constraints that programs found to
be met rank in the order of `Judgement.score`; so do equal numbers of votes.

The answer of a tree is chosen by the score (`spar.types.best`), since a node that passes must win there.
"""

from __future__ import annotations

from collections.abc import Iterable

from spar.types import Judgement, Node

PRIOR = 0.5
"""Pseudo-counts of yes and of no before any evidence (Jeffreys' prior, as in AB-MCTS)."""


def evidence(judgement: Judgement) -> tuple[float, float]:
    """How much speaks for a response and against it: votes, constraints, or a probability and its rest.

    A constraint counts once, however many votes there were on it.
    """
    if judgement.probabilities and not judgement.findings:
        votes = zip(judgement.verdicts, judgement.probabilities, strict=True)
        parsed = [float(yes) if p is None else p for yes, p in votes if yes is not None]
        return sum(parsed), len(parsed) - sum(parsed)
    if judgement.findings:
        total = len(judgement.findings) + judgement.has_votes
    elif judgement.probability is not None:
        total = 1
    elif judgement.num_parsed:
        total = judgement.num_parsed
    else:  # nothing that was asked had an answer: of functions that all crashed, none accepts
        return 0.0, 1.0
    return judgement.score * total, (1 - judgement.score) * total


def posterior(judgement: Judgement) -> tuple[float, float]:
    """The parameters of the Beta posterior of a response."""
    supporting, opposing = evidence(judgement)
    return PRIOR + supporting, PRIOR + opposing


def rank(node: Node) -> float:
    """The mean of the node's posterior, in (0, 1); -1.0 for a node that was not judged, so it comes last."""
    if node.judgement is None:
        return -1.0
    a, b = posterior(node.judgement)
    return a / (a + b)


def ranked(nodes: Iterable[Node]) -> list[Node]:
    """Nodes, best first: highest rank, then shallowest, then the one made first."""
    return sorted(nodes, key=lambda node: (-rank(node), node.depth, node.id))
