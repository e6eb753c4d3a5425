"""Removes a reasoning model's thinking from its reply. Pure.

A model thinks between two tags at the start of its reply or, in OpenAI's harmony format (gpt-oss), in
messages on another channel than `final`. If the chat template has opened the thinking block already, the
text starts inside it; the caller knows this, or has learned it from earlier replies.
"""

from __future__ import annotations

import re

_CLOSING_TAGS = {
    "<think>": "</think>",
    "<thinking>": "</thinking>",
    "<seed:think>": "</seed:think>",
    "[THINK]": "[/THINK]",
}
OPENING_TAGS = tuple(_CLOSING_TAGS)
"""Tags that open a thinking block."""
CHANNEL = "<|channel|>"
"""Precedes the channel of a message in the harmony format."""
TAGS = frozenset((*_CLOSING_TAGS, *_CLOSING_TAGS.values(), CHANNEL))
"""Everything that must be visible in a text for its thinking to be recognized."""

_CLOSING = re.compile("|".join(map(re.escape, _CLOSING_TAGS.values())))
_UNOPENED = re.compile(rf"\n[ \t]*(?:{_CLOSING.pattern})|(?:{_CLOSING.pattern})[ \t]*\n[ \t]*\n")
_HARMONY = re.compile(
    r"<\|channel\|>\s*(?P<channel>\w+)(?:(?!<\|message\|>).)*<\|message\|>"
    r"(?P<text>.*?)(?=<\|(?:end|return|call|start|channel)\|>|\Z)",
    re.DOTALL,
)


def without_thinking(text: str, thinking: bool = False) -> str:
    """The part of a reply after the thinking; "" if the thinking does not end.

    Only thinking at the start of the reply is removed, one block or several; a later `<think>` is part of
    the answer.

    Parameters
    ----------
    thinking:
        Whether the prompt had opened a thinking block, so that the text starts inside it.
    """
    if text.lstrip().startswith((CHANNEL, "<|start|>")):
        return _final_messages(text)
    if thinking or starts_inside(text):
        text = _after(_CLOSING, text)
    while opening := _opening_tag(text):
        text = _after(re.compile(re.escape(_CLOSING_TAGS[opening])), text)
    return text


def starts_inside(text: str) -> bool:
    """Whether a text seems to start inside a thinking block, since it closes one.

    The closing tag must come before any opening one, and begin a line or precede a blank line, as models
    write it: an answer may mention the tag in a sentence.
    """
    match = _UNOPENED.search(text)
    return match is not None and not any(opening in text[: match.end()] for opening in OPENING_TAGS)


def has_thinking(text: str) -> bool:
    """Whether a reply contains thinking in any form."""
    return bool(_opening_tag(text)) or CHANNEL in text or _CLOSING.search(text) is not None


def _opening_tag(text: str) -> str:
    start = text.lstrip()
    return next((opening for opening in OPENING_TAGS if start.startswith(opening)), "")


def _after(end: re.Pattern[str], text: str) -> str:
    match = end.search(text)
    return text[match.end() :].lstrip() if match else ""


def _final_messages(text: str) -> str:
    messages = [m["text"] for m in _HARMONY.finditer(text) if m["channel"] == "final"]
    return "".join(messages).strip()
