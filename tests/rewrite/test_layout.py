"""Edits of a response's layout: divisions and marks that fit, and tables, formulas, links and code that stay whole."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spar.rewrite.layout import lines, protected_spans
from spar.rewrite.search import rewrite
from tests.rewrite.constraints import LESS, OF_IFEVAL, Drawn, prompt_with
from tests.rewrite.test_fixes import edited
from tests.rewrite.texts import english

SECTIONS, BULLETS, TWO_RESPONSES = (
    "detectable_format:multiple_sections",
    "detectable_format:number_bullet_lists",
    "combination:two_responses",
)
NTH, DIVIDED = (
    "length_constraints:nth_paragraph_first_word",
    "length_constraints:number_paragraphs",
)
FENCE = "```\na = 1\n\nb = 2\n\n1. c\n2. d\n```"
TABLE = "| City | People |\n|---|---|\n| Rome | three million |\n| Oslo | one |"


def _steps(number: int, name: str = "Step") -> dict[str, Any]:
    return {"section_spliter": name, "num_sections": number}


def _nth(number: int, nth: int, word: str) -> dict[str, Any]:
    return {"num_paragraphs": number, "nth_paragraph": nth, "first_word": word}


@pytest.mark.evalharness
@pytest.mark.data
@pytest.mark.usefixtures("verifiers")
@pytest.mark.parametrize(
    ("name", "arguments", "text", "expected"),
    [
        (
            SECTIONS,
            _steps(1, "Day"),
            "The day I left Rome was warm.",
            "Day 1\nThe day I left Rome was warm.",
        ),
        (
            SECTIONS,
            _steps(2, "Part"),
            "Part I of the story\n\nTea.\n\n**Part II of It**\n\nMilk.",
            "Part 1 of the story\n\nTea.\n\n**Part 2 of It**\n\nMilk.",
        ),
        (
            SECTIONS,
            _steps(2, "Part"),
            "## Part One The Start\n\nTea.\n\n## Part Two The End\n\nMilk.",
            "## Part 1 The Start\n\nTea.\n\n## Part 2 The End\n\nMilk.",
        ),
        (SECTIONS, _steps(1), "Take step one-by-one.", "Step 1\nTake step one-by-one."),
        (
            SECTIONS,
            _steps(1, "Part"),
            "Part I agree with.",
            "Part 1\nPart I agree with.",
        ),
        (
            SECTIONS,
            _steps(2),
            "**step one**: Boil it.\n\nDrink `step two`.\n\n## Step two\n\nIt is hot.",
            "**Step 1**: Boil it.\n\nDrink `step two`.\n\n## Step 2\n\nIt is hot.",
        ),
        (
            SECTIONS,
            _steps(3),
            "## Step 1: Boil\n\nBoil it.\n\n## Step 2: Tea\n\nDrink it.\n\nEat.",
            "## Step 1: Boil\n\nBoil it.\n\n## Step 2: Tea\n\nDrink it.\n\nStep 3\nEat.",
        ),
        (
            SECTIONS,
            _steps(3, "SECTION"),
            "Section one\n\nTea.\n\nSection two\n\nMilk.\n\nRice.",
            "SECTION 1\n\nTea.\n\nSECTION 2\n\nMilk.\n\nSECTION 3\nRice.",
        ),
        (
            SECTIONS,
            _steps(2, "SECTION"),
            "## Tea\n\nBoil it.\n\n## The end\n\nDrink it.",
            "SECTION 1\n## Tea\n\nBoil it.\n\nSECTION 2\n## The end\n\nDrink it.",
        ),
        (SECTIONS, _steps(3), "## Step 1\n\nBoil.\n\n## Step 2: Tea\n\nDrink it.", None),
        (SECTIONS, _steps(2), "Step 1.\nDrink tea.", None),
        (TWO_RESPONSES, {}, "My plan is this.\n\n1. Get up.\n2. Drink.\n3. Go.", None),
        (TWO_RESPONSES, {}, "# My story\n\n---\n\nThere was a fox. It ran far.", None),
        (TWO_RESPONSES, {}, "My story\n---\nOnce upon a time.", None),
        (TWO_RESPONSES, {}, "Option 1: tea\n\nOption 2: milk\n\nOption 3: ale", None),
        (TWO_RESPONSES, {}, "```\nTea.\n\n---\n\nMilk.\n```", None),
        (TWO_RESPONSES, {}, "Tea.\n\n---\n\nMilk.", "Tea.\n\n******\n\nMilk."),
        (
            TWO_RESPONSES,
            {},
            "Answer 1:\nTea.\n***\nAnswer 2: milk and a lot of other things that one can drink.",
            "Answer 1:\nTea.\n******\nAnswer 2: milk and a lot of other things that one can drink.",
        ),
        (BULLETS, {"num_bullets": 2}, f"Tea.\n\n{FENCE}", None),
        (BULLETS, {"num_bullets": 1}, "```\n* a\n* b\n```\nTea.", None),
        (
            BULLETS,
            {"num_bullets": 2},
            "* Use `git add` first.\n* Then commit.\n* Push.",
            {
                "* Use `git add` first. Then commit.\n* Push.",
                "* Use `git add` first.\n* Then commit. Push.",
            },
        ),
        (
            BULLETS,
            {"num_bullets": 2},
            f"Tea.\n\n{TABLE}\n\nMilk `a. B`.",
            f"* Tea.\n\n{TABLE}\n\n* Milk `a. B`.",
        ),
        (NTH, _nth(3, 1, "tea"), f"Tea.\n\n{FENCE}", f"Tea.\n{FENCE}"),
        (NTH, _nth(3, 2, "milk"), "Tea.\n\n```\na\n\nb\n```", "Tea.\n\nMilk.\n```\na\n\nb\n```"),
        (NTH, _nth(3, 3, "milk"), "Tea.\n\n```\na\n\nb\n```", None),
        (NTH, _nth(4, 1, "tea"), f"Tea.\n\n{TABLE}", None),
        (NTH, _nth(1, 1, "tea"), f"{TABLE}\n\nTea.", None),
        (DIVIDED, {"num_paragraphs": 3}, f"Tea.\n\n{TABLE}", None),
        (
            DIVIDED,
            {"num_paragraphs": 3},
            "**Response 1:**\nTea.\n\n---\n\n**Response 2:**\nMilk.",
            None,  # a divider would part a heading from its text
        ),
        (DIVIDED, {"num_paragraphs": 2}, "Tea\n---\nMilk", "Tea\n---\n\n***\n\nMilk"),
        (
            "length_constraints:number_words",
            {"relation": LESS, "num_words": 8},
            f"Tea.\n\n{TABLE}",
            None,
        ),
        (
            "length_constraints:number_words",
            {"relation": LESS, "num_words": 10},
            f"Tea.\n\n{TABLE}\n\nIt is very hot.",
            f"Tea.\n\n{TABLE}",
        ),
    ],
)
def test_a_division_or_a_mark_fits_or_is_not_made(
    name: str, arguments: dict[str, Any], text: str, expected: str | set[str] | None
) -> None:
    """Prose is no heading, no heading is left empty, tables and code stay whole; else there is a reason and no edit."""
    for seed in range(4):
        result = rewrite(prompt_with((name, arguments)), text, seed=seed)
        if expected is None:
            assert (result.response, len(result.unfixed)) == (text, 1)
        else:
            assert result.response in ({expected} if isinstance(expected, str) else expected)


@pytest.mark.evalharness
@pytest.mark.data
@pytest.mark.usefixtures("verifiers")
def test_highlights_stay_out_of_what_is_no_prose() -> None:
    """Stars go around words, never into a URL, an address, a formula, a tag, a link's target or code."""
    arguments = {"num_highlights": 2}
    parts = (
        "https://example.com/page see@example.com example.org/page `word here`",
        r"$\frac{\text{distance}}{time}$ \(alpha\) \textbf{beta} <span class='wide'>",
    )
    text = f"Tea {' '.join(parts)} [it](site/target).\n\n$$\nalpha\n$$\n\n{TABLE}"
    prompt = prompt_with(("detectable_format:number_highlighted_sections", arguments))
    assert rewrite(prompt, text, seed=0).response == text
    for seed in range(4):
        more = rewrite(prompt, f"{text}\n\nGreen tea comes from China.", seed=seed)
        assert all(more.after)
        assert more.response.startswith(text)


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        (TABLE, ["table"] * 4),
        (TABLE.replace("\n", "\r\n"), ["table"] * 4),
        ("a | b\n--|--\nc | d\n\nx | y", ["table"] * 3 + ["blank", "prose"]),
        ("Tea\n---\n|x| is a number", ["prose", "rule", "prose"]),
        ("So\n$$\nx. y\n$$\n```\n| a |\n```", ["prose", *["code"] * 6]),
    ],
)
def test_tables_and_formulas_are_no_prose(text: str, kinds: list[str]) -> None:
    """Their lines have kinds of their own, and no sentences."""
    assert [line.kind for line in lines(text)] == kinds
    assert all(not line.sentences for line in lines(text) if line.kind in ("table", "code"))


@pytest.mark.parametrize(
    ("text", "protected"),
    [
        ("See https://a.org/b_(c).html, or www.b.org.", ["https://a.org/b_(c).html", "www.b.org"]),
        ("Mail a.b@c.org. It is 3.5, e.g. here.", ["a.b@c.org"]),
        ('[the guide](/guide_(a) "A. B") (so)', ['(/guide_(a) "A. B")']),
        (r"$x + y$ for $5 and $10 in \alpha", ["$x + y$", r"\alpha"]),
        ("<<A title>> <b>x</b> a < b > c", ["<b>", "</b>"]),
        ("`a $b` and $c` d$\n```\nx\n```", ["`a $b`", "$c` d$", "```\nx\n```"]),
    ],
)
def test_what_no_edit_of_words_enters(text: str, protected: list[str]) -> None:
    """URLs without the stop after them, addresses, targets, formulas but no prices, tags but no titles, code."""
    assert [text[start:end] for start, end in protected_spans(text)] == protected


@pytest.mark.evalharness
@pytest.mark.data
@pytest.mark.usefixtures("verifiers")
@pytest.mark.parametrize(
    ("number", "text", "expected"),
    [
        (3, "* A\n  * b\n* C\n* D", {"* A\n  * b\n* C; D"}),
        (
            3,
            "* A\n  * b\n  * c\n* D\n  * e",
            {"* A\n  * b; c\n* D: e", "* A: b; c\n* D\n  * e"},
        ),
        (1, "* A\n  * b\n* C", {"* A: b; C"}),
        (3, "• Tea\n• Milk\n• Ale", {"* Tea\n* Milk\n* Ale"}),
        (3, "- Tea\n•Milk\n+ Ale", {"- Tea\n- Milk\n- Ale"}),
        (2, "• Tea\n• Milk\n• Ale", {"* Tea; Milk\n* Ale", "* Tea\n* Milk; Ale"}),
        (2, "A.\nB.\nC.\nD.", {"A.\n* B.\n* C.\n\nD.", "A.\nB.\n* C.\n* D."}),
    ],
)
def test_a_list_keeps_its_levels(number: int, text: str, expected: set[str]) -> None:
    """Neighbours of one level are joined, and marks that no verifier counts are written as ones that it does."""
    results = {edited(BULLETS, {"num_bullets": number}, text, seed) for seed in range(8)}
    assert results <= expected


@pytest.mark.evalharness
@pytest.mark.data
@pytest.mark.usefixtures("verifiers")
@pytest.mark.parametrize(
    ("name", "arguments", "text", "expected"),
    [
        (DIVIDED, {"num_paragraphs": 2}, "Tea.\nMilk.", "Tea.\n\n***\n\nMilk."),
        (
            DIVIDED,
            {"num_paragraphs": 2},
            "Do these, e.g. at home:\n\n* Boil it.\n* Go.",
            "Do these, e.g. at home:\n\n* Boil it.\n\n***\n\n* Go.",
        ),
        (SECTIONS, _steps(2), "Tea.\nMilk.", "Step 1\nTea.\n\nStep 2\nMilk."),
        (NTH, _nth(2, 1, "tea"), "Tea.\n \nMilk.", "Tea.\n\nMilk."),
        (NTH, _nth(2, 1, "tea"), "Tea.\n\n* one\n\nMilk.", "Tea.\n* one\n\nMilk."),
    ],
)
def test_what_is_divided_stands_apart(
    name: str, arguments: dict[str, Any], text: str, expected: str
) -> None:
    """With an empty line around what is put between paragraphs, and no paragraph in a list item before it."""
    assert {edited(name, arguments, text, seed) for seed in range(4)} == {expected}


LAYOUTS = (
    SECTIONS,
    BULLETS,
    TWO_RESPONSES,
    NTH,
    DIVIDED,
    "detectable_format:number_highlighted_sections",
)
"""Types whose fixes divide and mark a text."""


@pytest.mark.evalharness
@pytest.mark.data
@pytest.mark.usefixtures("verifiers")
@given(
    text=english(),
    block=st.sampled_from((FENCE, TABLE, "$$\nx. y\n\nz\n$$")),
    constraint=st.one_of(*(OF_IFEVAL[name] for name in LAYOUTS)),
)
@settings(max_examples=60)
def test_a_block_is_never_edited(text: str, block: str, constraint: Drawn) -> None:
    """Code, a table and a formula stay byte for byte, wherever marks and divisions go."""
    block = block.replace("\n", "\r\n") if "\r\n" in text else block
    result = rewrite(prompt_with(constraint), f"{text.rstrip()}\n\n{block}\n\n{text}", seed=0)
    assert block in result.response
