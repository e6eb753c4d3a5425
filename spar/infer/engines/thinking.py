"""Taking a reasoning model's thinking out of its reply. Pure.

A model thinks between two tags at the start of its reply, or, in OpenAI's harmony format (gpt-oss), in
messages on another channel than `final`. Where the chat template has opened the thinking already, the
text starts inside it; whether it has, the caller knows or has found out from earlier replies.
"""

from __future__ import annotations

import re

_ENDS = {
    "<think>": "</think>",
    "<thinking>": "</thinking>",
    "<seed:think>": "</seed:think>",
    "[THINK]": "[/THINK]",
}
OPENINGS = tuple(_ENDS)
"""What opens the thinking of one model or another."""
CHANNEL = "<|channel|>"
"""What names the channel of a message in the harmony format."""
TAGS = frozenset((*_ENDS, *_ENDS.values(), CHANNEL))
"""All that has to be seen in a text for its thinking to be found."""

_END = re.compile("|".join(map(re.escape, _ENDS.values())))
_UNOPENED = re.compile(rf"\n[ \t]*(?:{_END.pattern})|(?:{_END.pattern})[ \t]*\n[ \t]*\n")
_HARMONY = re.compile(
    r"<\|channel\|>\s*(?P<channel>\w+)(?:(?!<\|message\|>).)*<\|message\|>"
    r"(?P<text>.*?)(?=<\|(?:end|return|call|start|channel)\|>|\Z)",
    re.DOTALL,
)


def without_thinking(text: str, thinking: bool = False) -> str:
    """What a reasoning model says after its thinking; "" where it never came to an end of it.

    Only thinking that opens the reply counts, one block or several: a later `<think>` is part of the
    answer.

    Parameters
    ----------
    thinking:
        Whether the prompt had opened the thinking, so that the text starts inside it.
    """
    if text.lstrip().startswith((CHANNEL, "<|start|>")):
        return _final(text)
    if thinking or starts_inside(text):
        text = _after(_END, text)
    while opening := _opening(text):
        text = _after(re.compile(re.escape(_ENDS[opening])), text)
    return text


def starts_inside(text: str) -> bool:
    """Whether a text of which nothing else is known starts inside a thinking, since it ends one.

    The end tag must come before any opening one, and begin a line or stand before a blank line, as
    models write it: an answer may name the tag in a sentence.
    """
    found = _UNOPENED.search(text)
    return found is not None and not any(opening in text[: found.end()] for opening in OPENINGS)


def has_thinking(text: str) -> bool:
    """Whether a reply shows thinking of any form, its own opening included."""
    return bool(_opening(text)) or CHANNEL in text or _END.search(text) is not None


def _opening(text: str) -> str:
    start = text.lstrip()
    return next((opening for opening in OPENINGS if start.startswith(opening)), "")


def _after(end: re.Pattern[str], text: str) -> str:
    found = end.search(text)
    return text[found.end() :].lstrip() if found else ""


def _final(text: str) -> str:
    said = [found["text"] for found in _HARMONY.finditer(text) if found["channel"] == "final"]
    return "".join(said).strip()
