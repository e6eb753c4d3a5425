"""From a server's JSON to completions, and what replies reveal about the server. Pure.

Where the API leaves something open, this module decides. The tokens of a reply with several choices are
split so that they add up to the server's total: a choice cut off by the token limit has exactly that many,
one with log-probabilities has as many as these, and the rest is shared by length of text. Each choice
counts the whole prompt, as it would in a request of its own. If the server reports its prefix cache, the
first choice has the reported number of cached tokens and the others have their whole prompt cached. Tokens of
reasoning that only the total of prompt and reply counts are the reply's. If it reports no usage, a token is assumed
to have four characters.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from spar.chat_template import Adaptations
from spar.infer.engine import Completion, Finish, Request
from spar.infer.engines.openai.choices import (
    NO_MESSAGE,
    InvalidReply,
    as_chat_choice,
    as_count,
    explain_empty,
    is_cut,
    logprob_rows,
    no_choices,
    read_logprobs,
    read_text,
    read_thinking,
)
from spar.infer.engines.openai.errors import value_line
from spar.infer.engines.openai.samples import SampleCheck
from spar.infer.engines.stops import find_stop
from spar.thinking import Answer, has_thinking, read_answer, starts_inside

UNSUPPORTED_NOTES = {
    "n": "returns fewer choices than requested; votes are sent as single requests",
    "seed": "does not support seeds; its replies will differ from run to run",
    "logprobs": "returns no log-probabilities",
    "temperature": "does not accept a temperature; it samples at its own",
    "top_p": "does not accept top_p; it samples with its own",
    "stop": "does not accept stop strings; its replies are cut here",
    "response_format": "does not accept this JSON schema; its replies are read as they come",
    "structured_outputs": "does not accept a regular expression; its replies are read as they come",
    "echo": "returns no log-probabilities of a prompt",
    "stream_options": "does not count the tokens of streamed replies; they are estimated",
    "stream": "does not stream its replies; they are shown once they are whole",
}
"""Fields that a server may not support, and what is done instead."""

CUT_PROMPT_NOTE = (
    "counts {tokens:,} tokens of a prompt of {words:,} words, so it seems to cut long prompts; give its model a "
    "longer context (Ollama: OLLAMA_CONTEXT_LENGTH, or num_ctx of the model)"
)
_MIN_CUT_TOKENS = 128
"""A server that counts fewer has not cut a prompt to its context, but counts in a way of its own."""
_MIN_TOKENS_PER_WORD = 0.75
"""Words of natural text have more than one; only vocabularies whose tokens span words have fewer."""
_CHARACTERS_PER_TOKEN = 4
_MAX_CHARACTERS, _MAX_CHARACTERS_PER_TOKEN = 65_536, 256
"""Longest text of a choice: the longest tokens of vocabularies are runs of some 128 spaces."""
_ABORTED = ("abort", "error", "insufficient_system_resource")
"""Reasons that a reply ended without being whole; the last is DeepSeek's."""
_MAX_START = 60
"""Bytes of a body that is no JSON, such as a web page, that a message shows."""


class TooFewChoices(Exception):
    """Fewer choices than were requested: the server ignores `n`, or has a limit on it."""


class MissingLogprobs(Exception):
    """A reply without the log-probabilities that were requested."""


@dataclass(slots=True)
class Capabilities:
    """What is known about a server and its model, learned from its errors and replies.

    Each thing is learned once: what a server does not support is left out of all further requests.
    """

    unsupported: set[str] = field(default_factory=set)
    """Fields that it refuses or ignores."""
    max_tokens_field: str = "max_tokens"
    """Its name for the token limit of a chat reply."""
    max_reply_tokens: int = 0
    """Largest token limit that it accepts; 0 if unknown."""
    max_top_logprobs: int = 20
    """Most alternatives that it returns per token."""
    min_temperature: float = 0.0
    """Lowest temperature that it accepts; greedy requests are sent with it."""
    max_seed: int = 2**63 - 1
    """Largest seed that it accepts, a power of two less one; the last bits of larger ones are sent."""
    omits_idle_top_p: bool = False
    """Whether top_p is left out where it changes nothing, at 1.0 or temperature 0, since the server refuses it there."""
    samples: SampleCheck = field(default_factory=SampleCheck)
    """Whether the samples of one request are samples."""
    adaptations: Adaptations = Adaptations()
    """What is done to conversations, since its chat template refuses some turns."""
    cut_prompt: str = ""
    """A note on the first prompt that the server seems to have cut, "" if there was none."""
    replies_inside_thinking: int = 0
    """Replies that began inside a thinking block, which the chat template opened."""
    replies_without_thinking: int = 0
    """Complete replies that showed no thinking."""

    @property
    def starts_inside_thinking(self) -> bool:
        """Whether replies are assumed to begin inside a thinking block."""
        return self.replies_inside_thinking > self.replies_without_thinking

    def add_reply(self, text: str, finish: Finish) -> None:
        """Learn from the text of a reply whether replies begin inside a thinking block."""
        if starts_inside(text):
            self.replies_inside_thinking += 1
        elif finish == "stop" and text.strip() and not has_thinking(text):
            self.replies_without_thinking += 1

    def add_prompt(self, request: Request, tokens: int) -> None:
        """Learn from the tokens that the server counts in a prompt whether it cuts prompts, as Ollama does unasked."""
        words = sum(len(message.content.split()) for message in request.messages)
        if not self.cut_prompt and _MIN_CUT_TOKENS <= tokens < _MIN_TOKENS_PER_WORD * words:
            self.cut_prompt = CUT_PROMPT_NOTE.format(tokens=tokens, words=words)

    def mark_unsupported(self, name: str) -> str:
        """Record that a field is not supported; returns a note on what is done instead."""
        self.unsupported.add(name)
        return UNSUPPORTED_NOTES[name]


def read_reply(
    content: bytes,
    request: Request,
    n: int,
    max_tokens: int,
    capabilities: Capabilities | None = None,
) -> list[Completion]:
    """The `n` completions in the body of a response.

    Parameters
    ----------
    max_tokens:
        The token limit that was sent.
    capabilities:
        What is known about the server; updated.

    Raises
    ------
    InvalidReply
        Not JSON, not a completion, or the wrong number of choices.
    TooFewChoices, MissingLogprobs
        The server does not support something.
    """
    body = _as_chat_reply(parse_json(content)) if request.plain else parse_json(content)
    choices = _read_choices(body, n)
    raw_texts = [read_text(choice["message"]) for choice in choices]
    longest = max(map(len, raw_texts))
    if longest > max(_MAX_CHARACTERS, _MAX_CHARACTERS_PER_TOKEN * max_tokens):
        raise InvalidReply(
            "a reply longer than its token limit allows",
            f" ({longest:,} characters, at most {max_tokens:,} tokens)",
        )
    wants_logprobs = bool(request.sampling.top_logprobs)
    logprobs = [read_logprobs(choice) if wants_logprobs else () for choice in choices]
    if wants_logprobs and any(raw_texts) and not any(logprobs):
        raise MissingLogprobs
    # A content filter, a tool call or an unknown reason: the model writes no more, as after a stop.
    finishes: list[Finish] = ["length" if is_cut(choice) else "stop" for choice in choices]
    capabilities = capabilities or Capabilities()
    if n > 1:
        capabilities.samples.record(raw_texts)
    answers = _read_answers(raw_texts, finishes, request, capabilities)
    texts = [answer.text for answer in answers]
    ends = [find_stop(text, request.sampling.stop) for text in texts]
    prompt, cached, total = _read_usage(body, request, choices, capabilities)
    lengths = [
        max_tokens if finish == "length" else len(logprob_rows(choice)) or None
        for finish, choice in zip(finishes, choices, strict=True)
    ]
    completion_tokens = split_completion_tokens(total, lengths, [_num_chars(c) for c in choices])
    return [
        Completion(
            text=texts[i][: ends[i]],
            finish="stop" if ends[i] < len(texts[i]) else finishes[i],
            prompt_tokens=prompt,
            completion_tokens=completion_tokens[i],
            logprobs=logprobs[i],
            unfinished_thinking=answers[i].unfinished or _only_thinks(choices[i], finishes[i]),
            empty_reason="" if texts[i].strip() else explain_empty(choices[i]),
            cached_tokens=(cached if i == 0 else prompt) if cached is not None else 0,
        )
        for i in range(n)
    ]


def parse_json(content: bytes) -> Any:
    """The body of a response; raises `InvalidReply` if it is not JSON."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError):  # the latter if brackets are nested by the thousand
        start = value_line(content[:_MAX_START].decode("utf-8", "replace"))
        shown = "" if start[:1] in ("", "{") else f" that begin with {start!r}"
        raise InvalidReply(
            "incomplete or invalid JSON", f" ({len(content)} bytes{shown})"
        ) from None


def split_completion_tokens(
    total: int, lengths: Sequence[int | None], num_chars: Sequence[int]
) -> Sequence[int]:
    """Tokens of each choice; they add up to `total`.

    Parameters
    ----------
    lengths:
        Known token counts, else None; ignored if they do not fit the total.
    num_chars:
        Characters of each choice's text.
    """
    if len(num_chars) == 1:
        return [total]
    known = sum(length or 0 for length in lengths)
    num_unknown = lengths.count(None)
    if known + num_unknown > total or (not num_unknown and known != total):
        lengths, known = [None] * len(num_chars), 0
    weights = [
        0 if n is not None else chars + 1 for n, chars in zip(lengths, num_chars, strict=True)
    ]
    tokens, total_weight, assigned, weight_so_far = [], sum(weights), 0, 0
    for length, weight in zip(lengths, weights, strict=True):
        weight_so_far += weight
        # Rounding the running sum down, not each share, keeps the total.
        cumulative = (total - known) * weight_so_far // max(1, total_weight)
        tokens.append(length if length is not None else cumulative - assigned)
        assigned = cumulative
    return tokens


def _as_chat_reply(body: Any) -> Any:
    """A reply of `/completions` in the shape of one of `/chat/completions`."""
    choices = body.get("choices") if isinstance(body, dict) else None
    if not isinstance(choices, list):
        return body
    return {**body, "choices": [as_chat_choice(choice) for choice in choices]}


def _read_choices(body: Any, n: int) -> list[Mapping[str, Any]]:
    choices = body.get("choices") if isinstance(body, dict) else None
    if not isinstance(choices, list) or not choices:
        raise no_choices(body)
    if len(choices) < n:
        raise TooFewChoices
    if len(choices) != n:
        raise InvalidReply("wrong number of choices", f" ({len(choices)}, expected {n})")
    if not all(isinstance(c, dict) and isinstance(c.get("message"), dict) for c in choices):
        raise InvalidReply(NO_MESSAGE)
    if any(choice.get("finish_reason") in _ABORTED for choice in choices):
        raise InvalidReply("a reply that the server aborted")
    if sorted(str(choice.get("index")) for choice in choices) == sorted(map(str, range(n))):
        choices.sort(key=lambda choice: int(choice["index"]))
    return choices


def _read_answers(
    texts: Sequence[str], finishes: Sequence[Finish], request: Request, capabilities: Capabilities
) -> Sequence[Answer]:
    if request.plain:
        return [Answer(text) for text in texts]
    for text, finish in zip(texts, finishes, strict=True):
        capabilities.add_reply(text, finish)
    opened, prompt = capabilities.starts_inside_thinking, request.messages[-1].content
    return [read_answer(text, opened=opened, prompt=prompt) for text in texts]


def _only_thinks(choice: Mapping[str, Any], finish: Finish) -> bool:
    """Whether a reply was cut while its thinking, in a field of its own, had not ended."""
    message = choice["message"]
    return finish == "length" and bool(read_thinking(message)) and not read_text(message)


def _num_chars(choice: Mapping[str, Any]) -> int:
    return len(read_text(choice["message"])) + len(read_thinking(choice["message"]))


def _read_usage(
    body: Mapping[str, Any],
    request: Request,
    choices: Sequence[Mapping[str, Any]],
    capabilities: Capabilities,
) -> tuple[int, int | None, int]:
    """Prompt tokens, cached ones if they are reported, and completion tokens of all choices."""
    usage = body.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    prompt, total = as_count(usage.get("prompt_tokens")), as_count(usage.get("completion_tokens"))
    total = _with_reasoning(usage, prompt, total)
    if prompt is None:
        prompt = _estimate_tokens(sum(len(message.content) for message in request.messages))
    else:
        capabilities.add_prompt(request, prompt)
    if total is None:
        total = sum(_estimate_tokens(_num_chars(choice)) for choice in choices)
    details = usage.get("prompt_tokens_details")
    cached = as_count(details.get("cached_tokens")) if isinstance(details, dict) else None
    return prompt, None if cached is None else min(cached, prompt), total


def _with_reasoning(usage: Mapping[str, Any], prompt: int | None, total: int | None) -> int | None:
    """Completion tokens with those of reasoning, which some servers (xAI, Gemini) count in `total_tokens` alone."""
    both, details = as_count(usage.get("total_tokens")), usage.get("completion_tokens_details")
    if both is None or prompt is None or total is None or both - prompt <= total:
        return total
    details = details if isinstance(details, dict) else {}
    reasoning = as_count(details.get("reasoning_tokens"))
    return both - prompt if reasoning in (None, both - prompt - total) else total


def _estimate_tokens(num_chars: int) -> int:
    return max(1, -(-num_chars // _CHARACTERS_PER_TOKEN))
