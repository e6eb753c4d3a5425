"""Verifiers: whether a response meets a constraint, by ground truth.

Pure functions, one for each constraint type. The types with IFEval's ids take IFEval's keyword arguments
and agree with the verifiers of lm-eval 0.4.13 on everything that nano-if can produce, with two differences:

- lm-eval also uses langdetect to check that an all-capitals or lower-case text is English. On a sentence
  of eight words its answer is chance, so it is left out here.
- Sentences are counted by a closing `.`, `!` or `?` followed by white space; lm-eval uses NLTK's Punkt,
  which also knows abbreviations. nano-if writes none.

The types with ids `nano:...` are nano-if's own and have no counterpart in IFEval.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Check = Callable[..., bool]
"""A verifier: the response, then the constraint's keyword arguments."""

_SENTENCE_BREAK = re.compile(r"[.!?][\"')\]]*\s+")
_WORD = re.compile(r"\w+")


def verify(response: str, instruction_id: str, kwargs: Mapping[str, Any]) -> bool:
    """Whether `response` meets one constraint; a blank response meets none.

    Raises
    ------
    KeyError
        There is no verifier for `instruction_id`; see `VERIFIERS`.
    """
    check = VERIFIERS[instruction_id]
    return bool(response.strip()) and check(response, **kwargs)


def verify_all(
    response: str, instruction_ids: Sequence[str], kwargs: Sequence[Mapping[str, Any]]
) -> list[bool]:
    """One verdict per constraint, in order."""
    pairs = zip(instruction_ids, kwargs, strict=True)
    return [verify(response, instruction_id, arguments) for instruction_id, arguments in pairs]


def passes(response: str, meta: Mapping[str, Any]) -> bool | None:
    """Whether a response meets every constraint of a prompt's `meta`.

    None if the prompt has no constraints, or one without a verifier or with bad arguments.
    """
    ids = meta.get("instruction_id_list")
    if not ids or any(instruction_id not in VERIFIERS for instruction_id in ids):
        return None
    try:
        return all(ok for _, ok in verify_meta(response, meta))
    except (TypeError, ValueError, re.error):  # bad arguments
        return None


def verify_meta(response: str, meta: Mapping[str, Any]) -> list[tuple[str, bool]]:
    """Each constraint of a prompt's `meta`, named with its arguments, and whether it is met."""
    ids = meta["instruction_id_list"]
    arguments = [_without_nulls(kwargs) for kwargs in meta.get("kwargs") or [{}] * len(ids)]
    met = verify_all(response, ids, arguments)
    names = [
        " ".join([i, *map(str, kwargs.values())]) for i, kwargs in zip(ids, arguments, strict=True)
    ]
    return list(zip(names, met, strict=True))


def count_words(text: str) -> int:
    """The number of words, counted as IFEval counts them: runs of word characters."""
    return len(_WORD.findall(text))


def count_sentences(text: str) -> int:
    """The number of sentences: pieces between sentence breaks."""
    stripped = text.strip()
    return len(_SENTENCE_BREAK.findall(stripped)) + 1 if stripped else 0


def first_word(text: str) -> str:
    """The first word in lower case, "" if there is none."""
    match = _WORD.search(text)
    return match.group().lower() if match else ""


def _without_nulls(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    # The hub's copy of IFEval pads every row's kwargs with nulls for all other instructions.
    return {name: value for name, value in kwargs.items() if value is not None}


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
    return _compare(len(re.findall(keyword, text, re.IGNORECASE)), relation, frequency)


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
    return text.strip().lower() == character.lower() * length


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
}
"""Constraint type to its verifier: IFEval's ids first, then nano-if's own."""
