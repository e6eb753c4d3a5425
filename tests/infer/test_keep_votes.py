"""`--keep-votes`: the text of each vote in the record, in sections, in a page; nothing of it by default."""

from __future__ import annotations

from dataclasses import replace

import pytest

from spar.config import DecodeConfig
from spar.export import export_tree
from spar.infer.checklist_judge import ChecklistJudge, ChecklistOptions
from spar.infer.engine import Request, Sampling
from spar.infer.engines.fake import FakeEngine
from spar.infer.judges import JudgeSettings, OneRoundJudge, VotesJudge
from spar.infer.scale_judge import ScaleJudge
from spar.templates import load
from spar.types import Judgement, SearchTree
from spar.view.node_detail import node_sections
from tests.export.pages import read_page
from tests.fakes import make_prompt, make_root
from tests.infer.test_judges import VOTES
from tui.index.query import query
from tui.tree_search import TreeSearch


def settings_of(*replies: str) -> JudgeSettings:
    """Settings with an engine that gives these replies in turn, the last one again and again."""
    left = list(replies)

    def reply(request: Request) -> str:
        return left.pop(0) if len(left) > 1 else left[0]

    return JudgeSettings(FakeEngine(reply), Sampling(), load(), votes=3, keep_votes=True)


THREE = tuple(f"{number} {VOTES[letter]}" for number, letter in enumerate("nyn"))
POINTS = tuple(f"{number}\nFinal Judgement: {number}" for number in (5, 1, 3))
LINES = tuple(f"{word}\n1. as asked: Yes" for word in "abc")


@pytest.mark.parametrize(
    ("judge", "replies", "votes"),
    [
        (VotesJudge, THREE, THREE),
        (OneRoundJudge, THREE, THREE),
        (ScaleJudge, POINTS, POINTS),
        (
            lambda settings: ChecklistJudge(settings, ChecklistOptions()),
            ("1. be short", *LINES),
            LINES,
        ),
    ],
)
async def test_every_vote_is_stored(
    judge: type[VotesJudge], replies: tuple[str, ...], votes: tuple[str, ...]
) -> None:
    """In order, for each judge that asks several times; without the setting the judgement is as it was."""
    settings = settings_of(*replies)

    async def judged(settings: JudgeSettings) -> Judgement:
        return (await judge(settings).judge(make_prompt(), "response", lambda attempt: attempt))[0]

    judgement = await judged(settings)
    assert judgement.votes == votes
    plain = await judged(replace(settings_of(*replies), keep_votes=False))
    assert plain.votes == () and judgement.model_copy(update={"votes": ()}) == plain
    assert "votes" not in plain.model_dump() and Judgement(**judgement.model_dump()) == judgement


def test_the_setting_is_stored_only_where_it_is_set() -> None:
    """Runs of versions without it keep their digest."""
    assert "keep_votes" not in DecodeConfig().stored()
    assert DecodeConfig(keep_votes=True).stored()["keep_votes"] is True


def test_votes_are_shown() -> None:
    """Each is a part of its own, the critique once; they take the place of the dissent, in the page too."""
    judgement = Judgement(
        verdicts=(False, True, None),
        critique="no, why",
        dissent="yes, so",
        cut=(2,),
        votes=("no, why", "yes, so", "<b>well"),
    )
    root = make_root().model_copy(update={"judgement": judgement})
    tree = SearchTree(
        prompt=make_prompt(), strategy="s", config="c", nodes=(root,), selected=0, stop="budget"
    )
    sections = {each.title: each.body.plain for each in node_sections(tree, root)}
    assert sections["Vote 1: no"] == "the same text as the critique"
    assert sections["Vote 2: yes"] == "yes, so"
    assert sections["Vote 3: no verdict, cut at the token limit"] == "<b>well"
    assert not any(title.startswith("Dissent") for title in sections)
    assert [match.number for match in TreeSearch(tree).find(query("well", False)).matches] == [2]
    (shown,) = read_page(export_tree(tree, "html")).trees
    assert shown["nodes"][0]["judgement"]["texts"][1:] == [
        ["Vote 2: yes", "yes, so"],
        ["Vote 3: no verdict, cut at the token limit", "<b>well"],
    ]
    assert SearchTree.from_json(export_tree(tree, "json").encode()) == tree
    assert "### Vote 2: yes" in export_tree(tree, "markdown")
