"""The fix of each constraint type, in the order in which they are tried.

First what takes repeated sentences out, then what adds sentences, then what takes words out, then length, then marks and what frames the text, then what
changes every letter, and at last what makes data of it: so a later fix seldom breaks what an earlier one has met.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from spar.repetition import NO_REPETITION
from spar.rewrite import (
    additions,
    case,
    commas,
    divisions,
    framing,
    length,
    marks,
    repetition,
    responses,
    titles,
    wording,
)
from spar.rewrite.edits import Arguments, CannotFix, Context, Edit, Fix


def _by_relation(more: Fix, fewer: Fix, name: str = "relation") -> Fix:
    """One fix for "at least" and one for "less than"."""

    def fix(text: str, arguments: Arguments, context: Context) -> Iterator[Edit]:
        way = fewer if arguments.get(name) == "less than" else more
        return way(text, arguments, context)

    return fix


def _other_language(text: str, arguments: Arguments, context: Context) -> Iterator[Edit]:
    raise CannotFix("a program cannot translate")
    yield


FIXES: Mapping[str, Fix] = {
    NO_REPETITION: repetition.no_repetition,
    "nano:character_sequence": framing.character_sequence,
    "keywords:existence": additions.keywords,
    "keywords:frequency": _by_relation(additions.keyword_more_often, wording.keyword_less_often),
    "keywords:letter_frequency": _by_relation(
        additions.letter_more_often, wording.letter_less_often, "let_relation"
    ),
    "detectable_content:number_placeholders": additions.placeholders,
    "keywords:forbidden_words": wording.forbidden_words,
    "nano:first_word": framing.first_word,
    "nano:story": framing.story,
    "detectable_format:constrained_response": framing.constrained_response,
    "detectable_format:title": titles.title,
    "detectable_content:postscript": framing.postscript,
    "startend:end_checker": framing.end_phrase,
    "combination:repeat_prompt": framing.repeat_prompt,
    "detectable_format:multiple_sections": divisions.sections,
    "length_constraints:number_sentences": _by_relation(
        length.more_sentences, length.fewer_sentences
    ),
    "length_constraints:number_words": _by_relation(length.more_words, length.fewer_words),
    "nano:exact_words": length.exact_words,
    "combination:two_responses": responses.two_responses,
    "length_constraints:nth_paragraph_first_word": divisions.nth_paragraph,
    "length_constraints:number_paragraphs": divisions.paragraphs,
    "detectable_format:number_bullet_lists": marks.bullets,
    "detectable_format:number_highlighted_sections": marks.highlights,
    "change_case:capital_word_frequency": case.capital_words,
    "punctuation:no_comma": commas.no_comma,
    "startend:quotation": framing.quotation,
    "change_case:english_lowercase": case.lower_case,
    "change_case:english_capital": case.upper_case,
    "detectable_format:json_format": framing.json_format,
    "language:response_language": _other_language,
}
"""Constraint type to its fix."""
