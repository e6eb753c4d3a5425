"""Texts that repeat themselves: what is left out, and what is not."""

from __future__ import annotations

import pytest
from hypothesis import given

from spar.own_verifiers import verify
from spar.repetition import NO_REPETITION, is_repetitive
from spar.rewrite.search import rewrite
from tests.rewrite.constraints import prompt_with
from tests.rewrite.texts import english

PROMPT = prompt_with((NO_REPETITION, {}))
PLACES = ("shop", "lake", "sea", "hill", "mill", "park")
LOOP = "The sky is blue today. It is clear in the west."


@pytest.mark.parametrize(
    ("text", "rewritten"),
    [
        (f"{LOOP} {LOOP} {LOOP}", LOOP),
        # Stopped at a token limit, in the middle of the loop.
        (f"{LOOP} {LOOP} {LOOP} The sky is bl", LOOP),
        (f"{LOOP} {LOOP} {LOOP} The sky", LOOP),
        (f"{LOOP} {LOOP} {LOOP}\n\n😊", f"{LOOP}\n\n😊"),
        (f"{LOOP} {LOOP} {LOOP} !!!", f"{LOOP} !!!"),
        # One number or word differs each time.
        (
            "\n".join(f"{n}. Say hello to your neighbour in the morning." for n in range(1, 9)),
            "1. Say hello to your neighbour in the morning.",
        ),
        (
            "\n".join(
                f"* {day}: a bowl of rice with a side of green beans and carrots."
                for day in ("Monday", "Tuesday", "Wednesday", "Thursday")
            ),
            "* Monday: a bowl of rice with a side of green beans and carrots.",
        ),
        # Headings stay with what is below them, and code stays.
        (
            f"# A day\n\n## Morning\n\n{LOOP}\n\n## Noon\n\n{LOOP}\n\n## Noon\n\n{LOOP}\n\n## Noon\n",
            f"# A day\n\n## Morning\n\n{LOOP}\n",
        ),
        (f"{LOOP}\n\n* * *\n\n{LOOP}\n\n* * *\n\n{LOOP}\n\n* * *", LOOP),
        (
            f"{LOOP}\n\n```\nprint(1)\n```\n\n{LOOP} {LOOP} {LOOP}",
            f"{LOOP}\n\n```\nprint(1)\n```",
        ),
    ],
)
def test_what_was_said_before_is_left_out(text: str, rewritten: str) -> None:
    """The first time stays as it is; nothing is left of the others."""
    assert is_repetitive(text)
    result = rewrite(PROMPT, text, seed=0)
    assert result.response == rewritten
    assert result.reflection.startswith("Left out ")
    assert result.after == (True,)


@pytest.mark.parametrize(
    ("text", "rewritten"),
    [
        (
            f"Tea is hot. It is {'very ' * 30}nice. I like it.",
            "Tea is hot. It is very nice. I like it.",
        ),
        (f"We left. {'The sky is blue and ' * 9}the sky is bl", "We left. The sky is blue."),
        (f"{'the sky is blue, ' * 9}and so on!", "the sky is blue, and so on!"),
        (
            f"We ate{''.join(f', and then on the next day he went to the {word}' for word in PLACES)}.",
            "We ate, and then on the next day he went to the shop.",
        ),
        (f"{LOOP} {LOOP} {LOOP} We say: {'la li lu ' * 9}", f"{LOOP} We say: la li lu. "),
        ("天空很蓝，我喜欢它。" * 5, "天空很蓝，我喜欢它。"),
        (f"我今天去了商店。{'天空很蓝，' * 9}", "我今天去了商店。天空很蓝。"),
    ],
)
def test_a_loop_within_a_sentence_is_left_out(text: str, rewritten: str) -> None:
    """The sentence keeps its beginning, and what follows the loop."""
    result = rewrite(PROMPT, text, seed=0)
    assert result.response == rewritten
    assert "what a sentence repeats" in result.reflection or "天空很蓝，我" in text


@pytest.mark.parametrize("text", ["very " * 30, "- [ ]\n" * 20])
def test_a_loop_of_which_no_sentence_would_be_left_stays(text: str) -> None:
    """A program does not know what such a sentence should have said."""
    result = rewrite(PROMPT, text, seed=0)
    assert result.response == text
    assert "repeats itself within a sentence" in result.reflection


def test_only_as_many_sentences_go_as_must() -> None:
    """A text in which little is said twice passes as it is; where sentences said twice suffice, no others go."""
    once = "Rain falls on the hills. Snow falls on the peaks."
    assert rewrite(PROMPT, f"{once} {LOOP} {once}", seed=0).summaries == ()
    alike = "We walk down to the old mill at seven. We walk down to the old mill at eight."
    result = rewrite(PROMPT, f"{alike} {LOOP} {LOOP} {LOOP} {LOOP}", seed=0)
    assert result.response == f"{alike} {LOOP}"


def test_the_other_constraints_are_kept() -> None:
    """An edit that breaks one is not made, and what is asked for at the end stays there."""
    long = prompt_with(
        (NO_REPETITION, {}),
        ("length_constraints:number_words", {"relation": "at least", "num_words": 20}),
    )
    text = f"{LOOP} {LOOP} {LOOP}"
    assert rewrite(long, text, seed=0).response == text
    ending = prompt_with(
        (NO_REPETITION, {}), ("startend:end_checker", {"end_phrase": "It is clear in the west."})
    )
    assert rewrite(ending, text, seed=0).response.endswith("It is clear in the west.")


@given(text=english())
def test_a_text_is_no_more_repetitive_than_before(text: str) -> None:
    """Whatever the layout, a rewrite of a text that fails passes, or leaves it alone."""
    result = rewrite(PROMPT, f"{text}\n{text}\n{text}", seed=0)
    assert result.after == (verify(result.response, NO_REPETITION, {}),)
