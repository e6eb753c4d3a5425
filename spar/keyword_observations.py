r"""What a response has of a constraint's keywords, which lm-eval takes as regular expressions: as `spar.observations`.

    existence("a cat", keywords=["cat"])       contains "cat": there
    existence("a cat", keywords=["C++"])       matches the pattern "C++": matched "c"
    forbidden("C# code", forbidden_words=["C#"])       forbidden the pattern "\bC#\b": no match

A keyword without marks of its own matches its text alone; so does one whose marks are escaped (`C\+\+`). Any other
is shown as the pattern that it is, so that a finding says nothing of the text that may have been meant.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

Observed = tuple[str, str, bool]
"""The constraint in words, what was found, and whether that meets it."""

KEYWORDS: Mapping[str, str] = {
    "keywords:existence": "keywords",
    "keywords:frequency": "keyword",
    "keywords:forbidden_words": "forbidden_words",
}
"""Constraint type to the argument with its keywords."""
_MARKS = re.compile(r"[\\.^$*+?\[|()]|\{(?=[\d,])")
"""What stands for something else than itself in a regular expression."""
_ESCAPED = re.compile(r"\\(\W)")
_BEFORE, _AFTER = "(?!)|", "|(?!)"
"""An alternative that never matches, which takes the word boundary that the verifier puts beside it."""
_SHOWN = 40
"""Characters of a match that are quoted."""


def plain_text(keyword: str, *, as_word: bool = False) -> str | None:
    """The one text, in any case, that a keyword matches; None for a pattern of other texts.

    Parameters
    ----------
    as_word:
        Whether the verifier puts word boundaries around it, as for forbidden words. A text that begins or ends with a
        mark is then never found by itself, but as `pattern_of` writes it.
    """
    inner = keyword.removeprefix(_BEFORE).removesuffix(_AFTER) if as_word else keyword
    if _MARKS.search(_ESCAPED.sub("", inner)):
        return None
    text = _ESCAPED.sub(r"\1", inner)
    starts, ends = _is_word(text[:1]), _is_word(text[-1:])
    if as_word and (keyword.startswith(_BEFORE) == starts or keyword.endswith(_AFTER) == ends):
        return None
    return text


def pattern_of(text: str, *, as_word: bool = False) -> str:
    """The keyword that matches this text alone; `as_word` as in `plain_text`."""
    pattern = _MARKS.sub(lambda mark: f"\\{mark[0]}", text)
    if not as_word:
        return pattern
    return f"{_BEFORE * (not _is_word(text[:1]))}{pattern}{_AFTER * (not _is_word(text[-1:]))}"


def existence(text: str, *, keywords: Sequence[str]) -> Observed:
    """Each keyword must come up."""
    matches = {word: re.search(word, text, re.IGNORECASE) for word in keywords}
    missing = [word for word, match in matches.items() if not match]
    if all(plain_text(word) is not None for word in keywords):
        found = f"missing {_listed(missing)}" if missing else "all there"
        if len(keywords) == 1:
            found = "missing" if missing else "there"
        return f"contains {_listed(keywords)}", found, not missing
    matched = ", ".join(_shortened(match[0]) for match in matches.values() if match)
    found = f"no match of {_listed(missing)}" if missing else f"matched {matched}"
    if missing and len(keywords) == 1:
        found = "no match"
    return f"matches {_listed(keywords)}", found, not missing


def counted(text: str, keyword: str) -> tuple[str, int]:
    """A keyword in words, and how often it comes up."""
    word = keyword.strip()
    return _listed([word]), len(re.findall(word, text, re.IGNORECASE))


def forbidden(text: str, *, forbidden_words: Sequence[str]) -> Observed:
    """None of the words may come up, as a word."""
    counts = {
        word: len(re.findall(rf"\b{word}\b", text, re.IGNORECASE)) for word in forbidden_words
    }
    used = [
        f"{_listed([word], as_words=True)} {times(count)}"
        for word, count in counts.items()
        if count
    ]
    plain = all(plain_text(word, as_word=True) is not None for word in forbidden_words)
    found = f"found {', '.join(used)}" if used else ("not there" if plain else "no match")
    if used and len(counts) == 1:
        found = f"found {times(sum(counts.values()))}"
    return f"forbidden {_listed(forbidden_words, as_words=True)}", found, not used


def _is_word(character: str) -> bool:
    return re.match(r"\w", character) is not None


def _listed(keywords: Sequence[str], *, as_words: bool = False) -> str:
    """The texts of keywords in quotation marks, or the patterns that they are."""
    texts = {word: plain_text(word, as_word=as_words) for word in keywords}
    edge = r"\b" if as_words else ""
    return ", ".join(
        f"the pattern {quoted(f'{edge}{word}{edge}')}" if plain is None else quoted(plain)
        for word, plain in texts.items()
    )


def times(count: int) -> str:
    """How often, in words."""
    return "once" if count == 1 else f"{count:,} times"


def _shortened(text: str) -> str:
    return quoted(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")


def quoted(text: str) -> str:
    """A text in quotation marks, in one line."""
    return f'"{" ".join(text.split())}"'
