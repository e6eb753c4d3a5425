"""Streams: the events of one, what is said meanwhile, and errors on the way."""

from __future__ import annotations

import json
from typing import Any

import httpx
from hypothesis import given
from hypothesis import strategies as st

from spar.errors import EngineError
from spar.infer.engine import Request
from spar.infer.engines.fake import FakeEngine, scripted_reply
from spar.serve.reply import pieces
from tests.serve.harness import Served, asking, serving


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
