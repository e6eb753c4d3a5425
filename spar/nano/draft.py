"""An editable form of a nano-if text, and its edits.

A `Draft` is parsed from any text and rendered back, so the same small edits write, break and repair the
training responses. All randomness comes from `rng`.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from spar.nano.lexicon import (
    CATEGORY,
    DETERMINERS,
    ENDINGS,
    PREPOSITIONS,
    STARTERS,
    WORDS_OF,
)

Case = Literal["normal", "upper", "lower"]

_TOKEN = re.compile(r"\w+|,")
_SENTENCE = re.compile(r"[^.!?]+[.!?]?")


@dataclass(slots=True)
class Draft:
    """An editable response."""

    sentences: list[list[str]]
    """Lower-case words and "," of each sentence, without the ending."""
    ending: str | None = None
    """A closing sentence from `lexicon.ENDINGS`."""
    case: Case = "normal"
    quoted: bool = False
    protected: frozenset[str] = field(default_factory=frozenset)
    """Words that a constraint requires, so edits do not touch them."""
    barred: frozenset[str] = field(default_factory=frozenset)
    """Words that edits never introduce."""

    def render(self) -> str:
        """The text."""
        parts = [_join(sentence) for sentence in self.sentences if sentence]
        text = " ".join([*parts, self.ending] if self.ending else parts)
        text = {"normal": text, "upper": text.upper(), "lower": text.lower()}[self.case]
        return f'"{text}"' if self.quoted else text

    def copy(self) -> Draft:
        """An independent copy."""
        return Draft(
            [list(sentence) for sentence in self.sentences],
            self.ending,
            self.case,
            self.quoted,
            self.protected,
            self.barred,
        )


def parse(text: str) -> Draft:
    """Parse a text; `parse(draft.render()).render()` is the same text."""
    body = text.strip()
    quoted = len(body) > 1 and body[0] == '"' and body[-1] == '"'
    body = body[1:-1] if quoted else body
    case: Case = "upper" if body.isupper() else "lower" if body.islower() else "normal"
    ending = next((end for end in ENDINGS if body.lower().endswith(end.lower())), None)
    body = body[: len(body) - len(ending)] if ending else body
    sentences = [_TOKEN.findall(piece.lower()) for piece in _SENTENCE.findall(body)]
    return Draft([words for words in sentences if words], ending, case, quoted)


def random_sentence(rng: random.Random, barred: frozenset[str] = frozenset()) -> list[str]:
    """A sentence of five to about fourteen words."""
    words = [*noun_phrase(rng, barred), pick("adverb", rng, barred)]
    words = words[:-1] if rng.random() < 0.6 else words
    words += [pick("verb", rng, barred), *noun_phrase(rng, barred)]
    if rng.random() < 0.35:
        words += _prepositional_phrase(rng, barred)
    if rng.random() < 0.2:
        words = [rng.choice(STARTERS), *([","] if rng.random() < 0.5 else []), *words]
    return words


def random_draft(rng: random.Random, num_sentences: int, barred: frozenset[str]) -> Draft:
    """A draft that heeds no constraint but the barred words."""
    return Draft([random_sentence(rng, barred) for _ in range(num_sentences)], barred=barred)


def pick(category: str, rng: random.Random, barred: frozenset[str] | set[str]) -> str:
    """A word of a category, none of the barred ones where there are others."""
    words = [word for word in WORDS_OF[category] if word not in barred]
    return rng.choice(words or WORDS_OF[category])


def noun_phrase(rng: random.Random, barred: frozenset[str], adjectives: float = 0.4) -> list[str]:
    """A determiner and a noun, with an adjective between them at a rate."""
    before = [pick("adjective", rng, barred)] if rng.random() < adjectives else []
    return [rng.choice(DETERMINERS), *before, pick("noun", rng, barred)]


def add_word(draft: Draft, rng: random.Random) -> None:
    """Insert one adjective before a noun, or one adverb before a verb."""
    sentence = rng.choice(draft.sentences)
    spots = [i for i, word in enumerate(sentence) if CATEGORY.get(word) == "noun"]
    spots += [i for i in _indexes(sentence, "verb") if not _is(sentence, i - 1, "adverb")]
    if not spots:
        sentence.extend(noun_phrase(rng, draft.barred))
        return
    spot = rng.choice(spots)
    category = "adjective" if CATEGORY[sentence[spot]] == "noun" else "adverb"
    sentence.insert(spot, pick(category, rng, draft.barred | set(sentence)))


def add_phrase(draft: Draft, rng: random.Random) -> None:
    """Append three words: a preposition, a determiner and a noun."""
    rng.choice(draft.sentences).extend(_prepositional_phrase(rng, draft.barred))


def drop_word(draft: Draft, rng: random.Random) -> None:
    """Remove one unprotected adjective, adverb or starter; a closing phrase if there are none."""
    spots = [
        (sentence, i)
        for sentence, i in _positions(draft, "adjective", "adverb", "starter")
        if sentence[i] not in draft.protected
    ]
    if not spots:
        drop_phrase(draft)
        return
    sentence, i = rng.choice(spots)
    del sentence[i]
    _tidy(sentence)


def drop_phrase(draft: Draft) -> None:
    """Remove the last prepositional phrase without a protected word."""
    for sentence in reversed(draft.sentences):
        spots = _indexes(sentence, "preposition")
        if spots and not draft.protected & set(sentence[spots[-1] :]):
            del sentence[spots[-1] :]
            return


def add_sentence(draft: Draft, rng: random.Random) -> None:
    """Append a short sentence."""
    words = [*noun_phrase(rng, draft.barred), pick("verb", rng, draft.barred)]
    draft.sentences.append([*words, *noun_phrase(rng, draft.barred)])


def drop_sentence(draft: Draft) -> None:
    """Remove the last sentence without a protected word; the ending if only one is left."""
    for i in range(len(draft.sentences) - 1, 0, -1):
        if not draft.protected & set(draft.sentences[i]):
            del draft.sentences[i]
            return
    draft.ending = None


def add_keyword(draft: Draft, keyword: str, rng: random.Random) -> None:
    """Introduce one more `keyword`: replace a word of its category, or insert it."""
    category = CATEGORY.get(keyword, "noun")
    spots = [
        (sentence, i)
        for sentence, i in _positions(draft, category)
        if sentence[i] not in draft.protected
    ]
    if spots:
        sentence, i = rng.choice(spots)
        sentence[i] = keyword
    elif category == "noun":
        phrase = [pick("preposition", rng, draft.barred), rng.choice(DETERMINERS), keyword]
        rng.choice(draft.sentences).extend(phrase)
    else:
        anchor = "noun" if category == "adjective" else "verb"
        anchors = list(_positions(draft, anchor))
        if anchors:
            sentence, i = rng.choice(anchors)
            sentence.insert(i, keyword)


def swap_word(draft: Draft, word: str, rng: random.Random) -> None:
    """Replace one occurrence of `word` by another of its category."""
    for sentence in rng.sample(draft.sentences, len(draft.sentences)):
        if word in sentence:
            category = CATEGORY.get(word, "noun")
            sentence[sentence.index(word)] = pick(category, rng, draft.barred | {word})
            return


def swap_any(draft: Draft, rng: random.Random) -> None:
    """Replace one unprotected content word by another of its category."""
    spots = [
        (sentence, i)
        for sentence, i in _positions(draft, "noun", "adjective", "adverb", "verb")
        if sentence[i] not in draft.protected
    ]
    if spots:
        sentence, i = rng.choice(spots)
        sentence[i] = pick(CATEGORY[sentence[i]], rng, draft.barred | {sentence[i]})


def set_first_word(draft: Draft, word: str) -> None:
    """Make a starter the first word."""
    sentence = draft.sentences[0]
    if CATEGORY.get(sentence[0]) == "starter":
        sentence[0] = word
    else:
        sentence.insert(0, word)


def add_comma(draft: Draft, rng: random.Random) -> None:
    """Put a comma after an opening starter, or a starter and a comma before a sentence."""
    sentence = rng.choice(draft.sentences)
    if CATEGORY.get(sentence[0]) == "starter":
        sentence.insert(1, ",")
    else:
        sentence[:0] = [rng.choice(STARTERS), ","]


def drop_commas(draft: Draft) -> None:
    """Remove every comma."""
    draft.sentences = [[word for word in s if word != ","] for s in draft.sentences]


def _join(words: list[str]) -> str:
    text = " ".join(words).replace(" ,", ",")
    return text[:1].upper() + text[1:] + "."


def _prepositional_phrase(rng: random.Random, barred: frozenset[str]) -> list[str]:
    return [rng.choice(PREPOSITIONS), rng.choice(DETERMINERS), pick("noun", rng, barred)]


def _is(sentence: list[str], i: int, category: str) -> bool:
    return i >= 0 and CATEGORY.get(sentence[i]) == category


def _indexes(sentence: list[str], category: str) -> list[int]:
    return [i for i in range(len(sentence)) if _is(sentence, i, category)]


def _positions(draft: Draft, *categories: str) -> Iterator[tuple[list[str], int]]:
    for sentence in draft.sentences:
        for i, word in enumerate(sentence):
            if CATEGORY.get(word) in categories:
                yield sentence, i


def _tidy(sentence: list[str]) -> None:
    while sentence and sentence[0] == ",":
        del sentence[0]
