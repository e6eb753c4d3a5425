"""Real clients against a real server: what each of them reads of a reply is there.

LiteLLM and inspect_ai run in an environment of their own; Open WebUI's requests are recorded shapes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from pydantic import BaseModel

from spar.infer.engines.fake import FakeEngine
from tests.requires import requires
from tests.serve.client_environment import client_python
from tests.serve.harness import Served, serving
from tests.serve.test_streaming import data_of, stream

SAY: Any = [{"role": "user", "content": "Say hello in five words."}]


class TestOpenAI:
    """The official SDK."""

    pytestmark = requires("openai")

    def test_whole(self, served: Served) -> None:
        """Content, usage, the side field and the header."""
        from openai import OpenAI

        with OpenAI(base_url=served.url, api_key="none", max_retries=0) as client:
            assert "bfs-7/tiny" in [model.id for model in client.models.list()]
            assert client.models.retrieve("bfs-7/tiny").owned_by == "spar"
            create = client.chat.completions.with_raw_response.create
            raw = create(model="bfs-7/tiny", messages=SAY, extra_body={"spar": {"budget": 3}})
        reply = raw.parse()
        tree = served.tree(raw.headers["x-spar-tree"])
        assert reply.choices[0].message.content == tree.answer
        assert reply.usage is not None
        assert reply.usage.total_tokens == tree.usage.prompt_tokens + tree.usage.completion_tokens
        assert reply.model_extra is not None
        assert reply.model_extra["spar"]["budget"] == 3

    async def test_a_stream(self, served: Served) -> None:
        """The asynchronous client reads progress, answer and usage."""
        from openai import AsyncOpenAI

        texts, progress, usage = "", "", None
        async with AsyncOpenAI(base_url=served.url, api_key="none", max_retries=0) as client:
            chunks = await client.chat.completions.create(
                model="bfs-7/tiny",
                messages=SAY,
                stream=True,
                stream_options={"include_usage": True},
            )
            async for chunk in chunks:
                usage = chunk.usage or usage
                for choice in chunk.choices:
                    texts += choice.delta.content or ""
                    progress += (choice.delta.model_extra or {}).get("reasoning_content", "")
        assert texts.startswith("answer ")
        assert "draft 1: " in progress
        assert usage is not None
        assert usage.completion_tokens > 0

    def test_the_helper_for_streams(self, served: Served) -> None:
        """`chat.completions.stream` puts the pieces together."""
        from openai import OpenAI

        with (
            OpenAI(base_url=served.url, api_key="none", max_retries=0) as client,
            client.chat.completions.stream(model="bfs-7/tiny", messages=SAY) as events,
        ):
            for _ in events:
                pass
            final = events.get_final_completion()
        assert final.choices[0].message.content
        assert final.choices[0].finish_reason == "stop"

    def test_parsed_answers(self) -> None:
        """A pydantic model as the format of the answer."""
        from openai import OpenAI

        class City(BaseModel):
            """A city."""

            name: str

        engine = FakeEngine(
            lambda request: (
                "Final Judgement: Yes"
                if "Final Judgement" in request.messages[-1].content
                else '{"name": "Kyiv"}'
            )
        )
        with serving(engine) as served, OpenAI(base_url=served.url, api_key="none") as client:
            reply = client.chat.completions.parse(
                model="bfs-3/tiny",
                messages=SAY,
                response_format=City,
            )
        assert reply.choices[0].message.parsed == City(name="Kyiv")

    def test_errors(self, served: Served) -> None:
        """The SDK's own classes of errors, with code and message."""
        from openai import BadRequestError, NotFoundError, OpenAI

        with OpenAI(base_url=served.url, api_key="none", max_retries=0) as client:
            create: Any = client.chat.completions.create
            with pytest.raises(NotFoundError, match="does not exist") as missing:
                create(model="gpt-4", messages=SAY)
            assert missing.value.code == "model_not_found"
            with pytest.raises(BadRequestError) as wrong:
                create(model="bfs-7/tiny", messages=SAY, n=1000, stream=True)
            assert wrong.value.param == "n"


@pytest.mark.evalharness
@requires("lm_eval", "tenacity", "aiohttp")
def test_lm_eval(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """`local-chat-completions` gets an answer to each of its requests, cut at its stop strings."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.openai_completions import LocalChatCompletion

    monkeypatch.setenv("OPENAI_API_KEY", "none")
    url = f"{served.url}/chat/completions"
    model: Any = LocalChatCompletion(base_url=url, model="bfs-7/tiny", num_concurrent=2)
    settings = {"until": ["\n\n", "</s>"], "max_gen_toks": 32, "do_sample": False}
    requests = [
        Instance(
            "generate_until",
            {},
            (model.apply_chat_template([{"role": "user", "content": f"Say {i}."}]), settings),
            i,
        )
        for i in range(4)
    ]
    answers = model.generate_until(requests, disable_tqdm=True)
    assert len(answers) == 4
    assert all(answer.startswith("answer ") for answer in answers)


def run_client(python: Path, script: str, served: Served, **environment: str) -> Any:
    """What a client that runs as a process of its own prints as JSON in its last line."""
    # A client that looks for news of itself in the network would wait for it.
    given = {"URL": served.url, "LITELLM_LOCAL_MODEL_COST_MAP": "True", **environment}
    done = subprocess.run(
        [python, "-c", dedent(script)],
        capture_output=True,
        text=True,
        env={**os.environ, **given},
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.xdist_group("clients")
class TestClientsOfTheirOwn:
    """Clients in an environment of their own (`tests.serve.client_environment`)."""

    def test_litellm(self, served: Served) -> None:
        """Whole and streamed, with the thinking that it reads, and its class for a model that does not exist."""
        script = """
            import json, os, litellm
            asked = {"api_base": os.environ["URL"], "api_key": "none", "messages": [{"role": "user", "content": "Say hello."}]}
            reply = litellm.completion(model="openai/bfs-7/tiny", **asked)
            deltas = [c.choices[0].delta for c in litellm.completion(model="openai/bfs-7/tiny", stream=True, **asked)]
            try:
                litellm.completion(model="openai/gpt-4", **asked)
                error = None
            except litellm.NotFoundError as raised:
                error = str(raised)
            print(json.dumps({
                "text": reply.choices[0].message.content,
                "tokens": reply.usage.total_tokens,
                "streamed": "".join(delta.content or "" for delta in deltas),
                "thinking": "".join(getattr(delta, "reasoning_content", "") or "" for delta in deltas),
                "error": error,
            }))
        """
        read = run_client(client_python(), script, served)
        assert read["text"].startswith("answer ")
        assert read["streamed"].startswith("answer ")
        assert read["tokens"] > 0
        assert "draft 1: " in read["thinking"]
        assert "does not exist" in read["error"]

    def test_inspect(self, served: Served) -> None:
        """inspect_ai's `openai-api` provider: the text, and the usage that its limits rest on."""
        script = """
            import asyncio, json
            from inspect_ai.model import get_model
            model = get_model("openai-api/spar/bfs-7/tiny", memoize=False)
            output = asyncio.run(model.generate("Say hello."))
            print(json.dumps({"text": output.completion, "usage": output.usage.model_dump()}))
        """
        settings = {"SPAR_API_KEY": "none", "SPAR_BASE_URL": served.url}
        read = run_client(client_python(), script, served, **settings)
        assert read["text"].startswith("answer ")
        assert read["usage"]["output_tokens"] > read["usage"]["reasoning_tokens"] > 0
        assert (
            read["usage"]["total_tokens"]
            == read["usage"]["input_tokens"] + read["usage"]["output_tokens"]
        )


@pytest.mark.slow
@requires("llm")
def test_llm_tool(served: Served, tmp_path: Path) -> None:
    """The `llm` tool, with the server as a model of its configuration; it streams."""
    (tmp_path / "extra-openai-models.yaml").write_text(
        f"- model_id: searched\n  model_name: bfs-7/tiny\n  api_base: {served.url}\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "llm", "-m", "searched", "--key", "none", "Say hello."],
        capture_output=True,
        text=True,
        env={**os.environ, "LLM_USER_PATH": str(tmp_path)},
        timeout=120,
    )
    assert done.stdout.startswith("answer "), done.stderr


def open_webui(**fields: Any) -> dict[str, Any]:
    """A request as Open WebUI 0.6 sends it."""
    return {
        "stream": True,
        "model": "bfs-7/tiny",
        "messages": [
            {"role": "system", "content": "You are a helpful assistant."},
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Hello! How can I help?"},
            {"role": "user", "content": [{"type": "text", "text": "Say hello in five words."}]},
        ],
        "stream_options": {"include_usage": True},
        "params": {},
        "chat_id": "b1946ac9-2493-4bd7-9d3a-1fbeb0c6a7e4",
        "session_id": "YhQ8",
        "features": {"image_generation": False, "web_search": False},
        "variables": {"{{USER_NAME}}": "ann"},
        "background_tasks": {"title_generation": True, "tags_generation": True},
        **fields,
    }


def test_open_webui(served: Served) -> None:
    """The picker's list, a streamed answer with its thinking, and a title that costs one call."""
    for model in served.get("/v1/models").json()["data"]:
        assert {"id", "object", "created", "owned_by"} <= set(model)
    *chunks, end = data_of(stream(served, open_webui())[1])
    assert end == "[DONE]"
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks if chunk["choices"]]
    assert any("reasoning_content" in delta for delta in deltas)
    assert chunks[-1]["usage"]["total_tokens"] > 0
    title = open_webui(
        stream=False,
        max_completion_tokens=1000,
        metadata={"task": "title_generation", "task_body": {}, "chat_id": "b1946ac9"},
        messages=[{"role": "user", "content": "### Task:\nGenerate a concise, 3-5 word title."}],
    )
    reply = served.post(title).json()
    assert (reply["spar"]["calls"], reply["spar"]["strategy"]) == (1, "greedy")
