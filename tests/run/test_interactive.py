"""A session: searches and jobs with models that stay loaded."""

from __future__ import annotations

from pathlib import Path

from spar.config import load_decode
from spar.run.interactive import Session
from spar.run.job import Job
from spar.store import read_summary, read_trees
from spar.types import Message, Prompt


def prompts(count: int) -> list[Prompt]:
    """Plain prompts."""
    return [
        Prompt(id=str(i), messages=(Message(role="user", content=f"Say {i}."),))
        for i in range(count)
    ]


def test_the_summary_of_a_resumed_job_counts_every_tree(tmp_path: Path) -> None:
    """Three prompts, then five in the same directory: two are searched, five are counted."""
    with Session(load_decode("nano", {"engine": "fake"})) as session:
        session.run(Job("", prompts(3)), tmp_path / "run")
        summary = session.run(Job("", prompts(5)), tmp_path / "run")
    assert summary.trees == 5
    assert len(list(read_trees(tmp_path / "run"))) == 5
    stored = read_summary(tmp_path / "run")
    assert (stored["trees"], stored["prompts"]) == (5, 5)
    assert stored["engines"]
