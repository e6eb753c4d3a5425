"""Reading replies and errors, and learning a server's capabilities from them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spar.infer.engine import Request, Sampling
from spar.infer.engines.openai.choices import InvalidReply
from spar.infer.engines.openai.errors import (
    ErrorResponse,
    read_error,
    reduced_max_tokens,
    retry_after_seconds,
)
from spar.infer.engines.openai.learning import learn_from_error, learn_from_probe
from spar.infer.engines.openai.model_lists import read_models
from spar.infer.engines.openai.replies import (
    Capabilities,
    TooFewChoices,
    read_reply,
    split_completion_tokens,
)
from spar.types import Message

ASKED = Request((Message(role="user", content="hi"),), Sampling(max_tokens=20))


def reply_of(*choices: dict[str, Any], **usage: Any) -> bytes:
    """The body of a reply."""
    return json.dumps({"choices": list(choices), "usage": usage or None}).encode()


def choice(content: Any, index: int = 0, finish: Any = "stop") -> dict[str, Any]:
    """One choice of a reply."""
    message = {"role": "assistant", "content": content}
    return {"index": index, "message": message, "finish_reason": finish}


@pytest.mark.parametrize(
    ("raw", "text", "finish"),
    [
        (choice("a"), "a", "stop"),
        (choice(None), "", "stop"),
        (choice("a", finish="length"), "a", "length"),
        (choice("a", finish="model_length"), "a", "length"),
        (choice("a", finish="MAX_TOKENS"), "a", "length"),
        (choice("a", finish=["length"]), "a", "stop"),
        (choice("a", finish="content_filter"), "a", "stop"),
        (choice("a", finish=None), "a", "stop"),
        (choice([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]), "ab", "stop"),
        (choice("<think>no end", finish="length"), "", "length"),
    ],
)
def test_choices_are_read(raw: dict[str, Any], text: str, finish: str) -> None:
    """In every form of content and finish reason."""
    (reply,) = read_reply(reply_of(raw, prompt_tokens=3, completion_tokens=20), ASKED, 1, 20)
    assert (reply.text, reply.finish) == (text, finish)


@pytest.mark.parametrize(
    ("raw", "unfinished"),
    [
        (choice("<think>no end", finish="length"), True),
        (choice("<think>no end"), True),
        (choice("<think>end</think>"), False),
        (choice("a", finish="length"), False),
        (choice(None, finish="length"), False),
        (choice(None, finish="length") | {"message": {"reasoning_content": "hm"}}, True),
        (choice(None, finish="length") | {"message": {"reasoning": "hm", "content": ""}}, True),
        (choice(None) | {"message": {"reasoning": "hm", "content": ""}}, False),
    ],
)
def test_thinking_that_does_not_end_is_marked(raw: dict[str, Any], unfinished: bool) -> None:
    """In the text, or in a field of its own where the token limit cut it."""
    (reply,) = read_reply(reply_of(raw, prompt_tokens=3, completion_tokens=20), ASKED, 1, 20)
    assert reply.unfinished_thinking is unfinished


def read_text(capabilities: Capabilities, text: str, finish: str = "stop") -> str:
    """The text that a server's next reply is read as."""
    (reply,) = read_reply(reply_of(choice(text, finish=finish)), ASKED, 1, 20, capabilities)
    return reply.text


def test_replies_that_start_inside_thinking_are_recognized() -> None:
    """From the first reply that closes a block; from then on unclosed thinking is no answer."""
    capabilities = Capabilities()
    assert read_text(capabilities, "Hm.\n</think>\n\nYes") == "Yes"
    assert read_text(capabilities, "Hm. Final Judgement: Yes", "length") == ""
    assert read_text(capabilities, "Hm</think>No") == "No"
    assert read_text(capabilities, "<think>Hm</think>No") == "No"


def test_replies_without_thinking_outweigh_one_that_looks_like_it() -> None:
    """The text of such a server is not removed."""
    capabilities = Capabilities()
    for text in ("A plain answer.", "The tag\n</think>\nends it.", "Another"):
        read_text(capabilities, text)
    assert read_text(capabilities, "Cut off", "length") == "Cut off"
    assert read_text(capabilities, "Write `</think>` last.") == "Write `</think>` last."


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "invalid JSON"),
        pytest.param(b"[" * 200_000, "invalid JSON", id="nested"),
        (b'{"choices": [{', "invalid JSON"),
        (b"\xff\xfe", "invalid JSON"),
        (b"[]", "without choices$"),
        (b'{"error": {"message": "x"}}', r"without choices \(x\)"),
        (b'{"error": "Unexpected endpoint"}', r"without choices \(Unexpected endpoint\)"),
        (b'{"object": "error", "message": "x"}', r"without choices \(x\)"),
        (b"<!doctype html>\n<title>Log in</title>", r"begin with .<!doctype html> <title>Log in"),
        (reply_of(), "without choices"),
        (reply_of(choice("a"), choice("b", 1), choice("c", 2)), "wrong number"),
        (json.dumps({"choices": [1, 2]}).encode(), "without a message"),
        (reply_of(choice("a"), choice("b", 1, "abort")), "aborted"),
        (reply_of(choice("a"), choice("b", 1, "insufficient_system_resource")), "aborted"),
    ],
)
def test_invalid_replies_say_what_is_wrong(content: bytes, reason: str) -> None:
    """They are retried, so none may be read as a reply."""
    with pytest.raises(InvalidReply, match=reason):
        read_reply(content, ASKED, 2, 20)


@pytest.mark.parametrize("num_choices", [1, 4])
def test_fewer_choices_than_asked_for_are_missing_support_for_n(num_choices: int) -> None:
    """A server that ignores `n`, or has a limit on it, is not faulty."""
    with pytest.raises(TooFewChoices):
        read_reply(reply_of(*(choice("a", i) for i in range(num_choices))), ASKED, 5, 20)


@pytest.mark.parametrize(
    ("total", "details", "completion"),
    [
        (135, {"reasoning_tokens": 94}, 103),  # xAI
        (135, None, 103),  # Gemini
        (135, {"reasoning_tokens": None}, 103),
        (
            135,
            {"reasoning_tokens": 5},
            9,
        ),  # these are among the nine; what else is in the total is not known
        (41, {"reasoning_tokens": 5}, 9),
        (30, None, 9),
        ("many", None, 9),
    ],
)
def test_reasoning_that_only_the_total_counts_is_the_replys(
    total: Any, details: Any, completion: int
) -> None:
    """Where the total has more tokens than prompt and reply, by as many as were reasoning if that is said."""
    usage = {"prompt_tokens": 32, "completion_tokens": 9, "total_tokens": total}
    body = reply_of(choice("a"), **usage, completion_tokens_details=details)
    (reply,) = read_reply(body, ASKED, 1, 20)
    assert (reply.prompt_tokens, reply.completion_tokens) == (32, completion)


def test_choices_are_ordered_by_index() -> None:
    """The index determines the seed of each."""
    body = reply_of(choice("b", 1), choice("a", 0), completion_tokens=2)
    assert [reply.text for reply in read_reply(body, ASKED, 2, 20)] == ["a", "b"]


@given(
    total=st.integers(0, 500),
    choices=st.lists(st.tuples(st.none() | st.integers(1, 50), st.integers(0, 99)), min_size=1),
)
def test_split_tokens_add_up_to_the_total(
    total: int, choices: list[tuple[int | None, int]]
) -> None:
    """Whatever lengths are known."""
    lengths, sizes = zip(*choices, strict=True)
    parts = split_completion_tokens(total, lengths, sizes)
    assert sum(parts) == total
    assert len(parts) == len(choices)
    assert min(parts) >= 0


def test_split_tokens_use_known_lengths() -> None:
    """A choice at the limit has that many; the rest is shared by length of text."""
    assert split_completion_tokens(32, [20, None, None], [9, 19, 9]) == [20, 8, 4]
    assert split_completion_tokens(10, [20, None], [4, 4]) == [5, 5]


VLLM_LONG = (
    "This model's maximum context length is 256 tokens. However, your prompt contains at least 257 "
    "input tokens, which exceeds this limit even without any output tokens."
)
OPENAI_LONG = (
    "This model's maximum context length is 4097 tokens. However, you requested 4200 tokens "
    "(200 in the messages, 4000 in the completion)."
)


TGI_LONG = (
    "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 3000 `inputs` tokens "
    "and 2048 `max_new_tokens`"
)
SGLANG_LONG = (
    "Requested token count exceeds the model's maximum context length of 4096 tokens. You requested a total of {} "
    "tokens: 3000 tokens from the input messages and {} tokens for the completion."
)


@pytest.mark.parametrize(
    ("message", "max_tokens", "reduced"),
    [
        (TGI_LONG, 2048, 1096),
        ("`inputs` must have less than 4096 tokens. Given: 5000", 2048, 0),
        (SGLANG_LONG.format(5048, 2048), 2048, 1096),
        (SGLANG_LONG.format(4096, 1096), 1096, 1095),  # the last token must stay free
        (SGLANG_LONG.format(4095, 1095), 1095, 0),
        (
            "The input (5000 tokens) is longer than the model's context length (4096 tokens).",
            2048,
            0,
        ),
        ("Input is too long for requested model.", 8, 0),
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
def test_reduced_max_tokens(message: str, max_tokens: int, reduced: int) -> None:
    """From the numbers in the message, else half as many, down to a minimum."""
    error = ErrorResponse(400, message)
    assert error.too_long
    assert reduced_max_tokens(error, max_tokens) == reduced


def over_rate(limit: str, requested: str, used: str = "") -> str:
    """What OpenAI says of a request that exceeds a rate limit."""
    numbers = f"Limit {limit}, {used}Requested {requested}"
    return (
        f"Rate limit reached for gpt-4o in organization org-x on tokens per min (TPM): {numbers}."
    )


@pytest.mark.parametrize(
    ("status", "message", "n", "reduced"),
    [
        (429, over_rate("30000", "31000"), 1, 1048),
        (429, over_rate("30,000", "31,000"), 1, 1048),
        (413, over_rate("30000", "31000"), 1, 1048),  # Groq's
        (429, over_rate("30000", "35000"), 1, 0),
        (429, over_rate("30000", "35000"), 5, 1048),
        (429, "Request too large for gpt-4o.", 1, 1024),
    ],
)
def test_a_request_that_exceeds_a_rate_limit_alone_is_too_long(
    status: int, message: str, n: int, reduced: int
) -> None:
    """No wait helps, but fewer tokens for the reply may."""
    error = ErrorResponse(status, message)
    assert error.too_long and error.exceeds_rate and not error.retryable
    assert reduced_max_tokens(error, 2048, n) == reduced


@pytest.mark.parametrize(
    "message",
    [
        over_rate("30000", "2000", "Used 29000, "),
        "Rate limit reached on requests per min (RPM): Limit 3, Used 3, Requested 1.",
        "This request would exceed your rate limit of 30,000 input tokens per minute.",
        "Too many concurrent requests: limit 8, requested 9",
    ],
)
def test_a_request_that_has_to_wait_for_its_turn_is_not_too_long(message: str) -> None:
    """It is retried, since others have used up the limit."""
    error = ErrorResponse(429, message)
    assert error.retryable and not error.too_long and not error.exceeds_rate


RAW = json.dumps({"error": {"message": "too many tokens", "param": "messages", "code": 400}})


def from_provider(raw: Any) -> dict[str, Any]:
    """An error of OpenRouter, with the provider's own words."""
    metadata = {"raw": raw, "provider_name": "X"}
    return {"error": {"message": "Provider returned error", "code": 400, "metadata": metadata}}


@pytest.mark.parametrize(
    ("content", "message", "field"),
    [
        (from_provider(RAW), "Provider returned error: too many tokens", "messages"),
        (from_provider(json.loads(RAW)), "Provider returned error: too many tokens", "messages"),
        (from_provider(f"[{RAW}]"), "Provider returned error: too many tokens", "messages"),
        (from_provider("overloaded"), "Provider returned error: overloaded", ""),
        (from_provider("Provider returned error"), "Provider returned error", ""),
        (from_provider(None), "Provider returned error", ""),
        ({"error": {"message": "no", "metadata": "x"}}, "no", ""),
        ([{"error": {"message": "wrong", "code": 400}}], "wrong", ""),  # Gemini's
        ({"error": {"message": "a\nb", "param": "seed", "code": 400}}, "a b", "seed"),
        ({"error": "plain"}, "plain", ""),
        ({"message": "bare"}, "bare", ""),
        ({"detail": "fast"}, "fast", ""),
        ({"detail": [{"loc": ["body", "n"], "msg": "extra"}]}, "body.n: extra", "n"),
        (["odd"], '["odd"]', ""),
        (None, "", ""),
    ],
)
def test_error_fields_are_read(content: Any, message: str, field: str) -> None:
    """Wherever the server puts them."""
    error = read_error(400, {}, json.dumps(content).encode(), str)
    assert (error.message, error.field) == (message, field)


@pytest.mark.parametrize(
    ("status", "message", "rejects_key"),
    [
        (401, "", True),
        (400, "API key not valid. Please pass a valid API key.", True),  # Gemini's
        (400, "Incorrect API key provided: xa***.", True),  # xAI's
        (400, "API key expired. Please renew the API key.", True),
        (400, "bad request", False),
        (403, "flagged", False),
        (500, "invalid api key", False),
    ],
)
def test_a_rejected_key_is_known_by_status_or_words(
    status: int, message: str, rejects_key: bool
) -> None:
    """Not every server's status says so."""
    assert ErrorResponse(status, message).rejects_key is rejects_key


@given(st.binary(max_size=200))
def test_any_body_is_read_as_an_error(content: bytes) -> None:
    """Printable and on one line."""
    assert read_error(400, {}, content, str).message.isprintable()


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504, 529])
def test_transient_statuses_are_retryable(status: int) -> None:
    """Whatever the message."""
    assert ErrorResponse(status, "").retryable


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 413, 422, 501])
def test_permanent_statuses_are_not_retryable(status: int) -> None:
    """Nor is an exhausted quota."""
    assert not ErrorResponse(status, "").retryable
    assert not ErrorResponse(429, "", "insufficient_quota").retryable


def test_retry_after_headers() -> None:
    """Milliseconds, seconds or a date; anything else is 0."""
    later = datetime.now(UTC) + timedelta(seconds=90)
    assert retry_after_seconds({"retry-after-ms": "1500", "retry-after": "9"}) == 1.5
    assert retry_after_seconds({"retry-after": "2"}) == 2.0
    assert 60 < retry_after_seconds({"retry-after": format_datetime(later, usegmt=True)}) <= 90
    for odd in ["", "soon", "-3", "nan", "inf", "Fri, 01 Jan 1999 00:00:00 GMT"]:
        assert retry_after_seconds({"retry-after": odd}) == 0.0


@pytest.mark.parametrize(
    ("error", "field"),
    [
        (ErrorResponse(400, "n > 1 is not supported"), "n"),
        (ErrorResponse(422, "body.n: extra fields not permitted", field="n"), "n"),
        (ErrorResponse(400, "this server makes no multiple completions"), "n"),
        (ErrorResponse(400, "Unknown field 'seed'"), "seed"),
        (
            ErrorResponse(
                400, "'temperature' does not support 0.7 with this model. Only the default (1)"
            ),
            "temperature",
        ),
    ],
)
def test_unsupported_fields_are_learned(error: ErrorResponse, field: str) -> None:
    """From the field that the error names, or from its message."""
    capabilities = Capabilities()
    assert learn_from_error(
        capabilities, error, {"n": 3, "seed": 1, "temperature": 0.7, "max_tokens": 9}
    )
    assert capabilities.unsupported == {field}


@pytest.mark.parametrize(
    "message", ["n", "bad request", "temperature must be below 2", "cannot render an answer"]
)
def test_other_errors_change_nothing(message: str) -> None:
    """A field is left out only if the server refuses that field."""
    capabilities = Capabilities()
    body = {"n": 3, "seed": 1, "temperature": 0.7, "max_tokens": 9}
    assert not learn_from_error(capabilities, ErrorResponse(400, message), body)
    assert not capabilities.unsupported


@pytest.mark.parametrize(
    ("message", "limit"),
    [
        (
            "Invalid max_tokens value, the valid range of max_tokens is [1, 8192]",
            8192,
        ),  # DeepSeek's
        ("Range of max_tokens should be [1, 8192]", 8192),  # DashScope's
        ("max_tokens must be between 16 and 8192", 8192),
        ("max_tokens: expected 1 <= max_tokens <= 8,192", 8192),
        ("max_tokens is out of the range 1-8192", 8192),
        (
            "max_tokens is too large: 16384. This model supports at most 8192 completion tokens",
            8192,
        ),
        ("Input validation error: `max_new_tokens` must be <= 8192. Given: 16384", 8192),  # TGI's
        ("max_tokens must not exceed the limit (8,192)", 8192),
        ("max_tokens must be <= 4096 (received in range 0-5)", 4096),
        ("max_tokens: the maximum allowed range 1 to 8192", 8192),
        ("max_tokens 1 is too small", 0),
        ("max_tokens must be at least 1", 0),
        ("max_tokens: expected a value >= 16", 0),
        ("the valid range of max_tokens is [1, 16384]", 0),
        ("the range of n is [1, 8]", 0),
    ],
)
def test_the_limit_on_replies_is_learned(message: str, limit: int) -> None:
    """From the upper bound that a message names, never from a lower one or from the field's own name."""
    capabilities = Capabilities()
    error = ErrorResponse(400, message)
    assert bool(learn_from_probe(capabilities, error, {"max_tokens": 16384})) is bool(limit)
    assert capabilities.max_reply_tokens == limit


@pytest.mark.parametrize(
    ("temperature", "top_p", "omits"), [(0.0, 0.9, True), (0.7, 1.0, True), (0.7, 0.9, False)]
)
@pytest.mark.parametrize("ending", ["cannot both be specified", "are not supported together"])
def test_of_temperature_and_top_p_the_one_without_effect_is_left_out(
    temperature: float, top_p: float, omits: bool, ending: str
) -> None:
    """As Anthropic's newer models demand; where both have an effect, neither goes without being asked for."""
    capabilities = Capabilities()
    error = ErrorResponse(400, f"`temperature` and `top_p` {ending} for this model.")
    body = {"temperature": temperature, "top_p": top_p}
    assert bool(learn_from_error(capabilities, error, body)) is omits
    assert capabilities.omits_idle_top_p is omits
    assert not capabilities.min_temperature and not capabilities.unsupported


@pytest.mark.parametrize(
    "message",
    ["top_logprobs must be less than or equal to 5", "top_logprobs must be between 0 and 5"],
)
def test_the_limit_on_logprobs_is_learned(message: str) -> None:
    """From the message."""
    capabilities = Capabilities()
    error = ErrorResponse(400, message)
    assert learn_from_error(capabilities, error, {"logprobs": True, "top_logprobs": 20})
    assert (capabilities.max_top_logprobs, capabilities.unsupported) == (5, set())


def test_deeply_nested_json_is_handled() -> None:
    """In an error and in a list of models."""
    deep = b"[" * 200_000
    assert read_error(500, {}, deep, str).message.startswith("[[[")
    assert read_models(deep) is None
