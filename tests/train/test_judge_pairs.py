"""Pairs of judgements: which responses are judged again, what the comparisons decide, and what programs decide."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import pytest

from spar.config import DecodeConfig
from spar.errors import UsageError
from spar.run.meta_judge import comparisons, judge_conversation, judged_again, most_disputed
from spar.templates.verdicts import find_answer
from spar.train.data.judge_pairs import (
    BETTER,
    Comparisons,
    judge_pairs,
    parse_better,
    strengths,
)
from spar.types import Judgement, Message, Node, SearchTree
from tests.fakes import NO, YES, make_prompt
from tests.train.trees import make_tree, tree_of, write_run


def judged(
    response: str, *judgements: str, prompt_id: str = "p", **constraint: object
) -> SearchTree:
    """A tree of a run of judgements."""
    meta: dict[str, object] = {"response": response}
    if constraint:
        meta |= {"instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}
    prompt = make_prompt("Judge it.", prompt_id).model_copy(update={"meta": meta})
    nodes = (Node(id=n, parent=None, depth=0, response=text) for n, text in enumerate(judgements))
    return tree_of(*nodes).model_copy(update={"prompt": prompt})


def compared(first: int, second: int, reply: str, prompt_id: str = "p") -> SearchTree:
    """A comparison of two of its judgements."""
    meta = {"judgements_of": prompt_id, "order": [first, second]}
    prompt = make_prompt("Compare.", f"{prompt_id}/{first}/{second}")
    node = Node(id=0, parent=None, depth=0, response=reply)
    return tree_of(node).model_copy(update={"prompt": prompt.model_copy(update={"meta": meta})})


def says(position: int) -> str:
    return f"The other is wrong.\nFinal Judgement: {position}"


def test_the_response_with_the_most_varied_judgements_is_taken() -> None:
    """By the variance of points or votes, the first of several; none where all judgements agree."""
    tree = make_tree((None, 5), (None, 4), (None, 3), (None, 2), (None, None))
    node = most_disputed(tree.nodes)
    assert node is not None and node.id == 2
    assert most_disputed(make_tree((None, 5), (None, 0), (None, None)).nodes) is None
    points = Judgement(verdicts=(), critique="", probability=0.6, points=(1, 5, None))
    scaled = tree.nodes[4].model_copy(update={"judgement": points})
    varied = most_disputed((*tree.nodes[:4], scaled))
    assert varied is not None and varied.id == 4


def test_judgements_and_comparisons_are_prompts_of_runs(tmp_path: Path) -> None:
    """The judge's own conversation, then each two different judgements of it in both orders."""
    config = DecodeConfig()
    write_run(tmp_path / "judge", make_tree((None, 3)), make_tree((None, 5), prompt_id="q"))
    (prompt,) = judged_again(tmp_path / "judge", config)
    tree = make_tree((None, 3))
    assert prompt.id == "p" and prompt.meta["response"] == "r0"
    assert prompt.messages == judge_conversation(config)(tree.prompt, "r0")
    nodes = [
        Node(id=n, parent=None, depth=0, response=text) for n, text in enumerate((YES, NO, YES))
    ]
    write_run(tmp_path / "again", tree_of(*nodes).model_copy(update={"prompt": prompt}))
    asked = list(comparisons(tmp_path / "again"))
    assert [each.meta["order"] for each in asked] == [[0, 1], [1, 0]]
    assert len({each.id for each in asked}) == 2
    # The markers in what is compared are escaped, so that a quotation is no verdict.
    text = asked[0].messages[0].content
    assert text.index("all of it: met") < text.index("the wording: not met")
    assert find_answer(text.split("### Judgement 1")[1], BETTER) is None


@pytest.mark.parametrize("judge", ["verifier", "logprob"])
def test_a_judge_without_a_conversation_is_refused(judge: str) -> None:
    """Its judgements cannot be told apart, and the message says which judges have one."""
    with pytest.raises(
        UsageError, match=f"--judge {judge} has no conversation .* --judge votes or"
    ):
        judge_conversation(DecodeConfig(judge=judge))


def test_the_strongest_judgement_is_preferred_to_the_weakest() -> None:
    """By wins over all others in both orders."""
    better = {0: 1, 1: 0, 2: 2}  # judgement to its quality
    trees = [
        compared(a, b, says(1 if better[a] > better[b] else 2)) for a, b in permutations(better, 2)
    ]
    pairs, counts = judge_pairs([judged("r", "a", "b", "c")], trees)
    (pair,) = pairs
    assert (pair.chosen, pair.rejected, pair.run) == ("c", "b", "judgements")
    assert pair.prompt == (Message(role="user", content="Judge it."),)
    assert (counts.comparisons, counts.unread, counts.first_wins) == (6, 0, 0.5)


def test_a_preferred_position_counts_less() -> None:
    """Wins at the position that mostly wins are weighted by the other's share, over all responses."""
    seen = Comparisons()
    for tree in [compared(0, 1, says(1)), compared(1, 0, says(1)), compared(2, 1, says(1))]:
        seen.add(tree)
    seen.add(compared(0, 2, says(2), prompt_id="q"))
    assert seen.won_by_position == (3, 1)
    assert seen.weighted("p") == {(0, 1): 0.25, (1, 0): 0.25, (2, 1): 0.25}
    assert seen.weighted("q") == {(2, 0): 0.75}


def test_strengths_are_those_of_bradley_and_terry() -> None:
    """With two judgements the strengths are in the ratio of the wins, with a tenth of a win either way."""
    strength = strengths({(0, 1): 2.9, (1, 0): 0.9})
    assert strength[0] / strength[1] == pytest.approx(3.0, rel=1e-6)


def test_responses_without_a_better_judgement_are_counted() -> None:
    """No comparison that can be read, equally many wins, a chosen judgement that is too long."""
    trees = [
        compared(0, 1, "Neither.", "a"),
        *(compared(*order, says(1), "b") for order in ((0, 1), (1, 0))),
        *(compared(*order, says(position), "c") for order, position in (((0, 1), 1), ((1, 0), 2))),
    ]
    again = [judged("r", "long", "b", prompt_id=name) for name in "abc"]
    pairs, counts = judge_pairs(again, trees, max_characters=3)
    assert pairs == []
    assert (counts.responses, counts.undecided, counts.long, counts.unread) == (3, 2, 1, 1)


@pytest.mark.parametrize(("response", "chosen"), [("no mark", YES), ("a, mark", NO)])
def test_programs_prefer_the_right_verdict(response: str, chosen: str) -> None:
    """A judgement with their verdict to one with the other; unanimous judgements make no pair."""
    tree = judged(response, YES, NO, "mute", constrained=True)
    (pair,), counts = judge_pairs([tree], None)
    assert (pair.chosen, counts.by, counts.comparisons) == (chosen, "verifier", 0)
    assert judge_pairs([judged(response, YES, YES, constrained=True)], None)[0] == []
    assert judge_pairs([judged(response, YES, NO)], None)[1].undecided == 1


@pytest.mark.parametrize(
    ("text", "better"),
    [
        ("Final Judgement: 2", 2),
        ("Final Judgement: Judgement 1", 1),
        ("Final Judgement: 1 or 2", None),
    ],
)
def test_what_the_meta_judge_says_must_be_certain(text: str, better: int | None) -> None:
    """One of the two numbers behind the heading."""
    assert parse_better(text) == better
