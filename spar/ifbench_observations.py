"""What a response has of those of IFBench's constraints that can be counted simply: as `spar.observations`.

The constraint's words are the verifier's own. IFBench's packages differ in what they count, so a count that does not
agree with the verdict is left out (`spar.findings`); these follow if-verifiable 0.1.2.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Mapping

Found = tuple[str, bool]
"""What was found, and whether that meets the constraint."""

_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)
_CONJUNCTIONS = frozenset("and but for nor or so yet".split())
_REPEATS = (1, 2, 3, 5, 7)
"""How often each keyword of `count:keywords_multiple` must come."""


def _word_range(text: str, *, min_words: int, max_words: int) -> Found:
    count = len(re.findall(r"\w+", text))
    return f"{count:,}", min_words <= count <= max_words


def _numbers(text: str, *, N: int) -> Found:
    count = len(re.findall(r"\d+", text.translate(_WITHOUT_PUNCTUATION)))
    return f"{count:,}", count == N


def _unique_words(text: str, *, N: int) -> Found:
    count = len({word.strip(string.punctuation + " ") for word in text.lower().split()})
    return f"{count:,}", count >= N


def _conjunctions(text: str, *, small_n: int) -> Found:
    words = {word.strip(string.punctuation + " ").lower() for word in text.split()}
    used = sorted(words & _CONJUNCTIONS)
    return f"{len(used)}" + f" ({', '.join(used)})" * bool(used), len(used) >= small_n


def _repeated(text: str, *, small_n: int) -> Found:
    words = Counter(text.lower().translate(_WITHOUT_PUNCTUATION).split())
    word, count = max(words.items(), key=lambda item: item[1], default=("", 0))
    return f'"{word}" comes {count:,} times', count <= small_n


def _keywords(
    text: str, *, keyword1: str, keyword2: str, keyword3: str, keyword4: str, keyword5: str
) -> Found:
    keywords = (keyword1, keyword2, keyword3, keyword4, keyword5)
    counts = [text.lower().count(keyword.lower()) for keyword in keywords]
    pairs = zip(keywords, counts, strict=True)
    return ", ".join(f"{word} {count:,}" for word, count in pairs), counts == [*_REPEATS]


def _white_space(text: str) -> Found:
    count = sum(map(str.isspace, text))
    return f"{count:,}", not count


FOUND: Mapping[str, Callable[..., Found]] = {
    "count:word_count_range": _word_range,
    "count:numbers": _numbers,
    "count:unique_word_count": _unique_words,
    "count:conjunctions": _conjunctions,
    "words:repeats": _repeated,
    "count:keywords_multiple": _keywords,
    "format:no_whitespace": _white_space,
}
"""Constraint type to what is found of it."""
