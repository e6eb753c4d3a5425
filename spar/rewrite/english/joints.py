"""Where a sentence can be split, so that there is a subject and a verb on both sides.

Tea is hot, and it is nice. -> Tea is hot. And it is nice.        We got up and went home. -> no joint
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from spar.rewrite.english.clauses import begins_clause, has_clause, has_subordinator
from spar.rewrite.guards import unclosed
from spar.rewrite.layout import Span, is_protected, sentences

_JOINT = re.compile(
    r"(?P<mark>;|,(?=[ ](?:and|but|so|yet|then)[ ]))(?=[ ]\w)|[ ](?:-|–|—)(?=[ ]\w)"
    r"|(?P<bare>(?<=[\w\"”’)])(?=[ ](?:and|but|so)[ ]))",
    re.IGNORECASE,
)
_CONJUNCTION = re.compile(
    r"[ ]+(?:and|but|so|yet|then)(?:[ ](?:then|so|now|still))?[ ]", re.IGNORECASE
)
_NO_CLAUSE = re.compile(
    r"[ ]+(?:so (?:that|as|far|much|long)|but (?:for|also|rather)"
    r"|(?:and|but|so|yet) (?:how|why|whether|if|when|which|who|given|made|to|that (?:i|we|you|he|she|it|they|there|the|an?)))\b",
    re.IGNORECASE,
)
_THEN = re.compile(r"[ ]+then\b", re.IGNORECASE)
_CORRELATIVE = re.compile(r"\b(?:not only|either|neither|both|whether|between)\b", re.IGNORECASE)


def joints(text: str) -> list[Span]:
    """What a stop can take the place of, in every sentence of a text."""
    return [joint for span in sentences(text, (0, len(text))) for joint in _joints(text, span)]


def _joints(text: str, span: Span) -> Iterator[Span]:
    start, end = span
    if text[start:end].rstrip('"”*_) ').endswith("?"):
        return
    matches = [m for m in _JOINT.finditer(text, start, end) if not is_protected(text, *m.span())]
    stops = [*(match.start() for match in matches[1:]), end]
    for match, stop in zip(matches, stops, strict=False):
        left, right = text[start : match.start()], text[match.end() : stop]
        conjunction = _CONJUNCTION.match(right)
        subject = right[conjunction.end() :] if conjunction else right
        needs_pronoun = match["mark"] is None
        if (
            has_clause(left)
            and (begins_clause(subject) if needs_pronoun else has_clause(subject))
            and not _NO_CLAUSE.match(right)
            and not (_THEN.match(right) and has_subordinator(left))
            and not _CORRELATIVE.search(left)
            and not unclosed(left)
        ):
            yield match.span()
            start = match.end()
