"""A budget across prompts: what solved prompts leave is spent on the unsolved ones, in rounds.

In the first round each prompt has the budget of a plain run. Each later round raises the budget of prompts that have
spent all of theirs without passing, by as much again, the one with the best response first, as far as the responses
that are left permit (after https://arxiv.org/abs/2506.12721). A round ends before the next is planned, so the plan
does not depend on the order of replies. A search with a larger budget takes its beginning from the smaller one's tree.

Nothing here is stored but the rounds in the trees: the plan of every round follows from them, so that a killed run
and one whose total is raised go on as if they had never stopped. Pure, but for `search_further`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from spar.infer.replay import continuing
from spar.infer.roles import Roles
from spar.infer.search import SearchSettings, run_search
from spar.infer.summary import responses_spent
from spar.types import Node, Prompt, SearchTree


@dataclass(frozen=True, slots=True)
class RoundResult:
    """Where the search of one prompt stands at the end of a round."""

    budget: int
    """Responses that it might spend."""
    spent: int
    """Responses that it has spent, failed and cancelled attempts included."""
    score: float
    """The best node's; -1 without one."""
    is_open: bool
    """Whether a larger budget goes on: nothing passed, and all of the budget is spent."""


def grants(results: Mapping[str, RoundResult], *, total: int, step: int) -> dict[str, int]:
    """The next round: prompt ids to their new budgets, {} if nothing can be spent.

    Parameters
    ----------
    results:
        By prompt id, in the order of the prompts, which decides between equal scores.
    total:
        Responses of the whole run.
    step:
        By how much a budget is raised in one round; the last one of a round may get less.
    """
    remaining = total - sum(result.spent for result in results.values())
    promising = sorted(
        (item for item in results.items() if item[1].is_open), key=lambda item: -item[1].score
    )
    granted = {}
    for prompt_id, result in promising:
        further = min(step, remaining)
        if further <= 0:
            break
        granted[prompt_id] = result.budget + further
        remaining -= further
    return granted


def round_result(tree: SearchTree | None, budget: int, *, first: int) -> RoundResult | None:
    """Where a prompt stood when it had `budget`; None if it must be searched (further) for that.

    Parameters
    ----------
    tree:
        The stored tree, of this round or a later one.
    first:
        Budget of the first round, the only one of a tree that names none.
    """
    if tree is None:
        return None
    *earlier, (latest, score) = rounds_of(tree, first)
    for earlier_budget, earlier_score in earlier:
        if earlier_budget == budget:
            return RoundResult(budget, budget, earlier_score, True)
    # A smaller total may have ended within a step: then its last budgets are none of this total's.
    if latest != budget:
        return None
    spent = responses_spent(tree)
    return RoundResult(latest, spent, score, tree.stop == "budget" and spent == latest)


def rounds_of(tree: SearchTree, first: int) -> tuple[tuple[int, float], ...]:
    """Budget and best score of each round of a tree, `first` being the budget of the only one of a tree that names none."""
    return tree.rounds or (_round(tree, first),)


@dataclass(frozen=True, slots=True)
class FurtherSearch:
    """The search of one prompt in one round."""

    budget: int
    """Most responses of its tree, those of earlier rounds included."""
    rounds: tuple[tuple[int, float], ...] = ()
    """Budget and best score of the rounds before; () in the first."""
    record: SearchTree | None = None
    """Its stored tree, of the round before or of a round of another total; None in the first round."""

    async def run(
        self,
        prompt: Prompt,
        roles: Roles,
        settings: SearchSettings,
        on_node: Callable[[Node], None],
    ) -> SearchTree:
        """The tree with this budget; what the record holds is neither generated nor reported again."""
        budget = replace(settings.budget, responses=self.budget)
        settings, record = replace(settings, budget=budget), self.record
        if record is None:
            return await run_search(prompt, roles, settings, on_node=on_node)
        num_stored = len(record.nodes)

        def report(node: Node) -> None:
            if node.id >= num_stored:
                on_node(node)

        roles = continuing(record, roles, settings.seed)
        tree = await run_search(prompt, roles, settings, on_node=report)
        rounds = (*self.rounds, _round(tree, self.budget))
        seconds = record.seconds + tree.seconds
        return tree.model_copy(update={"rounds": rounds, "seconds": seconds})


def _round(tree: SearchTree, budget: int) -> tuple[int, float]:
    return budget, max((node.score for node in tree.nodes), default=-1.0)
