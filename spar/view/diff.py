"""Word diffs between a response and its refinement.

    word_diff("Two cats sat.", "Two dogs sat.")
    same "Two ", removed "cats", added "dogs", same " sat."

Words are compared without the white space that follows them, which is compared separately, so a changed
line break does not count as a changed word. Chinese and Japanese are compared by character. difflib does
the matching with a limit on its steps, since repetitive texts make it cubic: beyond the limit, sentences
are compared first and words only within changed sentences; beyond that, only the common ends are removed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import Match, SequenceMatcher
from itertools import accumulate, takewhile
from operator import itemgetter
from typing import Literal

from rich.text import Text

from spar.view.palette import PALETTE
from spar.view.text import one_line, safe

ChangeKind = Literal["same", "added", "removed"]
Block = tuple[str, int, int, int, int]
"""A difflib opcode: the tag, and the range in each sequence."""

STEPS = 3_000_000
"""Maximum comparisons of one diff: half a second or less."""
ISLAND_RATIO = 3
"""A run of unchanged words is shown as changed if the changes on both sides are this many times as long."""

_CHANGE_CELLS = 40
"""Maximum cells of one change in `change_text`."""
_LONE = "\u3001-\u30ff\u3400-\u9fff\uf900-\ufaff\uff01-\uff60"
_PUNCTUATION = "!-&(-,./:-@\\[-^`{-~\u2018-\u201f\u2026"
_TOKEN = re.compile(rf"([{_LONE}{_PUNCTUATION}]|[^\s{_LONE}{_PUNCTUATION}]+)(\s*)")
_SENTENCE = re.compile(r"[^\n.!?。！？]*(?:\n|[.!?。！？]+|\Z)\s*")


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of text that is in both texts or in one of them."""

    kind: ChangeKind
    text: str


def word_diff(old: str, new: str, *, steps: int = STEPS) -> list[Piece]:
    """The pieces of both texts: without those added the old text, without those removed the new one."""
    for compare in (_by_word, _by_sentence):
        try:
            return _merged(compare(old, new, _StepBudget(steps)))
        except _TooLong:
            continue
    return _merged(_by_ends(old, new))


def diff_text(
    pieces: Sequence[Piece],
    *,
    colour: bool = True,
    limit: int | None = None,
    styles: Mapping[str, str] = PALETTE,
) -> Text:
    """The pieces as styled text: removed words struck through, or in `[-brackets-]` without colour.

    A text of more than `limit` characters is truncated and ends with the number left out.
    """
    shown = Text()
    left = sum(len(piece.text) for piece in pieces) if limit is None else limit
    for piece in pieces:
        style = styles[piece.kind] if colour and piece.kind != "same" else ""
        shown.append(_shown(piece, left, marks=not colour), style=style)
        left = max(left - len(piece.text), 0)
    more = sum(len(piece.text) for piece in pieces) - limit if limit is not None else 0
    if more > 0:
        shown.append(f" … {more:,} characters more", style=PALETTE["note"])
    return shown


def inline_diff(pieces: Sequence[Piece]) -> str:
    """The pieces as plain text: `Two [-cats-]{+dogs+} sat.`"""
    return diff_text(pieces, colour=False).plain


def change_text(pieces: Sequence[Piece], width: int) -> Text:
    """Only what changed, on one line of at most `width` cells: `-cats +dogs  +red`."""
    line, before = Text(), "same"
    for piece in pieces:
        if piece.kind == "same":
            before = "same"
            continue
        if line.cell_len >= width:
            break
        line.append("" if not line else " " if before == "removed" else "  ")
        words = piece.text.strip() or piece.text.replace(" ", "·")
        text = one_line(words, _CHANGE_CELLS)
        line.append(f"{_SIGNS[piece.kind]}{text}", style=PALETTE[f"{piece.kind}_words"])
        before = piece.kind
    line.truncate(width, overflow="ellipsis")
    return line


def visible_change(text: str) -> str:
    """A changed piece in visible forms, with markers if it is all white space."""
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
_SIGNS = {"removed": "-", "added": "+"}


class _TooLong(Exception):
    """The diff would take more steps than allowed."""


class _StepBudget:
    """The steps left for one diff."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def spend(self, steps: int) -> None:
        """Subtract steps; raises `_TooLong` if too few are left."""
        self.left -= steps
        if self.left < 0:
            raise _TooLong


class _Matcher(SequenceMatcher[str]):
    """difflib's matcher with a limit on its steps."""

    def __init__(self, old: Sequence[str], new: Sequence[str], budget: _StepBudget) -> None:
        super().__init__(None, old, new, autojunk=False)
        self._budget = budget
        occurrences = Counter(new)
        self._costs = [0, *accumulate(1 + occurrences[token] for token in old)]

    def find_longest_match(
        self, alo: int = 0, ahi: int | None = None, blo: int = 0, bhi: int | None = None
    ) -> Match:
        """See `difflib.SequenceMatcher`; spends the steps of the search first."""
        self._budget.spend(self._costs[-1 if ahi is None else ahi] - self._costs[alo])
        return super().find_longest_match(alo, ahi, blo, bhi)


def _by_word(old: str, new: str, budget: _StepBudget) -> Iterator[Piece]:
    (old_words, old_gaps), (new_words, new_gaps) = _tokens(old), _tokens(new)
    for tag, a, b, c, d in _without_islands(_blocks(old_words, new_words, budget)):
        if tag == "equal":
            for word, gap, other in zip(old_words[a:b], old_gaps[a:b], new_gaps[c:d], strict=True):
                yield Piece("same", word)
                yield from _replaced(gap, other)
        else:
            yield Piece("removed", _text(old_words, old_gaps, a, b))
            yield Piece("added", _text(new_words, new_gaps, c, d))


def _by_sentence(old: str, new: str, budget: _StepBudget) -> Iterator[Piece]:
    olds, news = _SENTENCE.findall(old), _SENTENCE.findall(new)
    for tag, a, b, c, d in _blocks(olds, news, budget):
        before, after = "".join(olds[a:b]), "".join(news[c:d])
        if tag == "equal":
            yield Piece("same", before)
            continue
        try:
            yield from list(_by_word(before, after, budget))
        except _TooLong:
            yield from _by_ends(before, after)


def _by_ends(old: str, new: str) -> Iterator[Piece]:
    """The common start and end, and one change between them."""
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
    """Words and the white space after each; the first word is empty, for white space at the start."""
    found = _TOKEN.findall(text)
    start = text[: len(text) - len(text.lstrip())]
    return ["", *map(itemgetter(0), found)], [start, *map(itemgetter(1), found)]


def _text(words: Sequence[str], gaps: Sequence[str], start: int, end: int) -> str:
    return "".join(word + gap for word, gap in zip(words[start:end], gaps[start:end], strict=True))


def _blocks(old: Sequence[str], new: Sequence[str], budget: _StepBudget) -> list[Block]:
    """difflib's opcodes; the common start and end are removed first, since a refinement changes little."""
    head, tail = _common_ends(old, new)
    end_old, end_new = len(old) - tail, len(new) - tail
    inner = _Matcher(old[head:end_old], new[head:end_new], budget).get_opcodes()
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
    """Merge short unchanged runs inside a rewritten passage into the change, which reads better."""
    sizes = [0 if tag == "equal" else max(b - a, d - c) for tag, a, b, c, d in blocks]
    for index, (tag, a, b, c, d) in enumerate(blocks):
        around = min(sizes[max(index - 1, 0)], sizes[min(index + 1, len(sizes) - 1)])
        island = tag == "equal" and b > a and ISLAND_RATIO * (b - a) <= around
        yield ("replace" if island else tag, a, b, c, d)


def _merged(pieces: Iterable[Piece]) -> list[Piece]:
    """Merge adjacent pieces; between two unchanged runs, everything removed precedes everything added."""
    merged: list[Piece] = []
    same = removed = added = ""
    for piece in pieces:
        if piece.kind == "removed":
            removed += piece.text
        elif piece.kind == "added":
            added += piece.text
        elif removed or added:
            same, removed, added = _close(merged, same, removed, added) + piece.text, "", ""
        else:
            same += piece.text
    _append(merged, "same", _close(merged, same, removed, added))
    return merged


def _close(merged: list[Piece], same: str, removed: str, added: str) -> str:
    """Append an unchanged run and the change after it; returns the white space common to the change's ends."""
    alike = removed[len(removed) - _num_equal(removed[::-1], added[::-1]) :]
    space = alike[len(alike.rstrip()) :]
    _append(merged, "same", same)
    _append(merged, "removed", removed.removesuffix(space))
    _append(merged, "added", added.removesuffix(space))
    return space


def _append(merged: list[Piece], kind: ChangeKind, text: str) -> None:
    if text and merged and merged[-1].kind == kind:
        text = merged.pop().text + text
    if text:
        merged.append(Piece(kind, text))
