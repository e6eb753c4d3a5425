"""Requests with tools, answered by a model that spar has loaded: greedy decoding, no search, no tree.

The model's own chat template renders the tools and the turns of tools. transformers' parser of responses reads the calls
out of the reply: by the tokenizer's own response template if it has one, else in the forms that models share: Hermes' and
Qwen's `<tool_call>`, Mistral's `[TOOL_CALLS]`, and Llama's bare JSON.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from spar.chat_template import ChatTemplate, template_variables
from spar.errors import EngineError, UsageError
from spar.infer.engine import Completion, Request, Sampling
from spar.infer.roles import Actor
from spar.sanitize import replace_surrogates, sanitize
from spar.serve.errors import ApiError, invalid
from spar.serve.failures import failure
from spar.serve.reply import chunk, event, token_counts
from spar.serve.request import ChatRequest
from spar.serve.searching import SearchService
from spar.serve.shaping import draft_sampling
from spar.thinking import opens_thinking, read_answer
from spar.types import Message

NOTE = "tools: answered greedily by the model, without a search"
_UNSUPPORTED = (
    "; leave the tools out, or serve a model behind a server that can call them (--base-url)"
)
_ARGUMENT = r"<parameter=(?P<key>[^>\n]+)>\s*(?P<value>.*?)\s*</parameter>"
_NAMED = {"function": {"name": "{name}", "arguments": "{content}"}}
_FORMS: Mapping[str, Any] = {
    "start_anchor": "\x00",  # replies are read from their first character
    "fields": {
        "json": {
            "open_pattern": r"\s*<tool_call>\s*(?=\{)",
            "close": "</tool_call>",
            "content": "json",
            "repeats": True,
        },
        "tags": {
            "open_pattern": r"\s*<tool_call>\s*<function=(?P<name>[^>\n]+)>",
            "close_pattern": r"</function>\s*</tool_call>",
            "content": "xml-inline",
            "content_args": {"tag_pattern": _ARGUMENT},
            "transform": _NAMED,
            "repeats": True,
        },
        "list": {
            "open_pattern": r"\s*\[TOOL_CALLS\]\s*(?=\[)",
            "content": "json",
        },
        "named": {
            "open_pattern": r"\s*\[TOOL_CALLS\]\s*(?P<name>[\w.-]+)\s*(?:\[ARGS\])?\s*(?=\{)",
            "close_pattern": r"(?=\[TOOL_CALLS\])|\Z",
            "content": "json",
            "transform": _NAMED,
            "repeats": True,
        },
        "content": {"content": "text"},
    },
}
"""A response template, as transformers has them, of the forms of calls that models share."""

Call = tuple[str, str]
"""The name of a tool and its arguments as JSON."""


async def answer_with_tools(service: SearchService, chat: ChatRequest) -> dict[str, Any]:
    """The completion of a request with tools.

    Raises
    ------
    ApiError
        The model cannot call tools, the request is wrong, or the engine fails.
    """
    offer, prepared = service.greedy
    actor, tokenizer, tools = prepared.roles.actor, service.tokenizer, _tools(chat.body)
    if not isinstance(actor, Actor) or tokenizer is None:
        raise _unsupported("the model is not one that spar loads with its chat template")
    template_args = actor.sampling.chat_template_args
    prompt = _rendered(chat.body, tools, ChatTemplate(tokenizer), template_args)
    try:
        async with service.admission.tree():
            requests = _requests(chat, prompt, actor.sampling)
            replies = await service.session.complete(actor.engine, requests)
    except (EngineError, UsageError) as error:
        raise failure(error, service.resolved) from error
    model = chat.model or service.offers.id_of(offer)
    return _completion(model, [_choice(r, tokenizer, prompt, tools) for r in replies], replies)


async def tool_events(completion: Mapping[str, Any], include_usage: bool) -> AsyncIterator[bytes]:
    """A completion as a stream."""
    head = {name: completion[name] for name in ("id", "created", "model")}
    head["object"] = "chat.completion.chunk"

    for choice in completion["choices"]:
        index, message = choice["index"], choice["message"]
        yield event(chunk(head, index, {"role": "assistant", "content": message["content"]}))
        calls = message.get("tool_calls", ())
        if calls:
            numbered = [{"index": number, **call} for number, call in enumerate(calls)]
            yield event(chunk(head, index, {"tool_calls": numbered}))
        yield event(chunk(head, index, {}, choice["finish_reason"]))
    if include_usage:
        yield event({**head, "choices": [], "usage": completion["usage"]})
    yield event("[DONE]")


def read_calls(
    text: str, tools: Sequence[Mapping[str, Any]], template: Mapping[str, Any] | None, prompt: str
) -> tuple[str, list[Call]]:
    """What a reply says beside its calls, and the calls; a reply whose calls cannot be read is all text.

    Parameters
    ----------
    template:
        The tokenizer's own response template, if it has one.
    prompt:
        The rendered conversation.
    """
    from transformers.utils.chat_parsing import parse_response

    names = {tool["function"]["name"] for tool in tools}
    if (calls := _bare_calls(text, names)) is not None:
        return "", calls
    try:
        form, prefix = (template, prompt) if template else (_FORMS, "")
        parsed = parse_response(text, dict(form), prefix=prefix, tools=list(tools))
        content = parsed.pop("content", "")
        calls = [_call(value) for value in _values(parsed)]
    except (ValueError, KeyError, TypeError):
        return text.strip(), []
    return (content if calls else text.strip()), calls


def _rendered(
    body: Mapping[str, Any],
    tools: Sequence[Mapping[str, Any]],
    template: ChatTemplate,
    template_args: Mapping[str, Any],
) -> str:
    """The conversation and the tools by the model's own chat template."""
    if not _renders_tools(template):
        raise _unsupported("the model's chat template knows no tools")
    try:
        offered = {"tools": _sanitized(tools, template)} if tools else {}
        return template.text(_turns(body, template), {**template_args, **offered}, prompt=True)
    except ApiError:
        raise
    except Exception as error:  # a chat template may raise anything
        raise invalid(
            f"the chat template cannot render the messages: {error}", "messages"
        ) from error


def _requests(chat: ChatRequest, prompt: str, sampling: Sampling) -> list[Request]:
    """One request for each choice, greedy unless the client names a temperature."""
    temperature = chat.shape.temperature or 0.0
    sampling = replace(draft_sampling(sampling, chat.shape), temperature=temperature)
    message = Message(role="user", content=prompt)
    seeds = [None if chat.seed is None else chat.seed + index for index in range(chat.n)]
    return [Request((message,), replace(sampling, seed=seed), plain=True) for seed in seeds]


def _values(parsed: Mapping[str, Any]) -> list[Any]:
    """The calls among the fields of a parsed reply."""
    fields = ("tool_calls", *_FORMS["fields"])
    found = [parsed[name] for name in fields if name in parsed]
    return [call for calls in found for call in (calls if isinstance(calls, list) else [calls])]


def _bare_calls(text: str, names: set[str]) -> list[Call] | None:
    """The calls of a reply that is their JSON and nothing else; None for any other reply."""
    text, decoder = text.strip().removeprefix("<|python_tag|>").strip(), json.JSONDecoder()
    values: list[Any] = []
    while text:
        try:
            value, end = decoder.raw_decode(text)
        except (ValueError, RecursionError):
            return None
        values += value if isinstance(value, list) else [value]
        text = text[end:].lstrip("; \n")
    try:
        calls = [_call(value) for value in values]
    except (ValueError, KeyError, TypeError):
        return None
    return calls if calls and {name for name, _ in calls} <= names else None


def _call(value: Any) -> Call:
    """Name and arguments in the form of OpenAI's, Hermes' or Llama's; raises where they are none."""
    function = value.get("function", value) if isinstance(value, dict) else {}
    name = function["name"]
    arguments = function["arguments"] if "arguments" in function else function["parameters"]
    if not isinstance(name, str) or not isinstance(arguments, dict | str):
        raise TypeError("no call")
    return name, arguments if isinstance(arguments, str) else json.dumps(arguments)


def _choice(
    reply: Completion, tokenizer: Any, prompt: str, tools: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    answer = read_answer(reply.text, opened=opens_thinking(prompt))
    template = getattr(tokenizer, "response_template", None)
    text = reply.text if template else answer.text
    content, calls = read_calls(text, tools, template, prompt)
    message: dict[str, Any] = {"role": "assistant", "content": replace_surrogates(content) or None}
    if calls:
        message["tool_calls"] = [
            {
                "id": f"call_{secrets.token_hex(12)}",
                "type": "function",
                "function": {"name": name, "arguments": arguments},
            }
            for name, arguments in calls
        ]
    finish = "tool_calls" if calls else reply.finish
    return {"message": message, "logprobs": None, "finish_reason": finish}


def _completion(
    model: str, choices: Sequence[dict[str, Any]], replies: Sequence[Completion]
) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{secrets.token_hex(12)}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [{"index": index, **choice} for index, choice in enumerate(choices)],
        "usage": token_counts(
            sum(reply.prompt_tokens for reply in replies),
            sum(reply.completion_tokens for reply in replies),
        ),
    }


def _unsupported(reason: str) -> ApiError:
    return invalid(f"tools: {reason}{_UNSUPPORTED}", "tools", "unsupported_parameter")


def _renders_tools(template: ChatTemplate) -> bool:
    templates = getattr(template.tokenizer, "chat_template", None)
    if isinstance(templates, dict) and "tool_use" in templates:
        return True
    return "tools" in (template_variables(template.source) or ())


def _tools(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The tools that the model may call."""
    choice = body.get("tool_choice")
    if choice not in (None, "auto", "none"):
        raise invalid(
            "tool_choice: a model without a server behind it can be left to choose (auto) or call nothing (none)",
            "tool_choice",
            "unsupported_value",
        )
    if body.get("functions"):
        raise _unsupported("the field functions is no longer used; send tools")
    tools = [] if choice == "none" else [_nested(tool) for tool in body.get("tools") or []]
    for tool in tools:
        function = tool.get("function")
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise invalid("tools: each needs a function with a name", "tools")
    return tools


def _nested(tool: Mapping[str, Any]) -> dict[str, Any]:
    """A tool in the form of chat completions; some clients send that of OpenAI's newer API, without `function`."""
    if "function" in tool or "name" not in tool:
        return dict(tool)
    function = {name: value for name, value in tool.items() if name != "type"}
    return {"type": "function", "function": function}


def _turns(body: Mapping[str, Any], template: ChatTemplate) -> list[dict[str, Any]]:
    """The messages as chat templates read them; no text among them can forge a turn."""
    turns = []
    for message in body["messages"]:
        role = message.get("role")
        turn = {"role": "system" if role == "developer" else role, "content": _text(message)}
        turn |= {name: message[name] for name in ("name", "tool_call_id") if name in message}
        if calls := message.get("tool_calls"):
            listed = calls if isinstance(calls, list) else [calls]
            turn["tool_calls"] = [_with_arguments(call) for call in listed]
        turns.append(turn)
    clean: list[dict[str, Any]] = _sanitized(turns, template)
    return clean


def _text(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if content is None or isinstance(content, str):
        return content or ""
    try:
        return "\n".join(part["text"] for part in content)
    except (TypeError, KeyError):
        raise invalid(
            "messages: each content must be a text, or a list of text parts", "messages"
        ) from None


def _with_arguments(call: Any) -> dict[str, Any]:
    """A call whose arguments are an object, as chat templates have them."""
    try:
        function = call["function"]
        arguments = function["arguments"]
        parsed = json.loads(arguments) if isinstance(arguments, str) else arguments
        return {**call, "function": {**function, "arguments": parsed}}
    except (TypeError, KeyError, ValueError, RecursionError):
        raise invalid(
            "messages: each of tool_calls needs a function with a name and arguments in JSON",
            "messages",
        ) from None


def _sanitized(value: Any, template: ChatTemplate) -> Any:
    if isinstance(value, str):
        return sanitize(value, template.special_pattern)
    if isinstance(value, dict):
        return {name: _sanitized(each, template) for name, each in value.items()}
    return [_sanitized(each, template) for each in value] if isinstance(value, list) else value
