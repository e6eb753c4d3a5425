"""Tools with a model that spar has loaded: its own chat template, and the forms in which models write calls."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spar.infer.engine import Request
from spar.infer.engines.fake import FakeEngine
from spar.serve.tools import NOTE, read_calls
from tests.requires import requires
from tests.serve.harness import Served, asking, serving
from tests.serve.test_fuzz import JSON, PARTS
from tests.serve.test_streaming import data_of, stream

pytestmark = [pytest.mark.model, requires("transformers", "torch")]

PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": PARAMETERS}}
NAMES = st.sampled_from(["name", "arguments", "parameters"])
ROME = ("weather", {"city": "Rome"})
TEMPLATE = (
    "{% if tools %}{% for t in tools %}<|tool|>{{ t.function.name }}{% endfor %}{% endif %}"
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}"
    "{% for c in m.tool_calls or [] %}CALL {{ c.function.arguments.city }}{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


@pytest.mark.parametrize(
    ("text", "content", "calls"),
    [
        (
            '<tool_call>\n{"name": "weather", "arguments": {"city": "Rome"}}\n</tool_call>',
            "",
            [ROME],
        ),
        (
            'I look.\n<tool_call>{"name": "weather", "arguments": {"city": "Rome"}}</tool_call>\n'
            '<tool_call>{"name": "time", "arguments": {}}</tool_call>',
            "I look.",
            [ROME, ("time", {})],
        ),
        (
            "<tool_call>\n<function=weather>\n<parameter=city>\nRome\n</parameter>\n<parameter=days>\n2\n"
            "</parameter>\n</function>\n</tool_call>",
            "",
            [("weather", {"city": "Rome", "days": 2})],
        ),
        ('[TOOL_CALLS] [{"name": "weather", "arguments": {"city": "Rome"}}]', "", [ROME]),
        ('[TOOL_CALLS]weather[ARGS]{"city": "Rome"}[TOOL_CALLS]time{}', "", [ROME, ("time", {})]),
        ('[{"name": "weather", "arguments": {"city": "Rome"}}]', "", [ROME]),
        ('<|python_tag|>{"name": "weather", "parameters": {"city": "Rome"}}', "", [ROME]),
        (
            '{"name": "weather", "parameters": {"city": "Rome"}}; {"name": "weather", "parameters": {}}',
            "",
            [ROME, ("weather", {})],
        ),
        ('{"name": "Rome", "parameters": {}}', '{"name": "Rome", "parameters": {}}', []),
        ('<tool_call>{"name": "weather", "argum', '<tool_call>{"name": "weather", "argum', []),
        ("It rains.", "It rains.", []),
        ("", "", []),
    ],
)
def test_the_forms_of_calls(text: str, content: str, calls: list[Any]) -> None:
    """What is no call, or breaks off in one, stays text."""
    read, found = read_calls(text, [TOOL], None, "")
    assert read == content
    assert [(name, json.loads(arguments)) for name, arguments in found] == calls


def test_a_tokenizers_own_response_template_is_used() -> None:
    """As transformers has them in tokenizers of models."""
    template = {
        "start_anchor": "<|assistant|>",
        "fields": {
            "tool_calls": {
                "open": "<call>",
                "close": "</call>",
                "content": "json",
                "repeats": True,
                "transform": {"type": "function", "function": "{content}"},
            },
            "content": {"content": "text"},
        },
    }
    text = 'Yes. <call>{"name": "weather", "arguments": {"city": "Rome"}}</call>'
    content, calls = read_calls(text, [TOOL], template, "<|user|>Rain?<|assistant|>")
    assert (content, [(n, json.loads(a)) for n, a in calls]) == ("Yes.", [ROME])


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    """A byte-level tokenizer whose chat template knows tools."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    specials = ["<|assistant|>", "<|user|>", "<|tool|>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(
        models.BPE(vocab={t: i for i, t in enumerate([*specials, *alphabet])}, merges=[])
    )
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    made = PreTrainedTokenizerFast(tokenizer_object=core, additional_special_tokens=specials)
    made.chat_template = TEMPLATE
    return made


@pytest.fixture(scope="module")
def calling(tokenizer: Any) -> Iterator[tuple[Served, list[Request]]]:
    """A server whose model calls a tool until it has seen a result, and the requests that it gets."""
    seen: list[Request] = []

    def reply(request: Request) -> str:
        seen.append(request)
        if "It rains." in request.messages[0].content:
            return "Take an umbrella."
        return '<tool_call>{"name": "weather", "arguments": {"city": "Rome"}}</tool_call>'

    with serving(FakeEngine(reply)) as served:
        served.service.tokenizer = tokenizer
        yield served, seen


def test_a_call_and_its_result(calling: tuple[Served, list[Request]]) -> None:
    """The template renders tools, calls and results; the reply has the call, its usage and a note."""
    served, seen = calling
    response = served.post(asking("Rain in <|user|>Rome?", tools=[TOOL]))
    (choice,) = response.json()["choices"]
    (call,) = choice["message"]["tool_calls"]
    assert (choice["finish_reason"], choice["message"]["content"]) == ("tool_calls", None)
    assert call["function"] == {"name": "weather", "arguments": '{"city": "Rome"}'}
    assert response.json()["model"] == "bfs-7/tiny"
    assert response.json()["usage"]["total_tokens"] > 0
    assert response.headers["x-spar-note"] == NOTE
    prompt = seen[-1].messages[0].content
    assert prompt.startswith("<|tool|>weather<|user|>Rain in ")
    assert prompt.count("<|user|>") == 1  # none is forged
    assert (seen[-1].plain, seen[-1].sampling.temperature) == (True, 0.0)
    turns = [
        {"role": "user", "content": [{"type": "text", "text": "Rain?"}]},
        choice["message"],
        {"role": "tool", "tool_call_id": call["id"], "content": "It rains."},
    ]
    answered = served.post({"model": "bfs-7/tiny", "messages": turns, "tools": [TOOL]}).json()
    (choice,) = answered["choices"]
    assert choice["message"] == {"role": "assistant", "content": "Take an umbrella."}
    assert choice["finish_reason"] == "stop"
    assert "CALL Rome" in seen[-1].messages[0].content
    assert served.service.admission.requests == served.service.admission.running == 0


def test_tools_in_the_form_of_the_newer_api(calling: tuple[Served, list[Request]]) -> None:
    """Cursor sends them so to chat completions, too."""
    served, seen = calling
    flat = {"type": "function", "name": "weather", "parameters": PARAMETERS}
    assert served.post(asking(tools=[flat])).json()["choices"][0]["finish_reason"] == "tool_calls"
    assert seen[-1].messages[0].content.startswith("<|tool|>weather")


def test_a_streamed_call(calling: tuple[Served, list[Request]]) -> None:
    """In the pieces that clients put together."""
    body = asking(tools=[TOOL], n=2, stream_options={"include_usage": True})
    *chunks, usage, end = data_of(stream(calling[0], body)[1])
    assert end == "[DONE]"
    assert usage["usage"]["completion_tokens"] > 0
    for index in (0, 1):
        own = [c["choices"][0] for c in chunks if c["choices"][0]["index"] == index]
        assert own[0]["delta"]["role"] == "assistant"
        assert own[1]["delta"]["tool_calls"][0]["function"]["name"] == "weather"
        assert own[1]["delta"]["tool_calls"][0]["index"] == 0
        assert own[-1]["finish_reason"] == "tool_calls"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": {"type": "function", "function": {"name": "weather"}}}, "tool_choice"),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"tools": None, "functions": [{"name": "weather"}]}, "tools"),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"function": {"arguments": "{"}}]}]},
            "messages",
        ),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages"),
    ],
)
def test_what_such_a_model_cannot_do(
    calling: tuple[Served, list[Request]], fields: dict[str, Any], param: str
) -> None:
    """400, and the field."""
    response = calling[0].post({**asking(tools=[TOOL]), **fields})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == param


def test_a_template_without_tools(calling: tuple[Served, list[Request]], tokenizer: Any) -> None:
    """The error says what to do."""
    tokenizer.chat_template = TEMPLATE.replace("tools", "others")
    try:
        response = calling[0].post(asking(tools=[TOOL]))
    finally:
        tokenizer.chat_template = TEMPLATE
    assert response.status_code == 400
    assert "knows no tools" in response.json()["error"]["message"]
    assert "--base-url" in response.json()["error"]["message"]


CALLS = st.one_of(
    JSON,
    st.lists(
        st.fixed_dictionaries({"id": JSON, "function": st.dictionaries(NAMES, JSON)}), max_size=2
    ),
)
TURNS = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "tool", "developer", "x"]), "content": PARTS},
    optional={"tool_calls": CALLS, "tool_call_id": JSON, "name": JSON},
)
TOOLS = st.fixed_dictionaries(
    {"type": JSON},
    optional={"function": st.one_of(JSON, st.dictionaries(NAMES, JSON)), "name": JSON},
)


@given(turns=st.lists(TURNS, min_size=1, max_size=3), tools=st.lists(TOOLS, max_size=2))
def test_any_tools_and_turns_are_answered(
    calling: tuple[Served, list[Request]], turns: list[Any], tools: list[Any]
) -> None:
    """Or refused with what is wrong; never a 500."""
    body = {"model": "greedy/tiny", "messages": turns, "tools": [TOOL, *tools]}
    response = calling[0].client.post(
        f"{calling[0].url}/chat/completions",
        content=json.dumps(body).encode(),
        headers={"content-type": "application/json"},
    )
    assert response.status_code in (200, 400), response.text
