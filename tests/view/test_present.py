"""What is shown of trees, nodes and runs: hand-worked, then any tree at all."""

from __future__ import annotations

import io
import time

import pytest
from hypothesis import example, given
from rich.console import Console
from rich.text import Text

from spar.types import Fault, Finding, Judgement, Message, Node, SearchTree, Usage
from spar.view.node_detail import (
    SHOWN,
    Annotations,
    Section,
    fault_sections,
    node_sections,
    prompt_sections,
)
from spar.view.palette import PALETTE
from spar.view.present import header_lines, run_lines
from spar.view.tree_lines import MAX_GUIDES, tree_lines
from tests.fakes import make_root
from tests.hostile import EVERYTHING, hostile_tree
from tests.strategies import trees
from tests.train.trees import make_tree, tree_of
from tests.view.test_text import unseen

WRITING = Usage(calls=1, prompt_tokens=500, cached_tokens=300, completion_tokens=30, seconds=0.5)
VOTES = Usage(calls=1, prompt_tokens=1_000, completion_tokens=10, seconds=0.75, skipped_calls=2)


def worked() -> SearchTree:
    """Two drafts; the first is refined twice, once to the answer; two attempts failed; node 4 is unjudged."""
    tree = make_tree((None, 2), (0, 3), (0, 5), (None, 0), (1, None))
    nodes = [
        node.model_copy(update={"usage": WRITING + VOTES, "judge_usage": VOTES})
        for node in tree.nodes
    ]
    nodes[3] = nodes[3].model_copy(update={"usage": VOTES})
    faults = (
        Fault(
            parent=1, stage="refine", reason="no refined output", text="I will not.", usage=WRITING
        ),
        Fault(parent=None, stage="draft", reason="the draft is empty"),
    )
    return tree.model_copy(update={"nodes": tuple(nodes), "faults": faults})


def titles(sections: list[Section]) -> list[str]:
    """The sections' titles, in order."""
    return [section.title for section in sections]


def body(sections: list[Section], title: str) -> str:
    """What the section of that title shows."""
    return next(section.body.plain for section in sections if section.title == title)


def test_tree_lines() -> None:
    """Guides, ids, scores, votes, marks; each fault below its parent, behind the parent's children."""
    assert [line.plain for line in tree_lines(worked())] == [
        "● #0 0.40  2/5 ✓✓✗✗✗  fail",
        "├─ ○ #1 0.60  3/5 ✓✓✓✗✗  pass",
        "│  ├─ ○ #4 not judged",
        "│  └─ ! refine failed: no refined output",
        "└─ ★ #2 1.00  5/5 ✓✓✓✓✓  pass, answer",
        "○ #3 0.00  0/5 ✗✗✗✗✗  fail, supplied",
        "! draft failed: the draft is empty",
    ]
    lines = tree_lines(worked())
    assert [line.node_id for line in lines] == [0, 1, 4, None, 2, 3, None]
    assert [line.depth for line in lines] == [0, 1, 2, 2, 1, 0, 0]
    assert [line.fault.stage if line.fault else "" for line in lines].count("refine") == 1


def test_colour_repeats_what_glyphs_say() -> None:
    """Passing and failing nodes, votes and faults have their colours, the path is bold."""
    styles = [{str(span.style) for span in line.text.spans} for line in tree_lines(worked())]
    assert PALETTE["fail"] in styles[0] and PALETTE["answer"] in styles[0]
    assert PALETTE["pass"] in styles[1] and PALETTE["answer"] not in styles[1]
    assert PALETTE["fault"] in styles[3]
    assert PALETTE["fail"] not in styles[4]


def test_a_snippet_of_the_response() -> None:
    """Behind the line, cut to so many cells and on one line."""
    node = Node(id=0, parent=None, depth=0, response="one\ntwo three")
    (line,) = tree_lines(tree_of(node), snippet=8)
    assert line.plain.endswith("  one⏎two…")


def test_votes_that_could_not_be_read_and_probabilities() -> None:
    """An unread vote counts for neither side; the logprob judge's score is named as what it is."""
    unread = Judgement(verdicts=(True, None, False, True), critique="")
    likely = Judgement(verdicts=(True,), critique="", probability=0.734)
    nodes = [Node(id=0, parent=None, depth=0, response="r", judgement=j) for j in (unread, likely)]
    assert "0.67  2/3 ✓?✗✓" in tree_lines(tree_of(nodes[0]))[0].plain
    assert "0.73  P(yes) ✓" in tree_lines(tree_of(nodes[1]))[0].plain


def test_a_deep_chain_stays_readable_and_quick() -> None:
    """Of 3,000 levels the last few are drawn, and the rest are a number."""
    chain = make_tree((None, 1), *((index, 1) for index in range(2_999)))
    start = time.monotonic()
    lines = tree_lines(chain)
    assert time.monotonic() - start < 5
    assert len(lines) == 3_000
    assert lines[-1].depth == 2_999
    assert lines[-1].plain.startswith(f"⋯{2_999 - MAX_GUIDES} ")
    assert max(len(line.plain) for line in lines) < 80
    assert lines[MAX_GUIDES].plain.startswith("   ") and "⋯" not in lines[MAX_GUIDES].plain


def test_a_wide_tree() -> None:
    """500 nodes below one draft are 500 lines below it, the last one with the last guide."""
    lines = tree_lines(make_tree((None, 1), *[(0, 1)] * 499))
    assert len(lines) == 500
    assert lines[-2].plain.startswith("├─") and lines[-1].plain.startswith("└─")


def test_a_record_that_makes_no_sense() -> None:
    """Parents that are missing, later or the node itself, doubled ids, an answer that is not there."""
    bad = [(0, 0), (5, 99), (2, 4), (5, 0), (4, 5)]
    nodes = tuple(Node(id=i, parent=p, depth=7, response=f"r{i}") for i, p in bad)
    fault = Fault(parent=77, stage="judge", reason="lost")
    tree = worked().model_copy(update={"nodes": nodes, "faults": (fault,), "selected": 42})
    lines = tree_lines(tree)
    assert sorted(line.node_id for line in lines if line.node_id is not None) == [0, 2, 4, 5, 5]
    assert [line.depth for line in lines if line.node_id in (0, 4)] == [0, 1]
    assert header_lines(tree)[2].plain.startswith("no answer")
    assert all(node_sections(tree, node) for node in nodes)


def test_a_node_in_full() -> None:
    """What changed comes first, then all that the record holds, each under its title."""
    tree = worked()
    sections = node_sections(tree, tree.nodes[1])
    assert titles(sections) == [
        *("Change from #0", "Response", "Votes", "Critique (yes)"),
        *("Reflection before it", "Cost"),
    ]
    assert sections[0].body.plain == "r0r1"
    assert sections[0].raw == "[-r0-]{+r1+}"
    assert (
        body(node_sections(tree, tree.nodes[1], colour=False), "Change from #0") == sections[0].raw
    )
    assert body(sections, "Reflection before it") == "why 1"
    assert body(sections, "Votes").splitlines() == [
        "0.60  3/5 ✓✓✓✗✗  pass (passes above 0.5)",
        *(f"✓ vote {number}: yes" for number in (1, 2, 3)),
        *(f"✗ vote {number}: no" for number in (4, 5)),
    ]
    assert body(sections, "Cost").splitlines() == [
        "refiner: 1 call, 500 tokens read (300 cached), 30 generated, 0.5 s",
        "judge: 1 call, 1,000 tokens read, 10 generated, 0.8 s, 2 votes skipped",
        "seed: none",
    ]


def test_dissent_and_an_even_split() -> None:
    """Both kept votes say which side they are on; where there is no majority neither does."""
    split = Judgement(verdicts=(False, True, False), critique="bad", dissent="good")
    even = Judgement(verdicts=(False, True, None), critique="bad", dissent="good")
    for judgement, expected in (
        (split, ["Critique (no)", "Dissent (yes)"]),
        (even, ["Critique", "Dissent"]),
    ):
        node = Node(id=0, parent=None, depth=0, response="r", judgement=judgement)
        sections = node_sections(tree_of(node), node)
        assert titles(sections)[2:4] == expected
        assert sections[3].body.plain == "good"
    assert "? vote 3: no verdict" in body(sections, "Votes")


def test_facts_from_outside() -> None:
    """Ground truth and the rendered prompt appear where somebody knows them, and nowhere else."""
    tree = worked()
    asked: list[tuple[str, int]] = []

    findings = (
        Finding(type="length:words", constraint="fewer than 5 words", met=True, found="4"),
        Finding(type="punctuation:no_comma", constraint="no [b]comma[/b]", met=False),
    )

    def verdicts(of: SearchTree, node: Node) -> tuple[Finding, ...]:
        asked.append((of.prompt.id, node.id))
        return findings

    def rendered(of: SearchTree, node: Node) -> list[Message]:
        return [Message(role="user", content="Do it."), Message(role="assistant", content="Done.")]

    sections = node_sections(tree, tree.nodes[0], Annotations(verdicts, rendered))
    assert asked == [("p", 0)]
    expected = "✓ met: fewer than 5 words: 4\n✗ not met: no [b]comma[/b]"
    assert body(sections, "Constraints, by ground truth") == expected
    assert body(sections, "Prompt that produced it") == "user\nDo it.\nassistant\nDone.\n"
    nothing = Annotations(lambda of, node: (), lambda of, node: ())
    assert titles(node_sections(tree, tree.nodes[0], nothing)) == titles(
        node_sections(tree, tree.nodes[0])
    )


def test_findings_of_a_judge() -> None:
    """What programs found stands in the line and in a section, once; votes follow where a model judged too."""
    findings = (
        Finding(type="a:b", constraint="at least 300 words", met=False, found="214"),
        Finding(type="a:c", constraint="no commas", met=True),
    )
    by_programs = Judgement(verdicts=(), critique="c", findings=findings)
    met = tuple(finding.model_copy(update={"met": True}) for finding in findings)
    both = Judgement(verdicts=(True, True, False), critique="c", findings=met)
    lines = {by_programs: "0.50  1/2 met ✗✓  fail", both: "0.89  2/2 met ✓✓  2/3 ✓✓✗  pass"}
    for judgement, line in lines.items():
        node = Node(id=0, parent=None, depth=0, response="r", judgement=judgement)
        tree = tree_of(node)
        assert line in tree_lines(tree)[0].plain
        again = Annotations(lambda of, node: node.judgement.findings if node.judgement else ())
        sections = node_sections(tree, node, again)
        assert ("Votes" in titles(sections)) is (judgement is both)
        assert "Constraints, by ground truth" not in titles(sections)
    first = Node(id=0, parent=None, depth=0, response="r", judgement=by_programs)
    expected = "✗ not met: at least 300 words: 214\n✓ met: no commas"
    assert body(node_sections(tree_of(first), first), "Constraints, as judged") == expected


def test_supplied_unjudged_and_unchanged_nodes() -> None:
    """A root that was given has no writer; a node that was not judged says so; a copy changes nothing."""
    tree = worked()
    assert body(node_sections(tree, tree.nodes[3]), "Cost").startswith("supplied as a root")
    assert body(node_sections(tree, tree.nodes[4]), "Votes") == "not judged"
    same = tree.nodes[1].model_copy(update={"response": "r0"})
    (change, *_) = node_sections(tree, same)
    assert (change.body.plain, change.raw, change.pieces) == ("no change", "r0", ())


def test_a_long_text_is_cut_on_the_screen_only() -> None:
    """The section says how much is left out, and holds the whole text for copying."""
    long = "x" * 100_000
    node = Node(id=0, parent=None, depth=0, response=long)
    (response, *_) = node_sections(tree_of(node), node)
    assert response.raw == long
    assert response.body.plain == f"{'x' * SHOWN} … {100_000 - SHOWN:,} characters more"


def test_a_fault_in_full() -> None:
    """What failed and where, why, the text that could not be used, and what it cost all the same."""
    refine, draft = (fault_sections(fault) for fault in worked().faults)
    assert body(refine, "What failed") == "refine, below node #1"
    assert body(refine, "Reason") == "no refined output"
    assert body(refine, "Text that could not be used") == "I will not."
    assert body(refine, "Cost").startswith("refiner: 1 call, 500 tokens read (300 cached)")
    assert body(draft, "What failed") == "draft, among the drafts"
    assert "Text that could not be used" not in titles(draft)
    assert body(draft, "Cost").startswith("actor: 0 calls")


def test_the_prompt_in_full() -> None:
    """Every turn, and what else the row carried."""
    tree = worked()
    prompt = tree.prompt.model_copy(
        update={
            "messages": (Message(role="system", content="Be brief."), *tree.prompt.messages),
            "meta": {"level": 3},
            "source": "x.jsonl",
        }
    )
    sections = prompt_sections(tree.model_copy(update={"prompt": prompt}))
    assert [(section.title, section.body.plain) for section in sections] == [
        ("Prompt: system", "Be brief."),
        ("Prompt: user", "Say p."),
        ("Source", "x.jsonl"),
        ("Meta", '{\n "level": 3\n}'),
    ]


def test_header_lines() -> None:
    """Prompt, outcome, the answer's votes, the tree's size and each role's cost."""
    assert [line.plain for line in header_lines(worked())] == [
        "p  bfs  solved",
        "Say p.",
        "answer: #2 1.00  5/5 ✓✓✓✓✓  5 nodes, depth 2, 2 faults, 0.0 s",
        "actor: 1 call, 500 tokens read (300 cached), 30 generated, 0.5 s",
        "judge: 5 calls, 5,000 tokens read, 50 generated, 3.8 s, 10 votes skipped",
        "refiner: 4 calls, 2,000 tokens read (1,200 cached), 120 generated, 2.0 s",
    ]


@pytest.mark.parametrize(
    ("tree", "outcome"),
    [
        (make_tree((None, 1)), "not solved: nothing left to try"),
        (make_tree((None, 1)).model_copy(update={"stop": "budget"}), "not solved: budget spent"),
        (make_tree((None, None)), "answered, not judged"),
        (make_tree(), "not solved: nothing left to try"),
        (make_tree((None, 3)), "solved"),
    ],
)
def test_outcomes(tree: SearchTree, outcome: str) -> None:
    """Greedy decoding neither solves nor fails; an empty tree has no answer."""
    title, _, answer, *_ = header_lines(tree)
    assert title.plain == f"p  bfs  {outcome}"
    assert answer.plain.startswith("answer: #0" if tree.nodes else "no answer   0 nodes, depth 0")


def test_run_lines() -> None:
    """Settings, models, what was solved, what is true, and the cost."""
    manifest = {
        "config": {"strategy": "bfs", "budget": 15, "judge": "votes"},
        "models": {"actor": "a/model"},
        "seed": 0,
        "created": "2025-01-02T03:04:05+00:00",
    }
    summary = {
        "trees": 200,
        "solved": 150,
        "nodes": 1_234,
        "faults": 5,
        "calls": 9_000,
        "verified": 100,
        "passed_before": 0.5,
        "passed_after": 0.625,
        "prompt_tokens": 10_000,
        "completion_tokens": 2_000,
        "seconds": 61.5,
    }
    settings = [
        "strategy bfs, budget 15, judge votes, seed 0, 2025-01-02T03:04:05+00:00",
        "actor: a/model",
    ]
    assert [line.plain for line in run_lines(manifest, summary)] == [
        *settings,
        "trees 200, solved 150 (75.0 %), nodes 1,234, faults 5",
        "ground truth: 50.0 % before the search, 62.5 % after (of 100)",
        "tokens 10,000 read, 2,000 generated in 9,000 calls, 61.5 s",
    ]
    unfinished = [line.plain for line in run_lines(manifest)]
    assert unfinished == [*settings, "no summary yet: the run is in progress or was interrupted"]


def test_a_run_of_odd_files() -> None:
    """Missing fields, other types and hostile texts give lines, not errors."""
    manifest = {"config": 3, "models": {"judge": EVERYTHING}, "seed": None, "created": EVERYTHING}
    lines = run_lines(manifest, {"trees": "many", "verified": None})
    assert all(unseen(line.plain) == set() for line in lines)
    assert run_lines({}, {})[0].plain == "trees 0, solved 0, nodes 0, faults 0"


@given(trees())
@example(hostile_tree())
@example(make_tree())
def test_any_tree_can_be_shown(tree: SearchTree) -> None:
    """Every node and fault has a line and sections, and no text of theirs reaches a console as anything else."""
    lines = tree_lines(tree, snippet=30)
    assert sum(line.node_id is not None for line in lines) == len(tree.nodes)
    assert sum(line.fault is not None for line in lines) == len(tree.faults)
    shown: list[Text] = [*header_lines(tree), *(line.text for line in lines)]
    for node in tree.nodes:
        shown += [section.body for section in node_sections(tree, node)]
    for section in [*(s for f in tree.faults for s in fault_sections(f)), *prompt_sections(tree)]:
        shown.append(section.body)
    assert all(unseen(text.plain) == set() for text in shown)
    assert not any("\n" in line.plain for line in lines)
    out = io.StringIO()
    Console(file=out, width=60).print(*shown)
    assert unseen(out.getvalue()) == set()


def test_a_node_shows_what_the_strategy_computed() -> None:
    """Arms, visits and posteriors have a section of their own; a node without them has none."""
    node = make_root()
    computed = {"arm": "refine", "visits": 3, "value": 0.123456, "\x1b[1mname": "Beta(0.5, 5.5)"}
    with_statistics = node.model_copy(update={"statistics": computed})
    title = "Strategy, when it asked for this node"
    sections = {s.title: s for s in node_sections(tree_of(with_statistics), with_statistics)}
    assert sections[title].raw.startswith("arm: refine\nvisits: 3\nvalue: 0.1235\n")
    assert "\x1b" not in sections[title].body.plain
    assert title not in {s.title for s in node_sections(tree_of(node), node)}
    merged = node.model_copy(update={"second_parent": 4})
    sections = {s.title: s for s in node_sections(tree_of(merged), merged)}
    assert sections[title].raw == "merged with: #4"
