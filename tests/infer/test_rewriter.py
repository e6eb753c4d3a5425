"""The refiner that is a program: in searches, before runs, and where there is nothing to fix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import spar
from spar.config import DecodeConfig
from spar.errors import UsageError
from spar.estimate.calls import dry_run_text, most_calls
from spar.infer.engine import Sampling
from spar.infer.engines.fake import FakeEngine
from spar.infer.judges import JudgeSettings
from spar.infer.replay import replay
from spar.infer.rewriter import REWRITE, RewriteRefiner
from spar.infer.roles import Actor, AttemptFailed, Roles
from spar.infer.search import Budget, run_search
from spar.infer.verifier_judge import VERIFIER, ProgramOptions
from spar.plugins import JUDGES, STRATEGIES
from spar.repetition import NO_REPETITION
from spar.run.resolve import required_roles
from spar.templates import load
from spar.types import Node, SearchTree, Usage
from spar.verifiers import passes
from tests.fakes import make_prompt, make_settings, timeless
from tests.rewrite.constraints import prompt_with

DRAFT = (
    "Tea, milk, and sugar are on the table. My sister really likes tea. We drink it in the garden. "
    "Then we read a good book. In the evening, the lamps are lit. Everyone goes home at nine."
)
PROMPT = prompt_with(
    ("punctuation:no_comma", {}),
    ("keywords:forbidden_words", {"forbidden_words": ["really", "good"]}),
    ("length_constraints:number_words", {"relation": "less than", "num_words": 30}),
    ("startend:end_checker", {"end_phrase": "That sums it up."}),
)
LOOP = "The sky is blue. It is clear in the west. "
SHORT = prompt_with(("length_constraints:number_words", {"relation": "at least", "num_words": 300}))


def node(response: str = DRAFT) -> Node:
    """A draft that nobody judged."""
    return Node(id=0, parent=None, depth=0, response=response)


async def grown(strategy: str, prompt: spar.Prompt = PROMPT, budget: int = 15) -> SearchTree:
    """A search with programs as the judge and the refiner."""
    engine = FakeEngine(lambda _: DRAFT)
    sampling, templates = Sampling(max_tokens=99), load()
    roles = Roles(
        Actor(engine, sampling),
        VERIFIER.open(JudgeSettings(engine, sampling, templates)),
        REWRITE.make(engine, sampling, templates),
    )
    return await run_search(prompt, roles, make_settings(strategy, budget=Budget(budget)))


async def test_what_repeats_itself_is_refined_where_the_judge_looks() -> None:
    """Also for a prompt without constraints; nothing that the judge does not hold against a response is changed."""
    engine = FakeEngine(lambda _: "")
    settings = JudgeSettings(engine, Sampling(max_tokens=99), load())
    asks = prompt_with((NO_REPETITION, {}))
    for prompt in (make_prompt(), prompt_with(("punctuation:no_comma", {})), asks):
        judge = JUDGES.spec("hybrid").open(settings, ProgramOptions(no_repetition=True))
        judgement, _ = await judge.judge(prompt, (LOOP * 9).strip(), lambda _: None)
        parent = node((LOOP * 9).strip()).model_copy(update={"judgement": judgement})
        refined = await RewriteRefiner().refine(prompt, parent, lambda _: 1)
        assert refined.response == LOOP.strip()
        assert refined.reflection == "Left out 16 sentences that the text had before."
        if prompt is not asks:
            with pytest.raises(AttemptFailed):
                await RewriteRefiner().refine(prompt, node((LOOP * 9).strip()), lambda _: 1)


@pytest.mark.parametrize("strategy", ["bfs", "dfs", "iterative"])
async def test_a_search_ends_with_a_refinement_that_passes(strategy: str) -> None:
    """One refinement suffices, costs no call, and says what was changed; the same seed gives the same tree."""
    tree = await grown(strategy)
    assert tree.stop == "solved"
    assert timeless(tree) == timeless(await grown(strategy))
    for refined in tree.nodes[1:]:
        assert refined.usage == Usage()
        assert refined.reflection is not None
        assert refined.reflection.startswith('Replaced or left out "really" and "good"')
        assert refined.text is None
    if strategy == "bfs":
        assert len({refined.response for refined in tree.nodes}) > 2


@pytest.mark.parametrize(
    "strategy",
    [
        name
        for name in STRATEGIES
        # Equal drafts, as here, make no pair to merge.
        if "refiner" in STRATEGIES.spec(name).roles and not STRATEGIES.spec(name).merges
    ],
)
@pytest.mark.parametrize("budget", [5, 15])
async def test_what_no_program_can_fix_is_one_fault_with_its_reason(
    strategy: str, budget: int
) -> None:
    """A text that is too short is not tried again, and the budget goes to drafts if at all; a replay finds the same."""
    tree = await grown(strategy, SHORT, budget)
    assert all(each.parent is None for each in tree.nodes)
    assert {(fault.reason, fault.is_final) for fault in tree.faults} == {
        (
            "cannot fix length_constraints:number_words at least 300 (the text has 37 words, and a program cannot "
            "invent more)",
            True,
        )
    }
    parents = [fault.parent for fault in tree.faults]
    assert len(parents) == len(set(parents))
    assert len(tree.nodes) + len(tree.faults) <= budget
    if strategy in ("bfs", "dfs", "iterative"):
        assert (len(tree.nodes), len(tree.faults), tree.stop) == (1, 1, "exhausted")
    replayed = await replay(tree, make_settings(strategy, budget=Budget(budget)))
    assert replayed is not None
    assert timeless(replayed) == timeless(tree)


async def test_constraints_of_unknown_types_are_left_alone() -> None:
    """What programs know is fixed; without any, nothing is."""
    prompt = prompt_with(("punctuation:no_comma", {}), ("my:type", {"a": 1}))
    generation = await RewriteRefiner().refine(prompt, node("Tea, please."), lambda _: 1)
    assert generation.response == "Tea please."
    assert REWRITE.check_prompts is not None
    REWRITE.check_prompts([prompt])
    with pytest.raises(AttemptFailed, match="my:type") as caught:
        await RewriteRefiner().refine(prompt_with(("my:type", {})), node(), lambda _: 1)
    assert caught.value.is_final


@pytest.mark.parametrize(
    ("prompt", "response", "reason"),
    [
        (SHORT, "tea " * 300, "every constraint that programs check is met already"),
        (make_prompt(), "tea", "it has no constraints"),
    ],
)
async def test_there_may_be_nothing_to_rewrite(
    prompt: spar.Prompt, response: str, reason: str
) -> None:
    """A text that passes, as another judge may not have seen, and a prompt without constraints."""
    with pytest.raises(AttemptFailed, match=reason):
        await RewriteRefiner().refine(prompt, node(response), lambda _: 1)


async def test_an_unseeded_refinement_draws() -> None:
    """Without a seed the edit is drawn, and passes all the same."""
    generation = await RewriteRefiner().refine(PROMPT, node(), lambda _: None)
    assert generation.seed is None
    assert passes(generation.response, PROMPT)


def test_a_dry_run_and_the_roles_know_that_no_model_is_called() -> None:
    """Only the drafts are calls, and no refiner's model is loaded."""
    config = DecodeConfig(engine="fake", strategy="bfs", judge="verifier", refiner="rewrite")
    assert required_roles(config) == ("actor",)
    assert most_calls(config, 10) == (30, 30)
    assert "rewrite calls no model" in dry_run_text(config, PROMPT, 10)


def test_a_run_whose_prompts_have_no_constraints_is_refused(tmp_path: Path) -> None:
    """It says what is missing before anything is generated; one prompt with constraints is enough."""
    settings: dict[str, Any] = {"engine": "fake", "strategy": "bfs", "refiner": "rewrite"}
    with pytest.raises(UsageError, match="instruction_id_list"):
        spar.decode([make_prompt()], out=tmp_path / "a", **settings)
    assert not (tmp_path / "a").exists()
    spar.decode([make_prompt(prompt_id="q"), PROMPT], out=tmp_path / "b", **settings)
    with pytest.raises(UsageError, match="instruction_id_list"):
        spar.search("Write.", **settings)


def test_prompts_without_constraints_are_rewritten_where_the_judge_looks_for_repetition() -> None:
    """Without it the refiner has nothing to do, and the run is refused."""
    settings: dict[str, Any] = {"engine": "fake", "judge": "hybrid", "refiner": "rewrite"}
    settings |= {"strategy": "bfs", "budget": 2}
    with pytest.raises(UsageError, match="nothing to do"):
        spar.search("Hello.", **settings)
    assert spar.search("Hello.", judge_args={"no_repetition": True}, **settings).nodes
