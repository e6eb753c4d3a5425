r"""What can be said without a function word: no noun and no other word stands for "is" or "of" everywhere.

    reformulations("It is hot.", (3, 5))     [(0, 5, "It's")]
    reformulations("a cup of tea", (6, 8))     []: a sentence with it can only go

Each word has rules, a pattern of the word among its neighbours and what is written instead (`a || b`: either); of those that
match where the word stands the first counts. `^` is for the beginning of a sentence, `~` for other places, `%` for texts
that address nobody and in which nobody says "I", and `!` says that nothing can be written. Contractions are as good as any other form.
"""

from __future__ import annotations

import re
from functools import lru_cache

from spar.rewrite.changes import Change
from spar.rewrite.english.inflection import cased_like
from spar.rewrite.english.parts_of_speech import ADJECTIVE, PARTICIPLE, begins_sentence
from spar.rewrite.english.phrase_rules import PHRASE_RULES
from spar.rewrite.english.sentence_rules import SENTENCE_RULES
from spar.rewrite.english.vocabulary import DETERMINERS, FUNCTION_WORDS, SYNONYMS
from spar.rewrite.layout import Span

_NEAR = 40
"""Characters on either side of a word that a rule may look at."""
_CLASSES = {
    "det": rf"(?:{'|'.join(sorted(DETERMINERS))}|one|two|three|four|five|\d+)",
    "subject": "(?:i|you|he|she|it|we|they|there)",
    "aux": "(?:is|are|was|were|has|have|had|can|could|will|would|should|may|might|must|do|does|did)",
    "modal": "(?:can|could|will|would|should|may|might|must)",
    "number": r"(?:\d[\d.,]*|two|three|four|five|six|seven|eight|nine|ten|twelve|twenty|fifty|a hundred|a thousand)",
    "participle": PARTICIPLE,
    "adjective": ADJECTIVE,
    "time": "(?:seconds?|minutes?|hours?|days?|weeks?|months?|years?)",
    "end": r"(?=[.,;:!?\n]|\Z)",
}
"""What `<name>` in a rule's pattern stands for."""
_PERSONAL = re.compile(r"\b(?:i|me|my|mine|your|yours|yourself|dear|sincerely)\b", re.IGNORECASE)


@lru_cache(maxsize=1)
def rule_lines() -> dict[str, list[str]]:
    """Word to the lines of its rules."""
    words: dict[str, list[str]] = {}
    word = ""
    for line in filter(None, (SENTENCE_RULES + PHRASE_RULES).split("\n")):
        if line.startswith(" "):
            words.setdefault(word, []).append(line.strip())
        else:
            word = line
    return words


@lru_cache(maxsize=512)
def rules_of(word: str) -> tuple[tuple[str, re.Pattern[str], list[str]], ...]:
    """The rules of a word: where they count, the pattern, what can be written."""
    rules = []
    for line in rule_lines().get(word, ()):
        expression, _, choices = line.partition(" => ")
        place = expression[0] if expression[0] in "^~%" else ""
        expression = re.sub(r"<(\w+)>", lambda m: _CLASSES[m[1]], expression.removeprefix(place))
        expression = expression.replace("'", "['’]")
        edge = "" if expression.startswith((",", r"(?<=\w)")) else r"(?<!\w)"
        pattern = re.compile(rf"{edge}(?:{expression})(?!\w)", re.IGNORECASE)
        rules.append((place, pattern, [choice.strip() for choice in choices.split("||")]))
    return tuple(rules)


def reformulations(text: str, span: Span) -> list[Change] | None:
    """What can be written where a word stands: [] for nothing, None for a word that has no rule there and may have synonyms.

    Of several words, as of "thank you", any may be the one whose rule says it.
    """
    words = text[slice(*span)].lower().replace("’", "'").split()
    bases = [re.split("'", word, maxsplit=1)[0] for word in words]
    rules = [_first_rule(text, span, word) for word in dict.fromkeys([*words, *bases])]
    if any(changes is not None for changes in rules):
        return [change for changes in rules for change in changes or ()]
    is_closed = any(word in FUNCTION_WORDS and word not in SYNONYMS for word in bases)
    return [] if is_closed and len(bases) == 1 else None


def _first_rule(text: str, span: Span, word: str) -> list[Change] | None:
    """What the first rule of a word that matches writes, None where none does."""
    low, high = max(0, span[0] - _NEAR), min(len(text), span[1] + _NEAR)
    for place, pattern, choices in rules_of(word):
        for match in pattern.finditer(text, low, high):
            start, end = match.span()
            if start <= span[0] and span[1] <= end and _counts(place, text, start):
                is_blocked = choices == ["!"]
                texts = [] if is_blocked else [_written(text, match, each) for each in choices]
                return [(start, end, new) for new in texts]
    return None


def _counts(place: str, text: str, start: int) -> bool:
    """Whether a rule counts where it matches."""
    if place == "%":
        return _PERSONAL.search(text) is None
    return not place or begins_sentence(text, start) is (place == "^")


def _written(text: str, match: re.Match[str], choice: str) -> str:
    """What a rule writes, with a capital where its sentence begins and in the text's apostrophes."""
    old, new = match.group(), match.expand(choice)
    if "’" in text and "'" not in text:
        new = new.replace("'", "’")
    if len(old) > 1 and old.isupper():
        return new.upper()
    # In a title every word has its capital; "I" has it anywhere.
    is_capital = old[:1].isupper() and not re.match(r"I\b", old)
    return cased_like(new, old) if is_capital or begins_sentence(text, match.start()) else new
