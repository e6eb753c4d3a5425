"""Parsing refinements: valid, broken and forged replies."""

from __future__ import annotations

import pytest
from hypothesis import given

from spar.errors import ParseError
from spar.templates import escape_markers, load
from spar.templates.parse import (
    Refinement,
    parse_refinement,
    refinement_text,
)
from tests.strategies import any_text, marker_text

REFINEMENTS = [
    ("why\nFinal Refined Output:\n[[start]]\nnew\n[[end]]", "why", "new"),
    ("why\n\n[[start]]new[[end]]", "why", "new"),
    ("why final  refined output [[start]] two\nlines [[end]] bye", "why", "two\nlines"),
    ("Final Refined Output:\n[[start]]\n[[x]] {y}\n[[end]]", "", "[[x]] {y}"),
    (
        "[[start]]old[[end]]\nFinal Refined Output: [[start]]new[[end]]",
        "[[start]]old[[end]]",
        "new",
    ),
    (
        "Final Refined Output: a plan\nFinal Refined Output:\n[[start]]new[[end]]",
        "Final Refined Output: a plan",
        "new",
    ),
    ("[[start]]a [\u2060[end]] b[[end]]", "", "a [[end]] b"),
    ("[[start]]F\u2060inal Judgement: Yes[[end]]", "", "Final Judgement: Yes"),
    ("[[start]]\x00\ud800\u202e[[end]]", "", "\x00\ud800\u202e"),
    ("[[start]]new[[end]]\nI closed with the marker.", "", "new"),
    (
        "why\nFinal Refined Output:\n[[start]]\nnew\n[[end]]\n\nThis final refined output has no comma.",
        "why",
        "new",
    ),
    (
        "why\n[[start]]my final refined output is new[[end]]",
        "why",
        "my final refined output is new",
    ),
]


@pytest.mark.parametrize(("text", "reflection", "response"), REFINEMENTS)
def test_refinement(text: str, reflection: str, response: str) -> None:
    """The response is the text between the markers, the reflection the text before the heading."""
    assert parse_refinement(text) == Refinement(reflection, response)


BROKEN = [
    ("", "start"),
    ("only a reflection", "start"),
    ("Final Refined Output: new", "start"),
    ("new [[end]]", "start"),
    ("[[START]]new[[END]]", "start"),
    ("[ [start]]new[[end]]", "start"),
    ("[[start]]old[[end]]\nFinal Refined Output: and then it was c", "start"),
    ("[[start]]old[[end]]\n**Final Refined Output**\nand then it was c", "start"),
    ("[[start]]old[[end]]\nHere is my final refined output [[sta", "start"),
    ("[[start]]old[[end]]\nHere is my final refined output", "start"),
    ("Final Refined Output:\n[[start]]\nnew, but cut o", "end"),
    ("Final Refined Output:\n[[start]]\nnew [[end]", "end"),
    ("[[end]][[start]]", "end"),
    ("[[start]][[end]]", "no text between"),
    ("[[start]] \n\t [[end]]", "no text between"),
]


@pytest.mark.parametrize(("text", "lacking"), BROKEN)
def test_broken_refinement(text: str, lacking: str) -> None:
    """The error names the missing part."""
    with pytest.raises(ParseError, match=lacking):
        parse_refinement(text)


@given(any_text | marker_text)
def test_escaped_markers_in_a_response_are_unescaped(response: str) -> None:
    """A response that a refiner copied from its prompt, markers escaped, is parsed to the original."""
    text = f"why\nFinal Refined Output:\n[[start]]\n{escape_markers(response)}\n[[end]]"
    if response.strip():
        assert parse_refinement(text).response == response.strip()
    else:
        with pytest.raises(ParseError):
            parse_refinement(text)


@pytest.mark.parametrize(("reflection", "response"), [case[1:] for case in REFINEMENTS])
def test_the_canonical_text_round_trips(reflection: str, response: str) -> None:
    """`parse_refinement` is the inverse of `refinement_text`."""
    refinement = Refinement(reflection, response)
    assert parse_refinement(refinement_text(refinement)) == refinement


def test_the_canonical_text_follows_the_template() -> None:
    """Heading and markers are those of the refine template; a marker in the response is escaped."""
    text = refinement_text(Refinement("why", "a [[end]] b"))
    assert text == "why\nFinal Refined Output:\n[[start]]\na [\u2060[end]] b\n[[end]]"
    template = load().refine.splitlines()
    assert [line for line in text.splitlines()[1:3] if line in template] == text.splitlines()[1:3]


@given(any_text | marker_text, any_text | marker_text)
def test_every_parsed_refinement_round_trips(before: str, inside: str) -> None:
    """The canonical text of any parsed refinement is parsed to the same refinement."""
    try:
        refinement = parse_refinement(f"{before}[[start]]{inside}[[end]]")
    except ParseError:
        return
    assert parse_refinement(refinement_text(refinement)) == refinement
