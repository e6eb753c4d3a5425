"""What a refinement changed, word by word.

    word_diff("Two cats sat.", "Two dogs sat.")
    same "Two ", removed "cats", added "dogs", same " sat."

Words are compared without the white space behind them, which is compared on its own, so that a changed
line break does not count as a changed word. Chinese and Japanese are compared character by character.
difflib does the matching under a limit on its steps, since texts that repeat themselves make it cubic:
beyond it sentences are compared and words within changed ones only, and at last just the two ends.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import Match, SequenceMatcher
from itertools import accumulate, takewhile
from typing import Literal

from rich.text import Text

from spar.view.palette import PALETTE
from spar.view.text import safe

Kind = Literal["same", "added", "removed"]
Block = tuple[str, int, int, int, int]
"""As difflib's opcodes: tag, and the part of either sequence."""

STEPS = 3_000_000
"""Most comparisons of one matching: half a second or less."""
ISLAND = 3
"""Words in common are shown as changed where the changes on both sides are this many times as long."""

_LONE = "\u3001-\u30ff\u3400-\u9fff\uf900-\ufaff\uff01-\uff60"
_PUNCTUATION = "!-&(-,./:-@\\[-^`{-~\u2018-\u201f\u2026"
_TOKEN = re.compile(rf"([{_LONE}{_PUNCTUATION}]|[^\s{_LONE}{_PUNCTUATION}]+)(\s*)")
_SENTENCE = re.compile(r"[^\n.!?。！？]*(?:\n|[.!?。！？]+|\Z)\s*")


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of text that both have, or only one of them."""

    kind: Kind
    text: str


def word_diff(old: str, new: str, *, steps: int = STEPS) -> list[Piece]:
    """The pieces that make up both texts: without the added ones the old, without the removed the new."""
    for compare in (_by_word, _by_sentence):
        try:
            return _joined(compare(old, new, _Effort(steps)))
        except _TooLong:
            continue
    return _joined(_by_ends(old, new))


def diff_text(pieces: Sequence[Piece], *, colour: bool = True, limit: int | None = None) -> Text:
    """The pieces as one text: removed words struck through, or in `[-brackets-]` without colour.

    `limit` is the most characters shown; how many were left out is said at the end.
    """
    shown = Text()
    left = sum(len(piece.text) for piece in pieces) if limit is None else limit
    for piece in pieces:
        style = PALETTE[piece.kind] if colour and piece.kind != "same" else ""
        shown.append(_shown(piece, left, marks=not colour), style=style)
        left = max(left - len(piece.text), 0)
    more = sum(len(piece.text) for piece in pieces) - limit if limit is not None else 0
    if more > 0:
        shown.append(f" … {more:,} characters more", style=PALETTE["note"])
    return shown


def marked(pieces: Sequence[Piece]) -> str:
    """The pieces as one text that needs no colour: `Two [-cats-]{+dogs+} sat.`"""
    return diff_text(pieces, colour=False).plain


def visible_change(text: str) -> str:
    """A changed piece in visible forms; where it is all white space, that shows too."""
    if text.isspace():
        text = text.replace(" ", "·").replace("\n", "⏎\n")
    return safe(text)


def _shown(piece: Piece, limit: int, *, marks: bool) -> str:
    text = piece.text[:limit]
    if piece.kind == "same" or not text:
        return safe(text)
    opened, closed = _BRACKETS[piece.kind] if marks else ("", "")
    return f"{opened}{visible_change(text)}{closed}"


_BRACKETS = {"removed": ("[-", "-]"), "added": ("{+", "+}")}


class _TooLong(Exception):
    """The matching would take more steps than it may."""


class _Effort:
    """Steps that are left."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def spend(self, steps: int) -> None:
        """Count steps before they are made."""
        self.left -= steps
        if self.left < 0:
            raise _TooLong


class _Matcher(SequenceMatcher[str]):
    """difflib's matcher, with every search for a longest match paid for beforehand."""

    def __init__(self, old: Sequence[str], new: Sequence[str], effort: _Effort) -> None:
        super().__init__(None, old, new, autojunk=False)
        self._effort = effort
        occurrences = Counter(new)
        self._costs = [0, *accumulate(1 + occurrences[token] for token in old)]

    def find_longest_match(
        self, alo: int = 0, ahi: int | None = None, blo: int = 0, bhi: int | None = None
    ) -> Match:
        """As difflib's."""
        self._effort.spend(self._costs[-1 if ahi is None else ahi] - self._costs[alo])
        return super().find_longest_match(alo, ahi, blo, bhi)


def _by_word(old: str, new: str, effort: _Effort) -> Iterator[Piece]:
    (old_words, old_gaps), (new_words, new_gaps) = _tokens(old), _tokens(new)
    for tag, a, b, c, d in _without_islands(_blocks(old_words, new_words, effort)):
        if tag == "equal":
            for word, gap, other in zip(old_words[a:b], old_gaps[a:b], new_gaps[c:d], strict=True):
                yield Piece("same", word)
                yield from _replaced(gap, other)
        else:
            yield Piece("removed", _text(old_words, old_gaps, a, b))
            yield Piece("added", _text(new_words, new_gaps, c, d))


def _by_sentence(old: str, new: str, effort: _Effort) -> Iterator[Piece]:
    olds, news = _SENTENCE.findall(old), _SENTENCE.findall(new)
    for tag, a, b, c, d in _blocks(olds, news, effort):
        before, after = "".join(olds[a:b]), "".join(news[c:d])
        if tag == "equal":
            yield Piece("same", before)
            continue
        try:
            yield from list(_by_word(before, after, effort))
        except _TooLong:
            yield from _by_ends(before, after)


def _by_ends(old: str, new: str) -> Iterator[Piece]:
    """What both begin and end with, and one change between."""
    (old_words, old_gaps), (new_words, new_gaps) = _tokens(old), _tokens(new)
    olds = [word + gap for word, gap in zip(old_words, old_gaps, strict=True)]
    news = [word + gap for word, gap in zip(new_words, new_gaps, strict=True)]
    head, tail = _common_ends(olds, news)
    yield Piece("same", "".join(olds[:head]))
    yield from _replaced(
        "".join(olds[head : len(olds) - tail]), "".join(news[head : len(news) - tail])
    )
    yield Piece("same", "".join(olds[len(olds) - tail :]))


def _replaced(old: str, new: str) -> tuple[Piece, ...]:
    return (Piece("same", old),) if old == new else (Piece("removed", old), Piece("added", new))


def _tokens(text: str) -> tuple[list[str], list[str]]:
    """Words, and the white space behind each; the first word is empty, for a text that begins with space."""
    words, gaps = [""], [text[: len(text) - len(text.lstrip())]]
    for word, gap in _TOKEN.findall(text):
        words.append(word)
        gaps.append(gap)
    return words, gaps


def _text(words: Sequence[str], gaps: Sequence[str], start: int, end: int) -> str:
    return "".join(word + gap for word, gap in zip(words[start:end], gaps[start:end], strict=True))


def _blocks(old: Sequence[str], new: Sequence[str], effort: _Effort) -> list[Block]:
    """difflib's opcodes, with what both begin and end with taken off first: a refinement is short there."""
    head, tail = _common_ends(old, new)
    end_old, end_new = len(old) - tail, len(new) - tail
    inner = _Matcher(old[head:end_old], new[head:end_new], effort).get_opcodes()
    return [
        ("equal", 0, head, 0, head),
        *((tag, a + head, b + head, c + head, d + head) for tag, a, b, c, d in inner),
        ("equal", end_old, len(old), end_new, len(new)),
    ]


def _common_ends(old: Sequence[str], new: Sequence[str]) -> tuple[int, int]:
    head = _num_equal(old, new)
    return head, _num_equal(old[head:][::-1], new[head:][::-1])


def _num_equal(old: Sequence[str], new: Sequence[str]) -> int:
    pairs = zip(old, new, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _without_islands(blocks: Sequence[Block]) -> Iterator[Block]:
    """A word or two that a rewritten passage happens to keep reads better as part of the change."""
    sizes = [0 if tag == "equal" else max(b - a, d - c) for tag, a, b, c, d in blocks]
    for index, (tag, a, b, c, d) in enumerate(blocks):
        around = min(sizes[max(index - 1, 0)], sizes[min(index + 1, len(sizes) - 1)])
        island = tag == "equal" and b > a and ISLAND * (b - a) <= around
        yield ("replace" if island else tag, a, b, c, d)


def _joined(pieces: Iterable[Piece]) -> list[Piece]:
    """Neighbours of one kind made one; between two runs that both have, all removed before all added."""
    made: list[Piece] = []
    same = removed = added = ""
    for piece in pieces:
        if piece.kind == "removed":
            removed += piece.text
        elif piece.kind == "added":
            added += piece.text
        elif removed or added:
            same, removed, added = _close(made, same, removed, added) + piece.text, "", ""
        else:
            same += piece.text
    _append(made, "same", _close(made, same, removed, added))
    return made


def _close(made: list[Piece], same: str, removed: str, added: str) -> str:
    """Append a run that both have and the change behind it; returns the space that ends both its sides."""
    alike = removed[len(removed) - _num_equal(removed[::-1], added[::-1]) :]
    space = alike[len(alike.rstrip()) :]
    _append(made, "same", same)
    _append(made, "removed", removed.removesuffix(space))
    _append(made, "added", added.removesuffix(space))
    return space


def _append(made: list[Piece], kind: Kind, text: str) -> None:
    if text and made and made[-1].kind == kind:
        text = made.pop().text + text
    if text:
        made.append(Piece(kind, text))
