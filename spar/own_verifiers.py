"""Verifiers of spar's own: pure functions that need no package.

    verify("Two words.", "length_constraints:number_words", {"relation": "at least", "num_words": 2})     True

Those with IFEval's ids take IFEval's keyword arguments and agree with the verifiers of lm-eval 0.4.13 on everything
that nano-if can produce, with two differences:

- lm-eval also uses langdetect to check that an all-capitals or lower-case text is English. On a sentence
  of eight words its answer is chance, so it is left out here.
- Sentences are counted by a closing `.`, `!` or `?` followed by white space; lm-eval uses NLTK's Punkt,
  which also knows abbreviations. nano-if writes none.

Those of `EQUAL` give lm-eval's verdict on every text. The types with ids `nano:...` are nano-if's own and have no
counterpart in IFEval. Which prompts these functions check is in `spar.verifiers`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from spar.instruction_checks import count_words
from spar.repetition import NO_REPETITION, is_repetitive

Check = Callable[..., bool]
"""A verifier: the response, then the constraint's keyword arguments."""

_SENTENCE_BREAK = re.compile(r"[.!?][\"')\]]*\s+")
_WORD = re.compile(r"\w+")


def verify(response: str, instruction_id: str, kwargs: Mapping[str, Any]) -> bool:
    """Whether `response` meets one constraint of nano-if; a blank response meets none.

    Raises
    ------
    KeyError
        There is no verifier for `instruction_id`; see `VERIFIERS`.
    """
    check_response = VERIFIERS[instruction_id]
    return bool(response.strip()) and check_response(response, **kwargs)


def count_sentences(text: str) -> int:
    """The number of sentences: pieces between sentence breaks."""
    stripped = text.strip()
    return len(_SENTENCE_BREAK.findall(stripped)) + 1 if stripped else 0


def first_word(text: str) -> str:
    """The first word in lower case, "" if there is none."""
    match = _WORD.search(text)
    return match.group().lower() if match else ""


def _compare(count: int, relation: str, threshold: int) -> bool:
    return count < threshold if relation == "less than" else count >= threshold


def _number_words(text: str, *, relation: str, num_words: int) -> bool:
    return _compare(count_words(text), relation, num_words)


def _number_sentences(text: str, *, relation: str, num_sentences: int) -> bool:
    return _compare(count_sentences(text), relation, num_sentences)


def _existence(text: str, *, keywords: Sequence[str]) -> bool:
    # lm-eval takes a keyword as a regular expression that may match inside a word.
    return all(re.search(keyword, text, re.IGNORECASE) for keyword in keywords)


def _forbidden(text: str, *, forbidden_words: Sequence[str]) -> bool:
    return not any(re.search(rf"\b{word}\b", text, re.IGNORECASE) for word in forbidden_words)


def _frequency(text: str, *, keyword: str, frequency: int, relation: str) -> bool:
    return _compare(len(re.findall(keyword.strip(), text, re.IGNORECASE)), relation, frequency)


def _ends_with(text: str, *, end_phrase: str) -> bool:
    return text.strip().strip('"').lower().endswith(end_phrase.strip().lower())


def _quoted(text: str) -> bool:
    text = text.strip()
    return len(text) > 1 and text[0] == '"' and text[-1] == '"'


def _exact_words(text: str, *, num_words: int) -> bool:
    return count_words(text) == num_words


def _first_word(text: str, *, first_word: str) -> bool:
    match = _WORD.search(text)
    return match is not None and match.group().lower() == first_word.lower()


def _character_sequence(text: str, *, character: str, length: int) -> bool:
    body, unit = text.strip().lower(), character.lower()
    return (
        len(body) == len(unit) * length and body == unit * length
    )  # no text of any length is made


def _story(text: str, *, first_sentence: str, last_sentence: str) -> bool:
    body = text.strip()
    middle = body.removeprefix(first_sentence).removesuffix(last_sentence).strip()
    framed = body.startswith(first_sentence) and body.endswith(last_sentence)
    return framed and bool(middle) and len(body) > len(first_sentence) + len(last_sentence)


VERIFIERS: Mapping[str, Check] = {
    "length_constraints:number_words": _number_words,
    "length_constraints:number_sentences": _number_sentences,
    "keywords:existence": _existence,
    "keywords:forbidden_words": _forbidden,
    "keywords:frequency": _frequency,
    "startend:end_checker": _ends_with,
    "startend:quotation": _quoted,
    "change_case:english_capital": str.isupper,
    "change_case:english_lowercase": str.islower,
    "punctuation:no_comma": lambda text: "," not in text,
    "nano:exact_words": _exact_words,
    "nano:first_word": _first_word,
    "nano:character_sequence": _character_sequence,
    "nano:story": _story,
    NO_REPETITION: lambda text: not is_repetitive(text),
}
"""Constraint type to its verifier: IFEval's ids first, then nano-if's own, and one that no benchmark has."""

EQUAL = frozenset(
    {
        *("length_constraints:number_words", "keywords:existence", "keywords:forbidden_words"),
        *("keywords:frequency", "startend:end_checker", "startend:quotation"),
        "punctuation:no_comma",
    }
)
"""IFEval's types whose verifier here gives lm-eval's verdict on every text."""
