"""Fixes that take words out: forbidden words, and keywords or letters that may not come up so often.

A word is replaced by a synonym in the same form, dropped where the sentence stays one without it, or replaced by a neutral
noun; where nothing of that helps, its sentence goes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from spar.rewrite.cuts import cut_sentences
from spar.rewrite.edits import Arguments, CannotFix, Context, Edit, body
from spar.rewrite.layout import (
    Span,
    finditer_outside_code,
    outside_code,
    sentences,
)
from spar.rewrite.vocabulary import (
    ADJECTIVES,
    DAYS,
    DEGREES,
    DETERMINERS,
    DROPPABLE,
    FUNCTION_WORDS,
    KEPT_LY,
    MONTHS,
    NOUN_SYNONYMS,
    PREPOSITIONS,
    SYNONYMS,
    VERB_BEFORE,
    VERB_SYNONYMS,
    WEIGHTY_ADVERBS,
)

_WORD = re.compile(r"[^\W_](?:[\w'’-]*[^\W_])?")
_ENDINGS = ("ing", "ies", "ied", "es", "ed", "s", "d", "ly")
_SENTENCE_START = re.compile(
    r"(?:[.!?…][\"'”’)*_]*\s+|\n)[ \t]*(?:(?:[*+•>-]|#+|\d{1,3}[.)])[ \t]+)*[\"'“‘(*_]*\Z"
)
_VOWEL = re.compile(r"[aeio]|u(?!ni|se|su)", re.IGNORECASE)
MOST_REMOVED = 0.6
"""Share of a response's words that may be cut for the sake of a word or a letter."""
MOST_NAMED = 3
"""Words that a summary lists; of more it gives the number."""
MOST_LETTER_WORDS = 12
"""Words that are replaced for the sake of a letter; beyond that whole sentences go."""


def forbidden_words(text: str, arguments: Arguments, context: Context) -> Iterator[Edit]:
    """Replace or remove every forbidden word."""
    words = [str(word) for word in arguments["forbidden_words"]]
    pattern = _pattern(rf"\b(?:{'|'.join(words)})\b")
    found = [match.span() for match in finditer_outside_code(pattern, text)]
    if not found:
        raise CannotFix("its code has the word")
    whole = sorted({_with_contraction(text, span) for span in found})
    yield from _removals(text, whole, pattern, context)


def keyword_less_often(text: str, arguments: Arguments, context: Context) -> Iterator[Edit]:
    """Replace or remove a keyword where it comes up too often; which of its places is drawn."""
    pattern = _pattern(str(arguments["keyword"]))
    found = [match.span() for match in finditer_outside_code(pattern, text)]
    surplus = len(pattern.findall(text)) - int(arguments["frequency"]) + 1
    if not 0 < surplus <= len(found):
        raise CannotFix("its code has the word")
    whole = sorted({_whole_word(text, span) for span in found})
    context.rng.shuffle(whole)
    chosen = sorted(whole[:surplus])
    yield from _removals(text, chosen, pattern, context)
    if len(chosen) < len(whole):
        yield from _removals(text, sorted(whole), pattern, context)


def letter_less_often(text: str, arguments: Arguments, context: Context) -> Iterator[Edit]:
    """Replace words with the letter, or cut sentences that have it."""
    letter = str(arguments["letter"]).lower()
    surplus = text.lower().count(letter) - int(arguments["let_frequency"]) + 1
    spans = [m.span() for a, b in outside_code(text) for m in _WORD.finditer(text, a, b)]
    words = [span for span in spans if letter in text[slice(*span)].lower()]
    context.rng.shuffle(words)
    words.sort(key=lambda span: -text[slice(*span)].lower().count(letter))
    pattern = re.compile(re.escape(letter), re.IGNORECASE)
    chosen: list[Span] = []
    for span in words:
        if surplus > 0 and _options(text, span, pattern, context, neutral=False):
            chosen.append(span)
            surplus -= text[slice(*span)].lower().count(letter)
    if surplus <= 0 and 0 < len(chosen) <= MOST_LETTER_WORDS:
        yield from _removals(text, sorted(chosen), pattern, context, cut=False)
    yield _cut_letter(text, letter, int(arguments["let_frequency"]), context)


def _cut_letter(text: str, letter: str, frequency: int, context: Context) -> Edit:
    """Cut the sentences with most of the letter for their length until few enough are left."""
    free = sentences(text, body(text, context))
    surplus = text.lower().count(letter) - frequency + 1

    def count(span: Span) -> int:
        return text[slice(*span)].lower().count(letter)

    # Ties, and small differences, are drawn.
    order = sorted(free, key=lambda s: -count(s) / (s[1] - s[0]) * context.rng.uniform(0.8, 1.2))
    chosen: list[Span] = []
    for span in order:
        if surplus > 0 and count(span):
            chosen.append(span)
            surplus -= count(span)
    for span in sorted(chosen, key=count):  # what was taken before a larger one may not be needed
        if surplus + count(span) <= 0:
            chosen.remove(span)
            surplus += count(span)
    return _without(text, chosen)


def _removals(
    text: str,
    spans: Sequence[Span],
    pattern: re.Pattern[str],
    context: Context,
    *,
    cut: bool = True,
) -> Iterator[Edit]:
    """Edits that take the words at these places out: word by word, then by sentence."""
    options = [_options(text, span, pattern, context, neutral=True) for span in spans]
    if all(options):
        changes = [
            _substitution(text, span, choices[0])
            for span, choices in zip(spans, options, strict=True)
        ]
        yield Edit(_substituted(text, changes), f"replaced or left out {_named(text, spans)}")
    if cut:
        free = sentences(text, body(text, context))
        hit = [s for s in free if any(s[0] <= a and b <= s[1] for a, b in spans)]
        if hit:
            yield _without(text, hit)


def _named(text: str, spans: Sequence[Span]) -> str:
    """The words at these places, or their number where they are many."""
    words = [f'"{word}"' for word in dict.fromkeys(text[slice(*span)].lower() for span in spans)]
    return " and ".join(words) if len(words) <= MOST_NAMED else f"{len(spans)} words"


def _without(text: str, removed: Sequence[Span]) -> Edit:
    shorter = cut_sentences(text, removed)
    left, before = len(_WORD.findall(shorter)), len(_WORD.findall(text))
    if not left or left < (1 - MOST_REMOVED) * before:
        raise CannotFix("most of the text would have to go")
    cut = "a sentence" if len(removed) == 1 else f"{len(removed)} sentences"
    return Edit(shorter, f"cut {cut}")


def _options(
    text: str, span: Span, pattern: re.Pattern[str], context: Context, *, neutral: bool
) -> list[str]:
    """What can stand at a place: drawn synonyms, "" where the word can go, a neutral noun."""
    word = text[slice(*span)]
    previous, following = _neighbours(text, span)
    choices = [context.cased(choice) for choice in _synonyms(word, previous)]
    if can_be_dropped(text, span):
        choices.append("")
    context.rng.shuffle(choices)
    if neutral:
        for other in _neutral(word, previous, following):
            is_cased = word.isupper() or _begins_sentence(text, span[0])
            choices.append(context.cased(_cased_like(other, word) if is_cased else other))
    return [choice for choice in choices if not pattern.search(choice)]


def _neighbours(text: str, span: Span) -> tuple[str, str]:
    """The words before and after a place, in lower case, "" where the sentence begins or ends there."""
    before = re.split(r"[.!?:;,\n]", text[max(0, span[0] - 40) : span[0]])[-1]
    after = re.split(r"[.!?:;,\n]", text[span[1] : span[1] + 40])[0]
    return (
        next(reversed(_WORD.findall(before.lower())), ""),
        next(iter(_WORD.findall(after.lower())), ""),
    )


def can_be_dropped(text: str, span: Span) -> bool:
    """Whether its sentence stays one without the word: an adverb, or an adjective after an article; not a name."""
    word, before, after = (
        text[slice(*span)],
        text[max(0, span[0] - 1) : span[0]],
        text[span[1] : span[1] + 1],
    )
    if before.strip() or after.strip(" \t\r\n.,;:!?…"):
        return False  # marks of emphasis, a bracket or a hyphen would be left alone
    lower, previous = word.lower(), _neighbours(text, span)[0]
    if previous in DETERMINERS:
        return lower in ADJECTIVES
    if lower in DROPPABLE:
        return True
    is_adverb = _is_adverb(lower) and lower not in SYNONYMS and lower not in WEIGHTY_ADVERBS
    is_capital = word[:1].isupper() and not text.isupper()
    return (
        is_adverb
        and previous not in DEGREES
        and (not is_capital or (after == "," and _begins_sentence(text, span[0])))
    )


def _is_adverb(lower: str) -> bool:
    return lower.endswith("ly") and lower not in KEPT_LY


def _begins_sentence(text: str, start: int) -> bool:
    before = ("\n" if start <= 40 else "x") + text[max(0, start - 40) : start]
    return _SENTENCE_START.search(before) is not None


def _neutral(word: str, previous: str, following: str) -> tuple[str, ...]:
    """Nouns that say little, or a verb that does, by what stands before; nothing takes an adverb's place."""
    if _is_adverb(word.lower()):
        return ()
    is_name = word[:1].isupper() and not word.isupper()
    if word.lower() in MONTHS and previous in PREPOSITIONS:
        return ("that month",)
    if word.lower() in DAYS and previous in PREPOSITIONS:
        return ("that day",)
    if is_name and previous in ("in", "at", "from", "near", "to"):
        return "the area", "the place"
    if previous in VERB_BEFORE and following:
        return "handle", "do"
    plural = word.lower().endswith("s") and not word.lower().endswith("ss")
    if previous in DETERMINERS or (previous and previous not in FUNCTION_WORDS | PREPOSITIONS):
        return ("things", "matters") if plural else ("thing", "matter")
    return ("these things", "such matters") if plural else ("this", "that one")


def _synonyms(word: str, previous: str) -> Iterator[str]:
    """Synonyms in the word's own form and case, by the word before it as those of a noun or a verb."""
    tables = [SYNONYMS]
    if previous in DETERMINERS or previous in PREPOSITIONS - {"to"}:
        tables = [NOUN_SYNONYMS, SYNONYMS]
    elif previous in VERB_BEFORE:
        tables = [VERB_SYNONYMS, SYNONYMS]
    lower = word.lower().replace("’", "'")
    for base, ending in [(lower, ""), *_stems(lower)]:
        table = next((table for table in tables if base in table), None)
        if table is not None:
            yield from (_cased_like(_inflected(each, ending), word) for each in table[base])
            return


def _stems(word: str) -> Iterator[tuple[str, str]]:
    for ending in _ENDINGS:
        if not word.endswith(ending) or len(word) < len(ending) + 3:
            continue
        stem = word[: -len(ending)]
        if ending in ("ies", "ied"):
            yield stem + "y", {"ies": "s", "ied": "ed"}[ending]
        elif ending in ("ing", "ed"):
            yield stem, ending
            yield stem + "e", ending
            if stem[-1:] == stem[-2:-1]:
                yield stem[:-1], ending
        elif ending != "ly" or word not in KEPT_LY | WEIGHTY_ADVERBS:  # "hardly": not of "hard"
            yield stem, {"es": "s", "d": "ed"}.get(ending, ending)


def _inflected(word: str, ending: str) -> str:
    """A regular form of a synonym; of several words the first is inflected, the last where it is a noun's."""
    if not ending:
        return word
    first, _, rest = word.partition(" ")
    if ending == "s":
        formed = (
            first[:-1] + "ies"
            if re.search(r"[^aeiou]y$", first)
            else first + ("es" if re.search(r"(?:s|x|z|ch|sh)$", first) else "s")
        )
    elif ending == "ly":
        formed = first + "ly"
    else:
        formed = (first[:-1] if first.endswith("e") else first) + ending
        if ending == "ed" and re.search(r"[^aeiou]y$", first):
            formed = first[:-1] + "ied"
    return f"{formed} {rest}".rstrip()


def _cased_like(word: str, model: str) -> str:
    if model.isupper() and len(model) > 1:
        return word.upper()
    return word[:1].upper() + word[1:] if model[:1].isupper() else word


def _substitution(text: str, span: Span, choice: str) -> tuple[int, int, str]:
    """What to put where for a choice: with the right article, without a double space, with a capital at the start."""
    start, stop = span
    if not choice:
        is_first = text[start].isupper() and _begins_sentence(text, start)
        if text[stop : stop + 1] == " " or (text[stop : stop + 2] == ", " and is_first):
            stop += 1 + (text[stop] == ",")
            if is_first and text[stop : stop + 1].islower():
                choice, stop = text[stop].upper(), stop + 1
        elif text[:start].endswith(" "):
            start -= 1
    article = re.search(r"\b(an?) \Z", text[max(0, start - 4) : start], re.IGNORECASE)
    following = choice + text[stop : stop + 3]
    if article and following[:1].isalpha():
        right = "an" if _VOWEL.match(following) else "a"
        if right != article.group(1).lower():
            start -= len(article.group(1)) + 1
            choice = f"{_cased_like(right, article.group(1))} {choice}"
    return start, stop, choice


def _substituted(text: str, changes: Sequence[tuple[int, int, str]]) -> str:
    pieces, end = [], 0
    for start, stop, new in changes:
        pieces += [text[end : max(start, end)], new]
        end = max(stop, end)
    return "".join([*pieces, text[end:]])


def _with_contraction(text: str, span: Span) -> Span:
    """The span with a "'t" or "'ll" after it; not with a possessive "'s"."""
    contraction = re.compile(r"['’](?:t|re|ll|ve|d|m)\b", re.IGNORECASE).match(text, span[1])
    return (span[0], contraction.end()) if contraction else span


def _whole_word(text: str, span: Span) -> Span:
    """The span grown to the words that it touches."""
    start, end = span
    while start and (text[start - 1].isalnum() or text[start - 1] in "'’"):
        start -= 1
    while end < len(text) and text[end].isalnum():
        end += 1
    return start, end


def _pattern(expression: str) -> re.Pattern[str]:
    try:
        return re.compile(expression, re.IGNORECASE)
    except re.error as error:
        raise CannotFix(f"{expression!r} is no pattern") from error
