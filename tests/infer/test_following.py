"""What is reported of a running search: the texts of its attempts, and its votes as they come."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spar.infer.early import EarlyRefine
from spar.infer.search import Budget, SearchSettings, run_search
from spar.infer.votes import VoteRule
from spar.listener import AttemptProgress, Broadcast, Listener, follows
from spar.types import Prompt
from tests.fakes import DelayedEngine, World, make_prompt, make_settings, real_roles, timeless
from tests.strategies import searches, worlds


@settings(max_examples=40)
@given(worlds, searches(), st.sampled_from(get_args(EarlyRefine)), st.integers(0, 9))
async def test_following_a_search_changes_no_tree(
    world: World, chosen: SearchSettings, early: EarlyRefine, order: int
) -> None:
    """Every node was reported as it is in the tree, with its votes."""
    # With `first`, what is fastest decides.
    chosen = replace(chosen, early_refine=early, seed=chosen.seed or 0, stop_rule="wave")
    heard: list[AttemptProgress] = []
    trees = []
    for on_attempt in (None, heard.append):
        roles = real_roles(DelayedEngine(world, order))
        trees.append(await run_search(make_prompt(), roles, chosen, on_attempt=on_attempt))
    plain, followed = (timeless(tree).model_copy(update={"cancelled_usage": {}}) for tree in trees)
    assert plain == followed
    last = {attempt.number: attempt for attempt in heard}
    assert sorted(last) == list(range(len(last)))
    reported = {(attempt.response, attempt.judgement) for attempt in last.values()}
    assert all((node.response, node.judgement) in reported for node in followed.nodes)


@pytest.mark.parametrize("rule", ["full", "majority", "race", "posterior"])
async def test_text_and_votes_come_one_by_one(rule: VoteRule) -> None:
    """A draft grows word by word; then its votes arrive, each once."""
    heard: list[AttemptProgress] = []
    roles = real_roles(DelayedEngine(World(yes=0.1), 0), votes=5, vote_rule=rule)
    tree = await run_search(
        make_prompt(), roles, make_settings("bfs", budget=Budget(4)), on_attempt=heard.append
    )
    draft = [attempt for attempt in heard if attempt.number == 0]
    texts = [attempt.text for attempt in draft]
    response = tree.nodes[0].response
    assert [*dict.fromkeys(texts)] == ["", "answer", response]
    counts = [len(attempt.verdicts) for attempt in draft]
    assert counts == sorted(counts) and set(counts) == set(range(counts[-1] + 1))
    judgement = tree.nodes[0].judgement
    assert judgement is not None and len(judgement.verdicts) == counts[-1]
    assert {attempt.wave for attempt in heard} == set(
        range(max(node.depth for node in tree.nodes) + 1)
    )
    refinement = next(attempt for attempt in heard if attempt.parents)
    assert refinement.parents == (0,)
    assert any("[[start]]" in attempt.text for attempt in heard if attempt.parents)


def test_only_listeners_that_override_the_event_receive_attempts() -> None:
    """A listener that does not override the event costs nothing, alone or among others."""

    class Follower(Listener):
        def attempt(self, prompt: Prompt, attempt: AttemptProgress) -> None:
            raise AssertionError

    assert not follows(Listener()) and follows(Follower())
    assert not follows(Broadcast(Listener())) and follows(Broadcast(Listener(), Follower()))
