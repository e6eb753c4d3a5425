"""What the list of runs says beside its table: its status, and how to begin where there are no runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.text import Text

from spar.record.outcomes import pluralize
from spar.view.palette import PALETTE
from spar.view.text import one_line
from tui.index.watcher import RunScan


def scan_status(scan: RunScan, num_marked: int) -> Text:
    """How many runs there are, running and marked, and what could not be scanned."""
    running = sum(run.state == "running" for run in scan.runs)
    parts = [pluralize(len(scan.runs), "run")]
    parts += [f"{running:,} running"] if running else []
    parts += [f"{num_marked} marked"] if num_marked else []
    parts += [one_line(note, 200) for note in scan.notes]
    return Text(", ".join(parts if scan.complete else [*parts, "scanning"]))


def welcome_text(paths: Sequence[Path]) -> Text:
    """The commands that create a first run."""
    where = ", ".join(one_line(str(path), 60) for path in paths)
    text = Text(f"There are no runs in {where} yet.\n\n")
    text.append("To create one, run one of these commands in a shell:\n\n")
    for command, what in (
        ("spar decode --strategy bfs --budget 15", "the built-in prompts, the embedded model"),
        ("spar decode prompts.jsonl --model DIR", "your prompts, your model"),
        ("spar decode prompts.jsonl --base-url URL", "a server"),
    ):
        text.append(f"  {command}\n", style=PALETTE["head"]).append(f"      {what}\n")
    return text.append(
        "\nIt appears here as soon as it starts. Use spar tui DIR for another folder.\n"
    )
