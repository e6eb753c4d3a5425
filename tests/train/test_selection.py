"""Selection: one example for each opening, quotas, balance, an order that depends on the seed alc."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spar.templates import load
from spar.train.data.refiner_data import draft_judgements
from spar.train.data.selection import (
    PRECEDENCE,
    QUOTAS,
    Bucket,
    Candidate,
    Quotas,
    bucket_name,
    candidate_of,
    select,
    sort_key,
)
from tests.train.trees import draft, make_tree, tree_of

TEMPLATES = load()

BUCKETS: tuple[Bucket, ...] = (
    ("refine", None),
    *((kind, verdict) for kind in ("tree", "draft") for verdict in (True, False)),
)
_MANY = 10**9
ENDLESS = Quotas(_MANY, _MANY, _MANY, _MANY, _MANY)


def make_candidate(bucket: Bucket, number: int, opening: int | None = None) -> Candidate:
    """A candidate, with a unique opening by default."""
    text = f"{bucket}{number}" if opening is None else str(opening)
    return Candidate(bucket, f"p{number}", 0, text.encode(), sort_key(0, *bucket, number))


def count(candidates: list[Candidate]) -> dict[str, int]:
    """Candidates of each bucket."""
    return dict(Counter(bucket_name(c.bucket) for c in candidates))


def many(**numbers: int) -> list[Candidate]:
    """Candidates of each bucket, with unique openings."""
    named = {bucket_name(bucket): bucket for bucket in BUCKETS}
    return [
        make_candidate(named[name], i) for name, number in numbers.items() for i in range(number)
    ]


candidate_lists = st.lists(
    st.builds(
        make_candidate,
        st.sampled_from(BUCKETS),
        st.integers(0, 10**6),
        st.none() | st.integers(0, 9),
    ),
    max_size=40,
    unique_by=lambda c: c.key,
)
quotas = st.builds(Quotas, *[st.integers(0, 8)] * 5, each_verdict=st.none() | st.integers(0, 12))


@given(candidate_lists, quotas, st.randoms())
def test_selection_invariants(
    candidates: list[Candidate], limits: Quotas, rng: random.Random
) -> None:
    """No quota is exceeded, openings are unique, verdicts balanced, whatever the order of the candidates."""
    selected = select(candidates, limits)
    assert set(selected) <= set(candidates)
    assert len({c.opening for c in selected}) == len(selected)
    assert [c.sort_key for c in selected] == sorted(c.sort_key for c in selected)
    counts = Counter(c.bucket for c in selected)
    assert all(counts[bucket] <= limits.of(bucket) for bucket in BUCKETS)
    if limits.each_verdict is not None:
        yes, no = (sum(c.bucket[1] is verdict for c in selected) for verdict in (True, False))
        assert yes == no <= limits.each_verdict
    rng.shuffle(candidates)
    assert select(candidates, limits) == selected


@given(candidate_lists)
def test_the_first_kind_of_an_opening_is_selected(candidates: list[Candidate]) -> None:
    """Without quotas each opening is selected once: the refinement before the searched node before the draft."""
    selected = {c.opening: c for c in select(candidates, ENDLESS)}
    assert selected.keys() == {c.opening for c in candidates}
    for c in candidates:
        winner = selected[c.opening].bucket[0]
        assert PRECEDENCE.index(winner) <= PRECEDENCE.index(c.bucket[0])


@given(candidate_lists, quotas)
def test_quotas_are_filled(candidates: list[Candidate], limits: Quotas) -> None:
    """Without balance a bucket is filled up to its quota; duplicates do not count."""
    limits = replace(limits, each_verdict=None)
    available = Counter(c.bucket for c in select(candidates, ENDLESS))
    selected = Counter(c.bucket for c in select(candidates, limits))
    for bucket in BUCKETS:
        assert selected[bucket] == min(available[bucket], limits.of(bucket))


def test_the_official_quotas() -> None:
    """Those of the paper's code: 4,000 refinements and 4,000 judgements Yes to 1,500 No."""
    plenty = many(refine=5000, tree_yes=5000, tree_no=5000, draft_yes=5000, draft_no=5000)
    assert count(select(plenty, QUOTAS["official"])) == {
        "refine": 4000,
        "tree_yes": 1500,
        "tree_no": 1000,
        "draft_yes": 2500,
        "draft_no": 500,
    }


def test_the_balanced_quotas() -> None:
    """As many in all, and equally many of either verdict, from trees and drafts alike."""
    plenty = many(refine=5000, tree_yes=5000, tree_no=5000, draft_yes=5000, draft_no=5000)
    selected = select(plenty, QUOTAS["balanced"])
    verdicts = Counter(c.bucket[1] for c in selected)
    assert verdicts == {None: 4000, True: 2750, False: 2750}
    counts = count(selected)
    assert min(counts["tree_yes"], counts["draft_yes"], counts["tree_no"]) > 1000


@pytest.mark.parametrize(
    ("available", "selected"),
    [
        ({"tree_yes": 9, "draft_no": 4}, {"tree_yes": 4, "draft_no": 4}),
        ({"refine": 3, "draft_yes": 9}, {"refine": 3}),
        ({}, {}),
    ],
)
def test_the_rarer_verdict_limits_the_other(
    available: dict[str, int], selected: dict[str, int]
) -> None:
    """Balance drops the surplus of the other verdict, and no refinement."""
    assert count(select(many(**available), QUOTAS["balanced"])) == selected


def test_the_order_is_shuffled_by_the_seed() -> None:
    """Kinds are mixed, and another seed gives another order and another draw."""
    examples = [
        example
        for i in range(60)
        for example in draft_judgements(
            make_tree((None, 2), (None, 3), prompt_id=f"p{i}"), TEMPLATES
        )
    ]
    first, second = ([candidate_of(example, seed) for example in examples] for seed in (1, 2))
    few = Quotas(0, 0, 0, 5, 5)
    drawn = [[c.key for c in select(candidates, few)] for candidates in (first, first, second)]
    assert drawn[0] == drawn[1]
    assert set(drawn[0]) != set(drawn[2])
    verdicts = [c.bucket[1] for c in select(first, ENDLESS)]
    assert verdicts != sorted(verdicts)  # type: ignore[type-var]
    assert [c.prompt_id for c in select(first, ENDLESS)] != sorted(c.prompt_id for c in first)


def test_a_candidate_holds_no_text() -> None:
    """Its size does not depend on the texts; equal first messages have equal openings."""
    short, same, other = (
        candidate_of(example, 0)
        for text in ("r", "r", "s" * 10_000)
        for example in draft_judgements(tree_of(draft(2, text)), TEMPLATES)
    )
    assert short == same
    assert short.opening != other.opening
    assert len(short.opening) == len(other.opening) == 16


def test_any_prompt_id_has_a_sort_key() -> None:
    """Lone surrogates and separators in an id neither fail nor collide."""
    keys = [sort_key(0, *position) for position in (("\ud800",), ("a", "b"), ("a|b",), ("ab",))]
    assert len(set(keys)) == 4
