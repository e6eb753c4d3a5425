"""Refusals: those of a prompt are faults of its tree, those of a setting are learned or end the run."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from spar.errors import EngineError, PromptRefused, ServerRefused
from spar.infer.engine import Request, Sampling, StructuredOutputs
from spar.infer.engine_wrappers import constrains
from spar.types import Message
from tests.answers import Script, error_body
from tests.infer.openai_helpers import SETTINGS, ask, echo, serving, votes
from tests.infer.test_openai_faults import WORLD, search
from tests.servers import ScriptedServer

Answer = tuple[int, Any] | None
PROBE = "single word OK"


def refuse(status: int, words: str, message: str = "content policy") -> Script:
    """A server that refuses conversations with these words, whoever sends them."""

    def answer(body: dict[str, Any]) -> Answer:
        texts = [turn["content"] for turn in body["messages"]]
        return (status, error_body(message)) if any(words in text for text in texts) else None

    return Script(WORLD, answer=answer)


@pytest.mark.parametrize("status", [400, 403, 404, 405, 413, 422, 451])
async def test_a_refused_prompt_is_a_fault_of_its_tree_wherever_it_stands(
    status: int, tmp_path: Path
) -> None:
    """The first prompt or the last, the other trees are those of a server that refuses nothing."""
    with ScriptedServer(Script(WORLD), keep=False) as server:
        faultless = await search(tmp_path / "faultless", [server], num_prompts=3)
    for index in (0, 2):
        with ScriptedServer(refuse(status, f"line {index}"), keep=False) as server:
            trees = await search(tmp_path / str(index), [server], num_prompts=3, concurrency=1)
        assert [tree for tree in trees if tree["prompt"]["id"] != str(index)] == [
            tree for tree in faultless if tree["prompt"]["id"] != str(index)
        ]
        assert not trees[index]["nodes"]
        assert trees[index]["faults"]


async def test_refused_prompts_are_counted_in_a_few_notes() -> None:
    """The 1st, the 10th and so on, so that a run of faults is not silent."""
    with serving(refuse(400, "bad")) as (server, engine, notes):
        results = await asyncio.gather(
            *(engine.generate(votes(1, f"bad {i}", tree=i)) for i in range(12)),
            return_exceptions=True,
        )
        await engine.aclose()
    assert {type(result) for result in results} == {PromptRefused}
    assert len(notes) == 2
    assert "10 times so far" in notes[1]
    probes = sum(PROBE in seen.text for seen in server.seen)
    assert 1 <= probes < 12  # those that are refused together share one


@pytest.mark.parametrize(
    ("status", "message", "error", "words"),
    [
        (401, "no", ServerRefused, "rejected the key"),
        (403, "no", ServerRefused, "rejected the key"),
        (404, "no", ServerRefused, "404"),
        (402, "no credit", EngineError, "no credit"),
        (400, "bad request", ServerRefused, "temperature 0.7, top_p 0.5.* change the settings"),
        (422, "`top_p` must be >= 0.9", ServerRefused, "with top_p 0.5, .*--top-p, --vote-top-p"),
        (501, "not here", ServerRefused, "not here"),
    ],
)
async def test_a_server_that_refuses_every_prompt_ends_the_run(
    status: int, message: str, error: type[Exception], words: str
) -> None:
    """At the first request or after it has served others, such as when a key is revoked."""
    refusal = (status, error_body(message))
    with serving(Script(answer=lambda _: refusal)) as (_, engine, _notes):
        with pytest.raises(error, match=words):
            await engine.generate(votes(1, top_p=0.5))
        await engine.aclose()
    with serving(Script(echo)) as (server, engine, _notes):
        await engine.generate(votes(1, top_p=0.5))
        server.script = Script(answer=lambda _: refusal)
        with pytest.raises(error, match=words) as caught:
            await ask(engine, votes(1, top_p=0.5))
    assert not isinstance(caught.value, PromptRefused)


@pytest.mark.parametrize(
    ("refused", "message", "sent"),
    [
        ({"top_p": 1.0}, "`top_p` must be > 0.0 and < 1.0", {"top_p": None}),
        ({"temperature": 0.0}, "`temperature` must be strictly positive", {"temperature": 0.01}),
        ({"max_tokens": 512}, "max_tokens must be at most 100", {"max_tokens": 100}),
        ({"max_tokens": 512}, "the range of max_tokens is [1, 100]", {"max_tokens": 100}),
        (
            {"temperature": 0.0},
            "`temperature` and `top_p` cannot both be specified",
            {"temperature": 0, "top_p": None},
        ),
        ({"seed": 10}, "Unknown field seed", {"seed": None}),
        ({"stop": ["x"]}, "'stop' is not supported", {"stop": None}),
        (
            {"max_tokens": 512},
            "Use max_completion_tokens instead",
            {"max_tokens": None, "max_completion_tokens": 512},
        ),
    ],
)
async def test_a_refused_setting_is_learned_once(
    refused: dict[str, Any], message: str, sent: dict[str, Any]
) -> None:
    """The value is replaced or left out, with one note, though the message alone says so."""

    def answer(body: dict[str, Any]) -> Answer:
        (name, value), *_ = refused.items()
        is_refused = body.get(name) == value and ("both" not in message or "top_p" in body)
        return (422, {"error": message}) if is_refused else None

    fields = {"temperature": refused.get("temperature", 0.7), "stop": ("x",)}
    with serving(Script(echo, answer=answer)) as (server, engine, notes):
        assert await engine.generate(votes(1, **fields))
        assert await ask(engine, votes(1, "again", **fields))
    for name, value in sent.items():
        assert server.seen[-1].body.get(name) == value
    assert len(server.seen) == 4  # refused, probe, without it, the second
    assert len(notes) == 1


@pytest.mark.parametrize(
    ("extra", "error"),
    [
        ({"top_p": 1.0}, {"message": "`top_p` must be > 0.0 and < 1.0"}),
        ({"seed": 1}, {"message": "unsupported", "param": "seed"}),
        ({"max_tokens": 999}, {"message": "max_tokens must be at most 100"}),
        ({"max_tokens": 999}, {"message": "the maximum context length is 100 tokens"}),
        ({"chat_template_kwargs": {"a": 1}}, {"message": "unknown field chat_template_kwargs"}),
    ],
)
async def test_a_refused_extra_field_ends_the_run(extra: Any, error: Any) -> None:
    """What the user adds to every request is neither left out nor replaced, and not sent for ever."""

    def answer(body: dict[str, Any]) -> Answer:
        return (400, {"error": error}) if extra.items() <= body.items() else None

    with (
        serving(Script(echo, answer=answer)) as (server, engine, _),
        pytest.raises(ServerRefused, match=next(iter(extra))),
    ):
        await ask(engine, votes(1, extra_body=extra))
    assert len(server.seen) <= 2


NULLS = ("max_tokens", "n", "seed", "stop", "top_p", "temperature", "top_logprobs", "logprobs")


@pytest.mark.parametrize("name", NULLS)
async def test_a_field_that_an_extra_field_sets_to_null(name: str) -> None:
    """The server's own value holds; a request is served, and a refused prompt is one."""
    sampling = Sampling(0.7, 0.9, seed=1, stop=("x",), extra_body={name: None})
    requests = [Request((Message(role="user", content=f"{i}"),), sampling, tree=1) for i in (1, 2)]
    with serving(Script(echo)) as (server, engine, _):
        assert len(await ask(engine, requests)) == 2
    assert all(seen.body[name] is None for seen in server.seen)
    with serving(refuse(400, "bad")) as (_, engine, _), pytest.raises(PromptRefused):
        await ask(engine, [replace(requests[0], messages=votes(1, "bad")[0].messages)])


@pytest.mark.parametrize("name", ["n", "seed", "stop", "top_p", "temperature"])
async def test_a_setting_that_the_refusal_does_not_name_is_found(name: str) -> None:
    """By trying, once for all requests, so that a server without it serves in spite of its message."""

    def answer(body: dict[str, Any]) -> Answer:
        is_greedy = body["temperature"] == 0
        refused = is_greedy if name == "temperature" else name in body and not is_greedy
        return (422, {"error": "bad request"}) if refused else None

    with serving(Script(echo, answer=answer)) as (server, engine, notes):
        sampling: dict[str, Any] = {
            "stop": ("x",),
            "temperature": 0.0 if name == "temperature" else 0.7,
        }
        calls = [engine.generate(votes(2, f"t{i}", tree=i, **sampling)) for i in range(5)]
        assert all(len(replies) == 2 for replies in await asyncio.gather(*calls))
        before = len(server.seen)
        await ask(engine, votes(1, **sampling))
    assert len(server.seen) == before + 1
    assert len(notes) == 1


@pytest.mark.parametrize(
    ("outputs", "field"),
    [
        (
            StructuredOutputs({"type": "array"}),
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "reply", "strict": True, "schema": {"type": "array"}},
                }
            },
        ),
        (StructuredOutputs(regex="yes|no"), {"structured_outputs": {"regex": "yes|no"}}),
    ],
)
@pytest.mark.parametrize("message", ["", "{} is not supported", "this type is unavailable now"])
async def test_what_replies_must_match_is_sent_until_it_is_refused(
    outputs: StructuredOutputs, field: dict[str, Any], message: str
) -> None:
    """Then requests are sent without it, with one note, whether the refusal names the field or not."""
    (name, value), *_ = field.items()

    def answer(body: dict[str, Any]) -> Answer:
        refused = message and name in body
        return (400, {"error": message.format(name)}) if refused else None

    with serving(Script(echo, answer=answer)) as (server, engine, notes):
        assert constrains(engine)
        assert len(await engine.generate(votes(2, structured_outputs=outputs))) == 2
        assert server.seen[0].body[name] == value
        before = len(server.seen)
        assert len(await ask(engine, votes(2, "again", structured_outputs=outputs))) == 2
    sent = server.seen[before:]
    assert [seen.body.get(name) for seen in sent] == [None if message else value] * len(sent)
    assert len(sent) == 1 and len(notes) == bool(message)


async def test_seeds_are_kept_where_a_server_takes_none_beside_several_samples() -> None:
    """As those of TGI, which name both fields: samples are requested one by one, and can be repeated."""

    def answer(body: dict[str, Any]) -> Answer:
        message = "Input validation error: `seed` must not be set when `best_of` > 1"
        return (422, {"error": message}) if "n" in body and "seed" in body else None

    with serving(Script(echo, answer=answer)) as (server, engine, notes):
        texts = [reply.text for reply in await ask(engine, votes(3))]
    assert texts == ["asked 10", "asked 11", "asked 12"]
    assert all("seed" in seen.body for seen in server.seen)
    assert len(notes) == 1


async def test_requests_that_are_refused_together_learn_together() -> None:
    """A setting that the first of them has learned is no fault of the other prompts; seeds are kept if they can be."""

    def answer(body: dict[str, Any]) -> Answer:
        large = body.get("seed", 0) >= 2**31
        return (400, error_body("Invalid value at 'seed' (TYPE_INT32)")) if large else None

    seed = 2**40 + 7
    requests = [votes(1, f"prompt {i}", tree=i, seed=seed)[0] for i in range(40)]
    with serving(Script(echo, answer=answer)) as (_, engine, notes):
        replies = await asyncio.gather(*(engine.generate([request]) for request in requests))
        await engine.aclose()
    assert {reply.text.split()[-1] for (reply,) in replies} == {"7"}
    assert len(notes) == 1


async def test_a_message_that_quotes_the_prompt_teaches_nothing() -> None:
    """Fields and numbers in a quotation are not about the request."""
    bad = (
        "bad 'n' seed top_logprobs stop: maximum context length is 9, max_completion_tokens instead"
    )
    script = refuse(400, "bad", f"flagged: {bad}")
    with serving(script) as (server, engine, _):
        with pytest.raises(PromptRefused):
            await engine.generate(votes(2, bad, stop=("x",)))
        before = len(server.seen)
        await ask(engine, votes(2, stop=("x",)))
    assert len(server.seen) == before + 1
    body = server.seen[-1].body
    assert (body["n"], body["seed"], body["stop"], body["max_tokens"]) == (2, 10, ["x"], 512)


@pytest.mark.parametrize("code", [403, "400"])
async def test_an_error_with_status_200_is_an_error(code: Any) -> None:
    """As gateways send it: the prompt is refused at once."""

    def answer(body: dict[str, Any]) -> Answer:
        bad = "bad" in body["messages"][0]["content"]
        return (200, {"error": {"code": code, "message": "flagged"}}) if bad else None

    with (
        serving(Script(echo, answer=answer)) as (server, engine, _),
        pytest.raises(PromptRefused, match="flagged"),
    ):
        await ask(engine, votes(1, "bad"))
    assert len(server.seen) == 2


@pytest.mark.parametrize("status", [200, 500])
async def test_a_prompt_that_always_fails_is_a_fault_of_its_tree(status: int) -> None:
    """Once its retries are exhausted, where a harmless prompt is served."""

    def answer(body: dict[str, Any]) -> Answer:
        bad = "bad" in body["messages"][0]["content"]
        return (status, {"error": "crashed"}) if bad else None

    settings = replace(SETTINGS, retry_for=0.1)
    with serving(Script(echo, answer=answer), settings) as (_, engine, _notes):
        with pytest.raises(PromptRefused, match=r"gave up after .* other prompts are served"):
            await engine.generate(votes(1, "bad"))
        assert await ask(engine, votes(1))


@pytest.mark.parametrize("choices", [[], None, [{"index": 0, "message": None}]])
async def test_a_prompt_that_gets_no_text_is_not_retried_for_the_whole_window(choices: Any) -> None:
    """As content filters send it: a fault of its tree after four attempts; one such reply is sent again."""
    counts: Counter[str] = Counter()

    def answer(body: dict[str, Any]) -> Answer:
        text = body["messages"][0]["content"]
        counts[text] += 1
        is_empty = text == "bad" or (text == "once" and counts[text] == 1)
        return (200, {"choices": choices}) if is_empty else None

    with serving(Script(echo, answer=answer), replace(SETTINGS, retry_for=3600)) as (_, engine, _n):
        async with asyncio.timeout(60):
            with pytest.raises(PromptRefused, match=r"gave up after 4 failed attempts; other prom"):
                await engine.generate(votes(1, "bad"))
            assert await ask(engine, votes(1, "once"))
    assert (counts["bad"], counts["once"]) == (4, 2)


async def test_one_reply_without_text_after_other_failures_is_sent_again() -> None:
    """Only replies without text in a row tell of a content filter; a server in trouble sends one among its errors."""
    counts: Counter[str] = Counter()

    def answer(body: dict[str, Any]) -> Answer:
        text = body["messages"][0]["content"]
        counts[text] += 1
        if text != "unlucky":
            return None
        replies = {number: (500, error_body("trouble")) for number in (1, 2, 3, 5)}
        return replies.get(counts[text], (200, {"choices": []}) if counts[text] < 7 else None)

    with serving(Script(echo, answer=answer), replace(SETTINGS, retry_for=3600)) as (_, engine, _n):
        async with asyncio.timeout(60):
            assert await ask(engine, votes(1, "unlucky"))
    assert counts["unlucky"] == 7


def strict_template(body: dict[str, Any], status: int = 400) -> Answer:
    """A server whose chat template takes turns of user and assistant in alternation only."""
    roles = [turn["role"] for turn in body["messages"]]
    if "system" in roles:
        return status, error_body("System role not supported")
    if any(role != ("user", "assistant")[i % 2] for i, role in enumerate(roles)):
        return status, error_body(
            "Conversation roles must alternate user/assistant/user/assistant/..."
        )
    return None


@pytest.mark.parametrize("status", [400, 500])  # llama.cpp's is 500
async def test_turns_that_a_server_refuses_are_folded_and_sent_again(status: int) -> None:
    """Once for each kind of refusal, noted once; later requests are folded at once."""
    turns = [("system", "Be brief."), ("user", "a"), ("user", "b")]
    messages = tuple(Message.model_validate({"role": r, "content": c}) for r, c in turns)
    requests = [Request(messages, Sampling(0.7, seed=i), tree=i) for i in (1, 2)]
    with serving(Script(lambda _: "fine", answer=partial(strict_template, status=status))) as (
        server,
        engine,
        notes,
    ):
        first = await engine.generate(requests[:1])
        num_sent = len(server.seen)
        second = await ask(engine, requests[1:])
    assert [reply.text for reply in first + second] == ["fine", "fine"]
    assert server.seen[-1].body["messages"] == [{"role": "user", "content": "Be brief.\n\na\n\nb"}]
    assert len(server.seen) == num_sent + 1
    assert sorted(note.partition(": ")[2].partition(";")[0] for note in notes) == [
        "refuses system turns",
        "refuses two turns of one role in a row",
    ]


async def test_a_prompt_that_quotes_such_a_refusal_is_refused_once() -> None:
    """There is nothing to fold in a single turn."""
    script = refuse(400, "bad", "the text 'roles must alternate' is not allowed")
    with serving(script) as (_, engine, _), pytest.raises(PromptRefused):
        await ask(engine, votes(1, "bad"))
