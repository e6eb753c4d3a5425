"""What a server can do, found out as it refuses things, and the request bodies that it is sent. Pure.

Each thing is found out once: what a server lacks is left out of all that it is sent from then on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from spar.infer.engine import Finish, Request
from spar.infer.engines.openai.refusals import Refusal
from spar.infer.engines.thinking import has_thinking, starts_inside
from spar.sanitize import plain, whole

SPECIAL = re.compile(
    r"<\|[^|<>\s]{1,40}\|>|<｜[^｜<>\s]{1,40}｜>"
    r"|</?s>|<[be]os>|</?start_of_turn>|</?end_of_turn>|\[/?(?:INST|SYSTEM_PROMPT|TOOL_RESULTS)\]|<</?SYS>>"
)
_SEVERAL = re.compile(
    r"\bn\b\s*(?:>|<=|=|must|should|is\b|parameter|greater)|(?:multiple|number of|several) (?:choices|completions)",
    re.IGNORECASE,
)
_MOST_LOGPROBS = re.compile(
    r"(?:max(?:imum)?(?: allowed)?|at most|less than or equal to|<=|between 0 and)\D{0,12}(\d+)",
    re.IGNORECASE,
)
_REFUSED_VALUE = re.compile(
    r"unsupported|not support|only the default|not permitted|unrecognized", re.IGNORECASE
)

_INSTEAD = {
    "n": "gives one choice a request; the votes are sent as single requests",
    "seed": "knows no seeds; its replies will differ from run to run",
    "logprobs": "gives no log-probabilities",
    "temperature": "takes no temperature; it samples at its own",
    "top_p": "takes no top_p; it samples with its own",
    "stop": "takes no stop strings; its replies are cut here",
    "echo": "gives no log-probabilities of a prompt",
}
_MOST_STOPS = 4
"""OpenAI's own server refuses more."""


@dataclass(slots=True)
class Abilities:
    """What is known of one server and its model."""

    lacks: set[str] = field(default_factory=set)
    """Fields that it refuses or does not heed."""
    limit_field: str = "max_tokens"
    """Its name for the most tokens of a reply."""
    most_tokens: int = 0
    """Longest reply that it can be asked for, 0 where that is not known."""
    most_logprobs: int = 20
    """Alternatives that it gives at most at each token."""
    inside: int = 0
    """Replies that started inside a thinking, since its template opens it and nothing takes it out."""
    outside: int = 0
    """Replies that came to their end and show no thinking."""

    @property
    def thinking(self) -> bool:
        """Whether a reply is to be taken to start inside a thinking."""
        return self.inside > self.outside

    def note_reply(self, text: str, finish: Finish) -> None:
        """Find out from a reply's text whether replies start inside a thinking."""
        if starts_inside(text):
            self.inside += 1
        elif finish == "stop" and text.strip() and not has_thinking(text):
            self.outside += 1

    def learn(self, refusal: Refusal, body: Mapping[str, Any]) -> str:
        """Take in why a body was refused: what to do instead, for a person; "" where nothing helps."""
        if _wants_other_limit(refusal, body):
            self.limit_field = "max_completion_tokens"
            return "wants max_completion_tokens in place of max_tokens"
        if _names(refusal, "top_logprobs") and "top_logprobs" in body:
            most = _MOST_LOGPROBS.search(refusal.message)
            if most and 0 < int(most[1]) < body["top_logprobs"]:
                self.most_logprobs = int(most[1])
                return f"gives at most {self.most_logprobs} log-probabilities a token"
        if "echo" in body and (_names(refusal, "echo") or _names(refusal, "logprobs")):
            return self.lack("echo")
        for name in _INSTEAD:
            if name in body and _lacks(refusal, name):
                return self.lack(name)
        return ""

    def lack(self, name: str) -> str:
        """Note that a field is lacking; what is done instead."""
        self.lacks.add(name)
        return _INSTEAD[name]


def request_body(
    model: str, request: Request, n: int, limit: int, abilities: Abilities
) -> dict[str, Any]:
    """What to send for `n` samples of at most `limit` tokens."""
    sampling = request.sampling
    body: dict[str, Any] = {
        "model": model,
        **_prompt(request),
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens" if request.plain else abilities.limit_field: limit,
        "seed": sampling.seed,
        "n": n if n > 1 else None,
        "stop": [whole(string) for string in sampling.stop if string][:_MOST_STOPS] or None,
    }
    if sampling.top_logprobs:
        most = min(sampling.top_logprobs, abilities.most_logprobs)
        asked = {"logprobs": most} if request.plain else {"logprobs": True, "top_logprobs": most}
        body.update(asked)
    lacks = abilities.lacks
    return {k: value for k, value in body.items() if value is not None and k not in lacks}


def echo_body(
    model: str, request: Request, n: int, limit: int, abilities: Abilities
) -> dict[str, Any]:
    """What to send to be told how likely a plain prompt's own tokens are."""
    # Not every server takes a limit of no tokens.
    asked = {"temperature": 0.0, "max_tokens": 1, "logprobs": 1, "echo": True}
    return {"model": model, **_prompt(request), **asked}


def _prompt(request: Request) -> dict[str, Any]:
    if request.plain:
        return {"prompt": whole(request.messages[0].content)}
    turns = [{"role": m.role, "content": plain(m.content, SPECIAL)} for m in request.messages]
    return {"messages": turns}


def _wants_other_limit(refusal: Refusal, body: Mapping[str, Any]) -> bool:
    if "max_tokens" not in body or "max_completion_tokens" not in refusal.message:
        return False
    return "instead" in refusal.message or bool(_REFUSED_VALUE.search(refusal.message))


def _lacks(refusal: Refusal, name: str) -> bool:
    if name in ("temperature", "top_p"):  # else the value is out of range, which is another matter
        return _names(refusal, name) and bool(_REFUSED_VALUE.search(refusal.message + refusal.code))
    if name == "logprobs" and _names(refusal, "top_logprobs"):
        return True
    return _names(refusal, name) or (name == "n" and bool(_SEVERAL.search(refusal.message)))


def _names(refusal: Refusal, name: str) -> bool:
    if refusal.field.rpartition(".")[2] == name:
        return True
    quoted = rf"['\"`]{name}['\"`]" if name in ("n", "stop") else rf"\b{name}\b"
    return re.search(quoted, refusal.message) is not None
