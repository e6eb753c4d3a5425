"""What a refusal reveals of a server: fields and values that it does not accept. Pure.

Messages are read for the names of fields. Where a message names none ("bad request"), the fields that can be left
out or replaced are found by trying: `simpler_bodies` are sent until one is served.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

from spar.infer.engines.openai.errors import ErrorResponse
from spar.infer.engines.openai.replies import UNSUPPORTED_NOTES, Capabilities

SMALL_SEED = 2**31 - 1
"""Largest seed that every server with seeds accepts."""
_SEVERAL_CHOICES = re.compile(
    r"\bn\b\s*(?:>|<=|=|must|should|is\b|parameter|greater)|(?:multiple|number of|several) (?:choices|completions)"
    r"|\bbest_of\b",  # what the servers of TGI call it
    re.IGNORECASE,
)
_NUMBER = r"(\d{1,3}(?:,\d{3})+|\d+)"
_INTERVAL = re.compile(rf"[\[(](?!\d{{1,3}}(?:,\d{{3}})+\))\s*\d+\s*,\s*{_NUMBER}\s*[\])]")
_RANGE = re.compile(
    rf"\b(?:between|from|range)\b\D{{0,12}}?\d+\s*(?:and|to|-|–|,|\.\.+)\s*{_NUMBER}",
    re.IGNORECASE,
)
_AT_MOST = re.compile(
    rf"(?:max(?:imum)?(?: allowed)?|at most|not exceed|less than or equal to|<=)\D{{0,12}}{_NUMBER}",
    re.IGNORECASE,
)
_TOKEN_LIMITS = ("max_tokens", "max_completion_tokens", "max_new_tokens")
"""Names of the limit on a reply's tokens; the last one is what the servers of TGI call it."""
_TOKEN_LIMIT = re.compile(rf"\b(?:{'|'.join(_TOKEN_LIMITS)})\b")
_BOTH = re.compile(r"\bboth\b|\bonly one\b|\bone of\b|\btogether\b", re.IGNORECASE)
_UNSUPPORTED = re.compile(
    r"unsupported|not support|only the default|not permitted|unrecognized", re.IGNORECASE
)
_GREEDY_TEMPERATURE = 0.01
_NO_SYSTEM = re.compile(
    r"system (?:role|message|prompt|turn)s? (?:is |are )?not (?:supported|allowed|permitted)"
    r"|(?:not|n't) support (?:the )?system|only user(?:,| and) (?:and )?assistant",
    re.IGNORECASE,
)
_ALTERNATE = re.compile(
    r"roles? must alternate|must alternate between|alternat\w+ user", re.IGNORECASE
)
_OPTIONAL_FIELDS = (
    ("n",),
    ("seed",),
    ("stop",),
    ("response_format",),
    ("structured_outputs",),
    ("logprobs", "top_logprobs"),
    ("stream_options",),
    ("stream", "stream_options"),
)
_OUT_OF_RANGE = re.compile(
    r"int32|range|too (?:large|big)|must be|less than|at most|maximum|<|invalid value",
    re.IGNORECASE,
)


def learn_turns(
    capabilities: Capabilities, error: ErrorResponse, messages: Sequence[Mapping[str, Any]]
) -> str:
    """Update which turns the server's chat template renders from its refusal of a conversation.

    Returns a note on what is done instead; "" if the message is about no turns that can be adapted.
    """
    roles, known = [str(message["role"]) for message in messages], capabilities.adaptations
    alternate = _ALTERNATE.search(error.message) is not None
    if alternate and not known.join_turns and any(a == b for a, b in pairwise(roles)):
        capabilities.adaptations = replace(known, join_turns=True)
        return "refuses two turns of one role in a row; they are joined"
    folds = alternate or _NO_SYSTEM.search(error.message) is not None
    if folds and known.fold_system == "no" and "system" in roles:
        capabilities.adaptations = replace(known, fold_system="all")
        return "refuses system turns; each is put at the start of the user's turn that follows it"
    return ""


def learn_from_error(
    capabilities: Capabilities, error: ErrorResponse, body: Mapping[str, Any]
) -> str:
    """Update what is known of a server from its refusal of `body`, which must not be due to the prompt.

    Returns a note on what is done instead; "" if nothing was learned.
    """
    if "temperature" in body and "top_p" in body and _is_conflict(error):
        return _omit_top_p(capabilities) if _keeps_every_token(body) else ""
    value = _learn_from_value(capabilities, error, body)
    if value:
        return value
    if (
        "max_tokens" in body
        and "prompt" not in body
        and "max_completion_tokens" in error.message
        and ("instead" in error.message or _UNSUPPORTED.search(error.message))
    ):
        capabilities.max_tokens_field = "max_completion_tokens"
        return "requires max_completion_tokens in place of max_tokens"
    if "top_logprobs" in body and is_about(error, "top_logprobs"):
        limit = _upper_bound(error)
        if 0 < limit < integer_field(body, "top_logprobs"):
            capabilities.max_top_logprobs = limit
            return f"returns at most {capabilities.max_top_logprobs} log-probabilities per token"
    if "echo" in body and (is_about(error, "echo") or is_about(error, "logprobs")):
        return capabilities.mark_unsupported("echo")
    for name in UNSUPPORTED_NOTES:
        if name in body and _refuses_field(error, name):
            return capabilities.mark_unsupported(name)
    return ""


def learn_from_probe(
    capabilities: Capabilities, error: ErrorResponse, body: Mapping[str, Any]
) -> str:
    """As `learn_from_error`, and the limit on replies: with a harmless prompt, it is not the prompt's length."""
    learned = learn_from_error(capabilities, error, body)
    return learned or _learn_token_limit(capabilities, error, body)


def simpler_bodies(
    capabilities: Capabilities, body: Mapping[str, Any]
) -> Iterator[tuple[dict[str, Any], Callable[[], str]]]:
    """Requests without one of the fields of `body` that may be refused, and what to call if one is served.

    Such a function updates what is known and returns a note.
    """
    for names in _OPTIONAL_FIELDS:
        if names[0] in body:
            rest = {name: value for name, value in body.items() if name not in names}
            yield rest, partial(capabilities.mark_unsupported, names[0])
    if _keeps_every_token(body):
        rest = {name: value for name, value in body.items() if name != "top_p"}
        yield rest, partial(_omit_top_p, capabilities)
    if body.get("temperature") == 0:
        raised = {**body, "temperature": _GREEDY_TEMPERATURE}
        yield raised, partial(_raise_temperature, capabilities)


def is_about(error: ErrorResponse, name: str) -> bool:
    """Whether an error names a field of the request."""
    if error.field.rpartition(".")[2] == name:
        return True
    quoted = rf"['\"`]{name}['\"`]" if name in ("n", "stop") else rf"\b{name}\b"
    return re.search(quoted, error.message) is not None


def integer_field(body: Mapping[str, Any], name: str) -> int:
    """A field of a request; 0 if it has none, or an extra field of the user's has put null in its place."""
    value = body.get(name)
    return value if isinstance(value, int) else 0


def _learn_from_value(
    capabilities: Capabilities, error: ErrorResponse, body: Mapping[str, Any]
) -> str:
    """As `learn_from_error`, where the value of a field is out of range for the server."""
    if _UNSUPPORTED.search(error.message + error.code):
        return ""
    if body.get("temperature") == 0 and is_about(error, "temperature"):
        return _raise_temperature(capabilities)
    if body.get("top_p") == 1 and is_about(error, "top_p"):
        return _omit_top_p(capabilities)
    has_large_seed = integer_field(body, "seed") > SMALL_SEED
    if has_large_seed and is_about(error, "seed") and _OUT_OF_RANGE.search(error.message):
        capabilities.max_seed = SMALL_SEED
        return "refuses large seeds; their last 31 bits are sent"
    return ""


def _learn_token_limit(
    capabilities: Capabilities, error: ErrorResponse, body: Mapping[str, Any]
) -> str:
    """As `learn_from_error`, for a limit on replies: with a harmless prompt, it is the prompt's length no more."""
    name = "max_tokens" if "max_tokens" in body else "max_completion_tokens"
    limit = _upper_bound(error)
    is_named = any(is_about(error, each) for each in (name, *_TOKEN_LIMITS))
    if not is_named or not 0 < limit < integer_field(body, name):
        return ""
    capabilities.max_reply_tokens = limit
    return f"writes at most {capabilities.max_reply_tokens} tokens a reply"


def _upper_bound(error: ErrorResponse) -> int:
    """The largest value that a message allows, 0 if it names none: of a range its end, and no number for its field's `max_`."""
    text = _TOKEN_LIMIT.sub(" ", error.message)
    between, most = _RANGE.search(text), _AT_MOST.search(text)
    if between and most and not between.start() <= most.start(1) < between.end():
        between = None  # of something else than what must be at most so many
    match = _INTERVAL.search(text) or between or most
    return int(match[1].replace(",", "")) if match else 0


def _is_conflict(error: ErrorResponse) -> bool:
    """Whether temperature and top_p are refused beside each other, each of which would be accepted alone."""
    names_both = is_about(error, "temperature") and is_about(error, "top_p")
    return names_both and _BOTH.search(error.message) is not None


def _keeps_every_token(body: Mapping[str, Any]) -> bool:
    """Whether top_p changes nothing: it is 1, or the reply is greedy."""
    top_p, temperature = body.get("top_p"), body.get("temperature")
    return top_p == 1 or (top_p is not None and temperature in (0, _GREEDY_TEMPERATURE))


def _omit_top_p(capabilities: Capabilities) -> str:
    capabilities.omits_idle_top_p = True
    return (
        "refuses this top_p; it is left out where it changes nothing, at 1.0 and at temperature 0"
    )


def _raise_temperature(capabilities: Capabilities) -> str:
    capabilities.min_temperature = _GREEDY_TEMPERATURE
    return f"refuses temperature 0; greedy replies are sampled at {_GREEDY_TEMPERATURE}"


def _refuses_field(error: ErrorResponse, name: str) -> bool:
    if name in (
        "temperature",
        "top_p",
    ):  # otherwise its value is out of range, not the field unknown
        return is_about(error, name) and bool(_UNSUPPORTED.search(error.message + error.code))
    if name == "logprobs" and is_about(error, "top_logprobs"):
        return True
    return is_about(error, name) or (name == "n" and bool(_SEVERAL_CHOICES.search(error.message)))
