"""Reading what servers say: replies, refusals, and what these teach about a server."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spar.infer.engine import Request, Sampling
from spar.infer.engines.openai.capabilities import Abilities
from spar.infer.engines.openai.refusals import Refusal, read_refusal, room_for_reply, wait_seconds
from spar.infer.engines.openai.replies import (
    FaultyReply,
    TooFewChoices,
    read_reply,
    split_tokens_used,
)
from spar.infer.engines.openai.servers import read_models
from spar.types import Message

ASKED = Request((Message(role="user", content="hi"),), Sampling(max_tokens=20))


def reply_of(*choices: dict[str, Any], **usage: Any) -> bytes:
    """The body of a reply."""
    return json.dumps({"choices": list(choices), "usage": usage or None}).encode()


def choice(content: Any, index: int = 0, finish: str | None = "stop") -> dict[str, Any]:
    """One choice of a reply."""
    message = {"role": "assistant", "content": content}
    return {"index": index, "message": message, "finish_reason": finish}


@pytest.mark.parametrize(
    ("given", "text", "finish"),
    [
        (choice("a"), "a", "stop"),
        (choice(None), "", "stop"),
        (choice("a", finish="length"), "a", "length"),
        (choice("a", finish="content_filter"), "a", "stop"),
        (choice("a", finish=None), "a", "stop"),
        (choice([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]), "ab", "stop"),
        (choice("<think>no end", finish="length"), "", "length"),
    ],
)
def test_choices_are_read(given: dict[str, Any], text: str, finish: str) -> None:
    """Whatever form the content and the reason to end have."""
    (found,) = read_reply(reply_of(given, prompt_tokens=3, completion_tokens=20), ASKED, 1, 20)
    assert (found.text, found.finish) == (text, finish)


def said(abilities: Abilities, text: str, finish: str = "stop") -> str:
    """What a server's next reply is read as."""
    (found,) = read_reply(reply_of(choice(text, finish=finish)), ASKED, 1, 20, abilities)
    return found.text


def test_a_server_whose_replies_start_inside_their_thinking_is_found_out() -> None:
    """From its first reply that ends one; from then on what never comes to an end is no answer."""
    abilities = Abilities()
    assert said(abilities, "Hm.\n</think>\n\nYes") == "Yes"
    assert said(abilities, "Hm. Final Judgement: Yes", "length") == ""
    assert said(abilities, "Hm</think>No") == "No"
    assert said(abilities, "<think>Hm</think>No") == "No"


def test_a_plain_server_is_not_taken_for_a_thinking_one() -> None:
    """One reply that looks like it does not outweigh those that ended without thinking."""
    abilities = Abilities()
    for text in ("A plain answer.", "The tag\n</think>\nends it.", "Another"):
        said(abilities, text)
    assert said(abilities, "Cut off", "length") == "Cut off"
    assert said(abilities, "Write `</think>` last.") == "Write `</think>` last."


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "half a JSON"),
        pytest.param(b"[" * 200_000, "half a JSON", id="nested"),
        (b'{"choices": [{', "half a JSON"),
        (b"\xff\xfe", "half a JSON"),
        (b"[]", "without choices"),
        (b'{"error": {"message": "x"}}', "without choices"),
        (reply_of(), "without choices"),
        (reply_of(choice("a"), choice("b", 1), choice("c", 2)), "wrong number"),
        (json.dumps({"choices": [1, 2]}).encode(), "without a message"),
        (reply_of(choice("a"), choice("b", 1, "abort")), "broke off"),
    ],
)
def test_faulty_replies_say_what_is_wrong(content: bytes, reason: str) -> None:
    """They are tried again, so none of them may pass for a reply."""
    with pytest.raises(FaultyReply, match=reason):
        read_reply(content, ASKED, 2, 20)


def test_one_choice_of_several_is_a_lack() -> None:
    """A server that does not heed `n` is not a fault."""
    with pytest.raises(TooFewChoices):
        read_reply(reply_of(choice("a")), ASKED, 2, 20)


def test_choices_come_in_their_own_order() -> None:
    """The index says which seed each belongs to."""
    body = reply_of(choice("b", 1), choice("a", 0), completion_tokens=2)
    assert [found.text for found in read_reply(body, ASKED, 2, 20)] == ["a", "b"]


@given(
    total=st.integers(0, 500),
    choices=st.lists(st.tuples(st.none() | st.integers(1, 50), st.integers(0, 99)), min_size=1),
)
def test_split_tokens_keep_their_sum(total: int, choices: list[tuple[int | None, int]]) -> None:
    """Whatever is known of the choices."""
    lengths, sizes = zip(*choices, strict=True)
    parts = split_tokens_used(total, lengths, sizes)
    assert sum(parts) == total
    assert len(parts) == len(choices)
    assert min(parts) >= 0


def test_split_tokens_follow_what_is_known() -> None:
    """A choice at the limit has just so many; the rest goes by the length of the text."""
    assert split_tokens_used(32, [20, None, None], [9, 19, 9]) == [20, 8, 4]
    assert split_tokens_used(10, [20, None], [4, 4]) == [5, 5]


VLLM_LONG = (
    "This model's maximum context length is 256 tokens. However, your prompt contains at least 257 "
    "input tokens, which exceeds this limit even without any output tokens."
)
OPENAI_LONG = (
    "This model's maximum context length is 4097 tokens. However, you requested 4200 tokens "
    "(200 in the messages, 4000 in the completion)."
)


@pytest.mark.parametrize(
    ("message", "asked", "room"),
    [
        (VLLM_LONG, 100, 0),
        (OPENAI_LONG, 4000, 3897),
        ("maximum context length is 100 tokens. Your prompt contains 100 input tokens", 9, 0),
        ("maximum context length is 100 tokens and your request has 80 input tokens", 50, 20),
        (
            "maximum context length is 8192 tokens. However, your messages resulted in 9001 tokens",
            9,
            0,
        ),
        ("max_tokens=2048 cannot be greater than max_model_len=1024.", 2048, 1023),
        ("the request exceeds the available context size", 512, 256),
        ("the request exceeds the available context size", 8, 0),
        (
            "maximum context length is 900 tokens; prompt contains at least 400 input tokens",
            512,
            256,
        ),
    ],
)
def test_room_for_a_reply(message: str, asked: int, room: int) -> None:
    """As the numbers in the message say, else half as many, until there is nothing to halve."""
    refusal = Refusal(400, message)
    assert refusal.too_long
    assert room_for_reply(refusal, asked) == room


@pytest.mark.parametrize(
    ("content", "message", "field"),
    [
        ({"error": {"message": "a\nb", "param": "seed", "code": 400}}, "a b", "seed"),
        ({"error": "plain"}, "plain", ""),
        ({"message": "bare"}, "bare", ""),
        ({"detail": "fast"}, "fast", ""),
        ({"detail": [{"loc": ["body", "n"], "msg": "extra"}]}, "body.n: extra", "n"),
        (["odd"], '["odd"]', ""),
        (None, "", ""),
    ],
)
def test_refusals_are_read(content: Any, message: str, field: str) -> None:
    """Wherever the server puts its words."""
    refusal = read_refusal(400, {}, json.dumps(content).encode(), str)
    assert (refusal.message, refusal.field) == (message, field)


@given(st.binary(max_size=200))
def test_any_body_is_a_refusal(content: bytes) -> None:
    """Printable and on one line, whatever it was."""
    assert read_refusal(400, {}, content, str).message.isprintable()


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504, 529])
def test_what_may_pass_is_tried_again(status: int) -> None:
    """By its status alone."""
    assert Refusal(status, "").retryable


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 413, 422, 501])
def test_what_stays_is_not(status: int) -> None:
    """Nor is a spent quota."""
    assert not Refusal(status, "").retryable
    assert not Refusal(429, "", "insufficient_quota").retryable


def test_waiting_times() -> None:
    """Milliseconds, seconds or a date; nonsense is no time."""
    later = datetime.now(UTC) + timedelta(seconds=90)
    assert wait_seconds({"retry-after-ms": "1500", "retry-after": "9"}) == 1.5
    assert wait_seconds({"retry-after": "2"}) == 2.0
    assert 60 < wait_seconds({"retry-after": format_datetime(later, usegmt=True)}) <= 90
    for odd in ["", "soon", "-3", "nan", "inf", "Fri, 01 Jan 1999 00:00:00 GMT"]:
        assert wait_seconds({"retry-after": odd}) == 0.0


@pytest.mark.parametrize(
    ("refusal", "field"),
    [
        (Refusal(400, "n > 1 is not supported"), "n"),
        (Refusal(422, "body.n: extra fields not permitted", field="n"), "n"),
        (Refusal(400, "this server makes no multiple completions"), "n"),
        (Refusal(400, "Unknown field 'seed'"), "seed"),
        (
            Refusal(
                400, "'temperature' does not support 0.7 with this model. Only the default (1)"
            ),
            "temperature",
        ),
    ],
)
def test_lacks_are_learned(refusal: Refusal, field: str) -> None:
    """From the field that is named, or from the words."""
    abilities = Abilities()
    assert abilities.learn(refusal, {"n": 3, "seed": 1, "temperature": 0.7, "max_tokens": 9})
    assert abilities.lacks == {field}


@pytest.mark.parametrize(
    "message", ["n", "bad request", "temperature must be below 2", "cannot render an answer"]
)
def test_other_refusals_teach_nothing(message: str) -> None:
    """A field is only left out where the server refuses the field."""
    abilities = Abilities()
    body = {"n": 3, "seed": 1, "temperature": 0.7, "max_tokens": 9}
    assert not abilities.learn(Refusal(400, message), body)
    assert not abilities.lacks


def test_fewer_logprobs_where_the_server_has_a_limit() -> None:
    """The limit is in its message."""
    abilities = Abilities()
    refusal = Refusal(400, "top_logprobs must be less than or equal to 5")
    assert abilities.learn(refusal, {"logprobs": True, "top_logprobs": 20})
    assert (abilities.most_logprobs, abilities.lacks) == (5, set())


def test_brackets_by_the_thousand_are_no_json() -> None:
    """Neither in a refusal nor in a list of models."""
    deep = b"[" * 200_000
    assert read_refusal(500, {}, deep, str).message.startswith("[[[")
    assert read_models(deep) is None
