"""Makes texts safe for a terminal, and for a tokenizer: no lone surrogates, no forged special tokens.

A text that spells one of the tokenizer's special tokens could open a turn of its own, so such a spelling
is split by an invisible word joiner (U+2060). Searches and trainers use the same functions, so a model is
trained on the tokens that a search sends.
"""

from __future__ import annotations

import re
from collections.abc import Container
from typing import Any

JOINER = "\u2060"
"""The word joiner: zero width, no line break, and part of no tokenizer's special token."""
_LAYOUT = frozenset("\n\t")
_SURROGATE = re.compile("[\ud800-\udfff]")


def printable(text: str, layout: Container[str] = _LAYOUT) -> str:
    """The text for a terminal: every control, format and surrogate character but those of `layout` as an escape.

    Whatever is printed passes through here last: names of files, models and servers are as hostile as a
    model's text. Escape sequences could write to the clipboard or clear the screen.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c in layout else c.encode("unicode_escape").decode() for c in text
    )


def sanitize(text: str, specials: re.Pattern[str]) -> str:
    """The text as it is sent to a model; the record has the original.

    Tokenizers and JSON require UTF-8, so a lone surrogate becomes U+FFFD; special tokens are split.
    """
    return escape_special_tokens(replace_surrogates(text), specials)


def replace_surrogates(text: str) -> str:
    """The text with U+FFFD in place of each lone surrogate."""
    return _SURROGATE.sub("\ufffd", text)


def escape_special_tokens(text: str, specials: re.Pattern[str]) -> str:
    """The text with a word joiner (U+2060) inside each spelling of a special token."""
    return specials.sub(lambda match: f"{match[0][0]}{JOINER}{match[0][1:]}", text)


def special_tokens(tokenizer: Any) -> set[str]:
    """The special tokens of a tokenizer of transformers, as texts."""
    # `all_special_tokens` lacks some of them; those are marked in the table of added tokens.
    added = getattr(tokenizer, "added_tokens_decoder", {}).values()
    special = {token.content for token in added if token.special}
    return {token for token in (*tokenizer.all_special_tokens, *special) if token}


def special_pattern(tokens: set[str]) -> re.Pattern[str]:
    """A pattern that matches any of these tokens, longest first."""
    ordered = sorted(tokens, key=lambda token: (-len(token), token))
    return re.compile("|".join(map(re.escape, ordered)) or r"(?!)")
