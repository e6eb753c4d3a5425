"""Edits of a response's layout: divisions and marks that fit, and tables, formulas, links and code that stay whole."""

from __future__ import annotations

import pytest

from spar.rewrite.layout import lines, protected_spans
from spar.rewrite.search import rewrite
from tests.rewrite.constraints import prompt_with
from tests.rewrite.test_search import lm_eval

__all__ = ["lm_eval"]

TABLE = "| City | People |\n|---|---|\n| Rome | three million |\n| Oslo | one |"


@pytest.mark.evalharness
@pytest.mark.data
@pytest.mark.usefixtures("lm_eval")
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
