"""Conversations as clients end them, made into ones that a search can answer: the last turn is the user's. Pure.

OpenAI's servers answer any conversation. Front ends end theirs with an instruction of the system's, with an empty turn of
the assistant's to be filled, or, to have an answer continued, with what it says so far.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

CONTINUE = "Continue your last message from where it stops. Write only what follows it."
"""The user's turn behind an answer that is to be continued."""


def ending_with_user(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The messages with a turn of the user's at the end; turns of the assistant's without a text have an empty one."""
    turns = [_with_text(message) for message in messages]
    while len(turns) > 1 and _is_blank_reply(turns[-1]):
        turns.pop()
    last = turns[-1] if turns else {}
    if last.get("role") in ("system", "developer"):
        turns[-1] = {**last, "role": "user"}
    elif last.get("role") == "assistant" and len(turns) > 1:
        turns.append({"role": "user", "content": CONTINUE})
    return turns


def _with_text(message: Mapping[str, Any]) -> dict[str, Any]:
    """A turn of the assistant's with a text where it has none, a refusal included."""
    turn = dict(message)
    if turn.get("role") != "assistant":
        return turn
    content = turn.get("content")
    if isinstance(content, list):
        turn["content"] = [_text_part(part) for part in content] or ""
    elif content is None:
        refusal = turn.get("refusal")
        turn["content"] = refusal if isinstance(refusal, str) else ""
    return turn


def _text_part(part: Any) -> Any:
    if isinstance(part, dict) and part.get("type") == "refusal":
        return {"type": "text", "text": part.get("refusal")}
    return part


def _is_blank_reply(turn: Mapping[str, Any]) -> bool:
    content = turn.get("content")
    return turn.get("role") == "assistant" and isinstance(content, str) and not content.strip()
