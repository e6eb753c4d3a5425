r"""Removes a reasoning model's thinking from its reply. Pure: the one place where it is done.

    >>> read_answer("<think>\nHm.\n</think>\n\nA word.").text
    'A word.'

Engines, `--responses`, files of judge outputs and training rows call `read_answer`, so that no thinking
reaches a judge, an answer or a training text. It is found in two places only:

- At the start of the reply, white space aside, between the tags of a model family (`<think>`, `[THINK]`,
  `<|START_THINKING|>`, ...; vLLM's reasoning parsers list them), after Granite's opening words, or in
  messages on another channel than `final` in OpenAI's harmony format (gpt-oss).
- From the start of the reply to a closing tag, if the chat template has opened the block. An engine knows
  this, or has learned it from earlier replies; in a text of unknown origin, a closing tag without an opening
  one that begins a line or precedes a blank line shows it.

Everything else is part of the answer, so a reply may mention a tag in a sentence or a code block. Thinking
that does not end leaves no answer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_NAME = r"(?:[a-z]+[:|_])?(?:think(?:ing)?(?:_fast(?:er)?)?|thought|reasoning)(?::\w+)?"
_PAIRS = {
    "[THINK]": "[/THINK]",
    "◁think▷": "◁/think▷",
    "<|START_THINKING|>": "<|END_THINKING|>",
    "<|channel>": "<channel|>",
}
CHANNEL = "<|channel|>"
"""Precedes the channel of a message in the harmony format."""
_EVERYDAY = ("thinking", "thought", "reasoning")

_OPENING = re.compile(
    rf"\s*(?:<(?P<name>{_NAME})>|(?P<pair>{'|'.join(map(re.escape, _PAIRS))})"
    r"|(?P<granite>here(?:'s| is) my thought process:))",
    re.IGNORECASE,
)
_CLOSING = re.compile(rf"</(?:{_NAME})>|{'|'.join(map(re.escape, _PAIRS.values()))}", re.IGNORECASE)
_UNOPENED = re.compile(
    rf"\n[ \t]*(?:{_CLOSING.pattern})|(?:{_CLOSING.pattern})[ \t]*\n[ \t]*\n", re.IGNORECASE
)
_ANY_OPENING = re.compile(rf"<(?:{_NAME})>|{'|'.join(map(re.escape, _PAIRS))}", re.IGNORECASE)
_OPENED = re.compile(rf"(?:{_ANY_OPENING.pattern})\s*\Z", re.IGNORECASE)
_CLOSED = re.compile(rf"(?:{_CLOSING.pattern})\s*\Z", re.IGNORECASE)
_GRANITE_END = re.compile(r"here(?:'s| is) my response:", re.IGNORECASE)
_HARMONY = re.compile(
    r"<\|channel\|>\s*(?P<channel>\w+)(?:(?!<\|message\|>).)*<\|message\|>"
    r"(?P<text>.*?)(?=<\|(?:end|return|call|start|channel)\|>|\Z)",
    re.DOTALL,
)
_BARE_HARMONY = re.compile(r"\s*analysis(?=[A-Z\"'“‘])")
_BARE_FINAL = re.compile(r"assistant\s*final")

_HALF_TAG = re.compile(r"<[a-z:|_]{0,40}")
_OPENINGS = (
    *(opening.lower() for opening in _PAIRS),
    CHANNEL,
    "<|start|>",
    "here's my thought process:",
    "here is my thought process:",
)
_BARE_OPENING = "analysis"


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply without its thinking."""

    text: str
    """What the reply says after the thinking, without white space before it; the whole reply, unchanged, if
    it has none."""
    thought: bool = False
    """Whether thinking was removed."""
    unfinished: bool = False
    """Whether the thinking does not end, so that `text` is ""."""


def read_answer(text: str, *, opened: bool = False, prompt: str = "") -> Answer:
    """Split the thinking off a reply.

    Parameters
    ----------
    opened:
        Whether the prompt had opened a thinking block, so that the text starts inside it.
    prompt:
        The user's turn that is answered, if it is known. A tag that is an everyday word, such as
        `<reasoning>`, is part of the answer where this turn asks for it by spelling it.
    """
    if text.lstrip().startswith((CHANNEL, "<|start|>")):
        return _harmony_answer(text)
    if match := _BARE_HARMONY.match(text):  # its special tokens were skipped
        return _after(_BARE_FINAL, text, match.end())
    answer = Answer(text)
    if opened or starts_inside(text):
        answer = _after(_CLOSING, text, 0)
    while (opening := _opening(answer.text, prompt)) is not None:
        answer = _after(_end_of(opening), answer.text, opening.end())
    return answer


def read_growing_answer(text: str, *, opened: bool = False, prompt: str = "") -> str:
    """The answer in the beginning of a reply, "" where it may still turn out to be thinking; parameters as above."""
    answer = read_answer(text, opened=opened, prompt=prompt).text
    return "" if _may_open(answer) else answer


def without_thinking(text: str, opened: bool = False) -> str:
    """The text of `read_answer`."""
    return read_answer(text, opened=opened).text


def opens_thinking(prompt: str) -> bool:
    """Whether a rendered prompt ends inside a thinking block that its template has opened."""
    return _OPENED.search(prompt) is not None


def closing_tag(prompt: str) -> str:
    """What closes the thinking block that a rendered prompt ends inside of; "" if it ends inside of none."""
    opened = _OPENED.search(prompt)
    opening = _OPENING.match(prompt, opened.start()) if opened else None
    if opening is None:
        return ""
    return f"</{opening['name']}>" if opening["name"] else _PAIRS.get(opening["pair"], "")


def names_thinking(template: str) -> bool:
    """Whether a chat template names a tag of thinking, as those of reasoning models do."""
    return CHANNEL in template or bool(_ANY_OPENING.search(template) or _CLOSING.search(template))


def closes_thinking(prompt: str) -> bool:
    """Whether a rendered prompt ends behind a thinking block, so that the reply has none."""
    return _CLOSED.search(prompt) is not None


def is_tag(token: str) -> bool:
    """Whether a token is a tag of thinking, which must be visible for thinking to be found."""
    return token == CHANNEL or any(tag.fullmatch(token) for tag in (_ANY_OPENING, _CLOSING))


def starts_inside(text: str) -> bool:
    """Whether a text seems to start inside a thinking block, since it closes one.

    The closing tag must come before any opening one, outside code blocks, and begin a line or precede a
    blank line, as models write it: an answer may mention the tag in a sentence.
    """
    match = _UNOPENED.search(text)
    if match is None or _ANY_OPENING.search(text, 0, match.end()):
        return False
    return text.count("```", 0, match.start()) % 2 == 0


def has_thinking(text: str) -> bool:
    """Whether a reply contains thinking in any form."""
    return bool(_OPENING.match(text)) or CHANNEL in text or _CLOSING.search(text) is not None


def _opening(text: str, prompt: str) -> re.Match[str] | None:
    """What opens a thinking block at the start of a text, unless the prompt asked for it."""
    match = _OPENING.match(text)
    if match and (match["name"] or "").lower() in _EVERYDAY:
        return None if match[0].strip().lower() in prompt.lower() else match
    return match


def _may_open(text: str) -> bool:
    """Whether a text is the beginning of what opens thinking, as far as it goes."""
    start = text.lstrip()
    if _BARE_OPENING.startswith(start) or _HALF_TAG.fullmatch(start.lower()):
        return True
    return any(opening.startswith(start.lower()) for opening in _OPENINGS)


def _end_of(opening: re.Match[str]) -> re.Pattern[str]:
    """What closes a thinking block."""
    if opening["granite"]:
        return _GRANITE_END
    closing = f"</{opening['name']}>" if opening["name"] else _PAIRS.get(opening["pair"], "")
    return re.compile(re.escape(closing), re.IGNORECASE) if closing else _CLOSING


def _after(end: re.Pattern[str], text: str, start: int) -> Answer:
    match = end.search(text, start)
    if match is None:
        return Answer("", thought=True, unfinished=True)
    return Answer(text[match.end() :].lstrip(), thought=True)


def _harmony_answer(text: str) -> Answer:
    messages = list(_HARMONY.finditer(text))
    final = [message["text"] for message in messages if message["channel"] == "final"]
    thought = not final or len(final) < len(messages)
    return Answer("".join(final).strip(), thought=thought, unfinished=not final)
