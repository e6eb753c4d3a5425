"""What the experiments read out of runs, on prompts of the embedded language."""

from __future__ import annotations

from pathlib import Path

import pytest

from spar.config import EvalConfig
from spar.experiments.judging import JudgedDrafts, break_once
from spar.nano.tasks import prompts
from spar.types import Node, Prompt, SearchTree
from spar.verifiers import passes

WORDS = "The old bell rings every evening near the quiet river while a small grey fox waits ."


def passing() -> tuple[Prompt, str]:
    """A prompt, and a response that meets its constraints."""
    for prompt in prompts("test", 0, 500):
        for size in range(3, 16):
            response = " ".join(WORDS.split()[:size]) + "."
            if passes(response, prompt) and break_once(prompt, response):
                return prompt, response
    raise AssertionError("no prompt is that easy")


def test_an_adversarial_output_is_one_edit_away_and_fails() -> None:
    """One word left out or repeated; the same edit each time."""
    prompt, response = passing()
    edited = break_once(prompt, response)
    assert edited is not None and edited == break_once(prompt, response)
    assert not passes(edited, prompt)
    assert abs(len(edited.split(" ")) - len(response.split(" "))) == 1


def test_the_judge_sees_drafts_and_broken_ones_with_the_truth(tmp_path: Path) -> None:
    """A passing draft is in both sets and has a broken form; a failing one is natural only."""
    prompt, response = passing()
    failing = prompt.model_copy(update={"id": "failing"})
    made = {"strategy": "greedy", "config": "", "selected": 0, "stop": "exhausted"}
    texts = [(prompt, response), (failing, break_once(prompt, response))]
    trees = [
        SearchTree(
            prompt=one, nodes=(Node(id=0, parent=None, depth=0, response=text or ""),), **made
        )
        for one, text in texts
    ]
    (tmp_path / "trees.jsonl").write_text("".join(f"{tree.to_json()}\n" for tree in trees))
    found = JudgedDrafts(str(tmp_path)).load(EvalConfig())
    assert [(one.id, one.meta["label"], one.meta["sets"]) for one in found] == [
        ("failing", False, ["natural"]),
        (prompt.id, True, ["natural", "adversarial"]),
        (f"{prompt.id}/edited", False, ["adversarial"]),
    ]


@pytest.mark.parametrize("response", ["", " "])
def test_an_empty_response_cannot_be_broken(response: str) -> None:
    """There is no word to leave out."""
    prompt, _ = passing()
    assert break_once(prompt, response) is None or not passes(response, prompt)
