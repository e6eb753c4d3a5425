"""Which node of a tree is the answer, where answers can be compared: the one that most nodes give, or the weightiest.

Self-consistency (https://arxiv.org/abs/2203.11171) over all nodes of a tree, whatever its strategy. What an answer is, the
caller says: a number at the end of a derivation, the letter of a choice. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from spar.types import Node, Prompt, best

AnswerRule = Literal["best", "majority", "weighted"]
"""`best` is the node with the highest score; `majority` the best node among those that give the most frequent answer,
`weighted` among those that give the answer with the highest sum of scores."""

Extract = Callable[[Prompt, str], str | None]
"""The answer in a response to a prompt, in a form in which equal answers are equal; None without one."""


Select = Callable[[Prompt, Sequence[Node]], int | None]
"""The id of the node that answers a prompt, None without any."""


def select_best(prompt: Prompt, nodes: Sequence[Node]) -> int | None:
    """The node with the highest score, then the shallowest, then the first."""
    return next((node.id for node in best(tuple(nodes))), None)


def select(rule: AnswerRule, extract: Extract, prompt: Prompt, nodes: Sequence[Node]) -> int | None:
    """The id of the node that answers.

    A node without an answer has no part in it; where no node has one, it is the best node. Equal counts are decided by
    the highest score, equal sums by the count; what is equal then, by the smallest id.
    """
    groups: dict[str, list[Node]] = {}
    for node in nodes if rule != "best" else ():
        answer = extract(prompt, node.response)
        if answer is not None:
            groups.setdefault(answer, []).append(node)

    def strength(group: list[Node]) -> tuple[float, ...]:
        count, score = float(len(group)), max(node.score for node in group)
        # Sums of shares of votes are equal up to rounding; a node that was not judged weighs nothing.
        weight = round(sum(max(node.score, 0.0) for node in group), 9)
        return (count, score) if rule == "majority" else (weight, count, score)

    # Groups are in the order of their first nodes, and the first of equal ones wins.
    leading = max(groups.values(), key=strength, default=[*nodes])
    return select_best(prompt, leading)
