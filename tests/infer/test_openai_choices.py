"""Replies whose fields have any type and value: each is a reply, or an error with a meaning."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from dataclasses import asdict, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spar.errors import PromptRefused, SparError
from spar.infer.engine import Completion, Request, Sampling
from spar.infer.engines.openai.choices import InvalidReply
from spar.infer.engines.openai.endpoints import read_prompt_logprobs
from spar.infer.engines.openai.errors import error_status, read_error
from spar.infer.engines.openai.model_lists import read_models
from spar.infer.engines.openai.replies import (
    Capabilities,
    MissingLogprobs,
    TooFewChoices,
    read_reply,
)
from spar.infer.search import Budget, run_search
from spar.infer.verdict_probability import verdict_probability
from spar.types import Message
from tests.answers import Script, requests_of
from tests.fakes import World, kind_of, make_prompt, make_settings, real_roles
from tests.infer.openai_helpers import SETTINGS, ask, echo, serving, votes

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.sampled_from([10**30, -(10**400), 1000, 7.0, 1e308])
    | st.floats()
    | st.sampled_from(["", "Final Judgement: Yes", "stop", "length", "Yes", "\ud800", "hi"])
)
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["text", "token", "logprob", "type"]), inner, max_size=3)
    ),
    max_leaves=6,
)


def mostly(valid: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """A valid value in most cases, so that what lies behind it is reached; else any JSON."""
    return st.integers(0, 6).flatmap(lambda drawn: JSON if drawn == 6 else valid)


def any_or(valid: Any) -> st.SearchStrategy[Any]:
    """Mostly this value."""
    return mostly(st.just(valid))


def record(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Mostly an object with these fields, any of which may be missing."""
    return mostly(st.fixed_dictionaries({}, optional=fields))


ROW = record(
    token=any_or("Yes"),
    logprob=any_or(-0.1),
    top_logprobs=mostly(st.lists(record(token=any_or("Yes"), logprob=any_or(-0.1)), max_size=3)),
)
MESSAGE = record(
    content=any_or("Final Judgement: Yes")
    | st.lists(record(type=any_or("text"), text=any_or("a"), thinking=JSON), max_size=3),
    refusal=any_or(None),
    tool_calls=any_or(None),
    reasoning=any_or("Hm."),
    reasoning_details=st.lists(record(text=JSON), max_size=2) | JSON,
)
CHAT_CHOICE = st.fixed_dictionaries(
    {"message": MESSAGE},
    optional={
        "index": any_or(0),
        "finish_reason": any_or("stop"),
        "logprobs": record(content=mostly(st.lists(ROW, max_size=3))),
    },
)
TOPS = st.lists(mostly(st.dictionaries(st.sampled_from(["a", "b"]), any_or(-0.1))), max_size=3)
PLAIN_CHOICE = st.fixed_dictionaries(
    {"text": any_or("hi there")},
    optional={
        "finish_reason": any_or("stop"),
        "logprobs": record(
            tokens=any_or(["hi", " there"]),
            token_logprobs=mostly(st.lists(any_or(-0.2), max_size=3)),
            top_logprobs=mostly(TOPS),
        ),
    },
)
USAGE = record(
    prompt_tokens=any_or(2),
    completion_tokens=any_or(3),
    prompt_tokens_details=record(cached_tokens=any_or(1)),
)


MANY = settings(max_examples=400)
"""Enough to meet an odd value in most fields."""


def bodies(choice: st.SearchStrategy[Any]) -> st.SearchStrategy[bytes]:
    """Bodies of replies that are right in most places."""
    choices = mostly(st.lists(choice, min_size=1, max_size=2))
    body = mostly(st.fixed_dictionaries({"choices": choices}, optional={"usage": USAGE}))
    return body.map(lambda content: json.dumps(content).encode())


def request_of(**sampling: Any) -> Request:
    """A request that the drawn replies answer."""
    message = Message(role="user", content="hi")
    return Request((message,), Sampling(max_tokens=20, **sampling))


def check(reply: Completion) -> None:
    """A reply's counts are counts, and everything about it can be written as JSON."""
    json.dumps({**asdict(reply), "probability": verdict_probability(reply)}, allow_nan=False)
    assert 0 <= reply.prompt_tokens <= 10**9
    assert 0 <= reply.completion_tokens <= 10**9
    assert 0 <= reply.cached_tokens <= reply.prompt_tokens
    assert all(logprob <= 0 for token in reply.logprobs for logprob in token.top.values())
    assert not (reply.empty_reason and reply.text.strip())


@MANY
@given(bodies(CHAT_CHOICE), st.sampled_from([1, 2]), st.sampled_from([0, 5]))
def test_any_json_is_a_chat_reply_or_an_error(content: bytes, n: int, top: int) -> None:
    """Nothing but the three errors of a reply is raised, whether or not log-probabilities are wanted."""
    try:
        replies = read_reply(content, request_of(top_logprobs=top), n, 20, Capabilities())
    except (InvalidReply, TooFewChoices, MissingLogprobs):
        return
    assert len(replies) == n
    for reply in replies:
        check(reply)


@MANY
@given(bodies(PLAIN_CHOICE), st.sampled_from([0, 5]))
def test_any_json_is_a_plain_reply_or_an_error(content: bytes, top: int) -> None:
    """Of `/completions`, whose log-probabilities have another form."""
    request = Request(request_of().messages, Sampling(max_tokens=20, top_logprobs=top), plain=True)
    try:
        (reply,) = read_reply(content, request, 1, 20)
    except (InvalidReply, TooFewChoices, MissingLogprobs):
        return
    check(reply)


@MANY
@given(bodies(PLAIN_CHOICE))
def test_any_json_is_an_echo_or_an_error(content: bytes) -> None:
    """Of `/completions` with `echo`: one finite log-probability a token."""
    request = Request(request_of().messages, Sampling(max_tokens=1), plain=True)
    try:
        (reply,) = read_prompt_logprobs(content, request, 1, 1, Capabilities())
    except (InvalidReply, MissingLogprobs):
        return
    json.dumps(reply.logprobs, allow_nan=False)
    assert len(reply.logprobs) == len(reply.greedy)


@given(
    record(error=record(message=JSON, code=any_or(400), param=JSON, detail=JSON))
    | record(detail=st.lists(record(loc=JSON, msg=JSON), min_size=1, max_size=2))
)
def test_any_json_is_an_error_response_and_a_list_of_models(content: Any) -> None:
    """Printable, on one line, and its status is one of HTTP."""
    body = json.dumps(content).encode()
    error = read_error(400, {}, body, str)
    assert (error.message + error.field + error.code).isprintable()
    assert 200 <= error_status(200, body) < 600
    assert read_models(json.dumps({"data": [content]}).encode()) is not None


@pytest.mark.parametrize("depth", [200, 700, 900, 980])
def test_json_nested_as_deep_as_it_can_be_read_is_handled(depth: int) -> None:
    """What the parser accepts need not be accepted by what shows it."""
    nested = "[" * depth + "]" * depth
    read_error(400, {}, f'{{"error": {{"message": {nested}, "param": {nested}}}}}'.encode(), str)
    choice = f'{{"message": {{"content": null}}, "finish_reason": {nested}, "index": {nested}}}'
    try:
        read_reply(f'{{"choices": [{choice}]}}'.encode(), request_of(), 1, 20)
    except InvalidReply as error:
        assert "JSON" in str(error)  # noqa: PT017  # deeper than the parser reads


@pytest.mark.parametrize(
    ("usage", "counts"),
    [
        ({"prompt_tokens": 7, "completion_tokens": 3}, (7, 3)),
        ({"prompt_tokens": 7.0, "completion_tokens": 3.0}, (7, 3)),
        ({"prompt_tokens": -480, "completion_tokens": -1}, (1, 2)),
        ({"prompt_tokens": 10**30, "completion_tokens": 10**30}, (1, 2)),
        ({"prompt_tokens": "7", "completion_tokens": True}, (1, 2)),
        ({"prompt_tokens": float("nan"), "completion_tokens": float("inf")}, (1, 2)),
        ({"prompt_tokens": 7.5, "completion_tokens": None}, (1, 2)),
        ([], (1, 2)),
    ],
)
def test_counts_that_cannot_be_are_estimated(usage: Any, counts: tuple[int, int]) -> None:
    """As where a server reports none."""
    body = {"choices": [{"message": {"content": "12345678"}}], "usage": usage}
    (reply,) = read_reply(json.dumps(body).encode(), request_of(), 1, 20)
    assert (reply.prompt_tokens, reply.completion_tokens) == counts


TOP = {"token": "Yes", "top_logprobs": [{"token": "Yes", "logprob": -0.1}]}


@pytest.mark.parametrize(
    "content",
    [
        ["Yes"],
        [5],
        [[]],
        [{}],
        [{**TOP, "token": 5}],
        [{**TOP, "top_logprobs": "Yes"}],
        [{**TOP, "top_logprobs": ["Yes"]}],
        *(
            [{"token": "Yes", "top_logprobs": [{"token": "Yes", "logprob": logprob}]}]
            for logprob in (1000, float("nan"), float("inf"), 10**400, "-0.1", None, True)
        ),
    ],
    ids=str,
)
def test_malformed_logprobs_are_an_invalid_reply(content: list[Any]) -> None:
    """Where they were requested; otherwise nothing looks at them."""
    choice = {"message": {"content": "Final Judgement: Yes"}, "logprobs": {"content": content}}
    body = json.dumps({"choices": [choice]}).encode()
    with pytest.raises(InvalidReply, match="malformed log-probabilities"):
        read_reply(body, request_of(top_logprobs=5), 1, 20)
    (reply,) = read_reply(body, request_of(), 1, 20)
    assert reply.text == "Final Judgement: Yes"


@pytest.mark.parametrize("logprob", [float("-inf"), -3.4028235e38, -(10**400)])
def test_a_logprob_of_zero_probability_is_finite(logprob: float) -> None:
    """Servers write it as minus infinity or as the least float."""
    tops = [{"token": "Yes", "logprob": 1e-6}, {"token": "No", "logprob": logprob}]
    choice = {
        "message": {"content": "Final Judgement: Yes"},
        "logprobs": {"content": [{"token": "Final Judgement: Yes", "top_logprobs": tops}]},
    }
    body = json.dumps({"choices": [choice]}).encode()
    (reply,) = read_reply(body, request_of(top_logprobs=5), 1, 20)
    assert list(reply.logprobs[0].top.values()) == [0.0, -1e6]
    assert verdict_probability(reply) == 1.0


THOUGHT = "Final Judgement: No"


@pytest.mark.parametrize(
    "fields",
    [
        {"reasoning_content": THOUGHT},
        {"reasoning": THOUGHT},
        {"thinking": THOUGHT},
        {"reasoning_details": [{"type": "reasoning.text", "text": THOUGHT}]},
        {"thinking_blocks": [{"type": "thinking", "thinking": THOUGHT}]},
        {"content": [{"type": "reasoning", "text": THOUGHT}, {"type": "text", "text": "Yes."}]},
        {"content": [{"type": "reasoning", "summary": [{"type": "text", "text": THOUGHT}]}]},
        {"content": [{"type": "thinking", "thinking": THOUGHT}, {"type": "text", "text": "Yes."}]},
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": THOUGHT}]}]},
        {
            "content": [
                {"type": "output_text", "text": "Yes."},
                {"type": "summary", "text": THOUGHT},
            ]
        },
        {"content": [{"text": "Yes."}, "No.", None, {"type": "text", "text": ["No."]}]},
    ],
    ids=str,
)
def test_thinking_is_no_text_whatever_its_field(fields: dict[str, Any]) -> None:
    """Only content, and only its parts of type text, is what the model says."""
    body = {"choices": [{"message": {"role": "assistant", "content": "Yes.", **fields}}]}
    (reply,) = read_reply(json.dumps(body).encode(), request_of(), 1, 20)
    has_text = "Yes." in json.dumps(fields.get("content", "Yes."))
    assert reply.text == ("Yes." if has_text else "")
    assert bool(reply.empty_reason) == (not has_text)


CALL = {"function": {"name": "search", "arguments": "{}"}}


@pytest.mark.parametrize(
    ("message", "finish", "reason"),
    [
        ({"content": None, "tool_calls": [CALL]}, "tool_calls", "called a tool"),
        ({"content": None, "function_call": CALL}, "function_call", "called a tool"),
        ({"content": None, "refusal": "I\n\x1bcannot."}, "stop", r"the model refused: I cannot\."),
        ({"content": [{"type": "refusal", "refusal": "No."}]}, "stop", "the model refused: No"),
        ({"content": ""}, "content_filter", "content filter"),
        ({"content": None, "reasoning": "Hm."}, "stop", "thinking alone"),
        ({"content": " "}, "sensitive", "finish_reason sensitive"),
        ({"content": ""}, "stop", "^$"),
        ({"content": None}, None, "^$"),
        ({"content": None, "tool_calls": []}, "stop", "^$"),
    ],
)
async def test_an_empty_reply_says_why(message: Any, finish: Any, reason: str) -> None:
    """As far as the server does; it is no error of the server."""
    choice = {"index": 0, "message": message, "finish_reason": finish}
    script = Script(answer=lambda _: (200, {"choices": [choice]}))
    with serving(script) as (_, engine, _notes):
        (reply,) = await ask(engine, votes(1))
    assert not reply.text.strip()
    assert re.search(reason, reply.empty_reason)


async def test_malformed_logprobs_for_one_prompt_are_a_fault_of_its_tree() -> None:
    """Once the retries are exhausted; no error of Python leaves the engine."""

    def answer(body: dict[str, Any]) -> tuple[int, Any] | None:
        if "bad" not in body["messages"][0]["content"]:
            return None
        choice = {"message": {"content": "Yes"}, "logprobs": {"content": ["Yes"]}}
        return 200, {"choices": [choice]}

    brief = replace(SETTINGS, retry_for=0.1)
    with serving(Script(echo, answer=answer), brief) as (_, engine, _notes):
        with pytest.raises(PromptRefused, match="malformed log-probabilities"):
            await engine.generate(votes(1, "bad", top_logprobs=5))
        assert await ask(engine, votes(1, top_logprobs=5))


@pytest.mark.parametrize(
    ("role", "reason"),
    [
        ("draft", "the draft is empty: the server's content filter"),
        ("judge", "rounds of 5: 5 of the last 5 votes were empty: the server's content filter"),
        ("refine", "the reply is empty: the server's content filter"),
    ],
)
async def test_a_fault_says_why_the_replies_of_a_role_are_empty(role: str, reason: str) -> None:
    """Each role passes on what the server says."""

    def answer(body: dict[str, Any]) -> tuple[int, Any] | None:
        if kind_of(requests_of(body)[0]) != role:
            return None
        choice = {"message": {"content": None}, "finish_reason": "content_filter"}
        return 200, {"choices": [{**choice, "index": i} for i in range(body.get("n", 1))]}

    with serving(Script(World(yes=0.0), answer=answer)) as (_, engine, _notes):
        tree = await run_search(
            make_prompt(), real_roles(engine), make_settings("bfs", budget=Budget(3))
        )
        await engine.aclose()
    assert {fault.stage for fault in tree.faults} == {role}
    assert all(reason in fault.reason for fault in tree.faults)


STATUSES = (200, 204, 302, 400, 401, 403, 404, 405, 413, 418, 422, 429, 451, 500, 501, 503)
ERRORS = record(
    error=record(
        message=mostly(
            st.sampled_from(
                [
                    "seed",
                    "Unsupported parameter: 'n'",
                    "max_tokens must be at most 5",
                    "maximum context length is 9 tokens",
                    "use max_completion_tokens instead",
                    "temperature top_p logprobs stop",
                ]
            )
        ),
        code=mostly(st.sampled_from([400, "403", "insufficient_quota"])),
        param=mostly(st.sampled_from(["seed", "n", "max_tokens", "top_p", "messages"])),
    )
)


@settings(max_examples=120, deadline=None)
@given(
    status=st.sampled_from([200, *STATUSES]),
    content=bodies(CHAT_CHOICE).map(json.loads) | ERRORS,
    top=st.sampled_from([0, 5]),
)
def test_any_response_is_a_reply_or_an_error_of_spar(status: int, content: Any, top: int) -> None:
    """And comes to an end after a few requests, whatever a server answers to all of them."""

    async def send() -> int:
        script = Script(answer=lambda _: (status, content))
        with serving(script, replace(SETTINGS, retry_for=0.0)) as (server, engine, _):
            with contextlib.suppress(SparError):
                for reply in await ask(engine, votes(2, top_logprobs=top)):
                    check(reply)
            return len(server.seen)

    assert asyncio.run(send()) < 40
