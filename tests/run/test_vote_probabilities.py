"""`--judge-arg probabilities=true` of the judge `votes` in whole runs: searched, killed and resumed, with models in turn, swept."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import spar
from spar.infer.engine import Completion, EngineSpec, Request, TokenLogprobs
from spar.plugins import ENGINES
from spar.types import SearchTree
from tests.fakes import timeless
from tests.run.test_total_budget import (
    KilledError,
    MortalEngine,
    config_of,
    in_turn_config,
    start,
    trees_of,
)

SEARCH: dict[str, Any] = {"strategy": "bfs", "budget": 9, "total_budget": None}
WITH = {"judge_args": {"probabilities": True}}
LATER_WAVES = 100
"""Calls of the eight prompts' drafts and of the votes on them are fewer, those of the whole run more."""


class ProbableEngine(MortalEngine):
    """Gives the probabilities of its words where they are asked for: those of the verdict follow from the request."""

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """One completion per request, or the end."""
        replies = await super().generate(requests)
        return [probable(*each) for each in zip(requests, replies, strict=True)]


def probable(request: Request, reply: Completion) -> Completion:
    """The reply with the probabilities that its request asks for."""
    if not request.sampling.top_logprobs:
        return reply
    conversation = "|".join(message.content for message in request.messages)
    doubt = 0.49 * random.Random(f"{conversation}|{request.sampling.seed}").random()
    other = {"Yes": "No", "No": "Yes"}

    def alternatives(word: str) -> dict[str, float]:
        share = 1 - doubt if word in other else 1.0
        return {word: math.log(share)} | ({other[word]: math.log(doubt)} if word in other else {})

    words = reply.text.replace("\n", "\n ").split(" ")
    tokens = [
        TokenLogprobs(word if n == 0 else f" {word}", alternatives(word))
        for n, word in enumerate(words)
    ]
    return replace(reply, logprobs=tuple(tokens))


def refined(trees: dict[str, SearchTree]) -> dict[str, list[int | None]]:
    """Which nodes each tree refines, in order."""
    return {name: [node.parent for node in tree.nodes] for name, tree in trees.items()}


async def test_a_search_ranks_by_them(tmp_path: Path) -> None:
    """Every vote that can be read has one; other nodes are refined, and the order of replies changes nothing."""
    await start(tmp_path / "counts", config_of(**SEARCH), ProbableEngine(1))
    await start(tmp_path / "a", config_of(**SEARCH, **WITH), ProbableEngine(1))
    await start(tmp_path / "b", config_of(**SEARCH, **WITH), ProbableEngine(2))
    trees, counts = trees_of(tmp_path / "a"), trees_of(tmp_path / "counts")
    assert trees == trees_of(tmp_path / "b")
    judgements = [
        node.judgement for tree in trees.values() for node in tree.nodes if node.judgement
    ]
    for each in judgements:
        assert [p is None for p in each.probabilities] == [v is None for v in each.verdicts]
    assert any(None in each.verdicts for each in judgements)
    assert refined(trees) != refined(counts)
    for (
        name,
        tree,
    ) in trees.items():  # which node the draft's refinements come from is chosen by nothing
        assert {n.response for n in tree.nodes[:2]} == {n.response for n in counts[name].nodes[:2]}


@pytest.mark.parametrize("life", [20, LATER_WAVES])
async def test_a_killed_run_ends_as_if_it_had_not(life: int, tmp_path: Path) -> None:
    """Votes that were answered before the end are not asked for again, and keep their probabilities."""
    config, whole = config_of(**SEARCH, **WITH), ProbableEngine(1)
    await start(tmp_path / "whole", config, whole)
    assert whole.num_calls > LATER_WAVES
    with pytest.raises(KilledError):
        await start(tmp_path / "killed", config, ProbableEngine(2, life))
    resumed = ProbableEngine(3)
    await start(tmp_path / "killed", config, resumed)
    assert trees_of(tmp_path / "killed") == trees_of(tmp_path / "whole")
    assert resumed.num_calls < whole.num_calls


async def test_models_in_turn_make_the_same_trees(tmp_path: Path) -> None:
    """As with both models loaded."""
    config = in_turn_config(**SEARCH, **WITH)
    await start(tmp_path / "one", config, ProbableEngine(1))
    await start(tmp_path / "two", config, ProbableEngine(1), in_turn=True)
    trees = trees_of(tmp_path / "two")
    assert (tmp_path / "two" / "drafts").is_dir()
    assert trees == trees_of(tmp_path / "one")
    assert any(node.judgement.probabilities for node in trees["0"].nodes if node.judgement)


def test_a_sweep_reads_smaller_budgets_out_of_larger_ones(tmp_path: Path) -> None:
    """The trees of the smaller budget are those of a search with it."""
    engine = EngineSpec(lambda deployment, config, note: ProbableEngine(1))
    common: dict[str, Any] = {"engine": ENGINES.name_of(engine), "limit": 8, "votes": 3, **WITH}
    rows = spar.sweep(
        "nano-if-answers", strategies="bfs", budgets=(4, 9), out=tmp_path / "sweep", **common
    )
    assert [row.replayed for row in rows] == [8, 0]
    direct = spar.evaluate(
        "nano-if-answers", strategy="bfs", budget=4, out=tmp_path / "direct", **common
    )
    assert direct.directory is not None

    def trees(folder: Path) -> dict[str, SearchTree]:
        return {
            tree.prompt.id: timeless(tree).model_copy(update={"config": ""})
            for tree in spar.read_trees(folder)
        }

    swept = trees(tmp_path / "sweep" / "nano-if-answers" / "bfs-4")
    assert swept == trees(direct.directory)
    nodes = [node for tree in swept.values() for node in tree.nodes]
    assert any(node.parent is not None for node in nodes)
    assert all(node.judgement.probabilities for node in nodes if node.judgement)
