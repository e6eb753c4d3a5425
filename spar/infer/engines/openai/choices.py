"""The fields of a reply, read one by one, whatever types a server gives them. Pure.

What cannot be what the field means is ignored (a negative number of tokens, a part that is not text) or is
an `InvalidReply` (log-probabilities that were requested), never an error of Python, and no NaN or infinity
passes. Only parts of type text are text: a model's thinking has fields, or parts, of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from spar.infer.engine import TokenLogprobs
from spar.infer.engines.openai.errors import error_message, value_line

THINKING_FIELDS = ("reasoning_content", "reasoning", "thinking", "reasoning_details")
"""Fields of a message in which servers return thinking."""

_THINKING_PARTS = ("thinking", "summary", "text")
_TEXT_TYPES = (None, "text", "output_text")
_FINISHED = (None, "stop", "length", "eos", "eos_token", "stop_sequence", "end_turn", "")
_CUT = ("length", "max_tokens", "model_length")
_MAX_COUNT = 10**9
_MIN_LOGPROB, _MAX_LOGPROB = -1e6, 0.01
_MAX_SHOWN = 200


class InvalidReply(Exception):
    """A reply that cannot be used; another attempt may bring a good one.

    Parameters
    ----------
    kind:
        What is wrong with it; groups failures in the log.
    detail:
        More about it.
    """

    def __init__(self, kind: str, detail: str = "") -> None:
        super().__init__(f"{kind}{detail}")
        self.kind = kind


NO_CHOICES, NO_MESSAGE = "a reply without choices", "a choice without a message"
WITHOUT_TEXT = (NO_CHOICES, NO_MESSAGE)
"""Kinds of whole replies with no text to read: some servers' content filters send them, and send them again."""


def no_choices(body: Any) -> InvalidReply:
    """The error for a body without choices, with what it says in their place."""
    said = "" if isinstance(body, list) else error_message(body)
    return InvalidReply(NO_CHOICES, f" ({said})" if said else "")


def read_text(message: Mapping[str, Any]) -> str:
    """The text of a message, in one piece or in parts; "" if it has none."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    parts = _parts(content)
    return "".join(_string(p.get("text")) for p in parts if p.get("type") in _TEXT_TYPES)


def read_thinking(message: Mapping[str, Any]) -> str:
    """The thinking that a server returns apart from the text; "" if there is none."""
    for name in THINKING_FIELDS:
        thinking = _thinking(message.get(name))
        if thinking:
            return thinking
    parts = [p for p in _parts(message.get("content")) if p.get("type") not in _TEXT_TYPES]
    return "".join(_thinking(p.get(name)) for p in parts for name in _THINKING_PARTS)


def is_cut(choice: Mapping[str, Any]) -> bool:
    """Whether a reply ended at a limit on its length, in the words of OpenAI or of a provider behind the server."""
    finish = choice.get("finish_reason")
    return isinstance(finish, str) and finish.lower() in _CUT


def explain_empty(choice: Mapping[str, Any]) -> str:
    """Why a choice has no text, as far as the server says; "" if it does not."""
    message, finish = choice["message"], choice.get("finish_reason")
    if finish == "content_filter":
        return "the server's content filter removed it (finish_reason content_filter)"
    refusals = [message, *_parts(message.get("content"))]
    refusal = next(filter(None, (_string(each.get("refusal")) for each in refusals)), "")
    if refusal:
        return f"the model refused: {value_line(refusal)[:_MAX_SHOWN]}"
    if message.get("tool_calls") or message.get("function_call"):
        return "the model called a tool in place of answering"
    if finish not in _FINISHED and not is_cut(choice):
        return f"finish_reason {value_line(finish)[:_MAX_SHOWN]}"
    return "the reply is thinking alone" if read_thinking(message) else ""


def read_logprobs(choice: Mapping[str, Any]) -> tuple[TokenLogprobs, ...]:
    """The tokens of a choice with their alternatives; () if it has none.

    Raises
    ------
    InvalidReply
        They are malformed: other types, or no logarithms of probabilities.
    """
    return tuple(
        TokenLogprobs(_token(row), _alternatives(_optional_list(row.get("top_logprobs"))))
        for row in map(_mapping, logprob_rows(choice))
    )


def logprob_rows(choice: Mapping[str, Any]) -> Sequence[Any]:
    """What a choice says of its tokens, one entry each, unchecked."""
    logprobs = choice.get("logprobs")
    rows = logprobs.get("content") if isinstance(logprobs, dict) else None
    return rows if isinstance(rows, list) else ()


def as_chat_choice(choice: Any) -> Any:
    """A choice of `/completions` in the shape of one of `/chat/completions`; others as they are."""
    if not isinstance(choice, dict) or not isinstance(choice.get("text"), str):
        return choice
    logprobs = choice.get("logprobs")
    if isinstance(logprobs, dict) and not isinstance(logprobs.get("content"), list):
        tokens, tops = logprobs.get("tokens"), logprobs.get("top_logprobs")
        rows = []
        if isinstance(tokens, list) and isinstance(tops, list):
            pairs = zip(tokens, tops, strict=False)
            rows = [{"token": token, "top_logprobs": _as_rows(top)} for token, top in pairs]
        logprobs = {"content": rows}
    return {**choice, "message": {"content": choice["text"]}, "logprobs": logprobs}


def as_count(value: Any) -> int | None:
    """A number of tokens; None if it cannot be one."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MAX_COUNT
    return value if is_count else None


def read_logprob(value: Any) -> float:
    """The logarithm of a probability. Minus infinity becomes a finite number.

    Raises
    ------
    InvalidReply
        It cannot be one: another type, NaN, or above 0 by more than rounding explains.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not value <= _MAX_LOGPROB:  # which NaN is not
        raise _malformed()
    return float(min(0.0, max(_MIN_LOGPROB, value)))


def read_alternatives(top: Any) -> list[float]:
    """The log-probabilities of the alternatives at a position of `/completions`.

    Raises
    ------
    InvalidReply
        They are malformed.
    """
    return [read_logprob(value) for value in _mapping(top).values()]


def _token(row: Mapping[str, Any]) -> str:
    if not isinstance(row.get("token"), str):
        raise _malformed()
    return str(row["token"])


def _alternatives(tops: Sequence[Any]) -> dict[str, float]:
    pairs = [(_token(top), read_logprob(top.get("logprob"))) for top in map(_mapping, tops)]
    logprobs: dict[str, float] = {}
    for token, logprob in sorted(pairs, key=lambda pair: -pair[1]):
        # Fragments of one character decode to the same text; the most likely of them stays.
        logprobs.setdefault(token, logprob)
    return logprobs


def _as_rows(top: Any) -> Any:
    if not isinstance(top, dict):
        return top
    return [{"token": token, "logprob": logprob} for token, logprob in top.items()]


def _optional_list(value: Any) -> Sequence[Any]:
    if value is not None and not isinstance(value, list):
        raise _malformed()
    return value or ()


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _malformed()
    return value


def _malformed() -> InvalidReply:
    return InvalidReply("malformed log-probabilities")


def _parts(content: Any) -> list[dict[str, Any]]:
    return [p for p in content if isinstance(p, dict)] if isinstance(content, list) else []


def _thinking(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "".join(_string(p.get("text")) or _string(p.get("summary")) for p in _parts(value))


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""
