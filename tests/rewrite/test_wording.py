"""What is written where a word may not come up: what fits its place, or nothing."""

from __future__ import annotations

import re

import pytest

from spar.rewrite.english.function_words import rule_lines, rules_of
from spar.rewrite.search import Rewritten, rewrite
from tests.rewrite.constraints import prompt_with
from tests.rewrite.test_fixes import edited

FORBIDDEN = "keywords:forbidden_words"
END = " We drink tea every day here."
"""Enough text that a sentence before it may be cut."""


def without(word: str, text: str, seed: int = 0) -> Rewritten:
    """The result of forbidding a word."""
    return rewrite(prompt_with((FORBIDDEN, {"forbidden_words": [word]})), text, seed=seed)


@pytest.mark.parametrize(
    ("word", "text", "expected"),
    [
        ("is", "It is hot. The tea is not cold.", {"It's hot. The tea isn't cold."}),
        ("is", "My brother is a cook.", {"My brother remains a cook."}),
        ("are", "We are here and they are not there.", {"We're here and they're not there."}),
        ("will", "I will go. It will not rain.", {"I'll go. It won't rain."}),
        ("not", "They did not go and you should not go.", {"They didn't go and you shouldn't go."}),
        ("have", "You could have lost it.", {"You could've lost it."}),
        ("had", "So we had to go.", {"So we needed to go."}),
        ("can", "We can see it.", {"We may see it.", "We could see it."}),
        ("no", "It has no end. No one knows.", {"It lacks end. Nobody knows."}),
        ("and", "It is hot, and it is mine. And tea and milk.", {"It is hot; it is mine. Tea & milk."}),
        ("but", "It is small but strong. But I like it.", {"It is small yet strong. Yet I like it."}),
        ("that", "I think that it rains. That cup is old.", {"I think it rains. This cup is old."}),
        ("who", "We saw the people who sing.", {"We saw the people that sing."}),
        ("of", "We left because of rain.", {"We left owing to rain.", "We left due to rain."}),
        ("to", "You have to go.", {"You must go."}),
        ("your", "Clean your roof.", {"Clean the roof."}),
        ("because", "Because of him I left.", {"Owing to him I left.", "Due to him I left."}),
        ("while", "It sat for a time while I ate.", {"It sat for a time as I ate.", "It sat for a time whereas I ate."}),
        ("so", "It was late, so we left. So I slept.", {"It was late; thus we left. I slept."}),
        ("as", "Use fruit such as figs as well.", {"Use fruit like figs too."}),
        ("order", "We eat in order to live.", {"We eat to live."}),
        ("too", "It is hot, too.", {"It is hot, as well.", "It is hot."}),
        ("if", "I wonder if it rains even if I sing.", {"I wonder whether it rains even when I sing."}),
        ("don't", "I don't sing. Don't go.", {"I do not sing. Do not go."}),
        ("i'm", "I know I'm here.", {"I know I am here."}),
        ("thank you", "Thank you for it.", {"Thanks for it."}),
        ("own", "I cook my own rice on my own.", {"I cook my rice alone."}),
        ("week", "We sang for a week.", {"We sang for seven days."}),
        ("also", "She has also sung.", {"She has sung."}),
        ("one", "Only one cup fell. No one saw it.", {"Only a single cup fell. Nobody saw it."}),
    ],
)  # fmt: skip
def test_a_function_word_is_said_in_another_way(word: str, text: str, expected: set[str]) -> None:
    """By a contraction, a conjunction or a phrase that fits its neighbours."""
    results = {edited(FORBIDDEN, {"forbidden_words": [word]}, text, seed) for seed in range(6)}
    assert results <= expected


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("of", "She had a cup of tea."),
        ("to", "They went to China."),
        ("been", "He has been away."),
        ("up", "They did not give up."),
        ("went", "Many of us went by train."),
        ("there", "I know there are kinds."),
        ("while", "Wait here a while."),
        ("so", "I do think so."),
        ("pretty", "She is pretty."),
        ("just", "It is not just tea."),
        ("quickly", "It grows as quickly as grass."),
    ],
)  # fmt: skip
def test_where_no_word_fits_the_sentence_goes(word: str, sentence: str) -> None:
    """No "thing" stands for a verb, a preposition or an adjective, and nothing is left out that the grammar needs."""
    text = f"Tea grows here.{END} {sentence}"
    for seed in range(4):
        result = without(word, text, seed)
        assert result.after == (True,)
        kept = result.response.removeprefix(f"Tea grows here.{END}")
        assert not kept or not re.search(r"\b(?:thing|things|matter|this|that|handle)\b", kept)


def test_a_text_that_would_go_for_a_word_stays() -> None:
    """Where most sentences have a word that nothing can stand for, the constraint is not met, and nothing is changed."""
    text = "The cup of tea is hot. The top of it is cold. A lot of us drink."
    result = without("of", text)
    assert (result.response, result.after) == (text, (False,))
    assert "most of the text would have to go" in result.reflection


def test_words_are_replaced_and_only_the_other_sentences_go() -> None:
    """One sentence without a substitute does not cost the sentences that have one."""
    text = (
        "It is not hot. I am not there yet and she knows. We do not eat. He drinks tea every day."
    )
    result = without("not", text)
    assert result.response == "It isn't hot. We don't eat. He drinks tea every day."
    assert result.summaries == ('replaced or left out "not" and cut a sentence',)


def test_every_rule_is_a_pattern_of_its_own_word() -> None:
    """A rule compiles, what it writes has its groups, and it can match the word that it stands under."""
    for word, rules in rule_lines().items():
        assert len(rules) == len(set(rules)), word
        for line, (_, pattern, choices) in zip(rules, rules_of(word), strict=True):
            assert word in line.partition(" => ")[0], (word, line)
            for choice in choices:
                groups = [int(group) for group in re.findall(r"\\(\d)", choice)]
                assert max(groups, default=0) <= pattern.groups, line
                assert not re.search(rf"(?<!['\w]){re.escape(word)}(?![\w'])", choice), line


@pytest.mark.parametrize(
    ("word", "text", "expected"),
    [
        ("use", "In daily use it breaks.", {"In daily usage it breaks.", "In daily application it breaks."}),
        ("use", "People use it daily.", {"People employ it daily.", "People apply it daily."}),
        ("issue", "An issue arose.", {"A matter arose.", "A problem arose."}),
        ("issue", "They issue it.", {"They release it.", "They publish it."}),
        ("key", "The key opened it.", {"The secret opened it."}),
        ("key", "The key point is this.", {"The main point is this.", "The central point is this.", "The point is this."}),
        ("like", "I like cities like Rome.", {"I enjoy cities such as Rome."}),
        ("check", "Check it. They check the tea.", {"Inspect it. They inspect the tea.", "Verify it. They verify the tea.", "Inspect it. They verify the tea.", "Verify it. They inspect the tea."}),
        ("pretty", "It is pretty hot.", {"It is hot.", "It is rather hot.", "It is fairly hot."}),
        ("run", "Run a firm.", {"Operate a firm."}),
        ("first", "At first it rained.", {"Initially it rained."}),
        ("person", "A person came.", {"An individual came.", "A human being came."}),
        ("student", "The student sang.", {"The person sang."}),
    ],
)  # fmt: skip
def test_a_synonym_is_of_the_same_part_of_speech(word: str, text: str, expected: set[str]) -> None:
    """As far as the neighbours show it; a set phrase is replaced as one."""
    for seed in range(6):
        assert edited(FORBIDDEN, {"forbidden_words": [word]}, text, seed) in expected


@pytest.mark.parametrize(
    ("word", "text", "expected"),
    [
        ("starting", "He is starting it.", {"He is beginning it."}),
        ("started", "He started it.", None),
        ("taking", "He is taking it.", {"He is grabbing it.", "He is carrying it."}),
        ("companies", "Two companies sang.", {"Two firms sang."}),
        ("notebooks", "The notebooks fell.", {"The jotters fell."}),
        ("mirrors", "The mirrors fell.", {"The looking glasses fell."}),
        ("weeks", "It took weeks to get there.", None),
        ("listed", "We listed it.", None),
        ("highs", "We saw the highs of it.", None),
        ("idea", "AN IDEA CAME.", {"A THOUGHT CAME.", "A NOTION CAME."}),
        ("idea", "An *idea* came.", {"A *thought* came.", "A *notion* came."}),
        ("another", "He ate another egg.", {"He ate one more egg.", "He ate a further egg."}),
        ("big", "It was a big honest man.", {"It was a large honest man.", "It was a great honest man."}),
        ("old", "It is an old unit.", {"It is an aged unit.", "It is a unit."}),
        ("good", "It is a good hour.", {"It is a fine hour.", "It is a sound hour.", "It is an hour."}),
    ],
)  # fmt: skip
def test_a_synonym_takes_the_form_and_the_article(
    word: str, text: str, expected: set[str] | None
) -> None:
    """None of its own where it has no regular one: then the sentence goes."""
    for seed in range(6):
        result = without(word, f"Tea grows in the warm valley there.{END} {text}", seed)
        changed = result.response.removeprefix(f"Tea grows in the warm valley there.{END}")
        assert result.after == (True,)
        assert changed.strip() in (expected or {""})


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("nasa", "The NASA team won."),
        ("swift", "We met Taylor Swift."),
        ("will", "Will Smith sang."),
        ("us", "It is a US team."),
        ("great", "The Great Wall is long."),
        ("new", "In New England it rains."),
        ("hank", "Hank is hot and we saw Hank."),
        ("consuming", "It is a time-consuming task."),
        ("time", "It is a time-consuming task."),
        ("free", "It is a sugar-free drink."),
        ("idea", "See [it](https://site.org/idea) now."),
        ("idea", "See https://site.org/a/idea/b now."),
        ("or", "Bring tea and/or milk."),
    ],
)
def test_names_compounds_and_addresses_are_not_replaced_in_part(word: str, sentence: str) -> None:
    """A part of one has no synonym: its sentence goes."""
    text = f"Tea grows in the warm valley there.{END}"
    for seed in range(4):
        assert without(word, f"{text} {sentence}", seed).response == text
