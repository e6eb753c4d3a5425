"""From a server's JSON to completions. Pure.

What the API leaves open is settled here. The tokens of a reply with several choices are split over
them so that the sum stays the server's: a choice that ran into the limit has just so many, one with
log-probabilities as many as these, and the others share the rest by the length of their text. The
prompt counts for every choice, as it would have in single requests; where the server reports its
prefix cache, the first choice has what it reports and the others have their whole prompt cached, since
the first one read it. A server that counts nothing is taken to need a token for four characters.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from spar.infer.engine import Completion, Finish, Request, TokenLogprobs
from spar.infer.engines.openai.capabilities import Abilities
from spar.infer.engines.stops import end_of
from spar.infer.engines.thinking import without_thinking

_CHARACTERS_A_TOKEN = 4
_BROKEN_OFF = ("abort", "error")


class FaultyReply(Exception):
    """A reply that cannot be used, though another try may bring a good one.

    Parameters
    ----------
    kind:
        What is wrong with it, in the words that are counted.
    detail:
        How so, if there is more to say.
    """

    def __init__(self, kind: str, detail: str = "") -> None:
        super().__init__(f"{kind}{detail}")
        self.kind = kind


class TooFewChoices(Exception):
    """One choice where several were asked for: the server does not heed `n`."""


class NoLogprobs(Exception):
    """A reply without the log-probabilities that were asked for."""


def read_reply(
    content: bytes, request: Request, n: int, limit: int, abilities: Abilities | None = None
) -> list[Completion]:
    """The `n` completions in the body of an answer.

    Parameters
    ----------
    abilities:
        What is known of the server; learns from the replies where its thinking begins.
    limit:
        The most tokens that were asked for.

    Raises
    ------
    FaultyReply
        Not JSON, not a chat completion, or with a wrong number of choices.
    TooFewChoices, NoLogprobs
        The server lacks something.
    """
    reply = as_chat(read_json(content)) if request.plain else read_json(content)
    choices = _choices(reply, n)
    texts = [_text(choice) for choice in choices]
    logprobs = [_logprobs(choice) for choice in choices]
    if request.sampling.top_logprobs and any(texts) and not any(logprobs):
        raise NoLogprobs
    finishes = [_finish(choice) for choice in choices]
    answers = _answers(texts, finishes, request, abilities or Abilities())
    ends = [end_of(answer, request.sampling.stop) for answer in answers]
    prompt, cached, total = _usage(reply, request, choices)
    lengths = [
        limit if finish == "length" else len(tokens) or None
        for finish, tokens in zip(finishes, logprobs, strict=True)
    ]
    parts = split_tokens_used(total, lengths, [_size(choice) for choice in choices])
    return [
        Completion(
            text=answers[i][: ends[i]],
            finish="stop" if ends[i] < len(answers[i]) else finishes[i],
            prompt_tokens=prompt,
            completion_tokens=parts[i],
            logprobs=logprobs[i] if request.sampling.top_logprobs else (),
            cached_tokens=(cached if i == 0 else prompt) if cached is not None else 0,
        )
        for i in range(n)
    ]


def as_chat(reply: Any) -> Any:
    """A reply of `/completions` in the shape of one of `/chat/completions`."""
    choices = reply.get("choices") if isinstance(reply, dict) else None
    if not isinstance(choices, list):
        return reply
    return {**reply, "choices": [_chat_choice(choice) for choice in choices]}


def read_json(content: bytes) -> Any:
    """What the body of an answer holds; raises `FaultyReply` where it is no JSON."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError):  # the latter where brackets are nested by the thousand
        raise FaultyReply("half a JSON text", f" ({len(content)} bytes)") from None


def split_tokens_used(
    total: int, lengths: Sequence[int | None], sizes: Sequence[int]
) -> Sequence[int]:
    """Tokens of each choice, which sum up to `total`.

    Parameters
    ----------
    lengths:
        Those that are known; they are forgotten where they do not fit the total.
    sizes:
        Characters of each choice's text.
    """
    if len(sizes) == 1:
        return [total]
    known = sum(length or 0 for length in lengths)
    unknown = lengths.count(None)
    if known + unknown > total or (not unknown and known != total):
        lengths, known = [None] * len(sizes), 0
    weights = [0 if n is not None else size + 1 for n, size in zip(lengths, sizes, strict=True)]
    shares, weight_sum, given, seen = [], sum(weights), 0, 0
    for length, weight in zip(lengths, weights, strict=True):
        seen += weight
        upto = (total - known) * seen // max(1, weight_sum)
        shares.append(length if length is not None else upto - given)
        given = upto
    return shares


def _choices(reply: Any, n: int) -> list[Mapping[str, Any]]:
    choices = reply.get("choices") if isinstance(reply, dict) else None
    if not isinstance(choices, list) or not choices:
        raise FaultyReply("a reply without choices")
    if len(choices) == 1 and n > 1:
        raise TooFewChoices
    if len(choices) != n:
        raise FaultyReply("a wrong number of choices", f" ({len(choices)} in place of {n})")
    if not all(isinstance(c, dict) and isinstance(c.get("message"), dict) for c in choices):
        raise FaultyReply("a choice without a message")
    if any(choice.get("finish_reason") in _BROKEN_OFF for choice in choices):
        raise FaultyReply("a reply that the server broke off")
    if sorted(str(choice.get("index")) for choice in choices) == sorted(map(str, range(n))):
        choices.sort(key=lambda choice: int(choice["index"]))
    return choices


def _chat_choice(choice: Any) -> Any:
    if not isinstance(choice, dict) or not isinstance(choice.get("text"), str):
        return choice
    found = choice.get("logprobs")
    found = found if isinstance(found, dict) else {}
    rows = [
        {"token": token, "top_logprobs": [{"token": t, "logprob": top[t]} for t in top or ()]}
        for token, top in zip(
            found.get("tokens") or (), found.get("top_logprobs") or (), strict=False
        )
    ]
    return {**choice, "message": {"content": choice["text"]}, "logprobs": {"content": rows}}


def _answers(
    texts: Sequence[str], finishes: Sequence[Finish], request: Request, abilities: Abilities
) -> Sequence[str]:
    if request.plain:
        return texts
    for text, finish in zip(texts, finishes, strict=True):
        abilities.note_reply(text, finish)
    return [without_thinking(text, abilities.thinking) for text in texts]


def _text(choice: Mapping[str, Any]) -> str:
    content = choice["message"].get("content")
    if isinstance(content, list):  # parts, as some servers send them
        content = "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _size(choice: Mapping[str, Any]) -> int:
    message = choice["message"]
    thoughts = message.get("reasoning_content") or message.get("reasoning") or ""
    return len(_text(choice)) + len(str(thoughts))


def _finish(choice: Mapping[str, Any]) -> Finish:
    # A filter, a tool call or a name that we do not know: the model says no more, as after a stop.
    return "length" if choice.get("finish_reason") == "length" else "stop"


def _usage(
    reply: Mapping[str, Any], request: Request, choices: Sequence[Mapping[str, Any]]
) -> tuple[int, int | None, int]:
    usage = reply.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    prompt, total = usage.get("prompt_tokens"), usage.get("completion_tokens")
    if not isinstance(prompt, int):
        prompt = _estimate(sum(len(message.content) for message in request.messages))
    if not isinstance(total, int):
        total = sum(_estimate(_size(choice)) for choice in choices)
    details = usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    return prompt, min(cached, prompt) if isinstance(cached, int) else None, total


def _estimate(characters: int) -> int:
    return max(1, -(-characters // _CHARACTERS_A_TOKEN))


def _logprobs(choice: Mapping[str, Any]) -> tuple[TokenLogprobs, ...]:
    found = choice.get("logprobs")
    rows = found.get("content") if isinstance(found, dict) else None
    if not isinstance(rows, list):
        return ()
    try:
        return tuple(_token(row) for row in rows)
    except (KeyError, TypeError, ValueError):
        raise FaultyReply("log-probabilities that cannot be read") from None


def _token(row: Mapping[str, Any]) -> TokenLogprobs:
    pairs = [(str(top["token"]), float(top["logprob"])) for top in row.get("top_logprobs") or ()]
    likeliest: dict[str, float] = {}
    for token, value in sorted(pairs, key=lambda pair: -pair[1]):
        # Pieces of characters share one text: the first of them, the likeliest, stays.
        likeliest.setdefault(token, value)
    return TokenLogprobs(str(row["token"]), likeliest)
