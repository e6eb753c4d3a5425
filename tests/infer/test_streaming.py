"""Replies that are shown while they are generated: what is shown, and what is not shown too early."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spar.infer.engine import Completion, Deployment, Request, Sampling
from spar.infer.engine_wrappers import AdapterEngine, InstrumentedEngine
from spar.infer.engines.chat import group_samples
from spar.infer.engines.fake import FakeEngine
from spar.infer.engines.growing import growing_text
from spar.infer.engines.openai.engine import OpenAIEngine, OpenAISettings
from spar.infer.engines.openai.streamed import StreamedReply
from spar.infer.engines.stops import unfinished_stop
from spar.infer.journal import Journal
from spar.infer.streaming import TextDelta, TextDeltas, stream
from spar.thinking import read_answer
from spar.types import Message
from tests.answers import Script, events_of
from tests.servers import ScriptedServer

REPLY = "one two three four five six seven eight nine ten"


def ask(**sampling: Any) -> Request:
    """A request."""
    return Request((Message(role="user", content="count"),), Sampling(**sampling))


def joined(pieces: list[TextDelta]) -> str:
    """What the pieces make."""
    text = ""
    for piece in pieces:
        text = piece.text if piece.restarts else text + piece.text
    return text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("A word.", "A word."),
        ("A word. ", "A word."),
        ("", ""),
        ("<", ""),
        ("<thi", ""),
        ("<think>Hm.", ""),
        ("<think>Hm.</think>\n\nA", "A"),
        ("<think>Hm.</think>\n<think", ""),
        ("<b>bold", "<b>bold"),
        ("Here", ""),
        ("Here is a list", "Here is a list"),
        ("Here's my thought process: so", ""),
        ("[TH", ""),
        ("[link]", "[link]"),
        ("wait, STO", "wait,"),
        ("wait, STORE", "wait, STORE"),
        ("wait, STOP and more", "wait, "),
    ],
)
def test_what_may_still_change_is_not_shown(text: str, shown: str) -> None:
    """Thinking, tags that are not whole yet, and what may become a stop string."""
    assert growing_text(text, ask(stop=("STOP",))) == shown


def test_a_plain_reply_shows_its_thinking() -> None:
    """Its completion has it too."""
    request = replace(ask(), plain=True)
    assert growing_text("<think>Hm", request) == "<think>Hm"


@given(st.lists(st.sampled_from(["<think>", "</think>", "Hm.", " ", "\n\n", "<b>", "Here"])))
def test_only_an_unopened_block_takes_back_what_was_shown(parts: list[str]) -> None:
    """Each beginning of a reply shows a beginning of its answer, unless the end shows that all of it was thinking."""
    text = "".join(parts)
    answer = read_answer(text)
    shown = [growing_text(text[:end], ask()) for end in range(len(text))]
    if "</think>" not in text or text.lstrip().startswith("<think>"):
        assert all(answer.text.startswith(beginning) for beginning in shown)


@given(st.text("ab", max_size=8), st.lists(st.text("ab", min_size=1, max_size=4), max_size=3))
def test_the_longest_beginning_of_a_stop_string_is_held_back(text: str, stop: list[str]) -> None:
    """And no more than that."""
    held = unfinished_stop(text, stop)
    assert all(
        not (text.endswith(string[:size]) and size > held)
        for string in stop
        for size in range(1, len(string))
    )
    assert held == 0 or any(string.startswith(text[len(text) - held :]) for string in stop)


def test_deltas_are_what_is_new() -> None:
    """A shorter text may be on the way to the same again; another text restarts."""
    pieces: list[TextDelta] = []
    deltas = TextDeltas(pieces.append)
    for text in ("one", "one two", "on", "one t", "one two three"):
        deltas(text)
    deltas("ones")
    deltas.finish("on")
    assert [(piece.text, piece.restarts) for piece in pieces] == [
        ("one", False),
        (" two", False),
        (" three", False),
        ("ones", True),
        ("on", True),
    ]
    assert joined(pieces) == "on"


async def test_wrappers_pass_on_the_callback() -> None:
    """Counting and adapters change nothing."""
    engine = AdapterEngine(InstrumentedEngine(FakeEngine(lambda _: REPLY)), "a")
    pieces: list[TextDelta] = []
    await stream(engine, ask(), pieces.append)
    assert len(pieces) == len(REPLY.split())


async def test_a_stored_reply_comes_whole(tmp_path: Any) -> None:
    """A journal gives it in one piece, whether it was streamed when it was generated or not."""
    first = Journal(tmp_path / "calls.jsonl", (), lambda _: None)
    await first.wrap(FakeEngine(lambda _: REPLY)).generate([ask(seed=1)])
    first.close(finished=False)
    second = Journal(tmp_path / "calls.jsonl", (), lambda _: None)
    engine = FakeEngine(lambda _: "another")
    pieces: list[TextDelta] = []
    completion = await stream(second.wrap(engine), ask(seed=1), pieces.append)
    assert (completion.text, engine.requests) == (REPLY, [])
    assert pieces == [TextDelta(REPLY)]


def test_votes_with_a_callback_are_not_grouped() -> None:
    """A callback takes one reply."""
    requests = [ask(temperature=1.0, seed=seed) for seed in range(3)]
    assert len(group_samples(requests)) == 1
    heard = [replace(request, on_text=print) for request in requests]
    assert len(group_samples(heard)) == 3


@pytest.mark.model
async def test_nothing_is_shown_after_a_cancellation(tiny_model: Any) -> None:
    """The callback is not called any more."""
    from spar.infer.engines.hf import HfEngine, HfSettings

    engine = HfEngine(str(tiny_model), HfSettings(device="cpu"))
    heard: list[str] = []
    started = asyncio.Event()

    def on_text(text: str) -> None:
        heard.append(text)
        started.set()

    request = replace(ask(max_tokens=200, temperature=1.0, seed=3), on_text=on_text)
    task = asyncio.create_task(engine.generate([request]))
    await asyncio.wait_for(started.wait(), 30)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    num_heard = len(heard)
    await asyncio.sleep(0.05)
    assert len(heard) == num_heard > 0
    await engine.aclose()


def open_engine(server: ScriptedServer) -> OpenAIEngine:
    """An engine that retries at once."""
    settings = OpenAISettings(timeout=20.0, retry_for=5.0, initial_backoff=0.001)
    return OpenAIEngine(Deployment("tiny", (server.url,)), settings)


def breaking_once(script: Script) -> ScriptedServer:
    """A server whose first reply ends in the middle."""

    def on_request(number: int) -> None:
        server.script = replace(script, fault_share=float(number == 1), faults=("half",))

    server = ScriptedServer(script, on_request=on_request)
    return server


async def listen(
    server: ScriptedServer,
) -> tuple[Completion, list[TextDelta], ScriptedServer]:
    """Stream one reply of a server."""
    pieces: list[TextDelta] = []
    with server:
        engine = open_engine(server)
        completion = await stream(engine, ask(), pieces.append)
        await engine.aclose()
    return completion, pieces, server


async def test_a_server_streams_only_for_a_callback() -> None:
    """The reply has its usage, and requests without a callback do not stream."""
    completion, pieces, server = await listen(ScriptedServer(Script(lambda _: REPLY)))
    assert completion.text == joined(pieces) == REPLY
    assert completion.completion_tokens == 10 and completion.prompt_tokens == 1
    assert server.seen[0].body["stream_options"] == {"include_usage": True}
    with ScriptedServer(Script(lambda _: REPLY)) as silent:
        engine = open_engine(silent)
        assert await engine.generate([ask()]) == [completion]
        await engine.aclose()
    assert "stream" not in silent.seen[0].body


async def test_a_broken_stream_is_taken_up_without_repeating_it() -> None:
    """A server that breaks off in the middle is asked again; the same text goes on where it was."""
    completion, pieces, server = await listen(breaking_once(Script(lambda _: REPLY)))
    assert server.num_requests == 2
    assert "".join(piece.text for piece in pieces) == completion.text == REPLY


async def test_a_placeholder_for_a_key_is_shown_in_a_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reply about Ollama, whose clients send its name as their key, is not taken back at its end."""
    monkeypatch.setenv("SPAR_TEST_KEY", "ollama")
    pieces: list[TextDelta] = []
    settings = OpenAISettings(api_key_env="SPAR_TEST_KEY", timeout=20.0)
    text = "I run on ollama, which is a server of models on your own machine."
    with ScriptedServer(Script(lambda _: text)) as server:
        engine = OpenAIEngine(Deployment("tiny", (server.url,)), settings)
        completion = await stream(engine, ask(), pieces.append)
        await engine.aclose()
    assert joined(pieces) == completion.text == text
    assert not any(piece.restarts for piece in pieces)


async def test_another_text_after_a_fault_restarts() -> None:
    """An unseeded reply is another one: what was shown of the first is void."""
    texts = iter([REPLY, "another text than before"])
    completion, pieces, _ = await listen(breaking_once(Script(lambda _: next(texts))))
    assert [piece.restarts for piece in pieces].count(True) == 1
    assert joined(pieces) == completion.text == "another text than before"


@pytest.mark.parametrize("lacks", [("stream_options",), ("stream",)])
async def test_a_server_that_refuses_to_stream_is_served_whole(lacks: tuple[str, ...]) -> None:
    """It is learned from the refusal."""
    completion, pieces, server = await listen(ScriptedServer(Script(lambda _: REPLY, lacks=lacks)))
    assert completion.text == joined(pieces) == REPLY
    assert not set(lacks) & set(server.seen[-1].body)


async def test_a_server_that_ignores_the_wish_to_stream_is_read_as_ever() -> None:
    """Its reply comes whole."""
    completion, pieces, _ = await listen(
        ScriptedServer(Script(lambda _: REPLY, ignores=("stream",)))
    )
    assert pieces == [TextDelta(REPLY)]
    assert completion.completion_tokens == 10


@settings(max_examples=30)
@given(st.text(min_size=1, max_size=30), st.integers(1, 40))
def test_events_make_the_body_of_a_whole_reply(text: str, size: int) -> None:
    """However the bytes are cut."""
    message = {"role": "assistant", "content": text}
    content = {
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1},
    }
    raw, shown = b"".join(events_of(content)), list[str]()
    reply = StreamedReply(shown.append)
    for start in range(0, len(raw), size):
        reply.feed(raw[start : start + size])
    whole = json.loads(reply.body(raw))
    assert whole["usage"] == content["usage"]
    assert whole["choices"][0]["message"]["content"] == text == shown[-1]
    assert all(text.startswith(part) for part in shown)


@pytest.mark.parametrize(
    "raw",
    [
        b"data: {\n\ndata: [1]\n\n",
        b'data: {"choices": [1, {"index": "x", "delta": null}]}\n\n',
        b'data: {"choices": [{"index": 0, "delta": {"content": "half"}}]}\n\n',
        b'data: {"choices": [{"delta": {"content": "a"}}]}\n\ndata: {"choices": [{"delta": {"con\n\n'
        b'data: {"choices": [{"delta": {"content": "c"}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n',
    ],
)
def test_a_stream_that_breaks_off_is_no_reply(raw: bytes) -> None:
    """Its body is no JSON, so that the request is sent again."""
    reply = StreamedReply(lambda _: None)
    reply.feed(raw)
    assert reply.body(raw) == b""


def test_an_event_may_have_several_lines() -> None:
    """As the standard of server-sent events has it; what is no object, such as a ping, is passed over."""
    reply = StreamedReply()
    reply.feed(
        b'data: ping\n\ndata: {"choices": [\ndata: {"delta": {"content": "a"}}\ndata: ]}\n\n'
    )
    reply.feed(b"data: [DONE]\n\n")
    (choice,) = json.loads(reply.body(b""))["choices"]
    assert choice["message"]["content"] == "a"


def test_an_error_in_a_stream_is_the_reply() -> None:
    """As a gateway sends it after the first events."""
    reply = StreamedReply()
    reply.feed(b'data: {"choices": [{"delta": {"content": "a"}}]}\r\n\r\n')
    reply.feed(b'data: {"error": {"code": 502, "message": "gone"}}\r\n\r\n')
    assert json.loads(reply.body(b"")) == {"error": {"code": 502, "message": "gone"}}


def test_what_is_repeated_in_each_event_is_read_once() -> None:
    """Some servers say in every event why the reply ends, or say it again beside the usage."""
    reply = StreamedReply()
    for text, finish in (("a", "stop"), ("b", "length"), ("", "length"), ("", "")):
        choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
        reply.feed(f"data: {json.dumps({'choices': [choice]})}\n\n".encode())
    reply.feed(b"data: [DONE]\n\n")
    (choice,) = json.loads(reply.body(b""))["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("ab", "length")


def test_an_error_of_older_vllm_in_a_stream_is_the_reply() -> None:
    """Its fields are not below `error`."""
    reply, error = StreamedReply(), {"object": "error", "message": "gone", "code": 500}
    reply.feed(b'data: {"choices": [{"delta": {"content": "a"}}]}\n\n')
    reply.feed(f"data: {json.dumps(error)}\n\ndata: [DONE]\n\n".encode())
    assert json.loads(reply.body(b"")) == error
