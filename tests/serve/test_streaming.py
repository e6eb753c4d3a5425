"""Streams: the events of one, what is said meanwhile, and errors on the way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spar.errors import EngineError
from spar.infer.engine import Completion, Request
from spar.infer.engines.fake import FakeEngine, scripted_reply
from spar.serve.reply import GrowingAnswer, pieces
from spar.serve.request import Shape
from spar.serve.schema import answer_format
from tests.answers import Script
from tests.serve.harness import Served, asking, serving, wait_for
from tests.servers import ScriptedServer


def stream(served: Served, body: dict[str, Any]) -> tuple[httpx.Response, list[str]]:
    """The response and its lines."""
    with served.client.stream(
        "POST", f"{served.url}/chat/completions", json={**body, "stream": True}
    ) as response:
        return response, [line for line in response.iter_lines() if line]


def data_of(lines: list[str]) -> list[Any]:
    """The events, without comments; the end is a text."""
    texts = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
    return [text if text == "[DONE]" else json.loads(text) for text in texts]


def test_the_events_of_a_stream(served: Served) -> None:
    """The role, the search's progress, the answer, why it ends, the usage, the end; and the tree is stored by then."""
    response, lines = stream(served, asking(stream_options={"include_usage": True}, seed=4))
    *chunks, last, end = data_of(lines)
    assert response.headers["content-type"].startswith("text/event-stream")
    tree = served.tree(response.headers["x-spar-tree"])
    assert end == "[DONE]"
    assert {(c["id"], c["object"], c["model"]) for c in [*chunks, last]} == {
        (tree.prompt.id, "chat.completion.chunk", "bfs-7/tiny")
    }
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert deltas[0] == {"role": "assistant", "content": ""}
    kinds = [next(iter(delta), "end") for delta in deltas[1:]]
    assert kinds == sorted(kinds, key=["reasoning_content", "content", "end"].index)
    progress = "".join(delta.get("reasoning_content", "") for delta in deltas)
    assert progress.startswith("bfs: at most 7 responses\ndraft 1: ")
    assert progress.count("\n") == 1 + len(tree.nodes)
    assert ("; passes\n" in progress) == tree.solved
    assert "".join(delta.get("content", "") for delta in deltas) == tree.answer
    reasons = [chunk["choices"][0]["finish_reason"] for chunk in chunks]
    assert reasons == [None] * (len(chunks) - 1) + ["stop"]
    assert last["choices"] == []
    assert last["usage"]["completion_tokens"] == tree.usage.completion_tokens
    assert last["spar"]["nodes"] == len(tree.nodes)


def test_without_the_option_there_is_no_usage(served: Served) -> None:
    """Every event before the end has a choice, as clients of older versions expect."""
    *chunks, end = data_of(stream(served, asking())[1])
    assert end == "[DONE]"
    assert all(chunk["choices"] for chunk in chunks)


def test_answers_of_one_stream_have_their_index(served: Served) -> None:
    """Each of two answers has its role, its text and its end."""
    response, lines = stream(served, asking(n=2))
    choices = [chunk["choices"][0] for chunk in data_of(lines)[:-1]]
    addresses = response.headers["x-spar-tree"].split(", ")
    for index, address in enumerate(addresses):
        own = [choice for choice in choices if choice["index"] == index]
        text = "".join(choice["delta"].get("content", "") for choice in own)
        assert text == served.tree(address).answer
        assert own[0]["delta"]["role"] == "assistant"
        assert own[-1]["finish_reason"] == "stop"


def test_a_greedy_answer_has_no_progress(served: Served) -> None:
    """There is no search to speak of."""
    *chunks, _ = data_of(stream(served, asking(model="greedy/tiny"))[1])
    assert not any("reasoning_content" in chunk["choices"][0]["delta"] for chunk in chunks)


def test_a_silent_search_keeps_the_connection() -> None:
    """Comments, which clients skip, tell proxies that the server is alive."""
    engine = FakeEngine(scripted_reply, latency=0.3)
    with serving(engine, serve={"keep_alive": 0.05}) as served:
        lines = stream(served, asking(model="greedy"))[1]
    assert [line for line in lines if line.startswith(":")]
    assert data_of(lines)[-1] == "[DONE]"


def test_an_engine_that_fails_on_the_way() -> None:
    """The stream says so in the API's shape, and ends."""

    def reply(request: Request) -> str:
        if "Final Judgement" in request.messages[-1].content:
            raise EngineError("the judge's server is away")
        return "a draft"

    with serving(FakeEngine(reply)) as served:
        response, lines = stream(served, asking())
    *_, error, end = data_of(lines)
    assert response.status_code == 200
    assert error["error"]["code"] == "engine_error"
    assert "the judge's server is away" in error["error"]["message"]
    assert end == "[DONE]"


@pytest.mark.parametrize("streams", [True, False])
def test_an_error_of_a_plug_in_is_an_error_of_the_api(
    streams: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    """A stream says so and ends, another reply is a 500; both are counted, and the log has the exception."""

    def reply(request: Request) -> str:
        raise ZeroDivisionError("by nothing")

    with serving(FakeEngine(reply)) as served:
        if streams:
            response, lines = stream(served, asking())
            *_, error, end = data_of(lines)
            assert end == "[DONE]"
        else:
            response = served.post(asking())
            error = response.json()
        wait_for(lambda: 'spar_requests_total{status="500"} 1.0' in served.get("/metrics").text)
    assert response.status_code == (200 if streams else 500)
    assert error["error"]["code"] == "internal_error"
    assert error["error"]["message"] == "unexpected error: ZeroDivisionError"
    assert "ZeroDivisionError: by nothing" in capfd.readouterr().err


def test_what_is_known_before_a_stream_has_a_status(served: Served) -> None:
    """No stream of an error with status 200."""
    for fields, status in (({"model": "nothing"}, 404), ({"spar": {"judge": "verifier"}}, 400)):
        response, lines = stream(served, {**asking(), **fields})
        assert response.status_code == status
        assert json.loads(lines[0])["error"]["message"]


@given(st.text())
def test_pieces_make_the_whole(text: str) -> None:
    """Nothing of an answer is lost between its pieces."""
    assert "".join(pieces(text)) == text


class StreamingEngine(FakeEngine):
    """Shows the beginning of a reply, waits until it is released, then replies; counts what was cancelled."""

    def __init__(self, shown: str, reply: str | Exception) -> None:
        super().__init__(lambda _: "")
        self._shown, self._reply_or_error = shown, reply
        self.is_released, self.num_cancelled = False, 0

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """Reply to one request."""
        (request,) = requests
        assert request.on_text is not None
        request.on_text(self._shown)
        try:
            while not self.is_released:
                await asyncio.sleep(0.005)
        except asyncio.CancelledError:
            self.num_cancelled += 1
            raise
        if isinstance(self._reply_or_error, Exception):
            raise self._reply_or_error
        return [Completion(self._reply_or_error, "stop", 3, 4)]


@contextmanager
def first_piece(engine: StreamingEngine, **fields: Any) -> Iterator[tuple[str, Iterator[str]]]:
    """The first piece of a greedy answer, which the engine has not finished by then, and the lines after it."""
    body = asking(model="greedy/tiny", stream=True, **fields)
    with (
        serving(engine) as served,
        served.client.stream("POST", f"{served.url}/chat/completions", json=body) as response,
    ):
        lines = filter(None, response.iter_lines())
        next(lines)  # the role
        (event,) = data_of([next(lines)])
        yield event["choices"][0]["delta"]["content"], lines


def contents(events: list[Any]) -> str:
    """The text of events."""
    return "".join(event["choices"][0]["delta"].get("content", "") for event in events)


def test_a_greedy_answer_is_streamed_while_it_is_generated() -> None:
    """Its pieces come before the engine has ended, and make the whole answer."""
    engine = StreamingEngine(" one two", " one two three ")
    with first_piece(engine) as (piece, lines):
        assert piece == "one two"
        engine.is_released = True
        *rest, end = data_of(list(lines))
    assert contents(rest) == " three"
    assert rest[-1]["choices"][0]["finish_reason"] == "stop"
    assert end == "[DONE]"


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (EngineError("the server is gone"), "the server is gone"),
        ("another text", "had to be generated anew"),
    ],
)
def test_what_fails_after_the_first_token_is_an_event(reply: str | Exception, message: str) -> None:
    """Also a second reply that does not go on where the first broke off; nothing more of the answer is sent."""
    engine = StreamingEngine("one two", reply)
    with first_piece(engine) as (_, lines):
        engine.is_released = True
        error, end = data_of(list(lines))
    assert error["error"]["code"] == "engine_error"
    assert message in error["error"]["message"]
    assert end == "[DONE]"


def test_a_client_that_leaves_a_stream_of_tokens_cancels_it() -> None:
    """The engine's request ends."""
    engine = StreamingEngine("one", "one two")
    with first_piece(engine):
        pass
    wait_for(lambda: engine.num_cancelled == 1)


@pytest.mark.parametrize(
    ("fields", "answer", "reason"),
    [
        ({"stop": "three"}, "one two", "stop"),
        ({"stop": ["o three", "zzz"]}, "one tw", "stop"),
        ({"max_tokens": 2}, "one two", "length"),
        ({}, "one two three four", "stop"),
    ],
)
def test_streams_end_where_whole_answers_do(
    fields: dict[str, Any], answer: str, reason: str
) -> None:
    """At stop strings that lie across pieces, and at the limit of tokens; from a server behind, too."""
    script = Script(lambda _: "one two three four")
    with ScriptedServer(script) as upstream:
        for settings in ({"engine": FakeEngine(script.reply)}, {"base_url": (upstream.url,)}):
            engine = settings.pop("engine", "openai")
            with serving(engine, **settings) as served:  # type: ignore[arg-type]
                body = asking(model="greedy/tiny", **fields)
                *events, _ = data_of(stream(served, body)[1])
                whole = served.post(body).json()["choices"][0]
            assert contents(events) == whole["message"]["content"] == answer
            assert len([1 for event in events if contents([event])]) > 1
            ended = events[-1]["choices"][0]["finish_reason"]
            assert ended == whole["finish_reason"] == reason


@pytest.mark.parametrize(
    ("text", "shown"), [("```json\n{", ""), ('{"a": "`', '{"a": "`'), (" \n[1", "[1")]
)
def test_a_fence_around_json_is_not_streamed(text: str, shown: str) -> None:
    """It may have to go; JSON without one is shown as it comes."""
    shape = Shape(format=answer_format({"type": "json_object"}))
    assert GrowingAnswer(shape).add(text) == shown
