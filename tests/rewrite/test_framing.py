"""What is put around a response never contradicts it, and takes nothing of it away."""

from __future__ import annotations

import json

import pytest

from spar.rewrite.search import rewrite
from tests.rewrite.constraints import prompt_with
from tests.rewrite.test_fixes import edited

pytestmark = [
    pytest.mark.evalharness,
    pytest.mark.data,
    pytest.mark.usefixtures("verifiers"),
]
ANSWER = "detectable_format:constrained_response"
JSON = "detectable_format:json_format"
END = "startend:end_checker"
REQUEST = "Write a short poem of two lines about the sea and the wind that blows in the winter."
LIST, TABLE = "* Tea.\n* Milk.", "| a | b |\n|---|---|\n| 1 | 2 |"
NEARLY = "Write a short poem about the sea and the wind that blows in the winter."


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Absolutely not. That is dangerous.", "no"),
        ("Of course not!", "no"),
        ("Absolutely! Go there.", "yes"),
        ("No it is not.", "no"),
        ("**No**, never.", "no"),
        ("Not sure about it.", "maybe"),
        ("Yes and no. It depends.", "maybe"),
        ("I think the answer is yes.", "yes"),
        ("In the end the answer is: no", "no"),
    ],
)
def test_the_option_is_the_answer_that_the_text_gives(text: str, answer: str) -> None:
    """Put before the text, all of which stays."""
    assert edited(ANSWER, {}, text) == f"My answer is {answer}. {text}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The answer is **no**, because it is cold.", "My answer is no. Because it is cold."),
        ("**The answer is no.** I am sure.", "**My answer is no.** I am sure."),
    ],
)
def test_a_sentence_with_the_answer_gets_the_words_of_the_option(text: str, expected: str) -> None:
    """Marks of emphasis stay in pairs, and what follows is a sentence."""
    assert edited(ANSWER, {}, text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "No doubt about it: you should go.",
        "No problem! Yes, it is.",
        "No one knows.",
        "No. 1 in the world is Rome.",
        "Not only is it safe, it is good: yes.",
        "The answer is no longer a secret",
        "The answer is yes or no.",
        "If the answer is yes, go.",
        "Yes, it is. But the answer is no.",
        "It depends on no rule. Yes, it is right.",
        "Certainly! Here is a poem.",
        "I would not say yes.",
        "Yes is not the answer.",
        "Yes would be wrong.",
        "Yes, they say. But I say no.",
        "No, and yes.",
        "I agree with you, but no.",
        "Yes. It isn't.",
        "Absolutely! Or not.",
        "It depends. I would not say yes.",
    ],
)
def test_no_answer_is_read_into_a_text(text: str) -> None:
    """What is no answer, or more than one, is a reason and no edit."""
    result = rewrite(prompt_with((ANSWER, {})), text, seed=1)
    assert result.response == text
    assert "answer" in result.unfixed[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('Here: {"face": "a,]", "b": 1}', '{"face": "a,]", "b": 1}'),
        ('Here: {"face": "a,]",}', '{"face": "a,]"}'),
        ('Here: [{"a": 1}]', '[{"a": 1}]'),
    ],
)
def test_json_is_taken_out_whole(text: str, expected: str) -> None:
    """The outer object or list, and no character of its strings is lost."""
    assert edited(JSON, {}, text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "Run it and see:\n\n```\n42\n```\n\nThat is the answer.",
        '{"days": ["Monday in Rome", "Tuesday in Florence"], "note": "He said "hi"."}',
        'One:\n```json\n{"a": 1}\n```\nTwo:\n```json\n{"b": 2}\n```',
    ],
)
def test_a_part_of_the_answer_is_not_taken_for_all_of_it(text: str) -> None:
    """A number, a list in a broken object, one of two blocks: the whole text becomes a value."""
    (value,) = json.loads(edited(JSON, {}, text)).values()
    assert value == text


@pytest.mark.parametrize(
    ("text", "phrase", "expected"),
    [
        ("Tea.\n\n**Any questions?**", "Any questions?", "Tea.\n\nAny questions?"),
        ("We looked at artworks", "art", "We looked at artworks\n\nart"),
        ("That is all we know.", "That is all", "That is all we know.\n\nThat is all"),
        ("So (that is all.)", "that is all.", "So (that is all.)\n\nthat is all."),
    ],
)
def test_nothing_is_cut_in_two_for_the_closing_phrase(
    text: str, phrase: str, expected: str
) -> None:
    """No word, no sentence, no pair of brackets or marks of emphasis."""
    assert sorted(edited(END, {"end_phrase": phrase}, text).split()) == sorted(expected.split())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("“Tea” is a word.", '"“Tea” is a word."'),
        ("“Tea” and “milk”", '"“Tea” and “milk”"'),
        ("“Tea.", '"Tea."'),
    ],
)
def test_quotation_marks_stay_in_pairs(text: str, expected: str) -> None:
    """Typographic ones are replaced only where they are around all of it."""
    assert edited("startend:quotation", {}, text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# **Tea** and Milk in C#\n\nText.", "<<**Tea** and Milk in C#>>\n\nText."),
        ("## Tea ##\n\nText.", "<<Tea>>\n\nText."),
        ("**Title: Tea:**\n\nText.", "<<Tea>>\n\nText."),
        ("Tea and Milk\n\nText.", "<<Tea and Milk>>\n\nText."),
        ("Tea\n===\n\nText.", "<<Tea>>\n\nText."),
        ("Title: Tea\nText.", "<<Tea>>\nText."),
        ("*On tea*\n\nText.", "<<On tea>>\n\nText."),
        ("Sure! Here it is:\n\n**Tea**\n\nText.", "Sure! Here it is:\n\n<<Tea>>\n\nText."),
    ],
)
def test_the_texts_own_title_is_marked_without_its_own_marks(text: str, expected: str) -> None:
    """Marks of a part of it stay."""
    assert edited("detectable_format:title", {}, text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "Dear Hiring Manager:\n\nI write to you.",
        "Ingredients:\n- tea\n- milk\n\nBoil it.",
        "Yes\n\nIt is.",
        "Roses are red\n\nViolets are blue",
    ],
)
def test_a_first_line_that_is_no_title_stays(text: str) -> None:
    """A salutation, what introduces a list, an answer, a verse."""
    assert edited("detectable_format:title", {}, text).endswith(f">>\n\n{text}")


@pytest.mark.parametrize("text", [LIST, TABLE, "Tea:\n\n```\nx\n```", "# Tea", "> Tea.", "1. Tea."])
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        (END, {"end_phrase": "That is all."}),
        ("detectable_content:postscript", {"postscript_marker": "P.S."}),
        ("keywords:existence", {"keywords": ["mirror"]}),
    ],
)
def test_an_addition_stands_apart_from_a_list_a_table_and_code(
    text: str, name: str, arguments: dict[str, object]
) -> None:
    """In their last line it would be a part of them."""
    for seed in range(4):
        changed = edited(name, arguments, text, seed)
        assert changed.startswith(f"{text}\n\n" if text == TABLE else f"{text}\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (LIST, f'"\n\n{LIST}\n\n"'),
        ("# Tea\n\nMilk.", '"\n\n# Tea\n\nMilk."'),
        (f"Tea.\n\n{TABLE}", f'"Tea.\n\n{TABLE}\n\n"'),
        ("**Tea** is hot.", '"**Tea** is hot."'),
    ],
)
def test_quotation_marks_leave_markup_at_the_start_of_its_line(text: str, expected: str) -> None:
    """A mark before a list item's or a heading's would make it prose."""
    assert edited("startend:quotation", {}, text) == expected


def test_the_answer_stands_apart_from_a_heading() -> None:
    """Before its marks it would make it prose."""
    assert edited(ANSWER, {}, "# Yes\n\nIt is.") == "My answer is yes.\n\n# Yes\n\nIt is."


@pytest.mark.parametrize(
    "text",
    ["Run this.\n\n```\nps aux | grep x\n```", "ps aux lists them.", "PS 5 is a console."],
)
def test_a_postscript_is_not_read_into_other_words(text: str) -> None:
    """Neither a command nor a console is one."""
    arguments = {"postscript_marker": "P.S."}
    assert edited("detectable_content:postscript", arguments, text).startswith(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"{NEARLY}\nWaves roll.", f"{REQUEST}\nWaves roll."),
        (f"{NEARLY} Waves roll.", f"{REQUEST} Waves roll."),
        (f"{NEARLY[:-1]} like waves", f"{REQUEST}\n\n{NEARLY[:-1]} like waves"),
    ],
)
def test_a_near_copy_of_the_request_is_replaced_without_the_answer(
    text: str, expected: str
) -> None:
    """Line by line, sentence by sentence; where they cannot be told apart the request goes before."""
    assert edited("combination:repeat_prompt", {"prompt_to_repeat": REQUEST}, text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("NASA is big.", "Hello NASA is big."),
        ("I think so.", "Hello I think so."),
        ("Anna sings.", "Hello Anna sings."),
        ("The tea is hot.", "Hello the tea is hot."),
        ("Cats purr. I like cats.", "Hello cats purr. I like cats."),
    ],
)
def test_the_word_after_the_first_one_keeps_its_own_capitals(text: str, expected: str) -> None:
    """Only what has a capital as a sentence's first word loses it."""
    assert edited("nano:first_word", {"first_word": "hello"}, text) == expected
