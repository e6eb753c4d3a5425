"""Before anything is generated: rows that the judge cannot check are refused, those without ground truth named."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from spar.config import load_decode
from spar.errors import UsageError
from spar.listener import Listener
from spar.run.decoding import prompt_source, run_decode
from spar.run.interactive import Session
from spar.store import TREES

COMMA = {"instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}
UNKNOWN = {"instruction_id_list": ["punctuation:no_colon"], "kwargs": [{}]}
QUOTED = {"instruction_id_list": ["startend:quotation"], "kwargs": "[{}]"}


class Notes(Listener):
    """Keeps the lines and counts the nodes."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.num_nodes = 0

    def note(self, line: str) -> None:
        self.lines.append(line)

    def node(self, prompt: Any, node: Any) -> None:
        self.num_nodes += 1


def decode(
    tmp_path: Path, rows: list[dict[str, Any]], *, overwrite: bool = False, **settings: Any
) -> Notes:
    """Decode rows with the engine that needs no model."""
    path = tmp_path / "rows.jsonl"
    lines = (json.dumps({"id": f"p{n}", "prompt": "Go.", **row}) for n, row in enumerate(rows))
    path.write_text("\n".join(lines), encoding="utf-8")
    values = {"prompts": str(path), "engine": "fake", "strategy": "bfs", "budget": 2, "votes": 1}
    config = load_decode(None, {**values, **settings})
    notes = Notes()
    source = prompt_source(config)
    asyncio.run(
        run_decode(config, source, out=tmp_path / "out", overwrite=overwrite, listener=notes)
    )
    return notes


def test_a_late_row_that_cannot_be_checked_stops_the_run_before_it_costs(tmp_path: Path) -> None:
    """The second row's type is unknown: it is named, and the first row was not searched."""
    notes = "row 2, prompt 'p1': no verifier knows the constraint type 'punctuation:no_colon'"
    with pytest.raises(UsageError, match=notes):
        decode(tmp_path, [COMMA, UNKNOWN], judge="verifier")
    assert not (tmp_path / "out").exists()  # so that another judge can use the directory


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"strategy": "best-of-n", "strategy_args": {"wave": 2}}, "option of best-of-n"),
        ({"judge": "verifier"}, "no verifier knows"),
        ({"refiner": "rewrite"}, "refiner rewrite"),
        ({"total_budget": 1}, "--total-budget 1 is less than the first round"),
    ],
    ids=["strategy", "judge", "refiner", "total"],
)
def test_overwrite_deletes_no_run_for_one_that_is_refused(
    settings: dict[str, Any], words: str, tmp_path: Path
) -> None:
    """The finished run is deleted once the new one may start, and not before."""
    decode(tmp_path, [UNKNOWN])
    trees = (tmp_path / "out" / TREES).read_bytes()
    assert trees
    with pytest.raises(UsageError, match=words):
        decode(tmp_path, [UNKNOWN], overwrite=True, **settings)
    assert (tmp_path / "out" / TREES).read_bytes() == trees


def test_a_strategy_without_a_judge_asks_none(tmp_path: Path) -> None:
    """Greedy never judges, so rows without constraints are answered; the missing ground truth is said."""
    notes = decode(tmp_path, [COMMA, UNKNOWN, {}], judge="verifier", strategy="greedy")
    assert notes.num_nodes == 3
    (line,) = [line for line in notes.lines if "cannot be checked" in line]
    assert line.startswith("prompts whose constraints cannot be checked, 1: ")


def test_prompts_without_ground_truth_are_named(tmp_path: Path) -> None:
    """With another judge the run goes on, and a line says which rows the summary leaves out."""
    notes = decode(tmp_path, [COMMA, QUOTED, UNKNOWN])
    assert notes.num_nodes > 0
    assert any("punctuation:no_colon" in line and "ground truth" in line for line in notes.lines)
    assert not any("startend" in line for line in notes.lines)


C_SHARP = {"instruction_id_list": ["keywords:forbidden_words"]}


@pytest.mark.parametrize("judge", ["verifier", "hybrid"])
def test_keywords_that_are_patterns_are_named_once(tmp_path: Path, judge: str) -> None:
    """The first such row, and how its text is written; that, and words without marks, give no line."""
    escaped = {**C_SHARP, "kwargs": [{"forbidden_words": ["C#|(?!)", "fox"]}]}
    patterns = {**C_SHARP, "kwargs": [{"forbidden_words": ["fox", "C#"]}]}
    notes = decode(tmp_path, [escaped, patterns, patterns], judge=judge)
    (line,) = [line for line in notes.lines if "regular expression" in line]
    assert line == (
        "prompt 'p1': keywords:forbidden_words takes 'C#' as a regular expression, which matches other texts "
        'than this; to mean the text, write "C#|(?!)" in JSON'
    )
    notes = decode(tmp_path, [escaped], judge=judge, overwrite=True)
    assert not any("regular expression" in line for line in notes.lines)


def test_a_session_refuses_before_it_generates() -> None:
    """A single search of a prompt that the verifier cannot check makes no node."""
    notes = Notes()
    config = load_decode(None, {"engine": "fake", "judge": "verifier", "strategy": "bfs"})
    with Session(config) as session, pytest.raises(UsageError, match="cannot check 1 of"):
        session.search({"prompt": "Go.", **UNKNOWN}, notes)
    assert notes.num_nodes == 0
