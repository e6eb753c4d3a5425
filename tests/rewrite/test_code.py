"""What is no prose is found by its form, and no edit enters it; prose that looks a little like it is prose."""

from __future__ import annotations

from typing import Any

import pytest

from spar.rewrite.code import block_spans, code_spans
from spar.rewrite.layout import lines
from spar.rewrite.search import rewrite
from tests.rewrite.constraints import LEAST, prompt_with

OBJECT = '{"name": "Ann Lee", "scores": [1, 2, 3], "note": "Really good. Very."}'
PRETTY = '{\n  "name": "Ann Lee",\n\n  "note": "Really good; very."\n}'
PYTHON = "    def add(a, b):\n        return a, b\n\n    print(add(1, 2))"
CSV = 'name,age,city\nAnn,23,"Paris, France"\nBob,31,Rome'
SPACED_CSV = "Name, Age, City\nAnn, 23, Rome\nBob, 31, Oslo"
ALIGNED = "Name   Age   City\nAnn    23    Rome\nBob    31    Oslo"
FORMULA = "\\[f(x,\ny) = x\\]"
STATEMENTS = 'def hello(name):\n    text = "Hi, " + name\n    print(text, 1)\nx, y = hello("A"), 2'
BLOCKS = (OBJECT, PRETTY, PYTHON, CSV, SPACED_CSV, ALIGNED, FORMULA)


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("end", ["", "\n", "\n\nThat is it, I think."])
def test_a_block_without_fences_is_no_prose(block: str, end: str) -> None:
    """JSON, CSV, columns, indented code and formulas are blocks of their own, whose lines are code."""
    text = f"It is this, then:\n\n{block}{end}"
    assert [text[slice(*span)] for span in block_spans(text)] == [block]
    inner = [line for line in lines(text) if 19 <= line.start < 19 + len(block)]
    assert {line.kind for line in inner} == {"code"}
    assert block_spans(text.replace("\n", "\r\n"))


def test_lines_of_code_without_fence_and_indent_are_no_prose() -> None:
    """An assignment, a call and the head of a block with what stands below it are code; a formula in words is none."""
    text = f"It is this, then:\n\n{STATEMENTS}\n\nWe know that x = 3, so add (x, y)."
    assert [text[slice(*span)] for span in block_spans(text)] == STATEMENTS.split("\n")
    prompt = prompt_with(
        ("length_constraints:number_words", {"relation": "less than", "num_words": 8})
    )
    assert STATEMENTS in rewrite(prompt, text, seed=0).response


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Use {'a': 1, b: \"x}\"} here, or [1, 2, 3].", ["{'a': 1, b: \"x}\"}", "[1, 2, 3]"]),
        ("Of $x, y$, \\(a, b\\) and $E = mc^2$.", ["$x, y$", "\\(a, b\\)", "$E = mc^2$"]),
        ('It is cut: {"a": [1, 2\n\nSo, yes.', ['{"a": [1, 2']),
        ("1. Do it:\n\n        print(1, 2)\n\n2. So", ["        print(1, 2)"]),
        ("Call add(x, y_2) or ask Ann(my friend, a cook).", ["add(x, y_2)"]),
        ("It was $5, and I paid 7 US$ for it.", []),
        ("As in [1, 2], [name, date] and {name}.", []),
        ("1. Go:\n\n    Then see what f(x) gives, and stop.\n\n2. So", []),
        ("\tThere was a king, who was old.\n\n\tHe had a crown, of gold.", []),
        ("Dear all,\n\n    Jane Doe,\n    12 Main Street, Rome", []),
        ("Roses are red, dear,\nViolets are blue, dear,\nSugar is sweet, dear,", []),
        ("1,5 kg of tea\n0,5 kg of jam\n\n1,000,000\n2,000,000", []),
        ("1)  Tea\n2)  Milk\n3)  Ale", []),
        ('"No," he said, "not I."\n"Yes," I said, "you do."', []),
    ],
)
def test_code_in_a_line_and_prose_that_looks_like_code(text: str, code: list[str]) -> None:
    """Objects, lists and formulas are code; prices, placeholders, indented prose, verses and lists are not."""
    assert [text[slice(*span)] for span in code_spans(text)] == code


FIXES: list[tuple[str, dict[str, Any]]] = [
    ("punctuation:no_comma", {}),
    ("keywords:forbidden_words", {"forbidden_words": ["name", "really", "add", "x"]}),
    ("length_constraints:number_words", {"relation": "less than", "num_words": 8}),
    ("nano:exact_words", {"num_words": 9}),
    ("nano:first_word", {"first_word": "tea"}),
    ("keywords:existence", {"keywords": ["mirror"]}),
    ("startend:end_checker", {"end_phrase": "That is all."}),
]


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("constraint", FIXES, ids=[name for name, _ in FIXES])
def test_no_edit_enters_a_block(block: str, constraint: tuple[str, dict[str, Any]]) -> None:
    """What cannot be met without one is left unmet."""
    for text in (f"Tea is hot, I think.\n\n{block}\n\nMilk is really cold.", block):
        for seed in range(3):
            assert block in rewrite(prompt_with(constraint), text, seed=seed).response


@pytest.mark.evalharness
@pytest.mark.data
@pytest.mark.usefixtures("verifiers")
@pytest.mark.parametrize("block", BLOCKS)
def test_the_case_of_a_block_stays(block: str) -> None:
    """Edits of the case of a text and of its words leave it as it is."""
    text = f"Tea is hot and nice.\n\n{block}"
    for name in ("change_case:english_lowercase", "change_case:english_capital"):
        assert block in rewrite(prompt_with((name, {})), text, seed=0).response
    arguments = {"capital_relation": LEAST, "capital_frequency": 4}
    capital = prompt_with(("change_case:capital_word_frequency", arguments))
    assert block in rewrite(capital, text, seed=0).response


@pytest.mark.evalharness
@pytest.mark.data
@pytest.mark.usefixtures("verifiers")
def test_a_text_is_made_json_after_its_case_is_changed() -> None:
    """Else it would be data, whose case stays."""
    prompt = prompt_with(
        ("detectable_format:json_format", {}), ("change_case:english_lowercase", {})
    )
    result = rewrite(prompt, "It is a very nice day in the town.", seed=0)
    assert all(result.after)


@pytest.mark.parametrize("block", [CSV, PYTHON, "| a | b |\n|---|---|\n| c | d |"])
def test_what_is_added_below_a_block_is_no_row_of_it(block: str) -> None:
    """A blank line stands between, whatever the seed."""
    prompt = prompt_with(("startend:end_checker", {"end_phrase": "That is all."}))
    text = f"It is this, then:\n\n{block}"
    for seed in range(6):
        assert rewrite(prompt, text, seed=seed).response == f"{text}\n\nThat is all."


def test_a_first_word_stands_before_code() -> None:
    """Not in its fence, nor in a key."""
    prompt = prompt_with(("nano:first_word", {"first_word": "tea"}))
    for code in ("```python\nx = 1\n```", OBJECT):
        assert rewrite(prompt, code, seed=0).response == f"Tea.\n\n{code}"
