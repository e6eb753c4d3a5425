"""How constraints are joined with an instruction: after it, before it, as sentences or as a list. Pure.

    Describe a red kite. Leave out all commas. Also, stay under 80 words.

The wordings are full sentences (`spar.evolve.checkable.wordings`), so they stand in a paragraph and in a list alike. An
instruction with a text to work on gets them in a place of their own, so that they are not taken for a part of it.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence

from spar.evolve.checkable.constraint_types import REPEAT, Constraint, word_all

_HEADINGS = (
    "Requirements:",
    "Requirements for your answer:",
    "Please observe the following:",
    "Keep to these rules:",
    "The answer has to satisfy these conditions:",
    "A few conditions apply:",
    "Follow these guidelines in your reply:",
    "Some rules for how you write it:",
)
_LEADS_ONE = (
    "There is one condition for your answer to what follows.",
    "Keep one rule in mind for the task below.",
    "I have a task for you, with one requirement.",
    "Please observe one thing when you answer.",
)
_LEADS_MANY = (
    "There are some conditions for your answer to what follows.",
    "Keep a few rules in mind for the task below.",
    "I have a task for you, with some requirements.",
    "Please observe a few things when you answer.",
)
_LABELS = ("Task: ", "Request: ", "Here is the task: ", "", "")
_CONNECTIVES = ("Also, ", "In addition, ", "Besides, ", "And ")
_LAST_CONNECTIVES = ("Finally, ", "Lastly, ")
_MARKS = ("-", "-", "*", "•")
_CONNECTED = 0.35
"""Share of the later sentences that are connected with those before."""
_ASKS = re.compile(
    r"^(?:what|which|who|whom|whose|when|where|why|how|is|are|was|were|do|does|did|can|could|should|would|will|has|have)\b",
    re.I,
)
_ENDED = re.compile(r"""[.!?:;…]["'”’)\]]*$""")


def finished(text: str) -> str:
    """An instruction with white space at its ends removed and an end mark where it has none."""
    text = text.strip()
    if _ENDED.search(text) or "\n" in text:
        return text
    last = re.split(r"(?<=[.!?])\s+", text)[-1]
    return f"{text}?" if _ASKS.match(last) else f"{text}."


def join(request: str, constraints: Sequence[Constraint], rng: random.Random) -> str:
    """The text of a prompt.

    Parameters
    ----------
    request:
        The finished instruction.
    """
    repeated = [each for each in constraints if each.id == REPEAT]
    others = [each for each in constraints if each.id != REPEAT]
    rng.shuffle(others)
    sentences = word_all([*repeated, *others], rng)
    if repeated:
        return f"{_paragraph(sentences, rng)}\n\n{request}"
    return _LAYOUTS[_layout(request, len(sentences), rng)](request, sentences, rng)


def _layout(request: str, count: int, rng: random.Random) -> str:
    if "\n" in request:
        return rng.choice(("before", "listed", "listed") if count > 1 else ("before", "heading"))
    if count == 1:
        return rng.choice(("after", "after", "after", "below", "before"))
    return rng.choice(("after", "after", "below", "listed", "listed", "before"))


def _after(request: str, sentences: Sequence[str], rng: random.Random) -> str:
    return f"{request} {_paragraph(sentences, rng)}"


def _below(request: str, sentences: Sequence[str], rng: random.Random) -> str:
    return f"{request}\n\n{_paragraph(sentences, rng)}"


def _before(request: str, sentences: Sequence[str], rng: random.Random) -> str:
    lead = rng.choice(_LEADS_MANY if len(sentences) > 1 else _LEADS_ONE)
    return f"{lead} {_paragraph(sentences, rng)}\n\n{rng.choice(_LABELS)}{request}"


def _listed(request: str, sentences: Sequence[str], rng: random.Random) -> str:
    mark = rng.choice((*_MARKS, "1."))
    items = [f"{mark if mark != '1.' else f'{n}.'} {each}" for n, each in enumerate(sentences, 1)]
    listing = "\n".join((rng.choice(_HEADINGS), *items))
    return f"{request}\n\n{listing}"


def _heading(request: str, sentences: Sequence[str], rng: random.Random) -> str:
    return f"{request}\n\n{rng.choice(_HEADINGS_ONE)} {_paragraph(sentences, rng)}"


_HEADINGS_ONE = ("Requirement:", "One condition for your answer:", "A rule for your reply:")
_LAYOUTS: Mapping[str, Callable[[str, Sequence[str], random.Random], str]] = {
    "after": _after,
    "below": _below,
    "before": _before,
    "listed": _listed,
    "heading": _heading,
}


def _paragraph(sentences: Sequence[str], rng: random.Random) -> str:
    connected, before = [sentences[0]], ""
    for number, sentence in enumerate(sentences[1:], start=2):
        is_last = number == len(sentences) > 2
        pool = [each for each in (*_CONNECTIVES, *_LAST_CONNECTIVES * is_last) if each != before]
        before = rng.choice(pool) if rng.random() < _CONNECTED else ""
        connected.append(f"{before}{_lowered(sentence)}" if before else sentence)
    return " ".join(connected)


def _lowered(sentence: str) -> str:
    """The sentence as it goes on after a connective."""
    is_name = sentence.startswith(("I ", "Markdown", "JSON", "English"))
    return sentence if is_name else f"{sentence[:1].lower()}{sentence[1:]}"
