"""`--total-budget` in a run directory: which searches the next round has, out of the trees that are stored.

The rules are those of `spar.infer.rounds`. The plan is made from the first round on whenever it is needed, so that
resuming needs no other file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from spar.config import DecodeConfig
from spar.errors import UsageError
from spar.infer.rounds import FurtherSearch, RoundResult, grants, round_result
from spar.infer.summary import responses_spent
from spar.run.job import Job
from spar.store import TREES, tree_at, tree_offsets
from spar.types import SearchTree


@dataclass(frozen=True, slots=True)
class RoundOfSearches:
    """The searches of one round that are not stored yet."""

    number: int
    """1 for the first."""
    searches: Mapping[str, FurtherSearch]
    """By prompt id."""
    spent: int
    """Responses that all prompts had spent before it."""


def next_round(directory: Path, ids: Iterable[str], config: DecodeConfig) -> RoundOfSearches | None:
    """The round that a run is in, None if all that can be spent is spent.

    Parameters
    ----------
    ids:
        Of the prompts, in their order.

    Raises
    ------
    UsageError
        The stored trees and this round together would spend more than the total.
    """
    total, first = config.total_budget, config.budget
    assert total is not None
    granted, number, spent = dict.fromkeys(ids, first), 1, 0
    results: dict[str, RoundResult] = {}
    rounds: dict[str, tuple[tuple[int, float], ...]] = {}
    with _Trees(directory / TREES) as trees:
        while granted:
            missing = {}
            for prompt_id, budget in granted.items():
                tree = trees.read(prompt_id)
                result = round_result(tree, budget, first=first)
                if result is None:
                    missing[prompt_id] = FurtherSearch(budget, rounds.get(prompt_id, ()), tree)
                else:
                    results[prompt_id] = result
                    rounds[prompt_id] = (*rounds.get(prompt_id, ()), (budget, result.score))
            if missing:
                if trees.total == total and missing.keys() <= trees.spent.keys():
                    return None  # all is spent: in another order the last responses go to other prompts
                _refuse_more(trees.spent, missing, total)
                return RoundOfSearches(number, missing, spent)
            spent = sum(result.spent for result in results.values())
            granted, number = grants(results, total=total, step=first), number + 1
        _refuse_more(trees.spent, {}, total)
    return None


def check_total_budget(config: DecodeConfig, num_prompts: int, job: Job | None = None) -> None:
    """Raise `UsageError` where the total is smaller than the first round, or rounds are not repeatable."""
    total = config.total_budget
    if total is None:
        return
    if job is not None and (job.roots is not None or job.strategy is not None):
        raise UsageError(
            "--total-budget: this benchmark starts its searches from given responses; leave it out"
        )
    if config.seed is None:
        raise UsageError(
            "--total-budget needs a seed: a later round finds the replies of earlier ones by it"
        )
    if config.max_seconds is not None:
        raise UsageError(
            "--total-budget and --max-seconds exclude each other: what a tree may still spend would depend on the clock"
        )
    if total < config.budget * num_prompts:
        most = total // num_prompts
        advice = f"or --budget to {most} at most" if most else f"or --limit to {total} at most"
        raise UsageError(
            f"--total-budget {total:,} is less than the first round may spend: --budget {config.budget} for each of "
            f"{num_prompts:,} prompts; raise it to {config.budget * num_prompts:,}, {advice}"
        )


def _refuse_more(
    spent: Mapping[str, int], missing: Mapping[str, FurtherSearch], total: int
) -> None:
    """Raise `UsageError` where a smaller total, or prompts that are searched again, leave too little."""
    committed = sum({**spent, **{name: search.budget for name, search in missing.items()}}.values())
    if committed > total:
        next_ones = f" and the {len(missing):,} that are searched next" if missing else ""
        raise UsageError(
            f"--total-budget {total:,}: the stored trees{next_ones} take {committed:,} responses; raise it to that, "
            "give the prompts in the order that they had if it has changed, or choose another --out"
        )


class _Trees:
    """The last tree of each prompt, read from the disk one at a time."""

    def __init__(self, path: Path) -> None:
        self._offsets = tree_offsets(path) if path.is_file() else {}
        self._handle = path.open("rb") if self._offsets else None
        self.spent: dict[str, int] = {}
        """Prompt id to the responses of its tree, for those that were read: all, once the first round is planned."""

    @property
    def total(self) -> int:
        """The responses of these trees."""
        return sum(self.spent.values())

    def __enter__(self) -> _Trees:
        return self

    def __exit__(self, *_: object) -> None:
        if self._handle is not None:
            self._handle.close()

    def read(self, prompt_id: str) -> SearchTree | None:
        if self._handle is None or prompt_id not in self._offsets:
            return None
        tree = tree_at(self._handle, self._offsets[prompt_id])
        self.spent[prompt_id] = responses_spent(tree)
        return tree
