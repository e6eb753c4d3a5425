"""Where sentences end, and where a stop ends none."""

from __future__ import annotations

import pytest

from spar.rewrite.layout import sentences
from tests.rewrite.test_fixes import LESS, edited

BOUND = "|"


@pytest.mark.parametrize(
    "divided",
    [
        '"Why?" she asked.|"Stop!" he said.|He left.',
        '"Why?" Anna asked.|"Go away!" the old man said.|He left.',
        '"why?" she asked.|he left.',
        '"WHY?" SHE ASKED.|HE LEFT.',
        '"Why?"|He left.',
        "Yahoo! is big.|It is.",
        "“Really?” is what I thought.|I left.",
        "Wait... what?|Yes.",
        "See e.g. Rome, cf. Smith et al.|Then go.",
        "J.K. Rowling met J. R. R. Tolkien.|They wrote.",
        "Gen. Lee met Capt. Ahab on Jan. 5.|Then they left.",
        "He lives in the U.S.|He likes it.",
        "He came from the U.S. Navy.|Then he left.",
        "Take vitamin C.|It helps.",
        "He said no.|She left.|See No. 5 there.",
        "First we met.|2. Second we ate.",
        "天空很蓝。|我喜欢。|「好！」他说。",
    ],
)
def test_a_sentence_is_a_whole(divided: str) -> None:
    """With the words that say who speaks, and with what an abbreviation, an initial or a number belongs to."""
    text = divided.replace("。|", "。").replace(BOUND, " ")
    assert [text[a:b] for a, b in sentences(text, (0, len(text)))] == divided.split(BOUND)


def test_no_half_of_a_sentence_is_cut() -> None:
    """Where a limit needs one to go."""
    text = 'Tom came home late. "Why are you here?" she asked at once. He left again.'
    arguments = {"relation": LESS, "num_words": 12}
    for seed in range(6):
        shorter = edited("length_constraints:number_words", arguments, text, seed)
        assert ("here" in shorter) == ("she asked" in shorter)
