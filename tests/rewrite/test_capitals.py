"""Capitals where sentences begin, are split or joined, and the words that keep theirs."""

from __future__ import annotations

import pytest

from spar.rewrite.english.capitals import as_sentence_rest, as_sentence_start
from spar.rewrite.english.joints import joints
from spar.rewrite.search import rewrite
from tests.rewrite.constraints import LEAST, LESS, prompt_with
from tests.rewrite.test_fixes import edited


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" and it is", " And it is"),
        (' *tea* is "hot"', ' *Tea* is "hot"'),
        ("éclairs are good", "Éclairs are good"),
        ("don't go", "Don't go"),
        ("iPhones sell", "iPhones sell"),
        ("pH is", "pH is"),
        ("km is a unit", "km is a unit"),
        ("x is a number", "x is a number"),
        ("a cup", "A cup"),
        ("main.py is it", "main.py is it"),
    ],
)
def test_a_sentence_begins_with_a_capital_unless_its_word_has_none(
    text: str, expected: str
) -> None:
    """iPhone, pH, units, symbols and files are written as they are."""
    assert as_sentence_start(text) == expected


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("The cat left.", "t"),
        ("It's hot.", "i"),
        ("A cat left.", "a"),
        ("I left.", "I"),
        ("I'm here.", "I"),
        ("NASA flew.", "N"),
        ("IT is hard work.", "I"),
        ("May is warm.", "M"),
        ("Will went.", "W"),
        ("Will you go?", "w"),
        ("Anna left.", "A"),
        ("Cats sleep, as cats do.", "c"),
        ("Rose is a rose, says Rose.", "R"),
        ("McDonald left.", "M"),
    ],
)
def test_a_joined_sentence_keeps_the_capital_of_a_name(text: str, letter: str) -> None:
    """Of "I" and of an acronym, too; a word that the text has in lower case is no name."""
    assert as_sentence_rest(text, 0) == letter


@pytest.mark.evalharness
@pytest.mark.data
@pytest.mark.usefixtures("verifiers")
def test_sentences_are_joined_where_the_capital_can_go() -> None:
    """Rather than before a word that may be a name."""
    arguments = {"relation": LESS, "num_sentences": 3}
    text = "Milk is cold. Anna drank it. It's gone now."
    for seed in range(6):
        changed = edited("length_constraints:number_sentences", arguments, text, seed)
        assert changed == "Milk is cold. Anna drank it; it's gone now."


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("Tea is hot, and it is nice.", 2),
        ("The dog barked, but the cat was calm; we laughed, so they left.", 4),
        ("We ate, then we slept.", 2),
        ("It is hot and we are tired.", 2),
        ("We got up, and went home.", 1),
        ("It is dark, and given that much time it gets worse.", 1),
        ("We know how it is, and how the rest has been.", 1),
        ("It is hot if it is July, then it is cold.", 1),
        ("We have tea, milk, and jam.", 1),
        ("We need tea; milk; jam.", 1),
        ("If it rains, and we stay, it is fine.", 1),
        ("We sing, which means they leave.", 1),
        ("He said (it is hot, and we are tired).", 1),
        ("Is it hot, and are we late, or is it cold?", 1),
        ("Not only is it hot, but it is late.", 1),
        ("We run fast, so that we are there.", 1),
        ("We use `a is 1, and it is 2` here.", 1),
    ],
)
def test_a_split_leaves_two_clauses(text: str, parts: int) -> None:
    """Each with a subject and a verb; a question, a bracket and code are not split."""
    assert len(joints(text)) + 1 == parts


@pytest.mark.evalharness
@pytest.mark.data
@pytest.mark.usefixtures("verifiers")
def test_no_fragment_is_split_off() -> None:
    """Where there is no second subject, the text stays as it is."""
    arguments = {"relation": LEAST, "num_sentences": 3}
    prompt = prompt_with(("length_constraints:number_sentences", arguments))
    text = "We got up, and then went home. iPhones are dear; iPads were, and iPods are gone."
    assert rewrite(prompt, text, seed=0).response in (
        text.replace("; iPads", ". iPads"),
        text.replace(", and iPods", ". And iPods"),
    )


@pytest.mark.evalharness
@pytest.mark.data
@pytest.mark.usefixtures("verifiers")
def test_acronyms_stay_in_capitals() -> None:
    """What is put out of capitals is emphasis, and a name keeps one."""
    arguments = {"capital_relation": LESS, "capital_frequency": 3}
    name = "change_case:capital_word_frequency"
    text = "NASA says that it is REALLY hot, and PARIS burns, as Tom of Paris says in HTML."
    for seed in range(4):
        changed = edited(name, arguments, text, seed)
        assert changed == text.replace("REALLY", "really").replace("PARIS", "Paris")
    result = rewrite(prompt_with((name, arguments)), "NASA, ESA and HTML.", seed=0)
    assert "acronyms" in result.unfixed[0]
    more = {"capital_relation": LEAST, "capital_frequency": 2}
    assert edited(name, more, "iPhones are light.") == "iPhones ARE LIGHT."
