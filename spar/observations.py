"""Constraints in words, and what a response has of them, counted by small functions of our own.

    observe("One, two.", "punctuation:no_comma", {})      no commas: 1 (so not met)

Whether a constraint is met is the verifier's to say; each function has a verdict of its own, None where its count
does not decide, with which `spar.findings` sees that the two agree. What is counted follows lm-eval 0.4.13.

Pure: it knows no prompts and no packages. Counts that need a tokenizer are passed in.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spar.ifbench_observations import FOUND
from spar.instruction_checks import LIMIT_SECONDS, TooLong, count_words, limited
from spar.keyword_observations import counted, existence, forbidden, quoted, times
from spar.repetition import NO_REPETITION, repetition_found

_SHOWN = 40
"""Characters of the response that are quoted."""
_LISTED = 6
"""Words that are listed."""
_WORD = re.compile(r"\w+")
_OPTIONS = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
_FAILURES = (
    *(TypeError, ValueError, AttributeError, LookupError, re.error, TooLong),
    *(MemoryError, OverflowError, RecursionError),
)
"""What is raised for types, or arguments, that only the verifier understands."""


@dataclass(frozen=True, slots=True)
class Observation:
    """One constraint in words, and what a response has of it."""

    constraint: str
    """In words, `at least 300 words`; "" for the verifier's words."""
    found: str
    """What was found: `214`."""
    met: bool | None
    """Whether that meets the constraint, None where it does not decide."""


def observe(
    response: str,
    type_: str,
    arguments: Mapping[str, Any],
    count: int | Sequence[str] | None = None,
) -> Observation | None:
    """What a response has of one constraint; None for a type, or arguments, that only the verifier understands.

    Parameters
    ----------
    count:
        What the verifier itself counts, for types of `COUNTED`: how many, or the words in capital letters themselves.
    """
    counted = {"count": count} if type_ in COUNTED else {}
    try:
        with limited(LIMIT_SECONDS):
            if type_ in FOUND:
                observed = Observation("", *FOUND[type_](response, **arguments))
            else:
                observed = DESCRIBE[type_](response, **arguments, **counted)
    except _FAILURES:
        return None
    return observed if response.strip() else Observation(observed.constraint, EMPTY, False)


EMPTY = "the response is empty"
"""What is found in a blank response, which meets nothing."""
COUNTED = frozenset({"length_constraints:number_sentences", "change_case:capital_word_frequency"})
"""Types whose verifier counts with a tokenizer."""


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _listed(texts: Sequence[str]) -> str:
    return ", ".join(map(quoted, texts))


def _start(text: str) -> str:
    line = " ".join(text[: 4 * _SHOWN].split())
    return f'"{line}"' if len(line) <= _SHOWN else f'"{line[:_SHOWN]}..."'


def _end(text: str) -> str:
    line = " ".join(text[-4 * _SHOWN :].split())
    return f'"{line}"' if len(line) <= _SHOWN else f'"...{line[-_SHOWN:].lstrip()}"'


def _related(relation: str, limit: int, noun: str, count: int) -> Observation:
    """A number that must be below a limit, or reach it."""
    if limit < 0:
        raise ValueError(limit)  # the verifier draws one
    met = count < limit if relation == "less than" else count >= limit
    return Observation(f"{relation} {_plural(limit, noun)}", f"{count:,}", met)


def _words(text: str, *, relation: str, num_words: int) -> Observation:
    return _related(relation, num_words, "word", count_words(text))


def _sentences(text: str, *, relation: str, num_sentences: int, count: int | None) -> Observation:
    observed = _related(relation, num_sentences, "sentence", count or 0)
    return observed if count is not None else Observation(observed.constraint, "", None)


def _capital_words(
    text: str, *, capital_frequency: int, capital_relation: str, count: int | Sequence[str] | None
) -> Observation:
    words = () if count is None or isinstance(count, int) else count
    number = count if isinstance(count, int) else len(words)
    observed = _related(capital_relation, capital_frequency, "word", number)
    constraint = f"{observed.constraint} in capital letters"
    if count is None:
        return Observation(constraint, "", None)
    return Observation(constraint, observed.found + _counted_words(words), observed.met)


def _counted_words(words: Sequence[str]) -> str:
    """The words that were counted in brackets, the first `_LISTED` of them; "" without any."""
    counts = [*Counter(words).items()]
    listed = [f"{word[:_SHOWN]}{f' {times(count)}' * (count > 1)}" for word, count in counts]
    more = ["..."] if len(listed) > _LISTED else []
    return f" ({', '.join([*listed[:_LISTED], *more])})" if listed else ""


def _frequency(text: str, *, keyword: str, frequency: int, relation: str) -> Observation:
    word, count = counted(text, keyword)
    observed = _related(relation, frequency, "time", count)
    return Observation(f"{word} {observed.constraint}", observed.found, observed.met)


def _letters(text: str, *, letter: str, let_frequency: int, let_relation: str) -> Observation:
    if not re.fullmatch("[a-zA-Z]", letter):
        raise ValueError(letter)  # the verifier draws one
    observed = _related(let_relation, let_frequency, "time", text.lower().count(letter.lower()))
    constraint = f'the letter "{letter.lower()}" {observed.constraint}'
    return Observation(constraint, observed.found, observed.met)


def _divided_paragraphs(text: str, *, num_paragraphs: int) -> Observation:
    parts = re.split(r"\s?\*\*\*\s?", text)
    count = len(parts) - sum(not part.strip() for part in parts)
    inner_blank = any(not part.strip() for part in parts[1:-1])
    found = f"{count:,}{', one between dividers is empty' * inner_blank}"
    constraint = f"exactly {_plural(num_paragraphs, 'paragraph')} separated by ***"
    return Observation(constraint, found, count == num_paragraphs and not inner_blank)


def _nth_paragraph(
    text: str, *, num_paragraphs: int, nth_paragraph: int, first_word: str
) -> Observation:
    if not 0 < nth_paragraph <= num_paragraphs:
        raise ValueError(nth_paragraph)  # the verifier draws one
    parts = text.split("\n\n")
    count = sum(bool(part.strip()) for part in parts)
    constraint = (
        f"exactly {_plural(num_paragraphs, 'paragraph')} separated by blank lines, paragraph {nth_paragraph} "
        f"starting with {quoted(first_word)}"
    )
    found, met = _plural(count, "paragraph"), False
    if nth_paragraph <= count and (part := parts[nth_paragraph - 1].strip()):
        word = re.split(r"[.,?!'\"]", part.split()[0].lstrip("'").lstrip('"'))[0]
        found += f", paragraph {nth_paragraph} starts with {_start(part.split()[0])}"
        lowered = "".join(letter.lower() for letter in word)
        met = count == num_paragraphs and lowered == first_word.lower()
    return Observation(constraint, found, met)


def _placeholders(text: str, *, num_placeholders: int) -> Observation:
    observed = _related(
        "at least", num_placeholders, "placeholder", len(re.findall(r"\[.*?\]", text))
    )
    return Observation(f"{observed.constraint} in [square brackets]", observed.found, observed.met)


def _postscript(text: str, *, postscript_marker: str) -> Observation:
    marker = postscript_marker.strip()
    patterns = {"P.P.S": r"\s*p\.\s?p\.\s?s.*$", "P.S.": r"\s*p\.\s?s\..*$"}
    pattern = patterns.get(marker, rf"\s*{marker.lower()}.*$")
    matched = re.search(pattern, text.lower(), re.MULTILINE)
    found = _start(matched[0]) if matched else "none"
    return Observation(f"a postscript starting with {marker}", found, bool(matched))


def _bullets(text: str, *, num_bullets: int) -> Observation:
    starred = re.findall(r"^\s*\*[^\*].*$", text, re.MULTILINE)
    count = len(starred) + len(re.findall(r"^\s*-.*$", text, re.MULTILINE))
    constraint = f"exactly {_plural(num_bullets, 'bullet point')} (lines starting with * or -)"
    return Observation(constraint, f"{count:,}", count == num_bullets)


def _options(text: str) -> Observation:
    used = [option for option in _OPTIONS if option in text]
    return Observation(
        f"contains one of {_listed(_OPTIONS)}", _listed(used) if used else "none", bool(used)
    )


def _highlights(text: str, *, num_highlights: int) -> Observation:
    single = [part for part in re.findall(r"\*[^\n\*]*\*", text) if part.strip("*").strip()]
    double = re.findall(r"\*\*[^\n\*]*\*\*", text)
    filled = [part for part in double if part.removeprefix("**").removesuffix("**").strip()]
    observed = _related("at least", num_highlights, "section", len(single) + len(filled))
    return Observation(f"{observed.constraint} *highlighted*", observed.found, observed.met)


def _sections(text: str, *, section_spliter: str, num_sections: int) -> Observation:
    mark = section_spliter.strip()
    count = len(re.split(rf"\s?{mark}\s?\d+\s?", text)) - 1
    observed = _related("at least", num_sections, "section", count)
    return Observation(
        f'{observed.constraint} marked "{mark} 1", "{mark} 2", ...', observed.found, observed.met
    )


def _json(text: str) -> Observation:
    body = text.strip()
    for fence in ("```json", "```Json", "```JSON", "```"):
        body = body.removeprefix(fence)
    constraint = "the whole response is JSON"
    try:
        json.loads(body.removesuffix("```").strip())
    except ValueError as error:
        where = f"not JSON ({error.msg.lower()})" if isinstance(error, json.JSONDecodeError) else ""
        return Observation(constraint, where or "not JSON", False)
    return Observation(constraint, "valid JSON", True)


def _title(text: str) -> Observation:
    titles = [
        title for title in re.findall(r"<<[^\n]+>>", text) if title.lstrip("<").rstrip(">").strip()
    ]
    constraint = "a title in <<double angular brackets>>"
    return Observation(constraint, _start(titles[0]) if titles else "none", bool(titles))


def _two_responses(text: str) -> Observation:
    parts = text.split("******")
    filled = [part.strip() for part in parts if part.strip()]
    inner_blank = any(not part.strip() for part in parts[1:-1])
    found = _plural(len(filled), "response")
    if len(filled) == 2 and filled[0] == filled[1]:
        found = "2 equal responses"
    met = len(filled) == 2 and filled[0] != filled[1] and not inner_blank
    found += ", one between separators is empty" * inner_blank
    return Observation("two different responses separated by ******", found, met)


def _repeated(text: str, *, prompt_to_repeat: str) -> Observation:
    met = text.strip().lower().startswith(prompt_to_repeat.strip().lower())
    constraint = f"starts by repeating the request word for word, {_start(prompt_to_repeat)}"
    return Observation(constraint, f"starts with {_start(text.strip())}", met)


def _ending(text: str, *, end_phrase: str) -> Observation:
    met = text.strip().strip('"').lower().endswith(end_phrase.strip().lower())
    constraint = f"ends with {quoted(end_phrase)}"
    return Observation(constraint, f"ends with {_end(text.strip())}", met)


def _capitals(text: str) -> Observation:
    wrong = sum(c.islower() or (c.istitle() and not c.isupper()) for c in text)
    return _cased("all capital letters, in English", wrong, "lower-case letter", text.isupper())


def _lower_case(text: str) -> Observation:
    wrong = sum(c.isupper() or c.istitle() for c in text)
    return _cased("all lower case, in English", wrong, "capital letter", text.islower())


def _cased(constraint: str, wrong: int, noun: str, right: bool) -> Observation:
    # Whether the text is English is for the verifier to say.
    if not wrong and not right:
        return Observation(constraint, "no letters", False)
    return Observation(constraint, _plural(wrong, noun), False if wrong else None)


def _commas(text: str) -> Observation:
    return Observation("no commas", f"{text.count(','):,}", "," not in text)


def _quotation(text: str) -> Observation:
    body = text.strip()
    first, last = body[:1] == '"', body[-1:] == '"' and len(body) > 1
    found = {
        (True, True): "both are there",
        (True, False): "none at the end",
        (False, True): "none at the start",
        (False, False): "none at the start, none at the end",
    }[first, last]
    return Observation("the whole response in double quotation marks", found, first and last)


def _exact_words(text: str, *, num_words: int) -> Observation:
    count = count_words(text)
    return Observation(f"exactly {_plural(num_words, 'word')}", f"{count:,}", count == num_words)


def _first_word(text: str, *, first_word: str) -> Observation:
    match = _WORD.search(text)
    met = match is not None and match.group().lower() == first_word.lower()
    found = "none" if match is None else _start(match.group())
    return Observation(f"first word {quoted(first_word)}", found, met)


def _sequence(text: str, *, character: str, length: int) -> Observation:
    body, unit = text.strip().lower(), character.lower()
    met = len(body) == len(unit) * length and body == unit * length
    found = f"{_plural(len(body), 'character')}, {body.count(unit):,} of them {quoted(character)}"
    return Observation(f"{quoted(character)} {times(length)} and nothing else", found, met)


def _story(text: str, *, first_sentence: str, last_sentence: str) -> Observation:
    body = text.strip()
    first, last = body.startswith(first_sentence), body.endswith(last_sentence)
    middle = body.removeprefix(first_sentence).removesuffix(last_sentence).strip()
    found = f"starts with {_start(body)}" * (not first)
    found += ", " * (not first and not last) + f"ends with {_end(body)}" * (not last)
    met = first and last and bool(middle) and len(body) > len(first_sentence) + len(last_sentence)
    if first and last:
        found = "both, with text between" if met else "no text between"
    constraint = f"starts with {quoted(first_sentence)}, ends with {quoted(last_sentence)}, with text between"
    return Observation(constraint, found, met)


def _observing(function: Callable[..., tuple[str, str, bool]]) -> Callable[..., Observation]:
    return lambda text, **arguments: Observation(*function(text, **arguments))


DESCRIBE: Mapping[str, Callable[..., Observation]] = {
    "keywords:existence": _observing(existence),
    "keywords:frequency": _frequency,
    "keywords:forbidden_words": _observing(forbidden),
    "keywords:letter_frequency": _letters,
    "length_constraints:number_sentences": _sentences,
    "length_constraints:number_paragraphs": _divided_paragraphs,
    "length_constraints:number_words": _words,
    "length_constraints:nth_paragraph_first_word": _nth_paragraph,
    "detectable_content:number_placeholders": _placeholders,
    "detectable_content:postscript": _postscript,
    "detectable_format:number_bullet_lists": _bullets,
    "detectable_format:constrained_response": _options,
    "detectable_format:number_highlighted_sections": _highlights,
    "detectable_format:multiple_sections": _sections,
    "detectable_format:json_format": _json,
    "detectable_format:title": _title,
    "combination:two_responses": _two_responses,
    "combination:repeat_prompt": _repeated,
    "startend:end_checker": _ending,
    "startend:quotation": _quotation,
    "change_case:capital_word_frequency": _capital_words,
    "change_case:english_capital": _capitals,
    "change_case:english_lowercase": _lower_case,
    "punctuation:no_comma": _commas,
    "nano:exact_words": _exact_words,
    "nano:first_word": _first_word,
    "nano:character_sequence": _sequence,
    "nano:story": _story,
    NO_REPETITION: lambda text: Observation("no repetition", *repetition_found(text)),
}
"""Constraint type to what describes it: every type of IFEval but the language, and those of spar's own."""
