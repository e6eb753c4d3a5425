"""Constraints for the rewriter's tests, with arguments as IFEval and nano-if draw them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from spar.own_verifiers import EQUAL
from spar.types import Message, Prompt

Drawn = tuple[str, dict[str, Any]]

LEAST, LESS = "at least", "less than"
_WORDS = ("really", "good", "money", "garden", "wonder", "people", "plan", "station")
_number = st.integers(1, 6)


def _fixed(name: str, **arguments: Any) -> st.SearchStrategy[Drawn]:
    values = {
        k: v if isinstance(v, st.SearchStrategy) else st.just(v) for k, v in arguments.items()
    }
    return st.tuples(st.just(name), st.fixed_dictionaries(values))


_relation = st.sampled_from((LEAST, LESS))
_word = st.sampled_from(_WORDS)
_words = st.lists(_word, min_size=1, max_size=3, unique=True)

_ARGUMENTS: dict[str, dict[str, Any]] = {
    "change_case:capital_word_frequency": {
        "capital_relation": _relation,
        "capital_frequency": _number,
    },
    "change_case:english_capital": {},
    "change_case:english_lowercase": {},
    "combination:repeat_prompt": {"prompt_to_repeat": "Write about the year."},
    "combination:two_responses": {},
    "detectable_content:number_placeholders": {"num_placeholders": _number},
    "detectable_content:postscript": {"postscript_marker": st.sampled_from(("P.S.", "P.P.S"))},
    "detectable_format:constrained_response": {},
    "detectable_format:json_format": {},
    "detectable_format:multiple_sections": {
        "section_spliter": st.sampled_from(("Section", "SECTION", "Day")),
        "num_sections": _number,
    },
    "detectable_format:number_bullet_lists": {"num_bullets": _number},
    "detectable_format:number_highlighted_sections": {"num_highlights": _number},
    "detectable_format:title": {},
    "keywords:existence": {"keywords": _words},
    "keywords:forbidden_words": {"forbidden_words": _words},
    "keywords:frequency": {"relation": _relation, "keyword": _word, "frequency": _number},
    "keywords:letter_frequency": {
        "let_relation": _relation,
        "letter": st.sampled_from("ekqz"),
        "let_frequency": st.integers(2, 30),
    },
    "language:response_language": {"language": st.just("de")},
    "length_constraints:nth_paragraph_first_word": {
        "num_paragraphs": st.integers(2, 4),
        "nth_paragraph": st.integers(1, 2),
        "first_word": st.sampled_from(("weekend", "although")),
    },
    "length_constraints:number_paragraphs": {"num_paragraphs": st.integers(2, 4)},
    "length_constraints:number_sentences": {
        "relation": _relation,
        "num_sentences": st.integers(2, 9),
    },
    "length_constraints:number_words": {
        "relation": _relation,
        "num_words": st.integers(20, 90),
    },
    "punctuation:no_comma": {},
    "startend:end_checker": {"end_phrase": st.sampled_from(("That sums it up.", "Any questions?"))},
    "startend:quotation": {},
}
OF_IFEVAL = {name: _fixed(name, **arguments) for name, arguments in _ARGUMENTS.items()}
"""Every type of IFEval."""
WITHOUT_LM_EVAL = {name: drawn for name, drawn in OF_IFEVAL.items() if name in EQUAL}
"""Those that are checked without lm-eval."""


def prompt_with(*constraints: Drawn, prompt_id: str = "p") -> Prompt:
    """A prompt with these constraints."""
    meta = {
        "instruction_id_list": [name for name, _ in constraints],
        "kwargs": [arguments for _, arguments in constraints],
    }
    turns = (Message(role="user", content="Write about the year."),)
    return Prompt(id=prompt_id, messages=turns, meta=meta)
