"""The refiners of loops as judges, and their training examples, on runs that are written by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from spar.experiments.experiment import Plan
from spar.experiments.loops import refiners
from spar.experiments.loops.loops import Loops
from spar.experiments.loops.refiners import BROKEN_RIGHT, REFINED, VOTE_RIGHT
from spar.experiments.searches.table9 import ADVERSARIAL, NATURAL, break_once
from spar.listener import Listener
from spar.record.experiments import Number
from spar.record.training import TrainReport, iteration_folder
from spar.record.training_data import RefinerExample
from spar.train.loop_stages import Models
from spar.types import Judgement, Message, Node, Prompt, SearchTree
from tests.experiments.test_measuring import passing

MADE: dict[str, Any] = {"strategy": "greedy", "config": "", "selected": 0, "stop": "exhausted"}
TURNS = (Message(role="user", content="Judge."), Message(role="assistant", content="Yes"))


def votes(*verdicts: bool) -> Judgement:
    """A judgement."""
    return Judgement(verdicts=verdicts, critique="Final Judgement: Yes")


def write_trees(folder: Path, *trees: SearchTree) -> None:
    """A run directory."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "trees.jsonl").write_text("".join(f"{tree.to_json()}\n" for tree in trees))


def write_iteration(folder: Path, examples: Sequence[RefinerExample]) -> None:
    """A draft that passes, with three of five votes, and below it a refinement that fails, on which three of five err."""
    prompt, response = passing()
    draft = Node(id=0, parent=None, depth=0, response=response)
    good = draft.model_copy(update={"judgement": votes(True, True, True, False, False)})
    refined = Node(
        id=1,
        parent=0,
        depth=1,
        response=break_once(prompt, response) or "",
        judgement=votes(True, True, True, False, False),
    )
    write_trees(folder / "judge", SearchTree(prompt=prompt, nodes=(good,), **MADE))
    write_trees(folder / "search", SearchTree(prompt=prompt, nodes=(good, refined), **MADE))
    (folder / "build").mkdir()
    rows = "".join(f"{example.model_dump_json()}\n" for example in examples)
    (folder / "build" / "rft.jsonl").write_text(rows)
    report = TrainReport(
        model="model", examples=2, truncated=0, steps=4, loss=0.1, processes=1, seconds=1.0
    )
    (folder / "rft").mkdir()
    (folder / "rft" / "report.json").write_text(report.model_dump_json())


def test_the_examples_of_refiners_are_held_against_programs(tmp_path: Path) -> None:
    """A right label on a draft and a wrong one on a refinement; judgements that the whole loop of the same seed learns are counted."""
    prompt, _ = passing()
    common = {"prompt_id": prompt.id, "score": 0.6, "messages": TURNS}
    of_draft = RefinerExample(kind="draft", verdict=True, run="drafts", node=0, **common)
    of_refinement = RefinerExample(kind="tree", verdict=True, run="search", node=1, **common)
    refine = RefinerExample(kind="refine", run="search", node=1, **common)
    other_turns = (TURNS[0], Message(role="assistant", content="No"))
    unshared = of_draft.model_copy(update={"messages": other_turns})
    for name in ("whole-0", "whole-1", "other-0"):
        write_iteration(iteration_folder(tmp_path / name, 1), (of_draft, of_refinement, refine))
    write_iteration(iteration_folder(tmp_path / "other-1", 1), (unshared,))
    whole, other = (
        Loops(tuple(tmp_path / f"{name}-{seed}" for seed in (0, 1)), (0, 1))
        for name in ("whole", "other")
    )
    table = refiners.examples_table("examples", {"whole": whole, "other": other})
    first, second = (
        [cell.value if isinstance(cell, Number) else cell for cell in row] for row in table.rows
    )
    assert first == ["whole", 1, 2, 0.5, 0.5, 0.5, 1, 0.0, None, 4]
    assert second[:4] == ["other", 1, 2, 0.25] and second[4:6] == pytest.approx([0.75, 0.55])
    assert second[-2:] == [0.5, 4]


async def test_refiners_judge_drafts_that_pass_and_that_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Votes on either kind, majorities, and adversarial outputs, of each seed's own drafts; a prompt's outputs are one draw."""
    prompt, _ = passing()

    def output(name: str, pair: str, label: bool, sets: Sequence[str], yes: int) -> SearchTree:
        meta = {"label": label, "pair": pair, "sets": list(sets)}
        judged = votes(*[True] * yes, *[False] * (5 - yes))
        node = Node(id=0, parent=None, depth=0, response="x", judgement=judged)
        return SearchTree(
            prompt=Prompt(id=name, messages=prompt.messages, meta=meta), nodes=(node,), **MADE
        )

    asked: list[tuple[str, str, str, int]] = []

    async def run_evaluation(plan: Plan, benchmark: str, config: Any, out: Path) -> None:
        drafts = config.benchmark_args["drafts"]
        asked.append((config.refiner_model, drafts, out.parent.name, config.judge_votes))
        write_trees(
            out / benchmark,
            output("a", "a", True, (NATURAL, ADVERSARIAL), 4),
            output("a/edited", "a", False, (ADVERSARIAL,), 3),
            output("b", "b", False, (NATURAL,), 0),
        )

    async def first_tested_drafts(plan: Plan, loops: Loops) -> list[Path]:
        return [Path("drafts-0"), Path("drafts-1")]

    monkeypatch.setattr(refiners, "run_evaluation", run_evaluation)
    monkeypatch.setattr(refiners, "first_tested_drafts", first_tested_drafts)
    monkeypatch.setattr(Loops, "models", lambda _, time: [Models("", f"refiner-{time}")] * 2)
    monkeypatch.setattr(Loops, "shares", lambda *_: [{"a": (1.0, 1.0)}] * 2)
    plan = replace(Plan(seeds=2, quick=True, listener=Listener()), runs=tmp_path)
    found = await refiners.judge_tests(plan, "no-search", Loops((tmp_path,) * 2, (0, 2)), 2)
    assert asked == [
        ("refiner-2", f"drafts-{seed}", f"no-search-2-seed-{seed}", 5) for seed in (0, 1)
    ]
    assert found[VOTE_RIGHT] == [{"a": (4.0, 5.0), "b": (5.0, 5.0)}] * 2
    assert found["Yes to drafts that pass, %"] == [{"a": (4.0, 5.0)}] * 2
    assert found["No to drafts that fail, %"] == [{"b": (5.0, 5.0)}] * 2
    assert found["majority right, %"] == [{"a": (1.0, 1.0), "b": (1.0, 1.0)}] * 2
    assert found[BROKEN_RIGHT] == [{"a": (6.0, 10.0)}] * 2
    assert found["adversarial: majority right, %"] == [{"a": (1.0, 2.0)}] * 2
    assert found[REFINED] == [{"a": (1.0, 1.0)}] * 2
