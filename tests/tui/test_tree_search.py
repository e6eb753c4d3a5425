"""`/` inside a tree: matches in all its texts, counted, highlighted, walked through."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.style import Style
from rich.text import Text

from spar.types import SearchTree
from spar.view.node_detail import Annotations, node_sections, text_sections
from spar.view.palette import PALETTE
from tests.tui.driving import browser, line, open_tree, screen_text, until
from tests.tui.samples import node, prompt, solved_tree, trees, write_run
from tui.index.query import query
from tui.screens.tree import TreeScreen
from tui.tree_search import Found, TreeSearch
from tui.widgets.parts_pane import Folds, PartsPane, parts_text


def places(tree: SearchTree, text: str, *, regex: bool = False) -> list[tuple[int, str]]:
    """Line of the drawn tree and kind of section of each match."""
    found = TreeSearch(tree).find(query(text, regex))
    return [(match.line, match.kind) for match in found.matches]


@pytest.mark.parametrize(
    ("text", "regex", "expected"),
    [
        ("dog", False, [(0, "turn"), (2, "response")]),
        ("be brief", False, [(0, "turn")]),
        ("Cats", False, []),
        ("I add the keyword", False, [(2, "reflection"), (3, "reflection")]),
        ("is missing", False, [(1, "critique"), (2, "critique"), (3, "critique")]),
        ("otherwise", False, [(1, "dissent"), (2, "dissent"), (3, "dissent")]),
        ("[bold]", False, [(4, "response")]),
        ("no refined output", False, [(4, "constraints")]),
        ("call", False, []),
        (r"\bmat\b", True, [(1, "response"), (2, "response"), (3, "response")]),
        (r"x*", True, []),
    ],
)
def test_every_text_is_searched(text: str, regex: bool, expected: list[tuple[int, str]]) -> None:
    """Prompt, response, critique, dissent, reflection and failed attempts, from top to bottom; costs are no text."""
    assert places(solved_tree(), text, regex=regex) == expected


def test_walk_through_matches() -> None:
    """From the cursor on, around the end, and from where the cursor was moved to."""
    found = TreeSearch(solved_tree()).find(query("otherwise", False))
    assert found.count == "3 matches" and found.lines == {1, 2, 3}
    first = found.first_from(2)
    assert first.count == "2 of 3"
    assert first.step(1, line=2).step(1, line=3).count == "1 of 3"
    assert first.step(-1, line=2).step(-1, line=1).count == "3 of 3"
    assert first.step(1, line=0).count == "1 of 3"
    assert first.step(-1, line=4).count == "3 of 3"
    nothing = TreeSearch(solved_tree()).find(query("zebra", False)).first_from(0)
    assert (nothing.count, nothing.current, nothing.step(1, 0)) == ("no match", None, nothing)


def test_hostile_text_is_found_where_it_is_seen() -> None:
    """A text is searched in the forms that are shown, so the highlight is on the match."""
    tree = SearchTree(
        prompt=prompt(0),
        strategy="bfs",
        config="c",
        nodes=(node(0, None, "\u202e\x1b[31m hidden", 5),),
        selected=0,
        stop="solved",
    )
    (match,) = TreeSearch(tree).find(query("hidden", False)).matches
    assert text_sections(tree.nodes[0])[0].body.plain[match.start : match.end] == "hidden"


def test_the_current_match_opens_its_part() -> None:
    """Every match is highlighted, the current one more; a folded part with it is open."""
    tree = solved_tree()
    sections = node_sections(tree, tree.nodes[1])
    found = TreeSearch(tree).find(query("keyword", False))
    at = next(at for at, match in enumerate(found.matches) if match.kind == "reflection")
    text, end, _ = parts_text(sections, Folds(), 60, Found(found.query, found.matches, at))
    assert end is not None and text.plain[end - 7 : end] == "keyword"
    assert "I add the keyword." in text.plain
    assert styled(text, "match") == ["keyword"]
    assert set(styled(text, "found")) == {"keyword"} and len(styled(text, "found")) == 2
    assert "▸ Reflection" in parts_text(sections, Folds(), 60)[0].plain


def styled(text: Text, meaning: str) -> list[str]:
    """The parts of a text with a style."""
    style = Style.parse(PALETTE[meaning])
    return [
        text.plain[span.start : span.end]
        for span in text.spans
        if isinstance(span.style, str) and Style.parse(span.style) == style
    ]


@pytest.mark.parametrize("offset", [0, 19_995, 20_005, 100_000])
def test_a_match_far_into_a_long_text_is_shown(offset: int) -> None:
    """Beyond what is shown of a part, with what is around it; the end of the match is known there too."""
    text = "\t\t\t" + "word " * (offset // 5) + "NEEDLE" + " word" * 40_000
    tree = solved_tree().model_copy(update={"nodes": (node(0, None, text, 5),)})
    found = TreeSearch(tree).find(query("needle", False)).first_from(0)
    assert [(match.line, match.kind) for match in found.matches] == [(1, "response")]
    shown, end, _ = parts_text(text_sections(tree.nodes[0]), Folds(), 80, found)
    assert end is not None and shown.plain[end - 6 : end] == "NEEDLE"
    assert len(shown) < 25_000
    assert "characters more" in shown.plain
    assert ("characters before" in shown.plain) is (offset > 15_000)
    assert styled(shown, "match") == ["NEEDLE"]


@pytest.mark.screen
async def test_search_in_a_tree(tmp_path: Path) -> None:
    """Incremental, counted, from node to node with n and N; esc ends it, and then leaves the tree."""
    async with browser(write_run(tmp_path / "run", trees(2))) as (app, pilot):
        await open_tree(app, pilot)
        await pilot.press("slash", *"keyw")
        await until(pilot, lambda: "/keyw  2 of 5" in screen_text(app))
        assert line(app) == 2
        await pilot.press("enter", "n", "n")
        await until(pilot, lambda: "/keyw  4 of 5" in screen_text(app) and line(app) == 3)
        await pilot.press("N")
        await until(pilot, lambda: "/keyw  3 of 5" in screen_text(app) and line(app) == 2)
        await until(pilot, lambda: "▾ Reflection before it" in screen_text(app))
        await pilot.press("right_square_bracket")
        await until(pilot, lambda: "/keyw  5 matches" in screen_text(app))
        await pilot.press("slash", *"zz")
        await until(pilot, lambda: "/zz  no match" in screen_text(app))
        await pilot.press("escape")
        await until(pilot, lambda: "/keyw" in screen_text(app))
        await pilot.press("slash", *"ke.w")
        await until(pilot, lambda: "/ke.w  no match" in screen_text(app))
        await pilot.press("ctrl+r")
        await until(pilot, lambda: "/ke.w  2 of 5" in screen_text(app))
        await pilot.press("ctrl+r", "escape", "slash", "ctrl+r", *"(", "enter")
        await until(pilot, lambda: "is not a valid" in screen_text(app))
        await pilot.press("escape", "escape")
        await until(pilot, lambda: "/keyw" not in screen_text(app))
        assert isinstance(app.screen, TreeScreen)
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, TreeScreen))


@pytest.mark.screen
async def test_a_match_below_the_fold(tmp_path: Path) -> None:
    """The pane scrolls to it; the list's text is offered, so that its hit is one key away."""
    long = "\n".join(f"line {number} of a long text" for number in range(200))
    tree = solved_tree().model_copy(update={"nodes": (node(0, None, f"{long}\nNEEDLE", 5),)})
    tree = tree.model_copy(update={"selected": 0, "faults": ()})
    async with browser(write_run(tmp_path / "run", [tree])) as (app, pilot):
        await pilot.press("slash", *"needle", "enter")
        await open_tree(app, pilot)
        await pilot.press("slash")
        await until(pilot, lambda: "/needle  1 of 1" in screen_text(app))
        await until(pilot, lambda: "NEEDLE" in screen_text(app))
        await pilot.press("escape")
        await until(pilot, lambda: "/needle" not in screen_text(app))
        assert app.screen.query_one(PartsPane).scroll_offset.y > 150


@pytest.mark.screen
async def test_a_part_that_a_key_opens_is_seen(tmp_path: Path) -> None:
    """It may open below the pane, which then scrolls to it, and no further than it must."""
    annotations = Annotations(render=lambda tree, node: tree.prompt.messages)
    run = write_run(tmp_path / "run", [solved_tree()])
    async with browser(run, annotations_for=lambda directory: annotations) as (app, pilot):
        await open_tree(app, pilot)
        pane = app.screen.query_one(PartsPane)
        await pilot.press("9")
        await until(pilot, lambda: "▾ Cost" in screen_text(app))
        await pilot.press("p")
        await until(pilot, lambda: "▾ Prompt" in screen_text(app))
        assert "Be brief." in screen_text(app) and pane.scroll_offset.y
        before = pane.scroll_offset
        await pilot.press("p", "p")
        await until(pilot, lambda: "▾ Prompt" in screen_text(app))
        assert pane.scroll_offset == before
        await pilot.press("d", "d")
        await until(pilot, lambda: "▾ Change" in screen_text(app))
