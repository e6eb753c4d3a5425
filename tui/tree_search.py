"""Search the texts of one tree: prompt, responses, critiques, votes, reflections and failed attempts.

    search = TreeSearch(tree)
    found = search.find(query("comma", False)).first_from(line=3)
    found.current                   # the match to show
    found.step(1).count             # "2 of 12"

Texts are searched as they are shown (`spar.view.text.safe`), so that a match is where it is seen, but whole: one that
lies beyond what is shown of a long text is shown with what is around it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

from rich.text import Text

from spar.types import SearchTree
from spar.view.node_detail import SHOWN, Section, fault_sections, prompt_sections, text_sections
from spar.view.text import safe
from spar.view.tree_lines import bare_lines
from tui.index.query import SECONDS, Query

MAX_MATCHES = 10_000
"""More matches of a tree are not counted."""


@dataclass(frozen=True, slots=True)
class TreeMatch:
    """One place where a text was found."""

    line: int
    """Line of the drawn tree; 0 is the prompt."""
    kind: str
    """Kind of the section."""
    number: int
    """Which of the sections of that kind, from 0."""
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found in a tree, and the match that is shown."""

    query: Query
    matches: tuple[TreeMatch, ...]
    at: int | None = None
    """Position of the match that is shown; None for none."""

    @property
    def current(self) -> TreeMatch | None:
        """The match that is shown."""
        return None if self.at is None else self.matches[self.at]

    @property
    def count(self) -> str:
        """`3 of 12`, or `12 matches` before one is shown."""
        if not self.matches:
            return "no match"
        more = "+" if len(self.matches) == MAX_MATCHES else ""
        if self.at is None:
            noun = "match" if len(self.matches) == 1 else "matches"
            return f"{len(self.matches):,}{more} {noun}"
        return f"{self.at + 1:,} of {len(self.matches):,}{more}"

    @property
    def lines(self) -> frozenset[int]:
        """The lines of the drawn tree with a match."""
        return frozenset(match.line for match in self.matches)

    def first_from(self, line: int) -> Found:
        """Go to the first match at a line or below it, else to the first of all."""
        below = (at for at, match in enumerate(self.matches) if match.line >= line)
        return replace(self, at=next(below, 0 if self.matches else None))

    def step(self, by: int, line: int) -> Found:
        """Go to the next match in a direction, from the cursor's line if the one that is shown is elsewhere."""
        count = len(self.matches)
        if not count:
            return self
        if self.current is not None and self.current.line == line:
            return replace(self, at=((self.at or 0) + by) % count)
        if by > 0:
            return self.first_from(line)
        above = (at for at in reversed(range(count)) if self.matches[at].line <= line)
        return replace(self, at=next(above, count - 1))


class TreeSearch:
    """The texts of one tree."""

    def __init__(self, tree: SearchTree) -> None:
        self._tree = tree
        self._texts: list[tuple[int, str, int, str]] | None = None
        """Line of the drawn tree, kind of the section, which one of that kind, and its text."""

    def find(self, query: Query) -> Found:
        """All matches, from the top of the tree to its end.

        Raises
        ------
        SlowPattern
            A regular expression takes too long.
        """
        matches: list[TreeMatch] = []
        for match in self._find(query):
            matches.append(match)
            if len(matches) == MAX_MATCHES:
                break
        return Found(query, tuple(matches))

    def _find(self, query: Query) -> Iterator[TreeMatch]:
        if self._texts is None:
            self._texts = list(_texts(self._tree))
        deadline = time.monotonic() + SECONDS
        for line, kind, number, text in self._texts:
            for start, end in query.find_all(text, deadline - time.monotonic()):
                yield TreeMatch(line, kind, number, start, end)


def shown_around(section: Section, match: TreeMatch | None) -> tuple[Text, int]:
    """A copy of a section's body, and by how much the positions of matches are moved there.

    It is the text around a match that lies beyond the body.
    """
    if match is None or len(section.raw) <= SHOWN or match.end <= len(safe(section.raw[:SHOWN])):
        return section.body.copy(), 0
    whole = safe(section.raw)
    first = max(match.start - SHOWN // 2, 0)
    before = f"{first:,} characters before … "
    text = Text(f"{before}{whole[first : first + SHOWN]}")
    if (left := len(whole) - first - SHOWN) > 0:
        text.append(f" … {left:,} characters more")
    return text, len(before) - first


def _texts(tree: SearchTree) -> Iterator[tuple[int, str, int, str]]:
    for line, sections in _sections(tree):
        numbers: Counter[str] = Counter()
        for section in sections:
            text = safe(section.raw) if len(section.raw) > SHOWN else section.body.plain
            yield line, section.kind, numbers[section.kind], text
            numbers[section.kind] += 1


def _sections(tree: SearchTree) -> Iterator[tuple[int, list[Section]]]:
    yield 0, prompt_sections(tree)
    for number, line in enumerate(bare_lines(tree), start=1):
        if line.node is not None:
            yield number, text_sections(line.node)
        elif line.fault is not None:
            yield number, fault_sections(line.fault)[:-1]  # the last is its cost
