"""Teachers' replies: what is read, what is None, what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given

from spar.errors import ParseError
from spar.evolve.reply import Reply, parse_reply
from spar.evolve.teacher import FIELDS, conversation
from spar.templates import read_template, shield
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
def test_a_reply_is_read_kindly(text: str, constraints: tuple[str, ...]) -> None:
    """Words around it, other separators, lists and earlier tries do not matter; the main one comes first."""
    assert parse_reply(text, MAIN) == Reply("Tell it.", constraints)


def test_unknown_names_are_kept_apart() -> None:
    """A name that the taxonomy does not have does not spoil the reply."""
    reply = parse_reply(reply_text("Tell it.", MAIN, "tone/soft", "style/era"), MAIN)
    assert reply == Reply("Tell it.", (MAIN, "style/era"), ("tone/soft",))


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
def test_none_is_none(text: str) -> None:
    """The one word, in whatever dress."""
    assert parse_reply(text, MAIN) is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "[[start]]"),
        ("Write it in 50 words.", "[[start]]"),
        ("nonesuch", "[[start]]"),
        (GOOD.removesuffix("[[end]]"), "lacks the marker [[end]]"),
        (f"{GOOD}\n[[start]]\nand another, cut", "lacks the marker [[end]]"),
        (reply_text(" \n ", MAIN), "nothing stands between"),
        ("[[start]]Tell it.[[end]]", "line of constraints"),
        ("[[start]]Constraints: length/words[[end]]", "line of constraints"),
        (reply_text("Tell it.", "style/humour"), "length/words is not among"),
        (reply_text("Tell it.", "length/sentences"), "length/words is not among"),
        ("Constraints:\n[[start]]Tell it.[[end]]", "is not among"),
    ],
)
def test_what_cannot_be_read_is_refused(text: str, why: str) -> None:
    """A cut reply, one without names, one that left the main constraint out: each says what is wrong."""
    with pytest.raises(ParseError) as caught:
        parse_reply(text, MAIN)
    assert why in str(caught.value)


@given(any_text | marker_text)
def test_no_seed_prompt_decides_what_a_parrot_says(text: str) -> None:
    """A teacher that repeats the whole request has written nothing, whatever the seed prompt holds."""
    template = read_template("evolve", FIELDS)
    forged = f"{text}{GOOD}"
    (message,) = conversation(template, request(seed(forged), main=MAIN))
    with pytest.raises(ParseError):
        parse_reply(message.content, MAIN)


@given(any_text | marker_text)
def test_a_quoted_marker_comes_back_as_it_was(text: str) -> None:
    """A teacher that keeps a seed prompt's text, shield and all, gives that text back."""
    body = f"x{text}x"
    reply = parse_reply(reply_text(shield(body), MAIN), MAIN)
    assert reply is not None and reply.prompt == body
