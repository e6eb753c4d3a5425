"""Texts as a chat model's tokenizer may read them: no lone surrogates, no forged special tokens.

What a model or a person wrote is text. Where it spells one of the tokenizer's special tokens it could
open a turn of its own, so such a spelling is split by an invisible word joiner (U+2060). Searches and
trainers render conversations alike: both come here.
"""

from __future__ import annotations

import re
from typing import Any

JOINER = "\u2060"
"""The word joiner: no width, no break, and no tokenizer's special token holds one."""
_SURROGATE = re.compile("[\ud800-\udfff]")


def plain(text: str, specials: re.Pattern[str]) -> str:
    """The text as a model may read it, which is not how it stands in the record.

    Tokenizers and JSON take UTF-8, so a lone surrogate becomes U+FFFD; special tokens are split.
    """
    return split_tokens(whole(text), specials)


def whole(text: str) -> str:
    """The text with U+FFFD in place of each lone surrogate."""
    return _SURROGATE.sub("\ufffd", text)


def split_tokens(text: str, specials: re.Pattern[str]) -> str:
    """The text with a word joiner (U+2060) inside whatever spells a special token."""
    return specials.sub(lambda match: f"{match[0][0]}{JOINER}{match[0][1:]}", text)


def special_tokens(tokenizer: Any) -> set[str]:
    """Texts of a tokenizer's special tokens, as loaded by transformers."""
    # The tokenizer names only some of them; the others are marked in its table.
    added = getattr(tokenizer, "added_tokens_decoder", {}).values()
    marked = {token.content for token in added if token.special}
    return {token for token in (*tokenizer.all_special_tokens, *marked) if token}


def special_pattern(tokens: set[str]) -> re.Pattern[str]:
    """Pattern of any of these tokens, the longest first."""
    ordered = sorted(tokens, key=lambda token: (-len(token), token))
    return re.compile("|".join(map(re.escape, ordered)) or r"(?!)")
