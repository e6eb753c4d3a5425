"""Majority and weighted vote over the nodes of a tree."""

from __future__ import annotations

import pytest

from spar.infer.answers import AnswerRule, select
from spar.infer.search import run_search
from spar.types import Node, Prompt
from tests.fakes import TableRoles, make_prompt, make_root, make_settings


def extract(prompt: Prompt, response: str) -> str | None:
    """The first word; `?` is no answer."""
    word = response.split()[0]
    return None if word == "?" else word


def nodes(*rows: tuple[str, int]) -> list[Node]:
    """Drafts with their votes of five."""
    return [make_root(text, num_yes, index) for index, (text, num_yes) in enumerate(rows)]


@pytest.mark.parametrize(
    ("rule", "rows", "chosen"),
    [
        ("best", [("4 a", 1), ("4 b", 2), ("5", 4)], 2),
        ("majority", [("4 a", 1), ("4 b", 2), ("5", 4)], 1),
        ("majority", [("4", 1), ("5", 2)], 1),
        ("majority", [("4", 2), ("5", 2)], 0),
        ("majority", [("? a", 5), ("? b", 5), ("4", 0)], 2),
        ("majority", [("? a", 1), ("? b", 2)], 1),
        ("weighted", [("4 a", 1), ("4 b", 2), ("5", 4)], 2),
        ("weighted", [("4 a", 2), ("4 b", 2), ("5", 4)], 1 - 1),
        ("weighted", [("4", 0), ("5", 0), ("5 b", 0)], 1),
    ],
)
def test_the_answer_that_is_chosen(
    rule: AnswerRule, rows: list[tuple[str, int]], chosen: int
) -> None:
    """Counts, then scores; sums, then counts; what has no answer does not vote; the first of equals."""
    assert select(rule, extract, make_prompt(), nodes(*rows)) == chosen
    assert select(rule, extract, make_prompt(), []) is None


async def test_the_rule_chooses_among_the_nodes_of_any_search() -> None:
    """Drafts `r`, `s` and `t` say the same; the best one says something else."""
    table = TableRoles({"u": 2})

    def same(prompt: Prompt, response: str) -> str | None:
        return "u" if response == "u" else "the rest"

    def chosen(prompt: Prompt, found: object) -> int | None:
        return select("majority", same, prompt, found)  # type: ignore[arg-type]

    settings = make_settings("best-of-n", select=chosen)
    tree = await run_search(make_prompt(), table.roles, settings)
    plain = await run_search(make_prompt(), TableRoles({"u": 2}).roles, make_settings("best-of-n"))
    assert (tree.answer, plain.answer) == ("r", "u")
    assert tree.nodes == plain.nodes
