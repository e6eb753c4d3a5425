"""The record: JSON, validation, scores and answers."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from spar.types import Fault, Judgement, Message, Node, Prompt, SearchTree, Usage, best
from tests.fakes import make_findings, make_judgement, make_prompt
from tests.strategies import judgements, trees, usages


def node(node_id: int, *, parent: int | None = None, depth: int = 0, num_yes: int = 0) -> Node:
    """A judged node."""
    judgement = make_judgement(num_yes)
    return Node(id=node_id, parent=parent, depth=depth, response="x", judgement=judgement)


@given(trees())
def test_a_tree_round_trips(tree: SearchTree) -> None:
    """Any tree is read back equal from one line of ASCII, as text or as bytes."""
    line = tree.to_json()
    assert line.isascii()
    assert "\n" not in line
    assert SearchTree.from_json(line) == tree
    assert SearchTree.from_json(line.encode()) == tree


@pytest.mark.parametrize(
    "text", ["\x00", "\ud800", "\udfff\ud800", "\u2028\r\n", "\u202eabc", "🦊"]
)
def test_odd_text_round_trips(text: str) -> None:
    """NUL, lone surrogates and line separators are legal in every text field."""
    message = Message(role="user", content=text)
    prompt = Prompt(id=text, messages=(message,), source=text, meta={text: [text]})
    judgement = Judgement(verdicts=(None,), critique=text, dissent=text)
    only = Node(
        id=0, parent=None, depth=0, response=text, reflection=text, text=text, judgement=judgement
    )
    tree = SearchTree(prompt=prompt, strategy=text, config=text, nodes=(only,), stop="budget")
    assert SearchTree.from_json(tree.to_json()) == tree


USAGE = (
    '{"calls":0,"prompt_tokens":0,"cached_tokens":0,"completion_tokens":0,"seconds":0.0,'
    '"skipped_calls":0,"aborted_calls":0}'
)
NODE_LINE = (
    '{"id":0,"parent":null,"depth":0,"response":"x","reflection":"why","judgement":null,'
    f'"usage":{USAGE},"judge_usage":{USAGE},"seed":7}}'
)
LINE = (
    '{"schema_version":1,"prompt":{"id":"p","messages":[{"role":"user","content":"Write a line."}],'
    f'"source":"","meta":{{}}}},"strategy":"s","config":"c","gate":0.5,"nodes":[{NODE_LINE}],"faults":[],'
    '"selected":0,"stop":"budget","cancelled":0,"cancelled_usage":{},"seconds":0.0}'
)
"""A tree that was written before nodes had the field `text`."""


def test_a_line_without_the_field_text_round_trips() -> None:
    """Trees from before the field are read and written to the same bytes."""
    tree = SearchTree.from_json(LINE)
    assert tree.nodes[0].text is None
    assert tree.to_json() == LINE


def test_the_field_text_is_written_only_if_set() -> None:
    """An empty text is written; null is read as None."""
    tree = SearchTree.from_json(LINE)
    for text in ("why: [[start]]x[[end]]", ""):
        worded = tree.model_copy(
            update={"nodes": (tree.nodes[0].model_copy(update={"text": text}),)}
        )
        row = json.loads(worded.to_json())
        assert row["nodes"][0]["text"] == text
        assert SearchTree.from_json(worded.to_json()) == worded
    row["nodes"][0]["text"] = None
    assert SearchTree.from_json(json.dumps(row)) == tree


@given(trees(), st.sampled_from(["prompt", "nodes", "strategy", "stop"]))
def test_a_record_is_frozen(tree: SearchTree, name: str) -> None:
    """Assigning to a field is an error."""
    with pytest.raises(ValidationError, match="frozen"):
        setattr(tree, name, getattr(tree, name))


@pytest.mark.parametrize("path", [(), ("prompt",), ("nodes", 0), ("nodes", 0, "usage")])
def test_an_unknown_field_is_refused(path: tuple[str | int, ...]) -> None:
    """A field that the schema lacks is an error at any level."""
    tree = SearchTree(
        prompt=make_prompt(), strategy="s", config="c", nodes=(node(0),), stop="exhausted"
    )
    row: Any = json.loads(tree.to_json())
    inner = row
    for step in path:
        inner = inner[step]
    inner["surprise"] = 1
    with pytest.raises(ValidationError, match="surprise"):
        SearchTree.from_json(json.dumps(row))


@pytest.mark.parametrize("line", ["", "{", "[]", "null", '{"prompt": 1}', '"\\ud800'])
def test_a_line_that_is_not_a_tree_is_a_value_error(line: str) -> None:
    """Broken JSON and another schema both raise ValueError."""
    with pytest.raises(ValueError):  # noqa: PT011  # the message is json's or pydantic's
        SearchTree.from_json(line)


@pytest.mark.parametrize("value", [1, None, b"bytes", ["a"]])
def test_text_must_be_text(value: object) -> None:
    """Other types are not converted to strings."""
    with pytest.raises(ValidationError, match="expected a string"):
        Message.model_validate({"role": "user", "content": value})


def test_a_prompt_has_a_turn() -> None:
    """An empty conversation is an error."""
    with pytest.raises(ValidationError):
        Prompt(id="p", messages=())


@pytest.mark.parametrize(
    ("verdicts", "score"),
    [
        ((), 0.0),
        ((None, None), 0.0),
        ((True,), 1.0),
        ((True, None, False, None), 0.5),
        ((True, True, False, None, None), 2 / 3),
        ((False,) * 5, 0.0),
    ],
)
def test_the_score_is_the_share_of_yes_among_parsed_votes(
    verdicts: tuple[bool | None, ...], score: float
) -> None:
    """Unparsed votes are ignored."""
    assert Judgement(verdicts=verdicts, critique="").score == pytest.approx(score)


def test_a_probability_is_the_score() -> None:
    """With P(yes) from the logprob judge, the verdicts do not affect the score."""
    assert Judgement(verdicts=(False,), critique="", probability=0.7).score == 0.7


@given(judgements, st.floats(0, 1))
def test_the_gate_is_strict(judgement: Judgement, gate: float) -> None:
    """Votes at the gate do not pass; without findings their share is the score."""
    judgement = judgement.model_copy(update={"findings": ()})
    assert judgement.passed(gate) == (judgement.score > gate)
    assert not judgement.passed(judgement.score)


@pytest.mark.parametrize(
    ("met", "verdicts", "score", "passed", "verdict"),
    [
        ((True, True, False), (), 2 / 3, False, False),
        ((True, True, True), (), 1.0, True, True),
        ((True, True, True), (True, True, False), 11 / 12, True, True),
        ((True, True, True), (True, False, False), 10 / 12, False, False),
        ((True, True, True), (True, False), 3.5 / 4, False, None),
        ((True, False, True), (), 2 / 3, False, False),
    ],
)
def test_programs_pass_what_meets_every_constraint(
    met: tuple[bool, ...],
    verdicts: tuple[bool | None, ...],
    score: float,
    passed: bool,
    verdict: bool | None,
) -> None:
    """The score is the share met, the votes' share being one more; a share above the gate is no pass."""
    judgement = Judgement(verdicts=verdicts, critique="", findings=make_findings(*met))
    assert judgement.score == pytest.approx(score)
    assert judgement.passed(0.5) is passed
    assert judgement.verdict is verdict


@pytest.mark.parametrize(
    ("shares", "gate", "passed"),
    [
        ((1, 0.6), 0.5, True),
        ((1, 0.6), 0.6, False),
        ((1, 0.5), 0.5, False),
        ((0.6, None), 0.5, True),
    ],
)
def test_votes_on_each_constraint_pass_one_by_one(
    shares: tuple[float | None, ...], gate: float, passed: bool
) -> None:
    """The score is the mean share, a program's finding being all or nothing; each share must be above the gate."""
    findings = tuple(
        finding.model_copy(update={"share": share})
        for finding, share in zip(make_findings(True, True), shares, strict=True)
    )
    judgement = Judgement(verdicts=(), critique="", findings=findings)
    assert judgement.score == pytest.approx(sum(1 if s is None else s for s in shares) / 2)
    assert judgement.passed(gate) is passed
    assert judgement.verdict is (0.5 not in shares)


@given(st.integers(1, 5), st.floats(0, 1), st.data())
def test_no_failing_response_outranks_a_passing_one(
    constraints: int, gate: float, data: st.DataObject
) -> None:
    """Of two responses to one prompt, judged by programs and then by votes: the passing one has the higher score."""

    def drawn() -> Judgement:
        met = data.draw(st.lists(st.booleans(), min_size=constraints, max_size=constraints))
        votes = data.draw(st.lists(st.booleans(), min_size=3, max_size=3)) if all(met) else []
        return Judgement(verdicts=tuple(votes), critique="", findings=make_findings(*met))

    one, other = drawn(), drawn()
    if one.passed(gate) and not other.passed(gate):
        assert one.score > other.score


def test_an_unjudged_node_ranks_last() -> None:
    """A node that every vote rejected ranks above a node without a judgement."""
    unjudged = Node(id=0, parent=None, depth=0, response="x")
    rejected = node(1, parent=0, depth=1, num_yes=0)
    assert best((unjudged, rejected), 2) == (rejected, unjudged)


def test_best_is_highest_then_shallowest_then_first() -> None:
    """Nodes are ordered by score, then depth, then id, whatever their order before."""
    nodes = (
        node(0, num_yes=1),
        node(1, parent=0, depth=1, num_yes=4),
        node(2, parent=1, depth=2, num_yes=4),
        node(3, parent=0, depth=1, num_yes=4),
        node(4, parent=0, depth=1, num_yes=3),
    )
    assert [node.id for node in best(nodes[::-1], 9)] == [1, 3, 2, 4, 0]
    assert best(nodes) == (nodes[1],)
    assert best((), 3) == ()


@given(trees())
def test_a_path_runs_from_the_root(tree: SearchTree) -> None:
    """Each step of a path goes to a child, and depth counts the steps."""
    for last in tree.nodes:
        path = tree.path(last.id)
        assert path[-1] == last
        assert [step.depth for step in path] == list(range(last.depth + 1))
        assert all(b in tree.children(a.id) for a, b in pairwise(path))


def test_a_path_may_be_long() -> None:
    """A chain of iterative refinement may be longer than the recursion limit."""
    chain = tuple(node(i, parent=i - 1 if i else None, depth=i) for i in range(3000))
    tree = SearchTree(prompt=make_prompt(), strategy="s", config="c", nodes=chain, stop="budget")
    assert tree.path(2999) == chain


@given(st.lists(usages, max_size=4))
def test_usage_adds_up(parts: list[Usage]) -> None:
    """Every field of a sum is the sum of that field."""
    total = sum(parts, Usage())
    counts = set(Usage.model_fields) - {"seconds"}
    assert len(counts) == 7
    for name in counts:
        assert getattr(total, name) == sum(getattr(part, name) for part in parts)
    assert total.seconds == pytest.approx(sum(part.seconds for part in parts))


@given(trees())
def test_the_roles_costs_add_up_to_the_whole(tree: SearchTree) -> None:
    """Drafts are the actor's cost, votes the judge's, refinements the refiner's."""
    roles = tree.usage_by_role
    assert sum(roles.values(), Usage()).calls == tree.usage.calls
    items: tuple[Node | Fault, ...] = (*tree.nodes, *tree.faults)
    lost = {role: tree.cancelled_usage.get(role, Usage()).calls for role in roles}
    assert roles["judge"].calls - lost["judge"] == sum(i.judge_usage.calls for i in items)
    drafts = sum(i.usage.calls - i.judge_usage.calls for i in items if i.parent is None)
    assert roles["actor"].calls - lost["actor"] == drafts


def test_the_answer_is_the_selected_response() -> None:
    """A tree without a node has no answer."""
    tree = SearchTree(prompt=make_prompt(), strategy="s", config="c", stop="budget")
    assert tree.answer is None
    assert not tree.solved
    solved = tree.model_copy(update={"nodes": (node(0),), "selected": 0, "stop": "solved"})
    assert solved.answer == "x"
    assert solved.solved
