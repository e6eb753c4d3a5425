"""Judges: how votes become a judgement, when votes are cast again, what a probability is read from."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spar.errors import EngineError, PromptTooLong, UsageError
from spar.infer.engine import Completion, Request, Sampling, TokenLogprobs
from spar.infer.engines.fake import FakeEngine
from spar.infer.judges import (
    JUDGE_ATTEMPTS,
    JudgeSettings,
    LogprobJudge,
    VotesJudge,
)
from spar.infer.reporting import Report, judge_reporting
from spar.infer.roles import AttemptFailed, Seeds
from spar.infer.verdict_probability import verdict_probability
from spar.infer.verifier_judge import ProgramOptions, VerifierJudge
from spar.infer.votes import (
    POSTERIOR,
    VoteRule,
    count_votes,
    leading,
    next_wave,
    read_vote,
)
from spar.plugins import JUDGES, parse_options
from spar.repetition import NO_REPETITION
from spar.templates import load
from spar.templates.verdicts import parse_verdict
from spar.types import Judgement, Message, Prompt, Usage
from tests.fakes import MUTE, NO, YES, make_prompt

VOTES = {"y": YES, "n": NO, "-": MUTE}
"""Letter to vote, so that a round reads `ynn-y`."""


def scripted(votes: str) -> FakeEngine:
    """An engine that casts these votes in turn; the vote's number is in its text."""
    left = iter(enumerate(votes))

    def reply(request: Request) -> str:
        number, letter = next(left)
        return f"{number} {VOTES[letter]}"

    return FakeEngine(reply)


def settings_of(engine: FakeEngine, votes: int = 5, vote_rule: VoteRule = "full") -> JudgeSettings:
    """Judge settings over spar's templates."""
    return JudgeSettings(engine, Sampling(temperature=0.7), load(), votes, vote_rule)


async def cast(
    votes: str, num_votes: int = 5, vote_rule: VoteRule = "full"
) -> tuple[Judgement, Usage]:
    """What the votes judge makes of scripted votes, seeds counted from 100."""
    judge = VotesJudge(settings_of(scripted(votes), num_votes, vote_rule))
    return await judge.judge(make_prompt(), "response", lambda attempt: 100 + attempt)


@pytest.mark.parametrize(
    ("votes", "score", "critique", "dissent"),
    [
        ("yyyyy", 1.0, 0, None),
        ("nnnnn", 0.0, 0, None),
        ("nyyny", 0.6, 1, 0),
        ("ynnyn", 0.4, 1, 0),
        ("--y--", 1.0, 2, None),
        ("-nny-", 1 / 3, 1, 3),
        ("nyy--", 2 / 3, 1, 0),
    ],
)
async def test_a_round_of_votes(
    votes: str, score: float, critique: int, dissent: int | None
) -> None:
    """The score is yes over parsed; the critique is the majority's first, the dissent the other's."""
    judgement, usage = await cast(votes)
    assert judgement.score == pytest.approx(score)
    assert judgement.critique.startswith(f"{critique} ")
    assert judgement.dissent is None or judgement.dissent.startswith(f"{dissent} ")
    assert (judgement.dissent is None) == (dissent is None)
    assert [{True: "y", False: "n", None: "-"}[v] for v in judgement.verdicts] == list(votes)
    assert usage.calls == 5


@pytest.mark.parametrize(
    ("votes", "rounds"), [("yn---yyyyy", 2), ("-----yynn-nnnyy", 3), ("yynn-nnnnn", 2)]
)
async def test_a_tie_asks_again(votes: str, rounds: int) -> None:
    """A round that decides nothing costs its calls and is forgotten."""
    judgement, usage = await cast(votes)
    assert usage.calls == 5 * rounds
    assert len(judgement.verdicts) == 5
    assert judgement.critique.startswith(f"{5 * (rounds - 1)} ")


@pytest.mark.parametrize("votes", ["yynn-" * 3, "-----" * 3])
async def test_three_ties_give_up(votes: str) -> None:
    """The attempt fails with a vote's text and the cost of every round."""
    with pytest.raises(AttemptFailed, match=f"{JUDGE_ATTEMPTS} rounds") as caught:
        await cast(votes)
    assert caught.value.usage.calls == 15
    assert caught.value.text.startswith("10 ")


async def test_votes_have_seeds_of_their_own() -> None:
    """No two votes of any round share a seed, a round's are in a row, and all share one prompt."""
    engine = scripted("yynn-" * 3)
    judge = VotesJudge(settings_of(engine))
    with pytest.raises(AttemptFailed):
        await judge.judge(make_prompt(), "response", lambda attempt: 100 * attempt)
    seeds = [request.sampling.seed for request in engine.requests]
    assert seeds == [*range(5), *range(50, 55), *range(100, 105)]
    assert len({request.messages for request in engine.requests}) == 1


@pytest.mark.parametrize(
    ("votes", "asked"),
    [("yyy", 3), ("nnn", 3), ("yynyn", 5), ("yy-nn", 5), ("---ynnnn", 8), ("-yyyy", 5)],
)
async def test_majority_asks_the_rest_only_where_split(votes: str, asked: int) -> None:
    """Three first; two more where they do not all say the same."""
    if votes == "yy-nn":
        votes, asked = "yy-nnyyy", 8
    judgement, usage = await cast(votes, vote_rule="majority")
    assert usage.calls == asked
    assert usage.skipped_calls == 5 - len(judgement.verdicts)


@given(st.lists(st.sampled_from("yn-"), min_size=7, max_size=7), st.integers(1, 7))
async def test_majority_gives_the_label_of_full(letters: list[str], num_votes: int) -> None:
    """With the same votes in the same places, both rules say the same or decide nothing."""

    async def label(rule: VoteRule) -> bool | None:
        engine = FakeEngine(
            lambda request: VOTES[letters[(request.sampling.seed or 0) % num_votes]]
        )
        judge = VotesJudge(settings_of(engine, num_votes, rule))
        try:
            judgement, _ = await judge.judge(make_prompt(), "r", lambda attempt: attempt)
        except AttemptFailed:
            return None
        return judgement.passed(0.5)

    assert await label("majority") == await label("race") == await label("full")


@pytest.mark.parametrize(
    ("votes", "num_votes", "asked"),
    [
        ("yyy", 5, 3),
        ("ynyy", 5, 4),
        ("ynynn", 5, 5),
        ("--y--", 5, 5),
        ("nnnn", 7, 4),
        ("yyyy", 15, 4),
        ("ynyyyyy", 15, 7),  # 5 to 1 is 0.938, 6 to 1 is 0.965
        ("yynnyyyyyy", 15, 10),
    ],
)
async def test_posterior_stops_once_the_leader_probably_leads(
    votes: str, num_votes: int, asked: int
) -> None:
    """Waves of the fewest votes that could end it: what is certain ends it too; the rest is counted as skipped."""
    judgement, usage = await cast(votes, num_votes, "posterior")
    assert (usage.calls, len(judgement.verdicts)) == (asked, asked)
    assert usage.skipped_calls == num_votes - asked


@given(
    st.lists(st.sampled_from([True, False, None]), max_size=60),
    st.integers(0, 60),
)
def test_posterior_waits_for_no_vote_that_it_does_not_need(
    verdicts: list[bool | None], remaining: int
) -> None:
    """The wave ends the voting if all agree with the leader, a smaller one cannot, and 0 means it has ended."""
    leader = verdicts.count(True) >= verdicts.count(False)
    size = next_wave(verdicts, remaining)
    assert 0 <= size <= remaining

    def ended(further: int) -> bool:
        yes, no = (verdicts.count(side) + further * (leader is side) for side in (True, False))
        ahead, behind = max(yes, no), min(yes, no)
        return ahead - behind > remaining - further or leading(ahead, behind) >= POSTERIOR

    assert size == remaining or ended(size)
    assert not any(map(ended, range(size)))


@pytest.mark.parametrize(("leader", "follower", "probability"), [(0, 0, 0.5), (4, 0, 31 / 32)])
def test_the_leaders_probability_by_hand(leader: int, follower: int, probability: float) -> None:
    """Nothing is known before the first vote; Beta(5, 1) has 1/32 of its mass below one half."""
    assert leading(leader, follower) == probability


class HurriedEngine(FakeEngine):
    """Answers the votes whose letter is not `.` at once; the others never. Notes who was cut off."""

    def __init__(self, letters: str) -> None:
        super().__init__(lambda request: VOTES[letters[self.place(request)]])
        self.letters = letters
        self.cut_off: list[int] = []

    def place(self, request: Request) -> int:
        """Which vote it is: the tests' seeds start at 50."""
        return (request.sampling.seed or 0) - 50

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """One completion a request, or none for ever."""
        slow = [
            self.place(request) for request in requests if self.letters[self.place(request)] == "."
        ]
        try:
            await (asyncio.Event().wait() if slow else asyncio.sleep(0))
        except asyncio.CancelledError:
            self.cut_off += slow
            raise
        return await super().generate(requests)


@pytest.mark.parametrize(
    ("letters", "verdicts", "cut_off"),
    [
        ("y.y.y", (True, True, True), [1, 3]),
        (".nnn.", (False, False, False), [0, 4]),
        ("ynnyn", (True, False, False, True, False), []),
        ("y-yy.", (True, None, True, True), [4]),
    ],
)
async def test_race_cuts_the_rest_off_once_a_majority_agrees(
    letters: str, verdicts: tuple[bool | None, ...], cut_off: list[int]
) -> None:
    """Nobody waits for votes that can change nothing: they are aborted in the engine and counted."""
    engine = HurriedEngine(letters)
    judge = VotesJudge(settings_of(engine, vote_rule="race"))
    judgement, usage = await judge.judge(make_prompt(), "response", lambda _: 100)
    assert judgement.verdicts == verdicts
    assert engine.cut_off == cut_off
    assert (usage.calls, usage.aborted_calls) == (len(verdicts), len(cut_off))


async def test_race_surfaces_an_engine_error() -> None:
    """A vote that cannot be served stops the run, also while others wait."""

    def reply(request: Request) -> str:
        raise EngineError("gone")

    judge = VotesJudge(settings_of(FakeEngine(reply), vote_rule="race"))
    with pytest.raises(EngineError, match="gone"):
        await judge.judge(make_prompt(), "response", lambda _: 100)


@given(st.lists(st.sampled_from([YES, NO, MUTE]), max_size=6))
def test_count_votes_decides_unless_tied(texts: list[str]) -> None:
    """A judgement never stands at one half, and its critique is on the side of its label."""
    judgement = count_votes([read_vote(Completion(text, "stop", 1, 1)) for text in texts])
    if judgement is None:
        assert texts.count(YES) == texts.count(NO)
    else:
        assert judgement.critique == (YES if judgement.score > 0.5 else NO)
        assert judgement.dissent in (None, NO if judgement.score > 0.5 else YES)


async def test_what_was_spent_before_a_failure_is_kept() -> None:
    """A prompt that turns out too long in the second round still has the first one's cost."""
    left = iter(["y", "n"])

    def reply(request: Request) -> str:
        letter = next(left, None)
        if letter is None:
            raise PromptTooLong("too long")
        return VOTES[letter]

    judge = VotesJudge(settings_of(FakeEngine(reply), votes=2))
    with pytest.raises(AttemptFailed, match="too long") as caught:
        await judge.judge(make_prompt(), "r", lambda attempt: attempt)
    assert caught.value.usage.calls == 2


Token = tuple[str, dict[str, float]]


def completion(tokens: Sequence[Token], text: str | None = None) -> Completion:
    """A reply of these tokens, with the probabilities of their alternatives."""
    logprobs = tuple(
        TokenLogprobs(token, {other: math.log(p) for other, p in top.items()})
        for token, top in tokens
    )
    joined = "".join(token for token, _ in tokens)
    return Completion(joined if text is None else text, "stop", 1, len(tokens), logprobs)


DECIDES: Token = (" Yes", {" Yes": 0.6, " No": 0.2, "yes": 0.1, " Maybe": 0.1})
"""P(yes) / (P(yes) + P(no)) is 0.7 / 0.9."""


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        ([("Final Judgement:", {}), DECIDES], None),
        ([("No", {"No": 1.0}), ("\nFinal ", {}), ("Judgement:", {}), DECIDES, (".", {})], None),
        ([("\ufffd", {})] * 4 + [("\nFinal Judgement:", {}), DECIDES], "🦊\nFinal Judgement: Yes"),
        ([("<|x|>", {}), ("Final Judgement:", {}), DECIDES], "Final Judgement: Yes"),
        (
            [("It", {}), ("fits.", {}), ("\n", {}), ("Final", {}), ("Judgement", {}), (":", {})]
            + [(word, DECIDES[1]) for word in ("Yes",)],
            "It fits.\nFinal Judgement: Yes",
        ),
    ],
    ids=["plain", "earlier-no", "split-emoji", "special-token", "sentencepiece"],
)
def test_the_probability_is_read_at_the_verdict(tokens: list[Token], text: str | None) -> None:
    """The deciding token is found, also where token texts do not add up to the reply's text."""
    assert verdict_probability(completion(tokens, text)) == pytest.approx(0.7 / 0.9)


def test_without_logprobs_the_verdict_is_certain() -> None:
    """An engine that returns none gives 1 or 0; no verdict gives None."""
    assert verdict_probability(Completion(YES, "stop", 1, 1)) == 1.0
    assert verdict_probability(Completion(NO, "stop", 1, 1)) == 0.0
    assert verdict_probability(Completion(MUTE, "stop", 1, 1)) is None


class LogprobEngine(FakeEngine):
    """Gives scripted completions in turn."""

    def __init__(self, completions: Sequence[Completion]) -> None:
        super().__init__(lambda request: "")
        self._left = iter(completions)

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """The next ones."""
        self.requests.extend(requests)
        return [next(self._left) for _ in requests]


async def test_the_logprob_judge_asks_once() -> None:
    """One greedy critique with alternatives; the score is its probability."""
    engine = LogprobEngine([completion([("Final Judgement:", {}), DECIDES])])
    judge = LogprobJudge(settings_of(engine))
    judgement, usage = await judge.judge(make_prompt(), "r", lambda attempt: attempt)
    assert judgement.score == pytest.approx(0.7 / 0.9)
    assert judgement.verdicts == (True,)
    assert usage.calls == 1
    assert engine.requests[0].sampling.temperature == 0
    assert engine.requests[0].sampling.top_logprobs > 1


async def test_the_logprob_judge_samples_again_without_a_verdict() -> None:
    """The retries are sampled under seeds of their own; three in all, then the attempt fails."""
    engine = LogprobEngine([Completion(MUTE, "stop", 1, 1)] * JUDGE_ATTEMPTS)
    with pytest.raises(AttemptFailed) as caught:
        await LogprobJudge(settings_of(engine)).judge(make_prompt(), "r", lambda attempt: attempt)
    assert [request.sampling.temperature for request in engine.requests] == [0, 0.7, 0.7]
    assert [request.sampling.seed for request in engine.requests] == [0, 1, 2]
    assert (caught.value.usage.calls, caught.value.text) == (3, MUTE)


def verifiable(*ids: str, **kwargs: object) -> Prompt:
    """A prompt under constraints that a program may check."""
    message = Message(role="user", content="Write.")
    meta = {"instruction_id_list": list(ids), "kwargs": [kwargs] * len(ids)}
    return Prompt(id="v", messages=(message,), meta=meta)


async def test_the_verifier_judge_tells_the_truth() -> None:
    """It passes what the program passes, says why in a critique, and costs no call."""
    prompt = verifiable("punctuation:no_comma")
    judge = VerifierJudge(settings_of(scripted("")))
    good, usage = await judge.judge(prompt, "No stop here", lambda _: None)
    bad, _ = await judge.judge(prompt, "Here, one", lambda _: None)
    assert (good.verdict, bad.verdict, usage) == (True, False, Usage())
    assert good.verdicts == bad.verdicts == ()
    assert parse_verdict(good.critique) is True
    assert parse_verdict(bad.critique) is False


async def test_the_verifier_judge_scores_the_share_met() -> None:
    """Two of three is better than one, and neither passes, whatever the gate."""
    ids = ["punctuation:no_comma", "startend:quotation", "nano:first_word"]
    kwargs = [{}, {}, {"first_word": "so"}]
    meta = {"instruction_id_list": ids, "kwargs": kwargs}
    prompt = make_prompt().model_copy(update={"meta": meta})
    judge = VerifierJudge(settings_of(scripted("")))
    texts = {"a, b": 0, "a b": 1 / 3, "so it is": 2 / 3, '"so it is"': 1}
    for text, share in texts.items():
        judgement, _ = await judge.judge(prompt, text, lambda _: None)
        assert judgement.score == pytest.approx(share)
        assert [judgement.passed(gate) for gate in (0, 0.5, 1)] == [share == 1] * 3
        assert [finding.type for finding in judgement.findings] == ids


REPETITIVE = "The sky is blue today. " * 4


@pytest.mark.parametrize("name", ["verifier", "hybrid"])
async def test_a_repetitive_response_fails_where_programs_are_told_to_look(name: str) -> None:
    """It is one more constraint, with its share; without the option nobody looks, and a prompt that asks is asked once."""
    prompt, spec = verifiable("punctuation:no_comma"), JUDGES.spec(name)
    settings = settings_of(scripted(""))
    plain, strict = (
        spec.open(settings, parse_options(spec.options, given, flag="", name=name))
        for given in ({}, {"no_repetition": "true"})
    )
    assert (await plain.judge(prompt, REPETITIVE, lambda _: None))[0].verdict is True
    judgement, usage = await strict.judge(prompt, REPETITIVE, lambda _: None)
    assert (judgement.verdict, judgement.score, usage) == (False, 0.5, Usage())
    said = "no repetition: 71% of its word 4-grams occurred before (not met)"
    assert said in judgement.critique
    other, _ = await strict.judge(prompt, "The sky is blue today.", lambda _: None)
    assert (other.verdict, other.score) == (True, 1.0)
    asked = verifiable("punctuation:no_comma", NO_REPETITION)
    findings = (await strict.judge(asked, REPETITIVE, lambda _: None))[0].findings
    assert [each.type for each in findings] == ["punctuation:no_comma", NO_REPETITION]


async def test_a_repetitive_response_costs_no_vote() -> None:
    """`hybrid` votes on what does not repeat itself alone."""
    judge = JUDGES.spec("hybrid").open(
        settings_of(scripted("yyyyy")), ProgramOptions(no_repetition=True)
    )
    failed, usage = await judge.judge(make_prompt(), REPETITIVE, lambda _: None)
    assert (failed.verdict, usage) == (False, Usage())
    passed, usage = await judge.judge(make_prompt(), "The sky is blue.", lambda _: None)
    assert passed.verdict is True
    assert usage.calls > 0
    assert [each.type for each in passed.findings] == [NO_REPETITION]


@pytest.mark.parametrize("prompt", [make_prompt(), verifiable("no:such_thing")])
async def test_the_verifier_judge_wants_constraints_it_knows(prompt: Prompt) -> None:
    """Anything else is the person's mistake, and the message says what to do."""
    with pytest.raises(UsageError, match="--judge votes"):
        await VerifierJudge(settings_of(scripted(""))).judge(prompt, "r", lambda _: None)


@pytest.mark.parametrize("name", JUDGES)
def test_every_listed_judge_opens(name: str) -> None:
    """The table's names stand for judges."""
    assert callable(JUDGES.spec(name).open(settings_of(scripted(""))).judge)


def votes_judge(engine: FakeEngine, votes: int, **options: bool) -> VotesJudge:
    """The judge `votes`, opened as a run opens it."""
    spec = JUDGES.spec("votes")
    assert spec.options is not None
    judge = spec.open(settings_of(engine, votes), spec.options(**options))
    assert isinstance(judge, VotesJudge)
    return judge


async def test_votes_keep_the_probabilities_of_their_verdicts() -> None:
    """They neither change what passes nor its score; a vote without a verdict has none."""
    yes = completion([("Final Judgement:", {}), DECIDES])
    no = completion([("Final Judgement:", {}), (" No", {" No": 0.7, " Yes": 0.3})])
    engine = LogprobEngine([no, yes, completion([("Hm.", {})]), no])
    judgement, _ = await votes_judge(engine, 4, probabilities=True).judge(
        make_prompt(), "r", lambda attempt: attempt
    )
    assert judgement.verdicts == (False, True, None, False)
    known = [each for each in judgement.probabilities if each is not None]
    assert known == pytest.approx([0.3, 7 / 9, 0.3])
    assert judgement.probabilities[2] is None
    assert judgement.score == pytest.approx(1 / 3)
    assert judgement.probability is None
    assert {request.sampling.top_logprobs for request in engine.requests} == {20}
    assert Judgement.model_validate_json(judgement.model_dump_json()) == judgement


@pytest.mark.parametrize("asked", [False, True])
async def test_without_probabilities_votes_count(asked: bool) -> None:
    """Where they are not asked for, or the engine gives none, the record is the same as ever."""
    engine = scripted("nyn")
    judgement, _ = await votes_judge(engine, 3, probabilities=asked).judge(
        make_prompt(), "r", lambda attempt: attempt
    )
    assert judgement.probabilities == ()
    assert "probabilities" not in judgement.model_dump_json()
    assert [request.sampling.top_logprobs for request in engine.requests] == [20 * asked] * 3


async def test_what_a_judge_reports_early_is_held_against_the_same_contract() -> None:
    """A search that looks ahead goes by it, as by what is returned in the end."""

    class Early:
        async def judge(
            self, prompt: Prompt, response: str, seeds: Seeds
        ) -> tuple[Judgement, Usage]:
            raise NotImplementedError

        async def judge_early(
            self, prompt: Prompt, response: str, seeds: Seeds, report: Report
        ) -> tuple[Judgement, Usage]:
            report(None)
            report(Judgement(verdicts=(False,), critique="c", probability=math.nan))
            return Judgement(verdicts=(False,), critique="c"), Usage()

    with pytest.raises(UsageError, match="a judge returned the probability nan"):
        await judge_reporting(Early(), make_prompt(), "r", lambda number: number, lambda _: None)
