"""Servers that repeat one text where several samples are requested, and judges that repeat themselves."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spar.infer.engine import Request
from spar.infer.engines.openai.samples import MIN_CHARACTERS, MIN_EQUAL, SampleCheck
from tests.answers import Script, answer
from tests.infer.openai_helpers import serving, votes

LONG = "- the wording: not met, since the second sentence is missing altogether; the rest is as it should be."


def varied(request: Request) -> str:
    """A critique that differs from seed to seed."""
    return f"{LONG} {request.sampling.seed}"


def sure(_: Request) -> str:
    """A critique that never differs."""
    return LONG


def terse(request: Request) -> str:
    """A verdict that differs now and then."""
    return "Final Judgement: No" if (request.sampling.seed or 0) % 100 else "Final Judgement: Yes"


def repeating(reply: Any) -> Script:
    """A server that returns the first of n samples n times."""

    def respond(body: dict[str, Any]) -> tuple[int, Any]:
        n = body.get("n", 1)
        status, content = answer(Script(reply), {**body, "n": 1})
        choices = [{**content["choices"][0], "index": index} for index in range(n)]
        return status, {**content, "choices": choices}

    return Script(answer=respond)


@pytest.mark.parametrize(
    ("script", "singly"),
    [
        pytest.param(repeating(varied), True, id="a faulty server"),
        pytest.param(Script(varied), False, id="a server that samples"),
        pytest.param(Script(sure), False, id="a judge that is sure"),
        pytest.param(repeating(sure), False, id="a judge that is sure, where nothing can be told"),
        pytest.param(Script(terse), False, id="a terse judge"),
        pytest.param(repeating(terse), False, id="a terse judge, where nothing can be told"),
    ],
)
async def test_a_server_that_repeats_one_sample_is_asked_singly(
    script: Script, singly: bool
) -> None:
    """After a few requests, with one note; a judge that repeats itself in earnest changes nothing."""
    with serving(script) as (server, engine, notes):
        for number in range(MIN_EQUAL + 4):
            replies = await engine.generate(votes(3, f"prompt {number}", seed=100 * number + 1))
        await engine.aclose()
    assert [seen.body.get("n") for seen in server.seen[:MIN_EQUAL]] == [3] * MIN_EQUAL
    assert server.seen[-1].body.get("n") == (None if singly else 3)
    assert len({reply.text for reply in replies}) == (3 if singly or script.reply is varied else 1)
    assert [("single requests with seeds of their own" in note) for note in notes] == [
        True
    ] * singly


@given(st.lists(st.lists(st.sampled_from([LONG, "other"]), min_size=2, max_size=5), max_size=20))
def test_one_request_with_different_samples_closes_the_matter(batches: list[list[str]]) -> None:
    """And short texts never raise suspicion."""
    check = SampleCheck()
    for batch in batches:
        check.record(batch)
    differ = any(len(set(batch)) > 1 for batch in batches)
    num_long = sum(batch[0] == LONG for batch in batches)
    assert len(LONG) >= MIN_CHARACTERS
    assert check.is_suspect == (not differ and num_long >= MIN_EQUAL)
    assert check.record_singles(["a", "b"]) == check.is_suspect
