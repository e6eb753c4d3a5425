"""A text that meets all constraints of a prompt, built by a program: the proof that they do not contradict. Pure.

    witness(constraints, request)     'The small shop opens early in the day with river ...', or None

It knows nothing about the instruction and makes no sense as an answer; it only has the form. It is written once, from
a plan (how many blocks, sentences and words), and the verifiers decide whether it passes; where they reject it,
other clauses and other lengths are tried.
"""

from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from spar.evolve.checkable import constraint_types as types
from spar.evolve.checkable.clauses import ENGLISH, OTHERS, Phrases
from spar.evolve.checkable.constraint_types import Arguments, Constraint, bound_of, relation_of
from spar.evolve.checkable.wordings import LEAST, LESS
from spar.instruction_checks import count_words

TRIES = 6
"""Texts that are tried; later ones are longer."""
SHORT = 4
"""A clause of so many words is short."""
_EMPHASIS = ("good", "clear", "warm", "whole", "right", "simple", "best", "long")
"""Words that are emphasised or written in capitals."""
_NAMES = ("name", "date", "place", "time", "address", "number", "email")
"""Names of placeholders."""

Verify = Callable[[str], bool]
"""Whether a text meets all constraints."""


def witness(constraints: Sequence[Constraint], verify: Verify) -> str | None:
    """A text that passes, or None where none of the texts that are tried does."""
    plan = _Plan.of(constraints)
    for number in range(TRIES):
        text = _Writer(plan, number).text()
        if verify(text):
            return text
    return None


@dataclass(frozen=True, slots=True)
class _Plan:
    """What the constraints require, by type."""

    by_type: dict[str, Constraint]

    @classmethod
    def of(cls, constraints: Iterable[Constraint]) -> _Plan:
        return cls({constraint.id: constraint for constraint in constraints})

    def has(self, type_id: str) -> bool:
        return type_id in self.by_type

    def arguments(self, type_id: str) -> Arguments:
        constraint = self.by_type.get(type_id)
        return constraint.arguments if constraint else {}

    def number(self, type_id: str, relation: str = "") -> int | None:
        """The bound of a type in this direction, None where there is none."""
        constraint = self.by_type.get(type_id)
        if constraint is None or relation_of(constraint) != relation:
            return None
        return bound_of(constraint)

    @property
    def num_blocks(self) -> int:
        counts = [
            self.number(each) for each in (types.PARAGRAPHS, types.FIRST_WORD, types.SECTIONS)
        ]
        return max(2 if self.has(types.TWO) else 1, *(count or 1 for count in counts))


class _Writer:
    """One attempt to write a text after a plan."""

    def __init__(self, plan: _Plan, attempt: int) -> None:
        self._plan = plan
        self._attempt = attempt
        self._rng = random.Random(attempt)
        language = plan.arguments(types.LANGUAGE).get("language", "")
        self._phrases: Phrases = OTHERS.get(language, ENGLISH)
        self._avoided = self._words_to_avoid()
        self._clauses = self._allowed_clauses()
        self._stop = "!" if plan.has(types.LOWER_CASE) else "."

    def text(self) -> str:
        """The whole text."""
        plan = self._plan
        if plan.has(types.CONSTRAINED):
            return "My answer is maybe."
        body = self._body()
        if plan.has(types.JSON):
            return json.dumps({"answer": body})
        if plan.has(types.TITLE):
            body = f"<<{self._cap('a ' + self._emphasis(0) + ' title')}>>\n\n{body}"
        if request := plan.arguments(types.REPEAT).get("prompt_to_repeat"):
            body = f"{request}\n\n{body}"
        if marker := plan.arguments(types.POSTSCRIPT).get("postscript_marker"):
            body = f"{body}\n\n{marker} {self._cap(self._clause(short=True))}{self._stop}"
        if phrase := plan.arguments(types.ENDING).get("end_phrase"):
            body = f"{body} {phrase}"
        if plan.has(types.CAPITALS):
            body = body.upper()
        if plan.has(types.LOWER_CASE):
            body = body.lower()
        return f'"{body}"' if plan.has(types.QUOTATION) else body

    def _body(self) -> str:
        """Blocks of sentences with all required words, and what separates the blocks."""
        plan, num_blocks = self._plan, self._plan.num_blocks
        required = [*self._required_words()]
        num_sentences, length = self._shape(len(required))
        sentences = self._sentences(required, num_sentences, length)
        blocks = [" ".join(sentences[number::num_blocks]) for number in range(num_blocks)]
        if bullets := plan.number(types.BULLETS):
            items = "\n".join(f"* {self._clause(short=True)}" for _ in range(bullets))
            first, _, rest = blocks[-1].partition(self._stop)
            blocks[-1] = f"{first}{self._stop}{rest}\n{items}"
            if plan.has(types.ENDING):
                blocks[-1] += "\n"
        if plan.has(types.TWO):
            return "\n******\n".join(blocks)
        if plan.has(types.PARAGRAPHS):
            return "\n***\n".join(blocks)
        if name := plan.arguments(types.SECTIONS).get("section_spliter"):
            return "\n\n".join(f"{name} {n}\n{block}" for n, block in enumerate(blocks, 1))
        if first_word := plan.arguments(types.FIRST_WORD).get("first_word"):
            nth = plan.arguments(types.FIRST_WORD)["nth_paragraph"] - 1
            blocks[nth] = f"{self._cap(first_word)} {self._uncap(blocks[nth])}"
        return "\n\n".join(blocks)

    def _shape(self, num_required: int) -> tuple[int, int]:
        """How many sentences the blocks have together, and how many words each of them has at least."""
        plan, blocks = self._plan, self._plan.num_blocks
        least_words = plan.number(types.WORDS, LEAST) or 0
        most_words = plan.number(types.WORDS, LESS)
        sentences = max(blocks, plan.number(types.SENTENCES, LEAST) or 0)
        most_sentences = plan.number(types.SENTENCES, LESS)
        if most_words is None and most_sentences is None:
            # Where nothing forbids it, a longer text tells its language more surely.
            least_words = max(least_words, 12 * blocks + 10 * self._attempt)
            sentences = max(sentences, math.ceil(least_words / 12))
        elif most_sentences is not None:
            sentences = max(blocks, min(sentences, most_sentences - 1))
        length = max(math.ceil(least_words / sentences), math.ceil(num_required / sentences))
        if most_words is None and not least_words:
            length = max(length, 4 + 2 * self._attempt)
        return sentences, length

    def _sentences(self, required: Sequence[str], count: int, length: int) -> list[str]:
        """Sentences of at least `length` words that have the required words between them."""
        tight = self._plan.number(types.WORDS, LESS) is not None
        sentences = []
        for number in range(count):
            clause = self._clause(short=tight)
            if own := required[number::count]:
                joined = f" {self._phrases.joiner} ".join(own)
                clause = f"{clause} {self._phrases.preposition} {joined}"
            while count_words(clause) < length:
                clause = f"{clause} {self._phrases.joiner} {self._clause(short=False)}"
            sentences.append(f"{self._cap(clause)}{self._stop}")
        return sentences

    def _required_words(self) -> Iterator[str]:
        plan = self._plan
        yield from plan.arguments(types.EXISTENCE).get("keywords", ())
        if count := plan.number(types.FREQUENCY, LEAST):
            yield from [plan.arguments(types.FREQUENCY)["keyword"]] * count
        for number in range(plan.number(types.CAPITAL_WORDS, LEAST) or 0):
            yield self._emphasis(number).upper()
        for number in range(plan.number(types.HIGHLIGHTS) or 0):
            own = self._phrases is ENGLISH
            yield f"*{self._emphasis(number) if own else self._clauses[number % len(self._clauses)]}*"
        for number in range(plan.number(types.PLACEHOLDERS) or 0):
            yield f"[{self._allowed(_NAMES, number)}]"
        if count := plan.number(types.LETTER, LEAST):
            yield from self._words_with(plan.arguments(types.LETTER)["letter"], count)

    def _words_with(self, letter: str, count: int) -> Iterator[str]:
        words = sorted(
            {each for clause in self._clauses for each in clause.split()} | {f"{letter}{letter}"}
        )
        best = max(words, key=lambda each: (each.count(letter), -len(each)))
        yield from [best] * math.ceil(count / best.count(letter))

    def _words_to_avoid(self) -> re.Pattern[str] | None:
        """What no clause may contain."""
        plan = self._plan
        words = [
            rf"\b{each}\b" for each in plan.arguments(types.FORBIDDEN).get("forbidden_words", ())
        ]
        if plan.number(types.FREQUENCY, LESS):
            words.append(plan.arguments(types.FREQUENCY)["keyword"])
        if plan.number(types.LETTER, LESS):
            words.append(plan.arguments(types.LETTER)["letter"])
        if plan.number(types.CAPITAL_WORDS, LESS):
            words.append(r"^[ai]\b")  # as the first word it is a word in capitals
        return re.compile("|".join(words), re.IGNORECASE) if words else None

    def _allowed_clauses(self) -> list[str]:
        clauses = [each.strip() for each in self._phrases.clauses]
        allowed = [each for each in clauses if not (self._avoided and self._avoided.search(each))]
        self._rng.shuffle(allowed)
        return allowed or clauses

    def _clause(self, *, short: bool) -> str:
        """The next clause, in turn."""
        if short:
            return min(self._clauses, key=lambda each: len(each.split()))
        self._clauses.append(clause := self._clauses.pop(0))
        return clause

    def _emphasis(self, number: int) -> str:
        return self._allowed(_EMPHASIS, number)

    def _allowed(self, words: Sequence[str], number: int) -> str:
        allowed = [each for each in words if not (self._avoided and self._avoided.search(each))]
        return (allowed or words)[number % len(allowed or words)]

    def _cap(self, text: str) -> str:
        return f"{text[:1].upper()}{text[1:]}"

    def _uncap(self, text: str) -> str:
        return f"{text[:1].lower()}{text[1:]}"
