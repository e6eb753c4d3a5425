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
    verdict_text,
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
    """Guides, ids and marks in columns; each fault below its parent, behind the parent's children."""
    assert [line.plain for line in tree_lines(worked())] == [
        "● #0       ✓✓✗✗✗",
        "├─ ○ #1    ✓✓✓✗✗",
        "│  ├─ ○ #4 not judged",
        "│  └─ ! refine failed: no refined output",
        "└─ ★ #2    ✓✓✓✓✓",
        "○ #3       ✗✗✗✗✗       supplied",
        "! draft failed: the draft is empty",
    ]
    lines = tree_lines(worked())
    assert [line.node_id for line in lines] == [0, 1, 4, None, 2, 3, None]
    assert [line.depth for line in lines] == [0, 1, 2, 2, 1, 0, 0]
    assert [line.fault.stage if line.fault else "" for line in lines].count("refine") == 1


def test_ground_truth_has_a_glyph_of_its_own() -> None:
    """A filled diamond is right and an empty one wrong; where nothing is known there is no such column."""
    tree = make_tree((None, 2), (0, 5), (0, None))
    rights = {0: False, 1: True, 2: None}
    lines = tree_lines(tree, truth=lambda node: rights[node.id])
    assert [line.plain for line in lines] == [
        "● #0    ◇ ✓✓✗✗✗       supplied",
        "├─ ★ #1 ◆ ✓✓✓✓✓",
        "└─ ○ #2   not judged",
    ]
    unknown = tree_lines(tree, truth=lambda node: None)
    assert [line.plain for line in unknown] == [line.plain for line in tree_lines(tree)]


def test_colour_repeats_what_glyphs_say() -> None:
    """Votes, faults and ground truth have their colours, the path is bold."""
    lines = tree_lines(worked(), truth=lambda node: node.id == 2)
    styles = [{str(span.style) for span in line.text.spans} for line in lines]
    assert PALETTE["fail"] in styles[0] and PALETTE["answer"] in styles[0]
    assert PALETTE["pass"] in styles[1] and PALETTE["answer"] not in styles[1]
    assert PALETTE["fault"] in styles[3]
    assert PALETTE["fail"] not in styles[4] and PALETTE["pass"] in styles[4]


def test_what_changed_stands_at_the_end_of_a_line() -> None:
    """A draft begins as its text does; a refinement shows its changed words, and no others."""
    texts = ["one\ntwo three four", "one\n2 three four five", "one\ntwo three four"]
    nodes = [
        Node(id=number, parent=0 if number else None, depth=min(number, 1), response=text)
        for number, text in enumerate(texts)
    ]
    draft, changed, same = tree_lines(tree_of(*nodes), snippet=12)
    assert draft.plain.endswith("  one⏎two thr…")
    assert changed.plain.endswith("  -two +2  +f…")
    assert same.plain.endswith("  no change")
    styles = {changed.text.plain[s.start : s.end]: str(s.style) for s in changed.text.spans}
    assert (styles["-two"], styles["+2"]) == (PALETTE["removed_words"], PALETTE["added_words"])


def test_marks_stand_once() -> None:
    """A vote that could not be read is ?; a probability and points are a number; many marks are a count."""
    judgements = {
        "✓?✗✓": Judgement(verdicts=(True, None, False, True), critique=""),
        "✓ 0.73": Judgement(verdicts=(True,), critique="", probability=0.734),
        "✗ 0.40": Judgement(verdicts=(True,), critique="", probability=0.4, points=(2,)),
        "9/20": Judgement(verdicts=(True,) * 9 + (False,) * 11, critique=""),
    }
    for marks, judgement in judgements.items():
        node = Node(id=0, parent=None, depth=0, response="r", judgement=judgement)
        (line,) = tree_lines(tree_of(node))
        assert line.judged.plain == marks
        assert line.plain == f"★ #0 {marks}  supplied"


def test_a_deep_chain_stays_readable_and_quick() -> None:
    """Of 3,000 levels the last few are drawn, and the rest are a number."""
    chain = make_tree((None, 1), *((index, 1) for index in range(2_999)))
    start = time.thread_time()
    lines = tree_lines(chain)
    assert time.thread_time() - start < 5
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
    assert header_lines(tree)[3].plain.startswith("no answer, ")
    assert all(node_sections(tree, node) for node in nodes)


def test_a_node_in_full() -> None:
    """The verdict comes first, then what changed, then all that the record holds, each under its title."""
    tree = worked()
    sections = node_sections(tree, tree.nodes[1])
    assert titles(sections) == [
        *("Verdict", "Change from #0", "Response", "Critique (yes)"),
        *("Reflection before it", "Cost"),
    ]
    change = sections[1]
    assert change.body.plain == "r0r1"
    assert change.raw == "[-r0-]{+r1+}"
    assert body(node_sections(tree, tree.nodes[1], colour=False), "Change from #0") == change.raw
    assert body(sections, "Reflection before it") == "why 1"
    assert body(sections, "Verdict") == "✓ pass: 3 of 5 votes yes (passes above 0.5)"
    assert sections[-1].summary == "2 calls, 40 tokens, 1.2 s"
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
    assert body(sections, "Verdict").startswith(
        "✗ fail: 1 of 2 votes yes, 1 vote without a verdict"
    )


def test_a_verdict_says_how_it_came_about() -> None:
    """Constraints, votes, a probability or points, and votes that were cut."""
    met = (Finding(type="a:b", constraint="c", met=True),)
    judgements = {
        "✓ pass: 1 of 1 constraint met": Judgement(verdicts=(), critique="", findings=met),
        "✓ pass: 1 of 1 constraint met, 1 of 1 vote yes (passes above 0.5)": Judgement(
            verdicts=(True,), critique="", findings=met
        ),
        "✓ pass: P(yes) 0.73 (passes above 0.5)": Judgement(
            verdicts=(True,), critique="", probability=0.734
        ),
        "✗ fail: 1 of 3 votes yes, P(yes) 0.34 on average (passes above 0.5)": Judgement(
            verdicts=(True, False, False), critique="", probabilities=(0.9, 0.12, 0.0)
        ),
        "✗ fail: points 3 - 1, 0.40 of 1 (passes above 0.5)": Judgement(
            verdicts=(True, None, False), critique="", probability=0.4, points=(3, None, 1)
        ),
        "✓ pass: 1 of 1 vote yes, 1 cut at the token limit (passes above 0.5)": Judgement(
            verdicts=(True, None), critique="", cut=(1,)
        ),
    }
    for line, judgement in judgements.items():
        assert verdict_text(judgement, 0.5).plain == line
    assert verdict_text(None, 0.5).plain == "not judged"


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
    assert body(sections, "Constraints") == "✓ fewer than 5 words: 4\n✗ no [b]comma[/b]"
    verdict = body(sections, "Verdict").splitlines()[1]
    assert verdict == "◇ wrong (ground truth)"
    passed = node_sections(tree, tree.nodes[2], Annotations(verdicts))
    assert body(passed, "Verdict").endswith("◇ wrong, the judge passed it (ground truth)")
    assert body(sections, "Prompt that produced it") == "user\nDo it.\nassistant\nDone.\n"
    nothing = Annotations(lambda of, node: (), lambda of, node: ())
    assert titles(node_sections(tree, tree.nodes[0], nothing)) == titles(
        node_sections(tree, tree.nodes[0])
    )


def test_findings_of_a_judge() -> None:
    """What programs found stands in the line and in a section, once, unless ground truth differs."""
    findings = (
        Finding(type="a:b", constraint="at least 300 words", met=False, found="214"),
        Finding(type="a:c", constraint="no commas", met=True),
    )
    by_programs = Judgement(verdicts=(), critique="c", findings=findings)
    met = tuple(finding.model_copy(update={"met": True}) for finding in findings)
    both = Judgement(verdicts=(True, True, False), critique="c", findings=met)
    lines = {by_programs: "✗✓", both: "✓✓ ✓✓✗"}
    for judgement, line in lines.items():
        node = Node(id=0, parent=None, depth=0, response="r", judgement=judgement)
        tree = tree_of(node)
        assert tree_lines(tree)[0].judged.plain == line
        again = Annotations(lambda of, node: node.judgement.findings if node.judgement else ())
        sections = node_sections(tree, node, again)
        assert titles(sections)[:3] == ["Verdict", "Constraints", "Response"]
    first = Node(id=0, parent=None, depth=0, response="r", judgement=by_programs)
    expected = "✗ at least 300 words: 214\n✓ no commas"
    assert body(node_sections(tree_of(first), first), "Constraints") == expected
    other = Annotations(lambda of, node: met)
    assert titles(node_sections(tree_of(first), first, other))[1:3] == [
        "Constraints, as judged",
        "Constraints, by ground truth",
    ]


def test_supplied_unjudged_and_unchanged_nodes() -> None:
    """A root that was given has no writer; a node that was not judged says so; a copy changes nothing."""
    tree = worked()
    assert body(node_sections(tree, tree.nodes[3]), "Cost").startswith("supplied as a root")
    assert body(node_sections(tree, tree.nodes[4]), "Verdict") == "not judged"
    same = tree.nodes[1].model_copy(update={"response": "r0"})
    (_, change, *_) = node_sections(tree, same)
    assert (change.body.plain, change.raw, change.pieces) == ("no change", "r0", ())


def test_a_long_text_is_cut_on_the_screen_only() -> None:
    """The section says how much is left out, and holds the whole text for copying."""
    long = "x" * 100_000
    node = Node(id=0, parent=None, depth=0, response=long)
    (_, response, *_) = node_sections(tree_of(node), node)
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
    """Prompt, outcome, the answer's votes, the tree's size, what the search did, and each role's cost."""
    assert [line.plain for line in header_lines(worked())] == [
        "p  bfs  solved",
        "Say p.",
        "answer: #2 1.00  5/5 ✓✓✓✓✓  5 nodes, depth 2, 2 faults, 0.0 s",
        "failed → fixed in 1 refinement, 10 calls",
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
