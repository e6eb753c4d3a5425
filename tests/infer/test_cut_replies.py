"""Replies that end at their token limit: counted in the record, named in faults, a reason to warn and to stop."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from spar import decode
from spar.config import EvalConfig
from spar.errors import RunStopped
from spar.infer.cut_replies import LIMITS, MIN_VOTES, CutReplies, cut_lines
from spar.infer.engine import Request, Sampling
from spar.infer.engines.fake import FakeEngine
from spar.infer.judges import LogprobJudge, VotesJudge
from spar.infer.roles import Actor, AttemptFailed, Refiner
from spar.infer.search import run_search
from spar.listener import Listener
from spar.store import read_trees
from spar.templates import load
from spar.types import Judgement, SearchTree, Usage
from tests.fakes import YES, kind_of, make_prompt, make_root, make_settings, real_roles, refined

LONG = "It is long " * 20
"""A reply without a verdict or a marker, longer than the limit of these tests."""
LIMITED = Sampling(max_tokens=8)


def judge_of(replies: list[str], votes: int = 5) -> VotesJudge:
    """A judge whose replies come in turn and are cut at 8 words."""
    left = iter(replies)
    engine = FakeEngine(lambda _: next(left))
    judge = real_roles(engine, votes=votes).judge
    assert isinstance(judge, VotesJudge)
    return replace(judge, settings=replace(judge.settings, sampling=LIMITED))


@pytest.mark.parametrize(
    ("replies", "votes", "reason"),
    [
        ([LONG] * 3, 1, "in 3 rounds of 1: all 3 votes were cut at 8 tokens before a verdict"),
        ([LONG] * 15, 5, "all 15 votes were cut at 8 tokens before a verdict"),
        ([LONG, "?", "?"] * 3, 3, "3 of 9 votes were cut at 8 tokens before a verdict"),
    ],
)
async def test_a_fault_names_the_votes_that_were_cut(
    replies: list[str], votes: int, reason: str
) -> None:
    """How many, at which limit; the count is in the fault's usage too."""
    with pytest.raises(AttemptFailed, match=reason) as failed:
        await judge_of(replies, votes).judge(make_prompt(), "r", lambda attempt: attempt)
    assert failed.value.usage.cut_calls == replies.count(LONG)


async def test_a_fault_without_cut_votes_says_nothing_of_them() -> None:
    """Votes that end by themselves without a verdict are no matter of length."""
    with pytest.raises(AttemptFailed, match=r"in 3 rounds of 5$"):
        await judge_of(["undecided"] * 15).judge(make_prompt(), "r", lambda attempt: attempt)


async def test_a_judgement_knows_which_votes_were_cut() -> None:
    """A vote with a verdict is not cut, even if the judge then writes up to its limit."""
    rambling = f"{YES}\n{LONG}"
    judge = judge_of([LONG, YES, rambling, YES, LONG])
    judgement, usage = await judge.judge(make_prompt(), "r", lambda attempt: attempt)
    assert judgement.verdicts == (None, True, True, True, None)
    assert (judgement.cut, usage.cut_calls) == ((0, 4), 2)


async def test_a_logprob_critique_that_is_cut_is_named() -> None:
    """The judge with one critique says it as the voting one does."""
    settings = replace(judge_of([LONG] * 3).settings)
    with pytest.raises(AttemptFailed, match="no verdict in 3 critiques: all 3 votes were cut"):
        await LogprobJudge(settings).judge(make_prompt(), "r", lambda attempt: attempt)


@pytest.mark.parametrize("text", [LONG, refined("a b c d e f g h i")])
async def test_a_refinement_that_is_cut_is_named(text: str) -> None:
    """The missing marker and why it is missing."""
    refiner = Refiner(FakeEngine(lambda _: text), LIMITED, load())
    with pytest.raises(AttemptFailed, match=r"lacks the marker .*cut at 8 tokens") as failed:
        await refiner.refine(make_prompt(), make_root(), lambda attempt: attempt)
    assert failed.value.usage.cut_calls == 3


async def test_a_refinement_that_is_whole_before_its_limit_is_not_cut() -> None:
    """What a refiner writes behind its last marker is not missed."""
    text = f"{refined('ok')} {LONG}"
    refiner = Refiner(FakeEngine(lambda _: text), LIMITED, load())
    refinement = await refiner.refine(make_prompt(), make_root(), lambda attempt: attempt)
    assert (refinement.response, refinement.usage.cut_calls) == ("ok", 0)


async def test_a_draft_that_is_cut_is_counted() -> None:
    """It still answers; its usage says that it was cut."""
    draft = await Actor(FakeEngine(lambda _: LONG), LIMITED).draft(make_prompt(), 0, lambda _: 0)
    assert (len(draft.response.split()), draft.usage.cut_calls) == (8, 1)


def test_trees_without_cut_replies_are_written_as_before() -> None:
    """The new fields are left out where nothing was cut, and read where they are missing."""
    usage, judgement = Usage(calls=1), Judgement(verdicts=(True,), critique="c")
    assert "cut_calls" not in usage.model_dump()
    assert "cut" not in json.loads(judgement.model_dump_json())
    assert Usage(cut_calls=2).model_dump()["cut_calls"] == 2
    assert Judgement.model_validate(
        Judgement(verdicts=(None,), critique="c", cut=(0,)).model_dump()
    ).cut == (0,)


async def test_the_count_of_a_tree_is_that_of_its_roles() -> None:
    """Cut votes are the judge's, whether they led to a fault or to a judgement."""

    def reply(request: Request) -> str:
        return LONG if kind_of(request) == "judge" else "fine"

    roles = real_roles(FakeEngine(reply))
    judge = judge_of([])
    roles = replace(roles, judge=VotesJudge(replace(judge.settings, engine=FakeEngine(reply))))
    tree = await run_search(make_prompt(), roles, make_settings("best-of-n"))
    assert tree.usage_by_role["judge"].cut_calls == 15
    assert SearchTree.from_json(tree.to_json()) == tree


def test_a_run_warns_once_and_early() -> None:
    """After ten cut replies that are a tenth of all, with the setting to raise."""
    lines: list[str] = []
    counter = CutReplies(lines.append)
    for _ in range(9):
        counter.add("refiner", 3, 1, 3072)
    assert lines == []
    for _ in range(9):
        counter.add("refiner", 3, 1, 3072)
    assert lines == [
        "so far 10 of 30 refinements were cut at 3,072 tokens before their end: raise "
        "--refine-max-new-tokens (refine.max_tokens of a recipe)"
    ]


def test_a_run_whose_judge_ends_no_vote_stops() -> None:
    """After 30 votes in at least six rounds; one vote with a verdict, of this start or an earlier, is enough to go on."""
    counter = CutReplies(lambda _: None)
    for _ in range(MIN_VOTES // 5 - 1):
        counter.add("judge", 5, 5, 1024)
    with pytest.raises(
        RunStopped, match="30 of 30 votes were cut at 1,024 tokens before a verdict"
    ):
        counter.add("judge", 5, 5, 1024)
    for readable in (CutReplies(lambda _: None), CutReplies(lambda _: None, may_stop=False)):
        readable.add("judge", 5, 4 if readable.may_stop else 5, 1024)
        for _ in range(100):
            readable.add("judge", 5, 5, 1024)


def test_the_summary_names_the_setting_of_a_job() -> None:
    """A benchmark that judges by the grader's settings names these."""
    roles = {"judge": Usage(calls=500, cut_calls=412)}
    limits = {**LIMITS, "judge": "grade.max_tokens"}
    assert cut_lines(EvalConfig(), roles, limits) == [  # type: ignore[arg-type]  # one role will do
        "412 of 500 votes were cut at 1,024 tokens before a verdict: raise --grade-max-new-tokens "
        "(grade.max_tokens of a recipe)"
    ]


class Notes(Listener):
    """Collects the lines of a run."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, line: str) -> None:
        """Keep it."""
        self.lines.append(line)


def test_a_whole_run_stops_early_and_says_what_to_raise(tmp_path: Path) -> None:
    """A judge that never ends costs a few rounds of votes, not 15 calls for each of 200 responses."""
    prompts, notes = [f"prompt {number}" for number in range(200)], Notes()
    settings: dict[str, Any] = {"engine": "fake", "budget": 3, "listener": notes, "concurrency": 4}
    with pytest.raises(RunStopped, match=r"raise --vote-max-new-tokens \(vote.max_tokens of a"):
        decode(prompts, out=tmp_path / "cut", vote={"max_tokens": 2}, **settings)
    assert sum("votes were cut at 2 tokens before a verdict" in line for line in notes.lines) == 1
    trees = list(read_trees(tmp_path / "cut"))
    assert sum(tree.usage_by_role["judge"].calls for tree in trees) <= MIN_VOTES


def test_cached_votes_do_not_stop_a_run(tmp_path: Path) -> None:
    """They come first, and a cache may hold those of the worst prompts alone; the warning is said all the same."""
    notes = Notes()
    settings: dict[str, Any] = {"engine": "fake", "budget": 3, "vote": {"max_tokens": 2}}
    prompts = [f"prompt {number}" for number in range(12)]
    run = decode(
        prompts,
        out=tmp_path / "run",
        response_cache=tmp_path / "cache.db",
        listener=notes,
        **settings,
    )
    assert run.summary.trees == 12
    assert any("votes were cut at 2 tokens before a verdict" in line for line in notes.lines)


def test_a_run_with_some_cut_votes_counts_them(tmp_path: Path) -> None:
    """The summary has the count by role, the log the setting."""
    notes = Notes()
    settings: dict[str, Any] = {
        "engine": "fake",
        "strategy": "best-of-n",
        "budget": 3,
        "draft": {"max_tokens": 1},
    }
    run = decode(["one", "two"], out=tmp_path / "run", listener=notes, **settings)
    drafts = run.summary.roles["actor"].calls
    expected = f"{drafts} of {drafts} drafts were cut at 1 tokens: raise --max-new-tokens"
    assert any(line.startswith(expected) for line in notes.lines)
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["roles"]["actor"]["cut_calls"] == summary["cut_calls"] == drafts
    assert "cut_calls" not in summary["roles"]["judge"]
