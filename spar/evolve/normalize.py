"""Texts normalized to words, for comparison.

Words are runs of letters and digits, case-folded, with accents and without punctuation. In scripts without
spaces between words (Chinese, Japanese, Thai and its neighbours) each character is a word.
"""

from __future__ import annotations

import re
import unicodedata

_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
# Vowel signs and accents of Indic scripts are not \w, but are part of a word.
_WORD = re.compile(rf"[{_UNSPACED}]|(?:(?![{_UNSPACED}_])[\w\u0300-\u036f\u0900-\u0dff])+")


def words(text: str) -> list[str]:
    """The words of a text."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())
