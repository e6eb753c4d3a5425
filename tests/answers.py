"""What a scripted server answers: completions, model lists and refusals, as OpenAI's API has them.

Pure: from a request's body to a status and content. Words count as tokens. A word of an echoed prompt
has a tenth of a nat for each of its characters, its space included; those of up to three characters are greedy.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from spar.errors import PromptTooLong
from spar.infer.engine import Request, Sampling
from spar.infer.engines.fake import Reply, scripted_reply
from spar.infer.engines.stops import find_stop
from spar.types import Message

Status = Literal["408", "409", "425", "429", "500", "502", "503", "504", "520", "529"]
Broken = Literal["cut", "stall", "half", "noise", "status line", "length", "encoding"]
"""No HTTP response, or not the one that it says it is."""
Spoilt = Literal[
    "empty", "many", "one", "null", "list", "text", "message", "nameless", "aborted", "error 502"
]
"""A reply in JSON that is none."""
Odd = Literal["odd usage", "odd logprobs", "odd index", "odd fields"]
"""A reply with fields of types and values that they cannot have; its text is right."""
Fault = Status | Broken | Spoilt | Odd
"""Faults in place of an answer."""

FAULTS: tuple[Fault, ...] = ("500", "429", "cut", "stall", "half", "empty", "many")
TRANSIENT_FAULTS: tuple[Fault, ...] = (
    *get_args(Status),
    *(fault for fault in get_args(Broken) if fault != "stall"),
    *(fault for fault in get_args(Spoilt) if fault != "one"),
    *get_args(Odd),
)
"""Everything after which the same request is answered in full, but for what takes a time-out to notice."""
WITHOUT_TEXT: frozenset[Fault] = frozenset({"empty", "null", "list", "text", "message", "nameless"})
"""What a content filter might send: the prompt of a request that gets four of these in a row is given up."""


@dataclass(frozen=True, slots=True)
class Script:
    """The behaviour of a server."""

    reply: Reply = scripted_reply
    models: tuple[str, ...] = ("tiny",)
    """The models that it lists; without any it has no list of models."""
    context: int = 0
    """Maximum words of prompt and reply together; 0 for no limit."""
    key: str = ""
    """The required key, "" for none."""
    lacks: tuple[str, ...] = ()
    """Fields that it rejects by name."""
    ignores: tuple[str, ...] = ()
    """Fields that it accepts and ignores."""
    fault_share: float = 0.0
    """Share of requests that fail, drawn at random."""
    faults: tuple[Fault, ...] = FAULTS
    """Kinds of failure, equally likely."""
    seed: int = 0
    """Seed of the draws."""
    seconds: float = 0.0
    """Latency of an answer in seconds."""
    slots: int = 0
    """Maximum concurrent requests, above which it answers 429; 0 for no limit."""
    retry_after: str = "0.05"
    """Header of its 429 and 503 answers, "" for none."""
    answer: Callable[[dict[str, Any]], tuple[int, Any] | None] = lambda _: None
    """Returns status and content for a request's body in place of all this; None for the scripted answer."""
    usage: bool = True
    """Whether its replies have token counts."""
    completions: bool = True
    """Whether it serves plain completions."""
    bos: bool = False
    """Whether it prepends a token of its own to a plain prompt."""


def answer(script: Script, body: dict[str, Any]) -> tuple[int, Any]:
    """Status and content of the answer to a request's body."""
    scripted = script.answer(body)
    if scripted is not None:
        return scripted
    if script.models and body["model"] not in script.models:
        message = f"The model `{body['model']}` does not exist."
        return 404, error_body(message, "model_not_found")
    for name in script.lacks:
        if name in body:
            return 400, error_body(
                f"Unsupported parameter: '{name}'", "unsupported_parameter", name
            )
    for name in script.ignores:
        body.pop(name, None)
    try:
        # A field that is null is one that was left out.
        return 200, _completion(script, {k: v for k, v in body.items() if v is not None})
    except PromptTooLong as error:
        return 400, error_body(str(error), "context_length_exceeded")


def events_of(content: dict[str, Any], num_parts: int = 5) -> list[bytes]:
    """A reply as server-sent events: a few characters each, then how it ended, then its usage."""
    shared = {k: v for k, v in content.items() if k not in ("choices", "usage")}
    events: list[dict[str, Any]] = []
    for choice in content["choices"]:
        text = choice["text"] if "text" in choice else choice["message"]["content"]
        size = max(1, -(-len(text) // num_parts))
        for start in range(0, len(text), size):
            part = text[start : start + size]
            said = {"text": part} if "text" in choice else {"delta": {"content": part}}
            events.append({**shared, "choices": [{"index": choice["index"], **said}]})
        end = {k: v for k, v in choice.items() if k not in ("message", "text")}
        said = {"text": ""} if "text" in choice else {"delta": {}}
        events.append({**shared, "choices": [{**end, **said}]})
    if "usage" in content:
        events.append({**shared, "choices": [], "usage": content["usage"]})
    lines = [f"data: {json.dumps(event)}\n\n".encode() for event in events]
    return [*lines, b"data: [DONE]\n\n"]


def requests_of(body: dict[str, Any]) -> list[Request]:
    """One request per choice, with consecutive seeds."""
    plain = "prompt" in body
    turns = [{"role": "user", "content": body["prompt"]}] if plain else body["messages"]
    messages = tuple(Message.model_construct(**turn) for turn in turns)
    limit = body.get("max_tokens", body.get("max_completion_tokens", 1 << 30))
    sampling = Sampling(body.get("temperature", 1.0), body.get("top_p", 1.0), limit)
    seed = body.get("seed")
    seeds = [None if seed is None else seed + i for i in range(body.get("n", 1))]
    samplings = [replace(sampling, seed=seed) for seed in seeds]
    return [Request(messages, each, tree=0, plain=plain) for each in samplings]


def _completion(script: Script, body: dict[str, Any]) -> dict[str, Any]:
    requests = requests_of(body)
    prompt = sum(message.content.count(" ") + 1 for message in requests[0].messages)
    prompt += script.bos and requests[0].plain
    limit = requests[0].sampling.max_tokens
    if script.context and prompt + limit > script.context:
        raise PromptTooLong(
            f"This model's maximum context length is {script.context} tokens. However, you requested "
            f"{limit} output tokens and your prompt contains {prompt} input tokens"
        )
    choices = [_choice(i, script.reply(request), body) for i, request in enumerate(requests)]
    content = {"id": "c", "object": "chat.completion", "model": body["model"], "choices": choices}
    if requests[0].plain:
        content["choices"] = [_plain_choice(script, choice, body) for choice in choices]
    if script.usage:
        total = sum(choice["message"]["content"].count(" ") + 1 for choice in choices)
        content["usage"] = {
            "prompt_tokens": prompt,
            "completion_tokens": total,
            "total_tokens": prompt + total,
            "prompt_tokens_details": {"cached_tokens": prompt // 2},
        }
    return content


def _choice(index: int, text: str, body: dict[str, Any]) -> dict[str, Any]:
    words = text.split(" ")
    limit = body.get("max_tokens", body.get("max_completion_tokens", 1 << 30))
    said = " ".join(words[:limit])
    end = find_stop(said, body.get("stop", ()))
    choice: dict[str, Any] = {
        "index": index,
        "message": {"role": "assistant", "content": said[:end]},
        "finish_reason": "stop" if len(words) <= limit or end < len(said) else "length",
    }
    if body.get("logprobs"):
        choice["logprobs"] = {"content": [_logprob(word) for word in words[:limit]]}
    return choice


def _logprob(word: str) -> dict[str, Any]:
    return {
        "token": f" {word}",
        "logprob": -0.1,
        "top_logprobs": [{"token": f" {word}", "logprob": -0.1}, {"token": "x", "logprob": -2.5}],
    }


def _plain_choice(script: Script, choice: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
    said = choice["message"]["content"]
    if not body.get("echo"):
        rows = choice.get("logprobs", {}).get("content", [])
        tokens = [row["token"] for row in rows]
        likeliest = [{t["token"]: t["logprob"] for t in row["top_logprobs"]} for row in rows]
        found = {"tokens": tokens, "top_logprobs": likeliest}
        return {**choice, "text": said, "logprobs": found if rows else None}
    text = f"{body['prompt']} {said}"
    first, *rest = text.split(" ")
    tokens = [*(["<s>"] if script.bos else []), first, *(f" {word}" for word in rest)]
    own = [None, *(-len(token) / 10 for token in tokens[1:])]
    tops: list[Any] = [None, *({t: -len(t) / 10, "x": -0.3} for t in tokens[1:])]
    logprobs = {"tokens": tokens, "token_logprobs": own, "top_logprobs": tops}
    return {**choice, "text": text, "logprobs": logprobs if "logprobs" in body else None}


def spoil(content: dict[str, Any], fault: Fault) -> Any:
    """What a server answers in place of a reply, or a reply with odd fields."""
    choices: Sequence[Any] = content["choices"]
    odd = [1, "x", None, {"token": 5, "top_logprobs": "x"}]
    spoilt: dict[str, Any] = {
        "empty": {**content, "choices": []},
        "many": {**content, "choices": [*choices, *choices, *choices]},
        "one": {**content, "choices": choices[:1]},
        "null": {**content, "choices": None},
        "list": [content],
        "text": "upstream error",
        "message": {**content, "choices": [{**c, "message": "x"} for c in choices]},
        "nameless": {**content, "choices": [{"index": 0} for _ in choices]},
        "aborted": {**content, "choices": [{**c, "finish_reason": "error"} for c in choices]},
        "error 502": {"error": {"code": 502, "message": "the provider is away"}},
        "odd usage": {**content, "usage": {"prompt_tokens": -5, "completion_tokens": 10**30}},
        "odd logprobs": {
            **content,
            "choices": [{**c, "logprobs": {"content": odd}} for c in choices],
        },
        "odd index": {**content, "choices": [{**c, "index": [c["index"]]} for c in choices]},
        "odd fields": {**content, "id": [], "choices": [{**c, "stop": {}} for c in choices]},
    }
    return spoilt.get(fault, content)


def error_body(message: str, code: str = "error", parameter: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": "error", "param": parameter, "code": code}}


def model_list(script: Script) -> dict[str, Any]:
    extra = {"max_model_len": script.context} if script.context else {}
    return {
        "object": "list",
        "data": [{"id": name, "object": "model", **extra} for name in script.models],
    }
