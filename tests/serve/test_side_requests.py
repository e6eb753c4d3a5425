"""Requests that are answered without a search: those of front ends on their own account, and those with tools."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from spar.config import DecodeConfig
from spar.infer.engines.openai import network
from spar.infer.engines.openai.network import tls_context
from spar.serve.passthrough import NOTE, Upstream
from spar.serve.tasks import is_side_task
from spar.types import Message
from tests.answers import Script, error_body
from tests.serve.harness import Served, asking, running, serving, wait_for
from tests.serve.test_streaming import data_of, stream
from tests.servers import ScriptedServer

OPEN_WEBUI = [
    "### Task:\nGenerate a concise, 3-5 word title with an emoji summarizing the chat history.\n### Guidelines:\n- ...",
    "### Task:\nGenerate 1-3 broad tags categorizing the main themes of the chat history, along with ...",
    "### Task:\nSuggest 3-5 relevant follow-up questions or prompts that the user might naturally ask next ...",
    "### Task:\nAnalyze the chat history to determine the necessity of generating search queries, in the given language.",
    "### Task:\nYou are an autocompletion system. Continue the text in `<text>` based on the **completion type**",
    "Create a concise, 3-5 word title with an emoji as a title for the chat history, in the given language.",
    "Your task is to reflect the speaker's likely facial expression through a fitting emoji. Interpret emotions ...",
]
OTHERS = [
    "Provide a concise, 5-word-or-less title for the conversation, using title case conventions.",
    "Write a concise title for this conversation in the detected language. Title in 5 Words or Less.",
    "You are a professional conversation summarizer. Generate a concise title ...",
]


def turns(*contents: str) -> list[Message]:
    """A system turn where there are two texts, and the user's."""
    roles: list[Any] = ["system", "user"][-len(contents) :]
    return [Message(role=r, content=c) for r, c in zip(roles, contents, strict=True)]


@pytest.mark.parametrize("text", [*OPEN_WEBUI, *OTHERS])
def test_front_ends_own_prompts_are_known(text: str) -> None:
    """As the user's turn or the system's."""
    assert is_side_task(turns(text), {})
    assert is_side_task(turns(text, "user: hi\nassistant: hello"), {})


@pytest.mark.parametrize(
    "text",
    [
        "Write a title for my book about rain, in at most five words.",
        "### Task:\nGenerate a poem of exactly three lines about titles and tags.",
        "Suggest 3-5 relevant follow-up questions for a job interview.",
        "Why do chat front ends send: Create a concise, 3-5 word title?",
    ],
)
def test_a_users_own_prompt_is_searched(text: str) -> None:
    """Speaking of titles does not make a request a front end's."""
    assert not is_side_task(turns(text), {})


def test_metadata_says_so() -> None:
    """Open WebUI names its tasks; other metadata says nothing."""
    assert is_side_task(turns("Anything."), {"task": "title_generation"})
    assert not is_side_task(turns("Anything."), {"task": "user_response"})
    assert not is_side_task(turns("Anything."), {"task": ["title_generation"]})


def test_a_side_request_is_answered_greedily(served: Served) -> None:
    """One call, whatever search the model's id names, and a header that says so; the side field can ask for a search."""
    response = served.post(asking(OPEN_WEBUI[0]))
    assert response.json()["spar"]["calls"] == 1
    assert response.json()["model"] == "bfs-7/tiny"
    assert "greedily" in response.headers["x-spar-note"]
    searched = served.post(asking(OPEN_WEBUI[0], spar={"strategy": "bfs"}))
    assert searched.json()["spar"]["calls"] > 1
    assert "x-spar-note" not in searched.headers
    asked = served.post(asking(metadata={"task": "tags_generation"}, stream=False))
    assert asked.json()["spar"]["strategy"] == "greedy"


TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}


def with_tools(body: dict[str, Any]) -> tuple[int, Any] | None:
    """An upstream that calls a tool, or says what is wrong with the request."""
    text = json.dumps(body["messages"])
    if "forbidden" in text:
        return 401, {"error": {"message": "wrong key sk-upstream-secret-1"}}
    if "broken" in text:
        return 500, {"error": {"message": "sk-upstream-secret-1 is out of memory"}}
    if "refused" in text:
        return 422, {"error": {"message": "no such tool for sk-upstream-secret-1"}}
    if "tools" not in body and "tool_calls" not in text:
        return None
    message = {"role": "assistant", "content": None, "tool_calls": [CALL]}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    return 200, {
        "id": "up-1",
        "model": body["model"],
        "choices": [choice],
        "usage": {"prompt_tokens": 2, "completion_tokens": 1, "total_tokens": 3},
    }


def test_tools_are_passed_through(monkeypatch: pytest.MonkeyPatch) -> None:
    """The request reaches the model's server as it came, greedily, and the reply says that nothing was searched."""
    monkeypatch.setenv("UPSTREAM_KEY", "sk-upstream-secret-1")
    script = Script(models=("up",), answer=with_tools, key="sk-upstream-secret-1")
    with (
        ScriptedServer(script) as upstream,
        serving(
            engine="openai", base_url=(upstream.url,), api_key_env="UPSTREAM_KEY", retry_for=0.0
        ) as served,
    ):
        response = served.post(asking(tools=[TOOL], spar={"budget": 3}))
        reply = response.json()
        assert reply["choices"][0]["message"]["tool_calls"] == [CALL]
        assert reply["model"] == "bfs-7/tiny"
        assert response.headers["x-spar-note"] == NOTE
        sent = upstream.seen[-1].body
        assert (sent["model"], sent["temperature"], sent["tools"]) == ("up", 0, [TOOL])
        assert "spar" not in sent
        history = [
            {"role": "user", "content": "Rain?"},
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "call_1", "content": "It rains."},
        ]
        assert served.post({"model": "bfs-7/tiny", "messages": history}).is_success
        assert upstream.seen[-1].body["messages"] == history
        for text, status in (("forbidden", 502), ("broken", 502), ("refused", 422)):
            refused = served.post(asking(text, tools=[TOOL]))
            assert refused.status_code == status
            assert "secret-1" not in refused.text
        searched = served.post(asking(tools=[TOOL], tool_choice="none"))
        assert searched.json()["spar"]["strategy"] == "bfs"
        assert served.service.admission.requests == 0


def test_the_metrics_count_what_requests_with_tools_take() -> None:
    """Calls and tokens of the actor, by the server's own count."""
    script = Script(models=("up",), answer=with_tools)
    with (
        ScriptedServer(script) as upstream,
        serving(engine="openai", base_url=(upstream.url,)) as served,
    ):
        assert served.post(asking(tools=[TOOL])).status_code == 200
        assert served.post(asking("broken", tools=[TOOL])).status_code == 502
        counts = served.get("/metrics").text
    assert 'spar_calls_total{role="actor"} 1.0' in counts
    assert 'spar_tokens_total{kind="prompt",role="actor"} 2.0' in counts
    assert 'spar_tokens_total{kind="completion",role="actor"} 1.0' in counts
    assert 'spar_requests_total{status="200"} 1.0' in counts
    assert 'spar_requests_total{status="502"} 1.0' in counts


def streaming(events: Callable[[], AsyncIterator[str | bytes]]) -> Any:
    """A model's server that answers every request with a stream of these events."""
    from starlette.applications import Starlette
    from starlette.responses import StreamingResponse
    from starlette.routing import Route

    async def chat(_: Any) -> StreamingResponse:
        return StreamingResponse(events(), media_type="text/event-stream")

    return Starlette(routes=[Route("/v1/chat/completions", chat, methods=["POST"])])


def test_a_stream_with_tools_is_passed_through() -> None:
    """Its events come as they are, under the model's id that was asked for."""

    async def events() -> Any:
        for delta in ({"role": "assistant"}, {"tool_calls": [{"index": 0, **CALL}]}):
            yield f"data: {json.dumps({'model': 'up', 'choices': [{'delta': delta}]})}\n\n"
        yield "data: [DONE]\n\n"

    with (
        running(streaming(events)) as url,
        serving(base_url=(f"{url}/v1",), actor_model="up") as served,
    ):
        response, lines = stream(served, asking(tools=[TOOL]))
        assert response.headers["x-spar-note"] == NOTE
        *chunks, end = data_of(lines)
        assert end == "[DONE]"
        assert {chunk["model"] for chunk in chunks} == {"bfs-7/tiny"}
        assert chunks[-1]["choices"][0]["delta"]["tool_calls"][0]["id"] == "call_1"
        wait_for(lambda: not served.service.admission.requests)


def test_a_stream_with_tools_is_relayed_as_it_comes() -> None:
    """Its first event reaches the client while the model's server is still at the second; who leaves ends it there."""
    ended: list[bool] = []

    async def events() -> Any:
        try:
            yield f"data: {json.dumps({'choices': [{'delta': {'content': 'one'}}]})}\n\n"
            await asyncio.sleep(60)
        finally:
            ended.append(True)

    with (
        running(streaming(events)) as url,
        serving(base_url=(f"{url}/v1",), actor_model="up") as served,
    ):
        body = asking(tools=[TOOL], stream=True)
        with served.client.stream("POST", f"{served.url}/chat/completions", json=body) as response:
            (first,) = data_of([next(response.iter_lines())])
        assert first["choices"][0]["delta"]["content"] == "one"
        wait_for(lambda: ended == [True])
        wait_for(lambda: not served.service.admission.requests)


@pytest.mark.parametrize("ends", ["breaks off", "says so", "well"])
def test_the_metrics_count_a_stream_with_tools_by_how_it_ends(ends: str) -> None:
    """Its status, and what it took where it is whole; its response has status 200 either way."""
    usage = {"prompt_tokens": 5, "completion_tokens": 12}

    async def events() -> Any:
        yield f"data: {json.dumps({'choices': [{'delta': {'content': 'one'}}]})}\n\n"
        if ends == "breaks off":
            raise RuntimeError
        last = {"error": {"message": "later"}} if ends == "says so" else {"usage": usage}
        yield f"data: {json.dumps(last)}\n\ndata: [DONE]\n\n"

    status = "200" if ends == "well" else "502"
    with (
        running(streaming(events)) as url,
        serving(base_url=(f"{url}/v1",), actor_model="up") as served,
    ):
        assert stream(served, asking(tools=[TOOL], n=3))[0].status_code == 200
        counted = f'spar_requests_total{{status="{status}"}} 1.0'
        wait_for(lambda: counted in served.get("/metrics").text)
        counts = served.get("/metrics").text
    assert counts.count("spar_requests_total{") == 1
    if ends == "well":
        assert 'spar_calls_total{role="actor"} 3.0' in counts
        assert 'spar_tokens_total{kind="completion",role="actor"} 12.0' in counts
    else:
        assert 'spar_calls_total{role="actor"} 0.0' in counts


def test_a_streamed_text_may_hold_any_separator() -> None:
    """U+2028 and the like end no event, whether or not the server escapes them."""
    text = "one\u2028two\u2029three\x85four\x1cfive"

    async def events() -> Any:
        event = {"model": "up", "choices": [{"delta": {"content": text}}]}
        line = f"data: {json.dumps(event, ensure_ascii=False)}\r\n\r\n".encode()
        yield line[:40]
        yield line[40:]
        yield "data: [DONE]\n\n"

    with (
        running(streaming(events)) as url,
        serving(base_url=(f"{url}/v1",), actor_model="up") as served,
    ):
        _, lines = stream(served, asking(tools=[TOOL]))
    first, end = data_of(lines)
    assert (first["choices"][0]["delta"]["content"], end) == (text, "[DONE]")


def test_tools_reach_another_server_where_one_is_away() -> None:
    """Whichever is next in turn; with none left it is a 502 that says why."""
    script = Script(models=("up",))
    with ScriptedServer(script) as up, ScriptedServer(script) as away:
        urls = (away.url, up.url)
        with serving(engine="openai", base_url=urls, model="up") as served:
            away.kill()
            for streams in (False, True, False):
                response = served.post(asking(tools=[TOOL], stream=streams))
                assert response.status_code == 200
            assert len(up.seen) == 3
            up.kill()
            response = served.post(asking(tools=[TOOL]))
    assert response.status_code == 502
    assert "cannot be asked: ConnectError" in response.json()["error"]["message"]


def test_tools_reach_another_server_where_one_accepts_no_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A host that drops packets is one that cannot be reached, and no slow reply."""
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.host)
        if request.url.host == "silent":
            raise httpx.ConnectTimeout("silent", request=request)
        return httpx.Response(200, json={"choices": []})

    client = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    monkeypatch.setattr(Upstream, "_new_client", lambda _: client)
    config = DecodeConfig(base_url=("http://silent/v1", "http://up/v1"), model="m")
    assert asyncio.run(Upstream(config, 60.0).reply({"messages": []})) == {
        "choices": [],
        "model": "",
    }
    assert asked == ["silent", "up"]


def test_half_of_a_character_is_passed_through_as_a_replacement() -> None:
    """JavaScript cuts texts inside of an emoji; UTF-8 has no such half."""
    script = Script(models=("up",), answer=with_tools)
    with (
        ScriptedServer(script) as upstream,
        serving(engine="openai", base_url=(upstream.url,)) as served,
    ):
        body = json.dumps(asking("cut \ud83d", tools=[TOOL]))
        headers = {"content-type": "application/json"}
        response = served.client.post(
            f"{served.url}/chat/completions", content=body, headers=headers
        )
    assert response.status_code == 200
    assert upstream.seen[-1].body["messages"][0]["content"] == "cut \ufffd"


def test_a_server_that_accepts_no_temperature_is_sent_none() -> None:
    """As those of reasoning models; a temperature of the client's own is its own mistake."""

    def fixed(body: dict[str, Any]) -> tuple[int, Any] | None:
        if "temperature" in body:
            message = "Unsupported value: 'temperature' does not support 0 with this model."
            return 400, error_body(message, "unsupported_value", "temperature")
        return with_tools(body)

    script = Script(models=("up",), answer=fixed)
    with (
        ScriptedServer(script) as upstream,
        serving(engine="openai", base_url=(upstream.url,)) as served,
    ):
        assert served.post(asking(tools=[TOOL])).status_code == 200
        assert ["temperature" in seen.body for seen in upstream.seen] == [True, False]
        assert served.post(asking(tools=[TOOL])).status_code == 200
        assert len(upstream.seen) == 3
        assert served.post(asking(tools=[TOOL], temperature=0.5)).status_code == 400


def test_fields_for_every_request_reach_the_server_with_tools() -> None:
    """As they do with a search's requests; a field of the client's own is not replaced."""
    script = Script(models=("up",), answer=with_tools)
    settings: dict[str, Any] = {
        "extra_body": {"repetition_penalty": 1.1, "min_tokens": 3},
        "draft": {"extra_body": {"min_tokens": 4}},
        "chat_template_args": {"enable_thinking": False},
        "reasoning_effort": "low",
    }
    with (
        ScriptedServer(script) as upstream,
        serving("openai", base_url=(upstream.url,), model="up", **settings) as served,
    ):
        assert served.post(asking(tools=[TOOL])).status_code == 200
        mine: dict[str, Any] = {"min_tokens": 5, "chat_template_kwargs": {"enable_thinking": True}}
        assert served.post(asking(tools=[TOOL], **mine)).status_code == 200
        bodies = [seen.body for seen in upstream.seen if "tools" in seen.body]
    added = {"repetition_penalty": 1.1, "min_tokens": 4, "reasoning_effort": "low"}
    assert bodies[0].items() >= added.items()
    assert bodies[0]["chat_template_kwargs"] == {"enable_thinking": False}
    assert bodies[1].items() >= {**added, **mine}.items()


def test_tools_reach_a_server_that_the_engine_trusts(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the certificates of the system too; a wrong SSL_CERT_FILE is no matter where nothing speaks TLS."""
    script = Script(models=("up",), answer=with_tools)
    with (
        ScriptedServer(script) as upstream,
        serving(engine="openai", base_url=(upstream.url,)) as served,
    ):
        monkeypatch.setenv("SSL_CERT_FILE", "/no/such/file.pem")
        assert served.post(asking(tools=[TOOL])).status_code == 200
    monkeypatch.delenv("SSL_CERT_FILE")
    context, verified = tls_context(), []
    monkeypatch.setattr(network, "tls_context", lambda: context)
    monkeypatch.setattr(httpx, "AsyncClient", lambda verify, **_: verified.append(verify))
    config = DecodeConfig(engine="openai", base_url=("https://host/v1",), actor_model="up")
    Upstream(config, 1.0)._new_client()
    assert verified == [context]


def test_an_engine_in_the_process_calls_no_tools(served: Served) -> None:
    """Which is said, with what to do."""
    response = served.post(asking(tools=[TOOL]))
    assert response.status_code == 400
    assert "--base-url" in response.json()["error"]["message"]
