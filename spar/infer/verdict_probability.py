"""P(Yes) of a judge's reply: the probability of yes among yes and no at the token that decides."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import accumulate

from spar.infer.engine import Completion
from spar.templates.verdicts import find_verdict, parse_verdict


def verdict_probability(reply: Completion, response: str = "") -> float | None:
    """P(yes) among yes and no at the token that decides, None where there is no verdict."""
    span = find_verdict(reply.text, response)
    if span is None:
        return None
    tokens = [token.token for token in reply.logprobs]
    place = _place_in_tokens(tokens, reply.text, span[0], response)
    if place is not None:
        return _share_of_yes(reply.logprobs[place].top)
    return float(bool(parse_verdict(reply.text, response)))


def _place_in_tokens(tokens: Sequence[str], text: str, start: int, response: str) -> int | None:
    """Index of the token that holds the character at `start` of the text; None where it cannot be found.

    The tokens may hold more than the text: special tokens, thinking. A token of SentencePiece that is decoded alone has
    lost the space before it, so spaces do not count where the text is not found with them. A character that is split over tokens makes
    them differ from the text; then the verdict is looked for in the tokens themselves.
    """
    for form in (str, _without_spaces):
        pieces = [form(token) for token in tokens]
        offset = "".join(pieces).rfind(form(text))
        if offset >= 0:
            return _token_at(pieces, offset + len(form(text[:start])))
    found = find_verdict("".join(tokens), response)
    return _token_at(tokens, found[0]) if found else None


def _without_spaces(text: str) -> str:
    return "".join(text.split())


def _token_at(tokens: Sequence[str], position: int) -> int | None:
    """Index of the token that holds the character at a position of all of them joined."""
    ends = accumulate(map(len, tokens))
    return next((index for index, end in enumerate(ends) if end > position), None)


def _share_of_yes(top: Mapping[str, float]) -> float | None:
    mass = {"yes": 0.0, "no": 0.0}
    for token, logprob in top.items():
        word = token.strip(" \n*:\"'").lower()
        if word in mass:
            mass[word] += math.exp(logprob)
    total = mass["yes"] + mass["no"]
    return mass["yes"] / total if total else None
