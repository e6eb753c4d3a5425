"""What becomes of a request that its server refused: another request, or an error with a next step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from spar.errors import EngineError, PromptRefused, PromptTooLong, ServerRefused, UsageError
from spar.infer.engines.openai.connection_pool import Cut, NoDescriptor, TimedOut, Unreachable
from spar.infer.engines.openai.refusals import Refusal, context_length, room_for_reply
from spar.infer.engines.openai.replicas import Replica
from spar.infer.engines.openai.retry import Changed
from spar.infer.engines.openai.servers import read_models, shown

_LIST_SECONDS = 20.0


async def outcome(
    server: Replica, refusal: Refusal, body: Mapping[str, Any], say: Callable[[Replica, str], None]
) -> Exception:
    """`Changed` where another request may be taken, else the error to raise.

    Parameters
    ----------
    refusal:
        One that trying again cannot help.
    body:
        What was refused.
    say:
        Told what was found out about the server.
    """
    if refusal.too_long:
        return _shorter(server, refusal, body.get("max_tokens") or body["max_completion_tokens"])
    found = server.abilities.learn(refusal, body)
    if found:
        say(server, found)
        return Changed()
    if refusal.status in (401, 403):
        return ServerRefused(f"{server.url}: refused the key, {refusal}; {server.key.explain()}")
    if refusal.status in (404, 405):
        return await _not_found(server, refusal, body)
    if 300 <= refusal.status < 400:
        return ServerRefused(
            f"{server.url}: HTTP {refusal.status}, it leads elsewhere; give that URL"
        )
    if refusal.status in (400, 422, 501) and "echo" in body:
        return no_logprobs(server, "echo", f" ({refusal})")
    if refusal.status in (400, 422) and server.served:
        # A content filter, or a template that refuses the conversation: others may pass.
        return PromptRefused(f"{server.url}: refused this prompt, {refusal}")
    return EngineError(f"{server.url}: {refusal}")


def no_logprobs(server: Replica, name: str, said: str = "") -> UsageError:
    """The error of a server without log-probabilities, of replies or, where `name` is echo, of prompts."""
    if name == "echo":
        return UsageError(
            f"{server.url}: gives no log-probabilities of a prompt (echo with logprobs), which "
            f"log-likelihoods need{said}; use --engine hf or vllm"
        )
    return UsageError(
        f"{server.url}: gives no log-probabilities, which --judge logprob needs; use --judge votes"
    )


def _shorter(server: Replica, refusal: Refusal, asked: int) -> Exception:
    context = context_length(refusal)
    if 1 < context <= asked:
        server.abilities.most_tokens = context - 1
    room = room_for_reply(refusal, asked)
    if room:
        return Changed(room)
    return PromptTooLong(f"{server.url}: the prompt is too long for the model: {refusal.message}")


async def _not_found(server: Replica, refusal: Refusal, body: Mapping[str, Any]) -> ServerRefused:
    try:
        answer = await server.lanes.ask("/models", None, _LIST_SECONDS)
    except (NoDescriptor, Unreachable, Cut, TimedOut):
        listed = None
    else:
        listed = read_models(answer.content) if answer.status == 200 else None
    model = body["model"]
    if listed is not None and model not in listed:
        return ServerRefused(
            f"{server.url}: has no model {model!r} ({shown(listed)}); give --model NAME"
        )
    if "prompt" in body:
        return ServerRefused(
            f"{server.url}: no /completions for {model!r} there, {refusal}, which prompts without a chat "
            "template need; use --engine hf or vllm"
        )
    if listed is None:
        return ServerRefused(
            f"{server.url}: no chat completions there, {refusal}; "
            "a base URL often ends in /v1, such as http://host:8000/v1"
        )
    return ServerRefused(f"{server.url}: {refusal}")
