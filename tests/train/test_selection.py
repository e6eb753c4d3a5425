"""The mix: one example an opening, quotas, balance, an order that hangs on the seed alone."""

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
    Quotas,
    Ticket,
    bucket_name,
    choose,
    order,
    ticket,
)
from tests.train.trees import draft, make_tree, tree_of

TEMPLATES = load()

BUCKETS: tuple[Bucket, ...] = (
    ("refine", None),
    *((kind, verdict) for kind in ("tree", "draft") for verdict in (True, False)),
)
ENDLESS = Quotas(*[10**9] * 5)


def make_ticket(bucket: Bucket, number: int, opening: int | None = None) -> Ticket:
    """A ticket whose opening is its own unless told."""
    text = f"{bucket}{number}" if opening is None else str(opening)
    return Ticket(bucket, f"p{number}", 0, text.encode(), order(0, *bucket, number))


def count(tickets: list[Ticket]) -> dict[str, int]:
    """Tickets of each bucket."""
    return dict(Counter(bucket_name(one.bucket) for one in tickets))


def many(**numbers: int) -> list[Ticket]:
    """So many tickets of each bucket, all with openings of their own."""
    named = {bucket_name(bucket): bucket for bucket in BUCKETS}
    return [make_ticket(named[name], i) for name, number in numbers.items() for i in range(number)]


ticket_lists = st.lists(
    st.builds(
        make_ticket, st.sampled_from(BUCKETS), st.integers(0, 10**6), st.none() | st.integers(0, 9)
    ),
    max_size=40,
    unique_by=lambda one: one.key,
)
quotas = st.builds(Quotas, *[st.integers(0, 8)] * 5, each_verdict=st.none() | st.integers(0, 12))


@given(ticket_lists, quotas, st.randoms())
def test_what_is_chosen(tickets: list[Ticket], limits: Quotas, dice: random.Random) -> None:
    """No quota is exceeded, no opening twice, verdicts balanced; the order they came in does not count."""
    kept = choose(tickets, limits)
    assert set(kept) <= set(tickets)
    assert len({one.opening for one in kept}) == len(kept)
    assert [one.order for one in kept] == sorted(one.order for one in kept)
    counts = Counter(one.bucket for one in kept)
    assert all(counts[bucket] <= limits.of(bucket) for bucket in BUCKETS)
    if limits.each_verdict is not None:
        yes, no = (sum(one.bucket[1] is verdict for one in kept) for verdict in (True, False))
        assert yes == no <= limits.each_verdict
    dice.shuffle(tickets)
    assert choose(tickets, limits) == kept


@given(ticket_lists)
def test_of_one_opening_the_first_kind_is_kept(tickets: list[Ticket]) -> None:
    """Where nothing binds, each opening is kept once: the refinement before the searched node before the draft."""
    kept = {one.opening: one for one in choose(tickets, ENDLESS)}
    assert kept.keys() == {one.opening for one in tickets}
    for one in tickets:
        winner = kept[one.opening].bucket[0]
        assert PRECEDENCE.index(winner) <= PRECEDENCE.index(one.bucket[0])


@given(ticket_lists, quotas)
def test_quotas_are_filled(tickets: list[Ticket], limits: Quotas) -> None:
    """A bucket without balance holds all it may: duplicates do not eat into its quota."""
    limits = replace(limits, each_verdict=None)
    there = Counter(one.bucket for one in choose(tickets, ENDLESS))
    kept = Counter(one.bucket for one in choose(tickets, limits))
    for bucket in BUCKETS:
        assert kept[bucket] == min(there[bucket], limits.of(bucket))


def test_the_official_quotas() -> None:
    """As the paper's code has them: 4,000 refinements and 4,000 judgements Yes to 1,500 No."""
    plenty = many(refine=5000, tree_yes=5000, tree_no=5000, draft_yes=5000, draft_no=5000)
    assert count(choose(plenty, QUOTAS["official"])) == {
        "refine": 4000,
        "tree_yes": 1500,
        "tree_no": 1000,
        "draft_yes": 2500,
        "draft_no": 500,
    }


def test_the_balanced_quotas() -> None:
    """As many in all, and as many that say Yes as No, from trees and drafts alike."""
    plenty = many(refine=5000, tree_yes=5000, tree_no=5000, draft_yes=5000, draft_no=5000)
    kept = choose(plenty, QUOTAS["balanced"])
    verdicts = Counter(one.bucket[1] for one in kept)
    assert verdicts == {None: 4000, True: 2750, False: 2750}
    counts = count(kept)
    assert min(counts["tree_yes"], counts["draft_yes"], counts["tree_no"]) > 1000


@pytest.mark.parametrize(
    ("there", "kept"),
    [
        ({"tree_yes": 9, "draft_no": 4}, {"tree_yes": 4, "draft_no": 4}),
        ({"refine": 3, "draft_yes": 9}, {"refine": 3}),
        ({}, {}),
    ],
)
def test_the_scarcer_verdict_decides(there: dict[str, int], kept: dict[str, int]) -> None:
    """Balance drops what the other side cannot match, refinements never."""
    assert count(choose(many(**there), QUOTAS["balanced"])) == kept


def test_the_order_is_shuffled_by_the_seed() -> None:
    """Kinds are mixed, and another seed gives another order and another draw."""
    examples = [
        example
        for i in range(60)
        for example in draft_judgements(
            make_tree((None, 2), (None, 3), prompt_id=f"p{i}"), TEMPLATES
        )
    ]
    first, second = ([ticket(example, seed) for example in examples] for seed in (1, 2))
    few = Quotas(0, 0, 0, 5, 5)
    drawn = [[one.key for one in choose(tickets, few)] for tickets in (first, first, second)]
    assert drawn[0] == drawn[1]
    assert set(drawn[0]) != set(drawn[2])
    verdicts = [one.bucket[1] for one in choose(first, ENDLESS)]
    assert verdicts != sorted(verdicts)  # type: ignore[type-var]
    assert [one.prompt_id for one in choose(first, ENDLESS)] != sorted(
        one.prompt_id for one in first
    )


def test_a_ticket_holds_no_text() -> None:
    """Sizes of prompt and response do not show in it; equal first messages do."""
    short, same, other = (
        ticket(example, 0)
        for text in ("r", "r", "s" * 10_000)
        for example in draft_judgements(tree_of(draft(2, text)), TEMPLATES)
    )
    assert short == same
    assert short.opening != other.opening
    assert len(short.opening) == len(other.opening) == 16


def test_any_prompt_id_has_a_place() -> None:
    """Lone surrogates and separators in an id neither fail nor collide."""
    places = [order(0, *position) for position in (("\ud800",), ("a", "b"), ("a|b",), ("ab",))]
    assert len(set(places)) == 4
