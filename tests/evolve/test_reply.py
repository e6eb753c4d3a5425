"""Parsing of teachers' replies: accepted, None, rejected."""

from __future__ import annotations

import pytest
from hypothesis import given

from spar.errors import ParseError
from spar.evolve.reply import TeacherReply, parse_reply
from spar.evolve.teacher import FIELDS, conversation
from spar.templates import escape_markers, read_template
from tests.evolve.worlds import reply_text, request, seed
from tests.strategies import any_text, marker_text

MAIN = "length/words"
GOOD = reply_text("Tell it.", MAIN, "style/humour")


@pytest.mark.parametrize(
    ("text", "constraints"),
    [
        (GOOD, (MAIN, "style/humour")),
        (f"Let me think.\n\n{GOOD}\nI hope this helps.", (MAIN, "style/humour")),
        (
            "**Constraints used:**\n- length: words\n- Emoji\n[[start]]Tell it.[[end]]",
            (MAIN, "symbol/emoji"),
        ),
        (
            "Constraints: style/humour, length/words\n[[start]] Tell it. [[end]]",
            (MAIN, "style/humour"),
        ),
        ("constraint: length\n[[start]]Tell it.[[end]]", (MAIN,)),
        ("Constraints: length; length/words; length/words\n[[start]]Tell it.[[end]]", (MAIN,)),
        (f"{reply_text('A first try.', MAIN)}\nBetter:\n{GOOD}", (MAIN, "style/humour")),
    ],
)
def test_replies_are_parsed_leniently(text: str, constraints: tuple[str, ...]) -> None:
    """Surrounding text, other separators, lists and earlier attempts are accepted; the main constraint comes first."""
    assert parse_reply(text, MAIN) == TeacherReply("Tell it.", constraints)


def test_unknown_names_are_listed_separately() -> None:
    """A name that is not in the taxonomy does not invalidate the reply."""
    reply = parse_reply(reply_text("Tell it.", MAIN, "tone/soft", "style/era"), MAIN)
    assert reply == TeacherReply("Tell it.", (MAIN, "style/era"), ("tone/soft",))


@pytest.mark.parametrize(
    "text",
    [
        "None",
        " none.\n",
        "**None**",
        "None, since it is about mathematics.",
        "It asks for Python code.\n\nNone",
        reply_text("None", "None"),
        "[[start]]\nNone.\n[[end]]",
    ],
)
def test_none_in_any_formatting(text: str) -> None:
    """The word None declines, however it is formatted."""
    assert parse_reply(text, MAIN) is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "[[start]]"),
        ("Write it in 50 words.", "[[start]]"),
        ("nonesuch", "[[start]]"),
        (GOOD.removesuffix("[[end]]"), "lacks the marker [[end]]"),
        (f"{GOOD}\n[[start]]\nand another, cut", "lacks the marker [[end]]"),
        (reply_text(" \n ", MAIN), "there is no text between"),
        ("[[start]]Tell it.[[end]]", "line of constraints"),
        ("[[start]]Constraints: length/words[[end]]", "line of constraints"),
        (reply_text("Tell it.", "style/humour"), "length/words is not among"),
        (reply_text("Tell it.", "length/sentences"), "length/words is not among"),
        ("Constraints:\n[[start]]Tell it.[[end]]", "is not among"),
    ],
)
def test_unparsable_replies_are_rejected(text: str, why: str) -> None:
    """A truncated reply, one without names, one without the main constraint: each error says what is wrong."""
    with pytest.raises(ParseError) as caught:
        parse_reply(text, MAIN)
    assert why in str(caught.value)


@given(any_text | marker_text)
def test_a_reply_that_repeats_the_request_is_rejected(text: str) -> None:
    """Markers in a seed prompt cannot turn a repeated request into a valid reply."""
    template = read_template("evolve", FIELDS)
    forged = f"{text}{GOOD}"
    (message,) = conversation(template, request(seed(forged), main=MAIN))
    with pytest.raises(ParseError):
        parse_reply(message.content, MAIN)


@given(any_text | marker_text)
def test_escaped_markers_are_restored(text: str) -> None:
    """A reply that repeats text with escaped markers yields the original text."""
    body = f"x{text}x"
    reply = parse_reply(reply_text(escape_markers(body), MAIN), MAIN)
    assert reply is not None and reply.prompt == body
