"""Replies as they are stored on a disk, and the digest by which the request of a stored reply is known."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from hashlib import blake2b
from typing import Any

from spar.infer.engine import Completion, Request, TokenLogprobs

_NO_PART = ("messages", "tree", "on_text")
_REQUEST_FIELDS = tuple(f.name for f in fields(Request) if f.name not in _NO_PART)
_COMPLETION_FIELDS = tuple(f.name for f in fields(Completion) if f.name != "logprobs")
_ENCODE = json.JSONEncoder(separators=(",", ":")).encode


def request_digests(model: str, requests: Sequence[Request]) -> Iterator[str]:
    """A digest of all that decides the reply to each request: the model, the messages, the sampling with its seed."""
    messages, start = None, blake2b(digest_size=12)
    for request in requests:
        if request.messages is not messages:  # the votes of a judgement share theirs
            messages = request.messages
            turns = [(message.role, message.content) for message in messages]
            start = blake2b(_ENCODE([model, turns]).encode("ascii"), digest_size=12)
        digest = start.copy()
        settings = repr([getattr(request, name) for name in _REQUEST_FIELDS])
        digest.update(settings.encode("utf-8", "backslashreplace"))
        yield digest.hexdigest()


def as_values(completion: Completion) -> dict[str, Any]:
    """The completion as plain JSON values."""
    values: dict[str, Any] = {name: getattr(completion, name) for name in _COMPLETION_FIELDS}
    if completion.logprobs:
        values["logprobs"] = [(token.token, dict(token.top)) for token in completion.logprobs]
    return values


def from_values(values: Mapping[str, Any]) -> Completion:
    """The completion of `as_values`.

    Raises
    ------
    TypeError, ValueError
        The values are of something else, such as another version's.
    """
    logprobs = tuple(TokenLogprobs(token, top) for token, top in values.get("logprobs", ()))
    return Completion(**{**values, "logprobs": logprobs})
