"""The paper's taxonomy of constraints as data, the draw of a main constraint, and names as teachers write them.

    length/words        a kind's id is its group's name and its own

14 groups in three areas (paper, appendix, and its released code). What a kind means is in our own words.
The draw is of a group, evenly, and then of a kind within it, evenly; the variants of one prompt get
different groups until each has had its turn.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

_CLOSE = 0.85
"""A written name stands for a known one from this similarity on."""
_DRESS = " \t*_`\"'.-–•#0123456789"
"""What lists and emphasis put around a name."""
_PARTS = re.compile(r"\s*(?:[/:(>]|\s[-–]\s)\s*")


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of constraint, a leaf of the taxonomy."""

    group: str
    name: str
    what: str
    """What it asks of an answer."""

    @property
    def id(self) -> str:
        """Such as `length/words`."""
        return f"{self.group}/{self.name}"


_TABLE: Mapping[str, Mapping[str, Mapping[str, str]]] = {
    "format": {
        "length": {
            "characters": "how many characters",
            "words": "how many words",
            "sentences": "how many sentences",
            "paragraphs": "how many paragraphs",
            "sections": "how many parts with a heading each",
        },
        "text format": {
            "json": "a JSON value with named fields",
            "markdown": "Markdown such as headings or emphasis",
            "list": "a numbered list",
            "table": "a table in text with named columns",
            "bullets": "bullet points",
            "postscript": "a P.S. at the end",
        },
        "character format": {
            "upper": "capital letters, in all or in named parts",
            "lower": "small letters only",
            "mixed": "a stated mix of capital and small letters",
            "frequency": "how often a letter or character occurs",
        },
        "template": {
            "example": "the shape of an example that the prompt gives",
            "multiple choice": "a choice among given options",
            "special": "a pattern with places to fill in",
        },
        "punctuation": {
            "without": "none of a named mark",
            "frequency": "how often a mark occurs",
            "start with": "a mark at the beginning",
            "end with": "a mark at the end",
        },
        "numeric format": {
            "integer": "numbers without decimals",
            "float": "numbers with a stated number of decimals",
            "scientific": "numbers in scientific notation",
            "ordinal": "ordinal numbers",
        },
    },
    "content": {
        "keyword": {
            "include": "words that must occur",
            "exclude": "words that must not occur",
            "frequency": "how often a word occurs",
        },
        "symbol": {
            "title mark": "a title between given marks",
            "emoji": "emoji, which and how many",
            "placeholder": "places in brackets for names or dates",
            "custom": "a given sign as separator or marker",
        },
        "sentence": {
            "start with": "the words that it begins with",
            "end with": "the words that it ends with",
            "include": "a sentence that must occur as it is",
            "syntax": "sentences of one form, such as questions",
        },
        "genre": {
            "poetry": "a poem",
            "novel": "a scene of a novel",
            "script": "a scene with speakers",
            "letter": "a letter",
            "speech": "a speech",
            "diary": "a diary entry",
            "tweet": "a post on a social network",
        },
    },
    "general": {
        "language": {
            "english": "an answer in English",
            "chinese": "an answer in Chinese",
            "thai": "an answer in Thai",
            "german": "an answer in German",
            "marathi": "an answer in Marathi",
            "spanish": "an answer in Spanish",
        },
        "situation": {
            "role-play": "someone in whose voice to answer",
            "reasoning": "premises to reason from",
            "topic": "a setting or subject to stay within",
        },
        "style": {
            "formality": "how formal it is",
            "writing": "a way of writing, such as terse or vivid",
            "literary": "the manner of an author or a movement",
            "humour": "a kind of humour",
            "era": "the language of a time",
            "job": "the language of a profession",
        },
        "sentiment": {
            "positive": "a favourable view",
            "negative": "an unfavourable view",
            "hopeful": "hope",
            "fascinating": "wonder",
        },
    },
}

AREAS: Mapping[str, tuple[str, ...]] = {area: tuple(groups) for area, groups in _TABLE.items()}
"""Area to its groups."""
GROUPS: Mapping[str, Sequence[Kind]] = {
    group: tuple(Kind(group, name, what) for name, what in kinds.items())
    for groups in _TABLE.values()
    for group, kinds in groups.items()
}
"""Group to its kinds."""
KINDS: Mapping[str, Kind] = {kind.id: kind for kinds in GROUPS.values() for kind in kinds}
"""Id to kind."""


def draw(seed: int | None, prompt_id: str, variant: int) -> Kind:
    """The main constraint of one variant of a prompt: it hangs on these three alone."""
    turn, place = divmod(variant, len(GROUPS))
    groups = _dice(seed, prompt_id, "groups", turn).sample(list(GROUPS), len(GROUPS))
    return _dice(seed, prompt_id, "kind", variant).choice(GROUPS[groups[place]])


def as_list() -> str:
    """Every kind with its meaning, for the teacher to choose from."""
    lines = []
    for area, groups in AREAS.items():
        lines.append(f"{area.capitalize()}:")
        for group in groups:
            kinds = ", ".join(f"{kind.name} ({kind.what})" for kind in GROUPS[group])
            lines.append(f"- {group}: {kinds}")
    return "\n".join(lines)


def find(written: str) -> str | None:
    """The id of the kind that a teacher named, or the group's name where it named no more; else None."""
    first, *rest = [_plain(part) for part in _PARTS.split(written.strip(_DRESS))]
    if first in AREAS and rest:
        first, *rest = rest
    group = _closest(first, tuple(GROUPS))
    if not rest:
        return group or _alone(first)
    if group is None:
        return None
    names = {_plain(kind.name): kind.id for kind in GROUPS[group]}
    name = _closest(rest[0], tuple(names))
    return group if name is None else names[name]


def group_of(constraint: str) -> str:
    """The group of what `find` found."""
    return constraint.partition("/")[0]


def _alone(name: str) -> str | None:
    """A kind named without its group, where only one group has it."""
    ids = [kind.id for kind in KINDS.values() if _plain(kind.name) == name]
    return ids[0] if len(ids) == 1 else None


def _closest(name: str, known: Sequence[str]) -> str | None:
    return next(iter(get_close_matches(name, known, n=1, cutoff=_CLOSE)), None)


def _plain(text: str) -> str:
    return " ".join(re.sub(r"[-_]", " ", text.casefold()).strip(_DRESS + ")]").split())


def _dice(*position: str | int | None) -> random.Random:
    return random.Random(json.dumps(["spar-evolve", *position]))
