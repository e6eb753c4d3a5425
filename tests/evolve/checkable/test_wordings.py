"""Our wordings: whole, grammatical at their ends, and not IFEval's."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from spar.evolve.checkable.constraint_types import CONSTRAINT_TYPES, Constraint, Context, word
from spar.evolve.checkable.vocabulary import END_PHRASES, LANGUAGES, topic_words
from spar.evolve.checkable.wordings import LESS, WORDINGS
from spar.evolve.shared_words import SharedWordsIndex

REQUEST = "Tell me how a small garden grows near the kitchen door."
SHARED = 7
"""Most consecutive words that a wording may share with IFEval."""


def drawn(type_id: str, seed: int, others: tuple[str, ...] = ()) -> Constraint:
    """A constraint for `REQUEST`."""
    rng = random.Random(seed)
    context = Context(rng, REQUEST, topic_words(REQUEST), (type_id, *others))
    return CONSTRAINT_TYPES[type_id].draw(context)


def worded() -> Iterator[tuple[str, str]]:
    """Many wordings of every type, by a name."""
    for type_id in CONSTRAINT_TYPES:
        for seed in range(60):
            yield f"{type_id} {seed}", word(drawn(type_id, seed), random.Random(seed))


def test_every_type_and_relation_has_several_wordings() -> None:
    """A full sentence each, so that it stands in a paragraph and in a list."""
    assert {type_id for type_id, _ in WORDINGS} == CONSTRAINT_TYPES.keys()
    for templates in WORDINGS.values():
        assert len({*templates}) >= 3
        assert all(template[0].isupper() for template in templates)
        assert all(template.endswith((".", '"', "}")) for template in templates)


def test_a_limit_on_capital_words_says_what_is_counted() -> None:
    """lm-eval counts "I" and "A", so that a text in the first person needs to know."""
    for template in WORDINGS["change_case:capital_word_frequency", LESS]:
        assert '"I"' in template and '"A"' in template


def test_wordings_are_filled_in() -> None:
    """No place is left open, and every sentence has an end."""
    texts = [text for _, text in worded()]
    assert len({*texts}) > 500
    for text in texts:
        assert "{" not in text
        assert "None" not in text
        assert text.endswith((".", '"')), text


@pytest.mark.evalharness
@pytest.mark.data
def test_wordings_are_not_ifevals(data_root: Path, verifiers: None) -> None:
    """None shares eight words in a row with lm-eval's descriptions or with any of the 541 prompts."""
    from spar.eval.datasets.local import open_data
    from spar.eval.ifeval import IFEval
    from spar.ifeval_verifiers import checkers

    index = SharedWordsIndex(dict(worded()))
    descriptions = {}
    for name, verifier in checkers().items():
        arguments = {"prompt_to_repeat": "x"} if name == "combination:repeat_prompt" else {}
        descriptions[name] = verifier(name).build_description(**arguments)
    prompts = dict(IFEval.prompt_texts(open_data("ifeval", str(data_root))))
    assert len(prompts) == 541
    for others in (descriptions, prompts):
        shared = index.longest(others)
        assert 2 < shared.length <= SHARED, shared


def test_arguments_fit_the_other_types() -> None:
    """Headings and closing phrases have the letters that a type asks for."""
    capitals, lower = "change_case:english_capital", "change_case:english_lowercase"
    sections, ending = "detectable_format:multiple_sections", "startend:end_checker"
    for seed in range(20):
        assert drawn(sections, seed, (capitals,)).arguments["section_spliter"].isupper()
        assert drawn(sections, seed, (lower,)).arguments["section_spliter"].islower()
        assert drawn(ending, seed, (lower,)).arguments["end_phrase"].islower()


def test_closing_phrases_have_no_commas_and_languages_are_ifevals() -> None:
    """A phrase goes with "no commas"; a language is one that lm-eval names."""
    assert not any("," in phrase for phrase in END_PHRASES)
    util = pytest.importorskip("lm_eval.tasks.ifeval.instructions_util")
    assert all(util.LANGUAGE_CODES[code] == name for code, name in LANGUAGES.items())


def test_topic_words() -> None:
    """What an instruction is about, without names and without words that say what to do."""
    text = "Write a short essay about Paris and the lighthouse keeper, whose lighthouse is painted red."
    assert topic_words(text) == ["lighthouse", "keeper"]
