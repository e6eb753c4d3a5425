"""A strategy of one's own: UCB1 over all nodes, with an option, compared with breadth-first search.

python examples/own_strategy.py
"""

from __future__ import annotations

import argparse
import math
from collections import Counter

from pydantic import BaseModel

import spar


class UCBOptions(BaseModel):
    """Options of the strategy: `strategy_args={"c": 0.7}`, or `--strategy-arg c=0.7`."""

    c: float = 0.7
    """Weight of exploration."""


def ucb(roots: tuple[spar.Node, ...], config: spar.SearchConfig, options: UCBOptions) -> spar.Plan:
    """Refine the node with the highest score plus exploration bonus, one refinement at a time."""
    nodes = list(roots or (yield [spar.Expand(None, 1)]))
    num_refined: Counter[int] = Counter()
    while nodes:

        def bound(node: spar.Node) -> float:
            score = node.judgement.score if node.judgement else 0.0
            tries = 1 + num_refined[node.id]
            return score + options.c * math.sqrt(math.log(1 + num_refined.total()) / tries)

        node = max(nodes, key=bound)
        num_refined[node.id] += 1
        nodes += yield [spar.Expand(node.id, 1)]


UCB = spar.StrategySpec(ucb, options=UCBOptions)
"""All three roles, and a draft that is tried as often as the budget allows: the safe defaults."""

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--limit", type=int, default=12, help="built-in prompts to search")
    arguments = parser.parse_args()
    for strategy, strategy_args in (("bfs", {}), (UCB, {"c": 0.7})):
        run = spar.decode(
            strategy=strategy,
            strategy_args=strategy_args,
            budget=7,
            limit=arguments.limit,
            engine=arguments.engine,
            listener=spar.PlainProgress(),
        )
        solved = sum(tree.solved for tree in run)
        name = next(iter(run)).strategy
        print(f"{name}: {solved} of {len(run)} solved, {run.summary.usage.calls} calls")
