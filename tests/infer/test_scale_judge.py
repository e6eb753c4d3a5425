"""The judge with 0 to 5 points: what counts as points, their mean, and what is left out."""

from __future__ import annotations

import pytest

from spar.infer.engine import Request, Sampling
from spar.infer.engines.fake import FakeEngine
from spar.infer.judges import JUDGE_ATTEMPTS, JudgeSettings
from spar.infer.roles import AttemptFailed, ModelJudge
from spar.infer.scale_judge import SCALE, parse_points
from spar.templates import load
from spar.train.data.measure import VoteCounter
from spar.train.data.refiner_data import draft_judgements
from spar.types import Judgement, Node, SearchTree, Usage
from spar.view.tree_lines import votes_text
from tests.fakes import make_prompt
from tests.train.trees import tree_of


@pytest.mark.parametrize(
    ("line", "points"),
    [
        ("Final Judgement: 4", 4),
        ("**Final Judgement:** 3 points", 3),
        ("Final Judgement: 4.5/5.", 4.5),
        ("Final Judgement: 4 out of 5", 4),
        ("Final Judgement: Score: 0", 0),
        ("Final Judgement: \uff14", 4),
        ("Final Judgement: 1 point + 1 point + 1 point = 3 points", 3),
        ("Final Judgement: 5 points - 2 points = 3 points.", 3),
        ("Final Judgement: 1 for relevance + 1 point for coverage = 2", 2),
        ("Final Judgement: 1+1+1", None),
        ("Final Judgement: 1 point + 1 point", None),
        ("Final Judgement: 4 points out of 5", 4),
        ("Final Judgement: 4 points in total.", 4),
        ("Final Judgement: 1 + 1 + 1 = 3 points out of 5", 3),
        ("Final Judgement: 4/5. It meets most requirements, so it gets 4.", 4),
        ("Final Judgement: 4. It is good, but the paragraph count is 2, not 3.", 4),
        ("Final Judgement: 4/10", None),
        ("Final Judgement: 4 of 10", None),
        ("Final Judgement: 3-4", None),
        ("Final Judgement: 3 or 4", None),
        ("Final Judgement: 6", None),
        ("Final Judgement: 15", None),
        ("Final Judgement: -1", None),
        ("Final Judgement: 5 if it were shorter", None),
        ("Final Judgement: Yes", None),
        ("I give 4 points.", None),
    ],
)
def test_points_count_where_they_can_be_read_for_certain(line: str, points: float | None) -> None:
    """A number from 0 to 5 behind the heading, on this scale, that nothing takes back."""
    assert parse_points(f"- it holds.\n{line}") == points


async def judged(*replies: str, votes: int = 3) -> tuple[Judgement, Usage, list[Request]]:
    """What the judge makes of these replies, in turn."""
    requests: list[Request] = []

    def reply(request: Request) -> str:
        requests.append(request)
        return replies[(len(requests) - 1) % len(replies)]

    judge = SCALE.open(JudgeSettings(FakeEngine(reply), Sampling(), load(), votes=votes))
    assert isinstance(judge, ModelJudge)
    judgement, usage = await judge.judge(make_prompt("Say a {response}."), "No.", lambda a: a)
    return judgement, usage, requests


async def test_the_score_is_the_mean_of_the_judgements_that_can_be_read() -> None:
    """The critique is the one closest to the mean; the rubric shows prompt and response as they are."""
    said = [f"{n}\nFinal Judgement: {n}" for n in ("5", "x", "3", "1")]
    judgement, usage, requests = await judged(*said, votes=4)
    assert judgement.points == (5, None, 3, 1)
    assert judgement.score == pytest.approx(3 / 5)
    assert judgement.passed(0.5) and not judgement.passed(0.6)
    assert judgement.critique == said[2]
    assert usage.calls == 4
    assert len({request.sampling.seed for request in requests}) == 4
    assert "Say a {response}.\n\n### Response\nNo.\n" in requests[0].messages[0].content
    assert votes_text(judgement).plain == "0.60  points 5 - 3 1"
    assert Judgement.model_validate_json(judgement.model_dump_json()) == judgement


async def test_judgements_of_which_none_can_be_read_are_made_again() -> None:
    """Once is enough where one can be read then; after the last round the response has no judgement."""
    judgement, usage, _ = await judged(*["?"] * 3, "Final Judgement: 2", "?", "?")
    assert (judgement.points, usage.calls) == ((2, None, None), 6)
    with pytest.raises(AttemptFailed, match="none of 3 judgements had points") as caught:
        await judged("?")
    assert caught.value.usage.calls == 3 * JUDGE_ATTEMPTS


async def test_what_cannot_be_read_is_counted_and_teaches_no_judge() -> None:
    """`unparsed_votes` counts it, nothing is mismatched, and the judge's training takes no critique without a verdict."""
    judgement, _, _ = await judged("Final Judgement: 4", "?", "Final Judgement: 2")
    tree: SearchTree = tree_of(Node(id=0, parent=None, depth=0, response="r", judgement=judgement))
    counter = VoteCounter()
    counter.add(tree.nodes)
    measures = counter.measures()
    assert (measures.judgements, measures.unparsed_votes, measures.mismatched) == (1, 1, 0)
    assert draft_judgements(tree, load(), "decided") == ()
