"""The judge that votes on each requirement: what is split, asked and counted, once a tree and whatever the order."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from spar.config import DecodeConfig, load_decode
from spar.errors import UsageError
from spar.estimate.calls import dry_run_text, most_calls
from spar.infer.checklist_judge import CHECKLIST, ChecklistJudge, ChecklistOptions
from spar.infer.engine import Engine, Request, Sampling, StructuredOutputs
from spar.infer.engines.fake import FakeEngine
from spar.infer.judges import JUDGE_ATTEMPTS, JudgeSettings, VotesJudge
from spar.infer.replay import replay
from spar.infer.roles import AttemptFailed, Roles
from spar.infer.rounds import FurtherSearch
from spar.infer.search import Budget, run_search
from spar.infer.votes import VoteRule
from spar.run.build import make_manifest
from spar.templates import load
from spar.templates.checklist_json import answer_schema, answers_schema, requirements_schema
from spar.templates.verdicts import parse_verdict
from spar.types import Finding, Judgement, Prompt, SearchTree, Usage
from tests.fakes import (
    NO,
    YES,
    DelayedEngine,
    World,
    make_prompt,
    make_settings,
    real_roles,
    timeless,
)
from tests.infer.test_hybrid_judge import COMMA, TONE, WORDS, under

LIST = "1. It rhymes.\n2. It is short.\n3. It is friendly."


def is_split(request: Request) -> bool:
    """Whether the instruction is to be split."""
    return request.messages[-1].content.endswith("### Requirements")


def opened(
    engine: Engine, *, votes: int = 1, vote_rule: VoteRule = "full", each: bool = False
) -> ChecklistJudge:
    """The judge over an engine."""
    settings = JudgeSettings(engine, Sampling(temperature=0.7), load(), votes, vote_rule)
    return ChecklistJudge(settings, ChecklistOptions(per_requirement=each))


def scripted(votes: Iterable[str], listed: str = LIST) -> FakeEngine:
    """An engine that lists requirements and casts these votes in turn: `yn-` has an answer to two of three."""
    left = iter(votes)
    words = {"y": "as asked: Yes", "n": "not quite: No", "-": "who knows"}

    def reply(request: Request) -> str:
        if is_split(request):
            return listed
        vote = next(left)
        if vote in (YES, NO):
            return vote
        return "\n".join(f"{n}. {words[letter]}" for n, letter in enumerate(vote, 1))

    return FakeEngine(reply)


async def judged(
    engine: FakeEngine, *, votes: int, prompt: Prompt | None = None
) -> tuple[Judgement, Usage]:
    judge = opened(engine, votes=votes)
    return await judge.judge(prompt or make_prompt(), "a response", lambda attempt: 100 * attempt)


@pytest.mark.parametrize(
    ("votes", "shares", "passed"),
    [
        (["yyy"], [1, 1, 1], True),
        (["yny"], [1, 0, 1], False),
        (["yyn", "yyy", "yyy"], [1, 1, 2 / 3], True),
        (["yny", "yyn", "nyn"], [2 / 3, 2 / 3, 1 / 3], False),
        (["y-y", "-yy", "yny"], [1, 0.5, 1], False),
    ],
)
async def test_each_requirement_has_its_votes(
    votes: list[str], shares: list[float], passed: bool
) -> None:
    """The score is the mean share of yes among the answers read; every requirement must be above the gate."""
    judgement, usage = await judged(scripted(votes), votes=len(votes))
    assert [finding.share for finding in judgement.findings] == pytest.approx(shares)
    assert judgement.score == pytest.approx(sum(shares) / 3)
    assert judgement.passed(0.5) is judgement.verdict is passed
    assert judgement.passed(0.7) is all(share > 0.7 for share in shares)
    assert usage.calls == 1 + len(votes)


async def test_the_critique_lists_each_requirement() -> None:
    """With the judge's own words, and a verdict that a refiner and training read like a vote's."""
    judgement, _ = await judged(scripted(["yny"]), votes=1)
    assert judgement.critique.splitlines() == [
        "- It rhymes: as asked (met)",
        "- It is short: not quite (not met)",
        "- It is friendly: as asked (met)",
        "Final Judgement: No",
    ]
    assert parse_verdict(judgement.critique) is False


async def test_what_no_vote_answered_is_asked_again() -> None:
    """Answers that were read count; three rounds without one fail the attempt with the cost of all."""
    judgement, usage = await judged(scripted(["y-n", "yyn"]), votes=1)
    assert [finding.share for finding in judgement.findings] == [1, 1, 0]
    assert usage.calls == 3
    with pytest.raises(
        AttemptFailed, match="on 1 of 3 requirements, such as 'It is short'"
    ) as caught:
        await judged(scripted(["y-n"] * JUDGE_ATTEMPTS), votes=1)
    assert caught.value.usage.calls == 1 + JUDGE_ATTEMPTS


@pytest.mark.parametrize(
    "listed", ["", "Rain falls.", "1. It" + " is" * 200], ids=["empty", "an answer", "torn"]
)
async def test_without_a_list_the_whole_response_is_voted_on(listed: str) -> None:
    """The judgement is the votes', and that of a later response too, without another try to split."""
    engine = scripted([YES, NO, YES] * 2, listed)
    judge = opened(engine, votes=3)
    settings = replace(judge.settings, sampling=Sampling(0.7, max_tokens=100))
    judge, prompt = replace(judge, settings=settings), make_prompt()
    tree = judge.for_tree(prompt, ())
    judgement, _ = await tree.judge(prompt, "r", lambda attempt: attempt)
    voting = VotesJudge(replace(settings, engine=scripted([YES, NO, YES])))
    assert judgement == (await voting.judge(prompt, "r", lambda attempt: attempt))[0]
    again = judge.for_tree(prompt, [judgement])
    await again.judge(prompt, "s", lambda attempt: attempt)
    assert sum(map(is_split, engine.requests)) == 1


@pytest.mark.parametrize("vote_rule", ["full", "majority", "race", "posterior"])
async def test_each_requirement_alone(vote_rule: VoteRule) -> None:
    """One verdict a reply, by any vote rule; the seeds of a judgement's votes are in a row."""

    def reply(request: Request) -> str:
        if is_split(request):
            return LIST
        content = request.messages[-1].content
        return NO if "short" in content.partition("### Requirement\n")[2] else YES

    engine = FakeEngine(reply)
    judge = opened(engine, votes=5, vote_rule=vote_rule, each=True)
    judgement, usage = await judge.judge(make_prompt(), "r", lambda attempt: 100 * attempt)
    assert [finding.share for finding in judgement.findings] == [1, 0, 1]
    assert judgement.findings[0].found == "all of it: met"
    assert usage.calls + usage.skipped_calls + usage.aborted_calls == 1 + 3 * 5
    assert (usage.skipped_calls > 0) is (vote_rule in ("majority", "posterior"))
    voted = [request for request in engine.requests if not is_split(request)]
    assert {request.sampling.seed for request in voted} <= {*range(5)}


async def test_a_requirement_without_a_verdict_fails_with_the_cost_of_all() -> None:
    """Not only its own votes were paid for."""
    engine = FakeEngine(
        lambda request: (
            LIST
            if is_split(request)
            else (
                "who knows" if "Requirement\nIt is short" in request.messages[-1].content else YES
            )
        )
    )
    with pytest.raises(AttemptFailed, match="such as 'It is short'") as caught:
        await opened(engine, each=True).judge(make_prompt(), "r", lambda attempt: attempt)
    assert caught.value.usage.calls == 1 + 2 + JUDGE_ATTEMPTS


async def test_programs_come_first() -> None:
    """They decide alone where they know all or one is not met; the model's list has what is left."""
    engine = scripted(["yny"])
    judgement, usage = await judged(engine, votes=1, prompt=under(COMMA, TONE, WORDS))
    assert [finding.type for finding in judgement.findings] == [
        COMMA[0],
        WORDS[0],
        *["checklist"] * 3,
    ]
    assert (judgement.score, usage.calls) == (4 / 5, 2)
    asked = engine.requests[0].messages[-1].content
    assert "programs check already:\n- no commas\n- exactly 2 words\n" in asked
    for prompt, response in ((under(COMMA, WORDS), "a response"), (under(COMMA, TONE), "a, b")):
        judge = opened(engine)
        judgement, usage = await judge.judge(prompt, response, lambda attempt: attempt)
        assert (usage.calls, judgement.passed(0.5)) == (0, "," not in response)


class ListWorld(World):
    """A world whose judge splits, and answers each requirement by the request and its seed."""

    def __call__(self, request: Request) -> str:
        """The reply to a request."""
        content = request.messages[-1].content
        if is_split(request):
            return LIST
        if not content.endswith("### Verification"):
            return super().__call__(request)
        dice = random.Random(f"{content}|{request.sampling.seed}")
        verdicts = ["who knows" if dice.random() < self.mute else dice.choice(("Yes", "No", "No"))]
        verdicts += dice.choices(("Yes", "No", "No"), k=2)
        return "\n".join(f"{n}. so: {verdict}" for n, verdict in enumerate(verdicts, 1))


def roles_over(engine: Engine, *, votes: int = 2) -> Roles:
    return replace(real_roles(engine), judge=opened(engine, votes=votes))


async def grown(name: str, budget: int, order: int | None = None) -> SearchTree:
    """A tree by the checklist; faults of all kinds occur."""
    world = ListWorld(broken=0.2, mute=0.4)
    engine = FakeEngine(world) if order is None else DelayedEngine(world, order)
    settings = make_settings(name, budget=Budget(budget))
    tree = await run_search(make_prompt(), roles_over(engine), settings)
    assert sum(map(is_split, engine.requests)) == 1
    assert tree.usage.calls == len(engine.requests)
    return tree


@pytest.mark.parametrize("name", ["best-of-n", "bfs", "dfs", "merge", "ab-mcts"])
async def test_the_instruction_is_split_once_a_tree_whatever_the_order(name: str) -> None:
    """The first node in the tree's order is charged; smaller budgets and further rounds give the plain search's tree."""
    tree = await grown(name, 7)
    assert not tree.solved
    for order in range(4):
        assert timeless(await grown(name, 7, order)) == timeless(tree)
    for budget in range(1, 7):
        smaller = make_settings(name, budget=Budget(budget))
        assert (held := await replay(tree, smaller)) is not None
        assert timeless(held) == timeless(await grown(name, budget))
    engine = FakeEngine(ListWorld(broken=0.2, mute=0.4))
    further = FurtherSearch(7, record=await grown(name, 3))
    settings = make_settings(name)
    went_on = await further.run(make_prompt(), roles_over(engine), settings, lambda node: None)
    assert timeless(went_on).model_copy(update={"rounds": ()}) == timeless(tree)
    assert not any(map(is_split, engine.requests))


async def test_a_split_without_a_judged_node_is_in_the_cost_of_the_tree() -> None:
    """Where the search ends before any response that needed it is recorded."""
    judge = opened(scripted(["yyy"])).for_tree(make_prompt(), ())
    await judge.judge(make_prompt(), "r", lambda attempt: attempt)
    assert judge.claim("another") == Usage()
    assert judge.claim(None).calls == 1
    assert judge.claim("r") == Usage()


class GuidedEngine(FakeEngine):
    """A fake engine that says it holds replies to what they must match."""

    structured_outputs = True


def in_json(request: Request) -> str:
    """A list, or answers in JSON: all but the second requirement are met."""
    if is_split(request):
        return json.dumps({"requirements": ["It rhymes.", "It is short.", "It is friendly."]})
    content = request.messages[-1].content
    if "### Requirements" not in content:
        met = "No" if "### Requirement\nIt is short" in content else "Yes"
        return json.dumps({"reason": "looked at", "Final Judgement": met})
    answers = {f"{n}": {"reason": f"in {n}", "met": "No" if n == 2 else "Yes"} for n in (1, 2, 3)}
    return json.dumps(answers)


def structured(engine: Engine, *, votes: int = 1, each: bool = False) -> ChecklistJudge:
    judge = opened(engine, votes=votes, each=each)
    options = ChecklistOptions(per_requirement=each, structured=True)
    return replace(judge, options=options)


@pytest.mark.parametrize("each", [False, True])
async def test_replies_are_held_to_a_schema(each: bool) -> None:
    """The list, and each vote; seeds and calls are those of replies in lines."""
    engine = GuidedEngine(in_json)
    judge = structured(engine, votes=2, each=each)
    judgement, usage = await judge.judge(make_prompt(), "r", lambda attempt: attempt)
    assert [finding.share for finding in judgement.findings] == [1, 0, 1]
    assert judgement.findings[0].found == ("looked at" if each else "in 1")
    assert parse_verdict(judgement.critique) is False
    assert usage.calls == 1 + 2 * (3 if each else 1)
    schemas = [request.sampling.structured_outputs for request in engine.requests]
    votes = StructuredOutputs(answer_schema() if each else answers_schema(3))
    assert schemas == [StructuredOutputs(requirements_schema(10))] + [votes] * (usage.calls - 1)
    seeds = [request.sampling.seed for request in engine.requests]
    assert seeds == [None] + [0, 1] * (3 if each else 1)


async def test_what_a_cut_reply_reached_counts() -> None:
    """The requirements behind it are asked again, with the note that votes were cut."""
    ends = iter([None, 45, None])
    engine = GuidedEngine(lambda request: in_json(request)[: next(ends)])
    judge = structured(engine)
    judgement, usage = await judge.judge(make_prompt(), "r", lambda attempt: attempt)
    assert [finding.share for finding in judgement.findings] == [1, 0, 1]
    assert usage.calls == 3
    sampling = replace(
        judge.settings.sampling, max_tokens=9
    )  # words of the list, or of one answer and a half
    settings = replace(judge.settings, engine=GuidedEngine(in_json), sampling=sampling)
    with pytest.raises(
        AttemptFailed, match=r"2 of 3 requirements, such as 'It is short'.*cut at 9"
    ):
        await replace(judge, settings=settings).judge(make_prompt(), "r", lambda attempt: attempt)


async def test_a_reply_in_lines_is_read_where_a_schema_was_ignored() -> None:
    """As by a server that does not know the field."""
    lines = scripted(["yny"])
    engine = GuidedEngine(lambda request: lines._reply(request))
    judgement, _ = await structured(engine).judge(make_prompt(), "r", lambda attempt: attempt)
    assert [finding.share for finding in judgement.findings] == [1, 0, 1]
    votes = scripted([YES, NO, YES], "Rain falls.")
    whole = GuidedEngine(lambda request: votes._reply(request))
    judge = structured(whole, votes=3)
    judgement, _ = await judge.judge(make_prompt(), "r", lambda attempt: attempt)
    assert judgement.verdicts == (True, False, True)
    assert not any(r.sampling.structured_outputs for r in whole.requests[1:])


@pytest.mark.parametrize("each", [False, True])
async def test_requests_are_as_without_where_the_engine_cannot(each: bool) -> None:
    """And where the option is off, on any engine."""
    requests = []
    for engine, judge in (
        (first := FakeEngine(ListWorld()), opened(first, each=each)),
        (second := FakeEngine(ListWorld()), structured(second, each=each)),
        (third := GuidedEngine(ListWorld()), opened(third, each=each)),
    ):
        with contextlib.suppress(AttemptFailed):
            await judge.judge(make_prompt(), "r", lambda attempt: attempt)
        requests.append(engine.requests)
    assert requests[0] == requests[1] == requests[2]


def config_of(**settings: object) -> DecodeConfig:
    return load_decode(None, {"engine": "fake", "judge": "checklist", **settings})


def test_what_it_costs_and_sends(tmp_path: Path) -> None:
    """A dry run counts one call a tree more, as many a requirement as it may have, and shows both conversations."""
    voting = load_decode(None, {"engine": "fake", "judge": "votes"})
    once, most = most_calls(voting, 3)
    assert most_calls(config_of(), 3) == (once + 3, most + 3)
    alone = config_of(judge_args={"per_requirement": True, "max_requirements": 2})
    assert most_calls(alone, 3)[0] > once + 3
    text = dry_run_text(config_of(), make_prompt(), 1)
    assert "### Requirements\n\n" in text and "1. (a requirement of the list)" in text
    assert "### Requirement\n(a requirement of the list)" in dry_run_text(alone, make_prompt(), 1)
    assert CHECKLIST.asks_model(under(TONE)) and not CHECKLIST.asks_model(under(COMMA))


def test_only_its_runs_record_its_templates() -> None:
    """So runs of other judges resume as before there was one."""
    own = {"split", "checklist", "requirement"}
    assert set(make_manifest(config_of()).templates) == {"judge", "refine", *own}
    guided = config_of(judge_args={"structured": True})
    assert set(make_manifest(guided).templates) - {"judge", "refine", *own} == {
        f"{name}_json" for name in own
    }
    text = dry_run_text(guided, make_prompt(), 1)
    assert '{"requirements": [' in text and '{"1": {"reason":' in text


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"vote_rule": "majority"}, "--vote-rule majority .* per_requirement=true"),
        (
            {"vote_rule": "race", "threshold": 0.7, "judge_args": {"per_requirement": True}},
            "at --threshold 0.5 only, not at 0.7",
        ),
        ({"vote_rule": "majority", "threshold": 0.3, "judge": "votes"}, "not at 0.3"),
        ({"vote_rule": "posterior", "threshold": 0.3, "judge": "hybrid"}, "not at 0.3"),
        ({"judge_args": {"per_requirment": True}}, "did you mean 'per_requirement'"),
        ({"judge_args": {"max_requirements": 0}}, "max_requirements=0"),
    ],
)
def test_what_cannot_be_is_refused_before_a_model_is_loaded(
    settings: dict[str, object], complaint: str
) -> None:
    """In one line that says what to do."""
    with pytest.raises(UsageError, match=complaint):
        make_manifest(config_of(**settings))
    make_manifest(config_of(vote_rule="race", judge_args={"per_requirement": True}))


async def test_who_waits_for_the_list_may_be_cancelled() -> None:
    """As `--early-refine auto` does; the others get it all the same, and it is not asked for where nobody waits."""
    engine = FakeEngine(lambda request: LIST if is_split(request) else YES, latency=0.05)
    judge = opened(engine).for_tree(make_prompt(), ())
    first, second = (asyncio.ensure_future(judge._split_once()) for _ in range(2))
    await asyncio.sleep(0.01)
    first.cancel()
    assert len(await second) == 3
    alone = opened(engine).for_tree(make_prompt(), ())
    only = asyncio.ensure_future(alone._split_once())
    await asyncio.sleep(0.01)
    only.cancel()
    with pytest.raises(asyncio.CancelledError):
        await only
    assert {task for task in asyncio.all_tasks() if not task.done()} == {asyncio.current_task()}
    assert len(await alone._split_once()) == 3


def test_a_share_is_stored_only_where_there_were_votes() -> None:
    """Findings of programs are written as before."""
    plain = Finding(type="t", constraint="c", met=True)
    assert plain.model_dump() == {"type": "t", "constraint": "c", "met": True}
    assert Finding(type="t", constraint="c", met=False, share=0.0).model_dump()["share"] == 0.0
