"""Which of a run's examples are kept: no two with the same opening, quotas, balance, a seeded order. Pure.

The choice is made among `Ticket`s, which are small and hold no text: a run is streamed once for them, and
once more for the texts of those that won. Order and draw hang on seed, prompt id and node, never on a
tree's place in its file: trees are written as their searches end, and that differs from run to run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from spar.record.training_data import ExampleKind, RefinerExample

Bucket = tuple[ExampleKind, bool | None]
"""A kind of example and what it says."""

PRECEDENCE: tuple[ExampleKind, ...] = ("refine", "tree", "draft")
"""Of examples with the same first message, the one whose kind comes first here is kept."""


@dataclass(frozen=True, slots=True)
class Quotas:
    """Most examples of each bucket."""

    refine: int
    """Winning refinements."""
    tree_yes: int
    """Judgements of searched nodes that say Yes."""
    tree_no: int
    """Judgements of searched nodes that say No."""
    draft_yes: int
    """Judgements of drafts that say Yes."""
    draft_no: int
    """Judgements of drafts that say No."""
    each_verdict: int | None = None
    """Where given: as many that say Yes as No, so many each at most, wherever they come from."""

    def of(self, bucket: Bucket) -> int:
        """The most that a bucket may hold."""
        most: int = getattr(self, bucket_name(bucket))
        return most


QUOTAS: Mapping[str, Quotas] = {
    "balanced": Quotas(4000, 2750, 2750, 2750, 2750, each_verdict=2750),
    "official": Quotas(4000, 1500, 1000, 2500, 500),
}
"""`official` is what the paper's code has; `balanced` is as much in all, half of the judgements No."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """An example in the draw, without its text."""

    bucket: Bucket
    prompt_id: str
    node: int
    opening: bytes
    """Digest of its first message."""
    order: bytes
    """Where the seed puts it."""

    @property
    def key(self) -> tuple[Bucket, str, int]:
        """What it is the ticket of."""
        return self.bucket, self.prompt_id, self.node


def key_of(example: RefinerExample) -> tuple[Bucket, str, int]:
    """The key that an example's ticket has."""
    return (example.kind, example.verdict), example.prompt_id, example.node


def bucket_name(bucket: Bucket) -> str:
    """`refine`, `tree_yes` and so on: the names of the quotas."""
    kind, verdict = bucket
    return kind if verdict is None else f"{kind}_{'yes' if verdict else 'no'}"


def ticket(example: RefinerExample, seed: int) -> Ticket:
    """An example's ticket."""
    return Ticket(
        bucket=(example.kind, example.verdict),
        prompt_id=example.prompt_id,
        node=example.node,
        opening=_digest(example.messages[0].content),
        order=order(seed, example.kind, example.prompt_id, example.node),
    )


def order(seed: int, *position: Any) -> bytes:
    """A sort key that shuffles: it hangs on the seed and the position alone."""
    return _digest([seed, *position])


def choose(tickets: Iterable[Ticket], quotas: Quotas) -> list[Ticket]:
    """The tickets that win, in the order of their examples: one an opening, within the quotas."""
    best = _first_of_each(
        sorted(tickets, key=lambda one: (PRECEDENCE.index(one.bucket[0]), one.order)),
        lambda one: one.opening,
    )
    kept = _balanced(_within(sorted(best, key=_order), quotas), quotas.each_verdict)
    return sorted(kept, key=_order)


def _within(tickets: Sequence[Ticket], quotas: Quotas) -> list[Ticket]:
    counts: dict[Bucket, int] = {}
    kept = []
    for one in tickets:
        counts[one.bucket] = counts.get(one.bucket, 0) + 1
        if counts[one.bucket] <= quotas.of(one.bucket):
            kept.append(one)
    return kept


def _balanced(tickets: Sequence[Ticket], each: int | None) -> list[Ticket]:
    if each is None:
        return list(tickets)
    sides = {v: [one for one in tickets if one.bucket[1] is v] for v in (True, False)}
    each = min(each, *map(len, sides.values()))
    others = [one for one in tickets if one.bucket[1] is None]
    return [*others, *sides[True][:each], *sides[False][:each]]


def _order(one: Ticket) -> bytes:
    return one.order


T = TypeVar("T")


def _first_of_each(items: Iterable[T], key: Callable[[T], Hashable]) -> list[T]:
    first: dict[Hashable, T] = {}
    for item in items:
        first.setdefault(key(item), item)
    return list(first.values())


def _digest(value: Any) -> bytes:
    # ASCII JSON: a lone surrogate has no other form, and no two values share one.
    return hashlib.blake2b(json.dumps(value).encode("ascii"), digest_size=16).digest()
