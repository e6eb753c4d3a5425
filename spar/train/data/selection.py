"""Selects the refiner's examples: deduplication, quotas, balance, a seeded order. Pure.

`Candidate`s are small and hold no text: a run is streamed once for them, and once more for the texts of the
selected ones. Order and draw depend on seed, prompt id and node, never on a tree's position in its file, since
trees are stored in the order in which their searches end.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spar.record.training_data import ExampleKind, RefinerExample

Bucket = tuple[ExampleKind, bool | None]
"""A kind of example and its verdict."""

PRECEDENCE: tuple[ExampleKind, ...] = ("refine", "tree", "draft")
"""Of examples with the same first message, the one whose kind comes first here is selected."""


@dataclass(frozen=True, slots=True)
class Quotas:
    """The most examples of each bucket."""

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
    """If set, the most judgements of either verdict, of which equally many are selected."""
    roots: bool = True
    """Whether the drafts at the roots of searches are searched nodes too."""

    def of(self, bucket: Bucket) -> int:
        """The quota of a bucket."""
        quota: int = getattr(self, bucket_name(bucket))
        return quota


QUOTAS: Mapping[str, Quotas] = {
    "balanced": Quotas(4000, 2750, 2750, 2750, 2750, each_verdict=2750),
    "official": Quotas(4000, 1500, 1000, 2500, 500, roots=False),
}
"""`official` are the quotas of the paper's code: 4,000 Yes and 1,500 No. Its trainer also learns the critiques in the
4,000 refinements, all No, so it teaches about 4,000 Yes and 5,500 No. `balanced` has as many judgements in all, half
of them No."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """An example that may be selected, without its text."""

    bucket: Bucket
    prompt_id: str
    node: int
    opening: bytes
    """Digest of its first message."""
    sort_key: bytes
    """Its position in the seeded order."""

    @property
    def key(self) -> tuple[Bucket, str, int]:
        """Identifies the example."""
        return self.bucket, self.prompt_id, self.node


def key_of(example: RefinerExample) -> tuple[Bucket, str, int]:
    """The key of an example's candidate."""
    return (example.kind, example.verdict), example.prompt_id, example.node


def bucket_name(bucket: Bucket) -> str:
    """`refine`, `tree_yes` and so on: the names of the quotas."""
    kind, verdict = bucket
    return kind if verdict is None else f"{kind}_{'yes' if verdict else 'no'}"


def candidate_of(example: RefinerExample, seed: int) -> Candidate:
    """The candidate of an example."""
    return Candidate(
        bucket=(example.kind, example.verdict),
        prompt_id=example.prompt_id,
        node=example.node,
        opening=_digest(example.messages[0].content),
        sort_key=sort_key(seed, example.kind, example.prompt_id, example.node),
    )


def sort_key(seed: int, *position: Any) -> bytes:
    """A sort key that shuffles; depends on the seed and the position alone."""
    return _digest([seed, *position])


def select(candidates: Iterable[Candidate], quotas: Quotas) -> list[Candidate]:
    """The selected candidates, in the order of their examples: one for each opening, within the quotas."""
    unique: dict[bytes, Candidate] = {}
    for candidate in sorted(candidates, key=lambda c: (PRECEDENCE.index(c.bucket[0]), c.sort_key)):
        unique.setdefault(candidate.opening, candidate)
    counts: Counter[Bucket] = Counter()
    selected = []
    for candidate in sorted(unique.values(), key=lambda c: c.sort_key):
        counts[candidate.bucket] += 1
        if counts[candidate.bucket] <= quotas.of(candidate.bucket):
            selected.append(candidate)
    if quotas.each_verdict is not None:
        selected = _balance(selected, quotas.each_verdict)
    return sorted(selected, key=lambda c: c.sort_key)


def _balance(candidates: Sequence[Candidate], most: int) -> list[Candidate]:
    """As many judgements of either verdict as there are of the rarer one, at most `most`."""
    refinements = [c for c in candidates if c.bucket[1] is None]
    yes = [c for c in candidates if c.bucket[1] is True]
    no = [c for c in candidates if c.bucket[1] is False]
    each = min(most, len(yes), len(no))
    return [*refinements, *yes[:each], *no[:each]]


def _digest(value: Any) -> bytes:
    # ASCII JSON represents lone surrogates too, and is unique for each value.
    return hashlib.blake2b(json.dumps(value).encode("ascii"), digest_size=16).digest()
