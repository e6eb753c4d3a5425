"""The paper's taxonomy of constraints, the draw of a main constraint, and the matching of names in replies.

    length/words        an id: the name of the group and of the constraint type

14 groups in three areas (paper, appendix, and its released code). The descriptions are our own.
A group is drawn uniformly, then a type within it uniformly; the variants of one prompt get different groups until
every group was used.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

_CLOSE = 0.85
"""Least similarity of a written name to the name it matches."""
_DECORATION = " \t*_`\"'.-–•#0123456789"
"""Characters that lists and emphasis put around a name."""
_PARTS = re.compile(r"\s*(?:[/:(>]|\s[-–]\s)\s*")


@dataclass(frozen=True, slots=True)
class ConstraintType:
    """A leaf of the taxonomy."""

    group: str
    name: str
    description: str
    """What it requires of an answer."""

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
GROUPS: Mapping[str, Sequence[ConstraintType]] = {
    group: tuple(ConstraintType(group, name, description) for name, description in types.items())
    for groups in _TABLE.values()
    for group, types in groups.items()
}
"""Group to its constraint types."""
CONSTRAINT_TYPES: Mapping[str, ConstraintType] = {
    constraint.id: constraint for types in GROUPS.values() for constraint in types
}
"""Id to constraint type."""


def draw(seed: int | None, prompt_id: str, variant: int) -> ConstraintType:
    """The main constraint of one variant of a prompt, a function of these three alone."""
    cycle, position = divmod(variant, len(GROUPS))
    groups = _rng(seed, prompt_id, "groups", cycle).sample(list(GROUPS), len(GROUPS))
    return _rng(seed, prompt_id, "kind", variant).choice(GROUPS[groups[position]])


def describe_taxonomy() -> str:
    """Every constraint type with its description, for the teacher to choose from."""
    lines = []
    for area, groups in AREAS.items():
        lines.append(f"{area.capitalize()}:")
        for group in groups:
            types = ", ".join(f"{t.name} ({t.description})" for t in GROUPS[group])
            lines.append(f"- {group}: {types}")
    return "\n".join(lines)


def match_name(written: str) -> str | None:
    """The id of the constraint type that a teacher named, or its group where only that is named; else None."""
    first, *rest = [_plain(part) for part in _PARTS.split(written.strip(_DECORATION))]
    if first in AREAS and rest:
        first, *rest = rest
    group = _closest(first, tuple(GROUPS))
    if not rest:
        return group or _unique_type(first)
    if group is None:
        return None
    names = {_plain(constraint.name): constraint.id for constraint in GROUPS[group]}
    name = _closest(rest[0], tuple(names))
    return group if name is None else names[name]


def group_of(constraint: str) -> str:
    """The group of an id or of a group itself."""
    return constraint.partition("/")[0]


def _unique_type(name: str) -> str | None:
    """A constraint type named without its group, where only one group has it."""
    ids = [id_ for id_, constraint in CONSTRAINT_TYPES.items() if _plain(constraint.name) == name]
    return ids[0] if len(ids) == 1 else None


def _closest(name: str, candidates: Sequence[str]) -> str | None:
    return next(iter(get_close_matches(name, candidates, n=1, cutoff=_CLOSE)), None)


def _plain(text: str) -> str:
    return " ".join(re.sub(r"[-_]", " ", text.casefold()).strip(_DECORATION + ")]").split())


def _rng(*position: str | int | None) -> random.Random:
    return random.Random(json.dumps(["spar-evolve", *position]))
