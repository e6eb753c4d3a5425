"""What the experiments read out of runs, on prompts of the embedded language."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from spar.config import EvalConfig
from spar.experiments.searches import table9
from spar.experiments.searches.table9 import JudgedDrafts, break_once
from spar.nano.tasks import prompts
from spar.record.evaluation import Example, shares_of
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


def write_drafts(folder: Path, drafts: Sequence[tuple[Prompt, str]]) -> None:
    """A run directory with a draft for each prompt."""
    made = {"strategy": "greedy", "config": "", "selected": 0, "stop": "exhausted"}
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "trees.jsonl").open("w") as file:
        for prompt, response in drafts:
            root = Node(id=0, parent=None, depth=0, response=response)
            file.write(f"{SearchTree(prompt=prompt, nodes=(root,), **made).to_json()}\n")


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
    write_drafts(tmp_path, [(prompt, response), (failing, break_once(prompt, response) or "")])
    found = JudgedDrafts(str(tmp_path)).load(EvalConfig())
    assert [(one.id, one.meta["label"], one.meta["sets"]) for one in found] == [
        ("failing", False, ["natural"]),
        (prompt.id, True, ["natural", "adversarial"]),
        (f"{prompt.id}/edited", False, ["adversarial"]),
    ]
    adversarial = JudgedDrafts(str(tmp_path), only="adversarial").load(EvalConfig())
    assert [one.id for one in adversarial] == [prompt.id, f"{prompt.id}/edited"]


def test_a_draft_that_no_edit_breaks_is_natural_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So adversarial outputs are pairs: as many meet their prompts as do not."""
    write_drafts(tmp_path, [passing()])
    monkeypatch.setattr(table9, "break_once", lambda prompt, response: None)
    (natural,) = JudgedDrafts(str(tmp_path)).load(EvalConfig())
    assert natural.meta["sets"] == ["natural"]


def test_the_outputs_of_a_prompt_are_one_draw() -> None:
    """Their shares are added; an example without a group is a draw of its own."""
    examples = [
        Example(id=name, group=group, response=None, passed=None, scores={"acc": (right, 1.0)})
        for name, group, right in (("a", "a", 1.0), ("a/edited", "a", 0.0), ("b", "", 1.0))
    ]
    assert shares_of(examples, "acc") == {"a": (1.0, 2.0), "b": (1.0, 1.0)}
    assert shares_of(examples, "f1") == {}


@pytest.mark.parametrize("response", ["", " "])
def test_an_empty_response_cannot_be_broken(response: str) -> None:
    """There is no word to leave out."""
    prompt, _ = passing()
    assert break_once(prompt, response) is None or not passes(response, prompt)
