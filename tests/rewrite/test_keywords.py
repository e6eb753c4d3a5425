"""Keywords are regular expressions: what is written is a word that they match."""

from __future__ import annotations

import pytest

from spar.rewrite.search import rewrite
from tests.rewrite.constraints import prompt_with
from tests.rewrite.test_fixes import edited


@pytest.mark.parametrize(
    ("keyword", "word"),
    [
        ("tea", "tea"),
        (r"C\+\+", "C++"),
        ("C++", "C++"),
        (r"node\.js", "node.js"),
        ("What?", '"What?"'),
        ("colou?r", "colour"),
        (r"\bgreen\b", "green"),
        ("(?:cat|dog)s", "cats"),
        ("[Tt]ea pot", '"Tea pot"'),
        (r"black\s+tea", '"black tea"'),
        (r"\$5", "$5"),
    ],
)
def test_a_keyword_is_written_as_its_pattern_matches(keyword: str, word: str) -> None:
    """Without backslashes, for one mention and for several."""
    text = "It rains."
    assert f" {word}" in edited("keywords:existence", {"keywords": [keyword]}, text)
    arguments = {"keyword": keyword, "frequency": 3, "relation": "at least"}
    result = rewrite(prompt_with(("keywords:frequency", arguments)), text, seed=0)
    assert result.after == (True,)
    assert result.response.count(word) == 3
    assert "\\" not in result.response


def test_a_pattern_of_no_word_is_a_reason() -> None:
    """Where no text is known that it matches, nothing is written."""
    result = rewrite(prompt_with(("keywords:existence", {"keywords": [r"\d{4}"]})), "Tea.", seed=0)
    assert result.response == "Tea."
    assert "no word that it matches is known" in result.unfixed[0]
