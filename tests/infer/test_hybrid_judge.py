"""The judge with programs and votes: who decides what, what it costs, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from spar.config import DecodeConfig, load_decode
from spar.errors import UsageError
from spar.estimate.calls import dry_run_text, most_calls
from spar.infer.engine import Sampling
from spar.infer.engines.fake import FakeEngine
from spar.infer.hybrid_judge import HYBRID, HybridJudge
from spar.infer.judges import JudgeSettings, OneRoundJudge, VotesJudge
from spar.infer.roles import ModelJudge, VotingJudge
from spar.plugins import JUDGES
from spar.run.resolve import required_roles
from spar.templates import load
from spar.templates.verdicts import parse_verdict
from spar.types import Judgement, Prompt, Usage
from tests.fakes import MUTE, NO, YES, make_prompt

COMMA: tuple[str, dict[str, Any]] = ("punctuation:no_comma", {})
WORDS: tuple[str, dict[str, Any]] = ("nano:exact_words", {"num_words": 2})
TONE: tuple[str, dict[str, Any]] = ("style:friendly", {"how": "very"})
"""Of a type that no program knows."""


def under(*constraints: tuple[str, dict[str, Any]]) -> Prompt:
    """A prompt with these constraints."""
    names, arguments = [name for name, _ in constraints], [each for _, each in constraints]
    meta = {"instruction_id_list": names, "kwargs": arguments}
    return make_prompt().model_copy(update={"meta": meta})


def opened(*votes: str) -> HybridJudge:
    """The judge over an engine that casts these votes in turn, five a judgement."""
    left = iter(votes)
    settings = JudgeSettings(FakeEngine(lambda request: next(left)), Sampling(), load())
    judge = HYBRID.open(settings)
    assert isinstance(judge, HybridJudge)
    return judge


async def judged(prompt: Prompt, response: str, *votes: str) -> tuple[Judgement, Usage]:
    return await opened(*votes).judge(prompt, response, lambda attempt: attempt)


@pytest.mark.parametrize("response", ["no mark", "a, mark"])
async def test_programs_alone_decide_what_they_know(response: str) -> None:
    """No call where every type is known: the judgement is the verifier judge's."""
    prompt = under(COMMA, WORDS)
    judgement, usage = await judged(prompt, response)
    verifier = JUDGES.spec("verifier").open(opened().settings)
    assert (judgement, usage) == await verifier.judge(prompt, response, lambda attempt: attempt)
    assert usage == Usage()
    assert judgement.passed(0.5) is ("," not in response)


async def test_a_constraint_that_is_not_met_costs_no_vote() -> None:
    """The response fails before the model is asked about the rest."""
    judgement, usage = await judged(under(COMMA, TONE, WORDS), "one, two three")
    assert (judgement.verdict, judgement.score, usage.calls) == (False, 0, 0)
    assert [finding.type for finding in judgement.findings] == [COMMA[0], WORDS[0]]
    assert parse_verdict(judgement.critique) is False


@pytest.mark.parametrize(
    ("votes", "score", "passed"), [((YES,) * 5, 1, True), ((YES, YES, NO, NO, NO), 2.4 / 3, False)]
)
async def test_votes_decide_the_rest(votes: tuple[str, ...], score: float, passed: bool) -> None:
    """They count as one more constraint, and must pass by themselves; the critique has both, the vote's last."""
    judgement, usage = await judged(under(COMMA, TONE, WORDS), "one two", *votes)
    assert usage.calls == 5
    assert judgement.score == pytest.approx(score)
    assert judgement.passed(0.5) is passed
    assert judgement.critique.startswith("- no commas: 0 (met)\n- exactly 2 words: 2 (met)\n\n")
    assert parse_verdict(judgement.critique) is passed
    assert judgement.dissent in votes or judgement.dissent is None


@pytest.mark.parametrize("prompt", [make_prompt(), under(TONE)])
async def test_without_a_program_it_is_the_votes_judge(prompt: Prompt) -> None:
    """Rows without constraints, and with unknown ones alone, have the votes' judgement to the byte."""
    votes = (YES, NO, YES, MUTE, YES)
    voting = VotesJudge(opened(*votes).settings)
    judgement, usage = await judged(prompt, "r", *votes)
    assert (judgement, usage.calls) == ((await voting.judge(prompt, "r", lambda n: n))[0], 5)


async def test_it_votes_once_where_a_benchmark_wants_that() -> None:
    """A tie of one round is a judgement without a majority, with what programs found."""
    judge = opened(*(YES, YES, NO, NO, MUTE))
    assert isinstance(judge, ModelJudge) and isinstance(judge, VotingJudge)
    once = judge.one_round()
    assert isinstance(once.voting, OneRoundJudge)
    judgement, usage = await once.judge(under(COMMA, TONE), "r", lambda attempt: attempt)
    assert (judgement.verdict, usage.calls, len(judgement.findings)) == (None, 5, 1)


@pytest.mark.parametrize(
    ("meta", "reason"),
    [
        ({"instruction_id_list": ["nano:exact_words"], "kwargs": [{"n": 2}]}, "does not take"),
        ({"instruction_id_list": [COMMA[0]] * 2, "kwargs": [{}]}, "2 constraint types and 1 sets"),
    ],
)
def test_votes_do_not_stand_in_for_a_program_that_fails(meta: dict[str, Any], reason: str) -> None:
    """A known type with wrong arguments is a mistake of the row, found before anything is generated."""
    assert HYBRID.check_prompts is not None
    HYBRID.check_prompts([make_prompt(), under(TONE), under(COMMA)])
    wrong = make_prompt().model_copy(update={"meta": meta})
    with pytest.raises(UsageError, match=reason):
        HYBRID.check_prompts([under(COMMA), wrong])


def test_what_it_needs_and_costs(tmp_path: Path) -> None:
    """Its model is loaded and counted as that of the votes; a dry run says where no call is made."""
    config = load_decode(None, {"engine": "fake", "judge": "hybrid", "strategy": "bfs"})
    assert "judge" in required_roles(config)
    voting: DecodeConfig = config.model_copy(update={"judge": "votes"})
    assert most_calls(config, 3) == most_calls(voting, 3)
    assert "no model for this prompt" in dry_run_text(config, under(COMMA), 1)
    assert dry_run_text(config, make_prompt(), 1) == dry_run_text(voting, make_prompt(), 1)
