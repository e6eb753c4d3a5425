"""Runs of the embedded model from prompts to answers, by ground truth."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

import pytest

from spar.cli.app import app
from spar.store import read_trees
from spar.verifiers import passes
from tests.requires import requires

pytestmark = [pytest.mark.model, pytest.mark.slow, requires("torch", "transformers")]

PROMPTS = 12


def decode(out: Path, *flags: str, limit: int = PROMPTS) -> dict[str, float]:
    """Run `spar decode` on the first test prompts, in this process; returns the summary it prints."""
    fixed = ("--limit", str(limit), "--json", "--display", "none", "--out", str(out))
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        app(["decode", *fixed, *flags], standalone_mode=False)
    summary: dict[str, float] = json.loads(printed.getvalue())
    return summary


def test_a_search_turns_failing_answers_into_passing_ones(tmp_path: Path) -> None:
    """BFS with budget 15 passes more prompts than its greedy drafts, and its summary has both rates."""
    summary = decode(tmp_path / "bfs", "--strategy", "bfs", "--budget", "15")
    trees = list(read_trees(tmp_path / "bfs"))
    truths = [bool(tree.answer and passes(tree.answer, tree.prompt)) for tree in trees]
    drafts = [bool(passes(tree.nodes[0].response, tree.prompt)) for tree in trees]
    assert len(trees) == PROMPTS
    assert summary["passed_after"] == sum(truths) / PROMPTS
    assert summary["passed_before"] == sum(drafts) / PROMPTS
    assert all(len(tree.nodes) + len(tree.faults) <= 15 for tree in trees)
    assert sum(truths) > sum(drafts)


def test_the_verifier_as_judge_is_never_wrong(tmp_path: Path) -> None:
    """With ground truth as the judge, a tree is solved exactly if its answer passes, and votes cost nothing."""
    decode(tmp_path / "v", "--judge", "verifier", "--strategy", "dfs", "--budget", "7")
    for tree in read_trees(tmp_path / "v"):
        assert tree.solved == passes(tree.answer or "", tree.prompt)
        assert tree.usage.calls <= 7 * 3


def test_a_run_does_not_depend_on_its_batches(tmp_path: Path) -> None:
    """With 2 or 64 trees in flight, the same seed gives the same responses and verdicts."""
    runs = []
    for concurrency in ("2", "64"):
        out = tmp_path / concurrency
        decode(out, "--budget", "5", "--concurrency", concurrency, limit=6)
        runs.append(
            {
                tree.prompt.id: [
                    (n.response, n.judgement and n.judgement.verdicts) for n in tree.nodes
                ]
                for tree in read_trees(out)
            }
        )
    assert runs[0] == runs[1]


def test_the_logprob_judge_scores_between_no_and_yes(tmp_path: Path) -> None:
    """Scores are the model's probabilities of its verdicts, one critique per response."""
    decode(tmp_path / "l", "--judge", "logprob", "--strategy", "best-of-n", "--budget", "2")
    scores = [node.score for tree in read_trees(tmp_path / "l") for node in tree.nodes]
    assert all(-1 <= score <= 1 for score in scores)
    assert len(set(scores)) > 10


def test_a_prompt_beyond_the_context_is_a_fault_of_its_tree(tmp_path: Path) -> None:
    """The long prompt's tree has faults and no answer; the other prompt is answered, and the run succeeds."""
    rows = [
        {"id": "long", "prompt": "word " * 5000},
        {"id": "short", "prompt": "Write something short."},
    ]
    path = tmp_path / "p.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    summary = decode(tmp_path / "r", str(path), "--budget", "3")
    trees = {tree.prompt.id: tree for tree in read_trees(tmp_path / "r")}
    assert summary["unanswered"] == 1
    assert trees["long"].nodes == ()
    assert "context" in trees["long"].faults[0].reason
    assert trees["short"].answer
