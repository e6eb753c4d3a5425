"""Run summaries as table rows and as lines of details."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.text import Text

from spar.view.palette import PALETTE
from spar.view.text import one_line, pluralize
from tui.index.run_summary import RunSummary
from tui.widgets.bars import abbreviate
from tui.widgets.table import Column

COLUMNS = (
    Column("mark", "", 1),
    Column("name", "run", 0, cut_middle=True),
    Column("state", "state", 10),
    Column("kind", "kind", 10, from_width=134),
    Column("strategy", "strategy", 9),
    Column("budget", "budget", 7, right=True),
    Column("model", "model", 18, from_width=117, cut_middle=True),
    Column("trees", "trees", 7, right=True),
    Column("solved", "solved", 7, right=True),
    Column("truth", "truth", 6, right=True),
    Column("tokens", "tokens", 7, right=True),
    Column("date", "started", 16, from_width=98),
)
"""`model` and `date` do not fit in 80 cells; `run_detail` has them."""
_STATES = {
    "running": ("● running", "answer"),
    "finished": ("✓ finished", "pass"),
    "stopped": ("■ stopped", "fault"),
    "broken": ("✗ broken", "fail"),
}
_NAME = 200
_GENERIC_NAMES = frozenset({"model", "adapter", "checkpoint", "final"})
"""Names of folders that say nothing of the model in them."""


def run_cells(run: RunSummary, roots: Sequence[Path], *, marked: bool) -> Mapping[str, Text]:
    """The cells of a run."""
    glyph, style = _STATES[run.state]
    cells = {
        "mark": "*" if marked else "",
        "name": run_name(run.directory, roots),
        "kind": run.kind,
        "strategy": run.strategy or (run.kind if run.kind == "training" else ""),
        "budget": "" if run.budget is None else str(run.budget),
        "model": _models(run),
        "trees": _trees(run),
        "solved": "-" if run.unjudged else _percent(run.solved),
        "truth": _percent(run.truth),
        "tokens": "" if run.tokens is None else abbreviate(run.tokens),
        "date": run.date[:16].replace("T", " "),
    }
    texts = {name: Text(one_line(value, _NAME)) for name, value in cells.items()}
    return {**texts, "state": Text(glyph, style=PALETTE[style])}


def run_name(directory: Path, roots: Sequence[Path]) -> str:
    """A run's path relative to one of the roots, or its own name if it is a root."""
    for root in roots:
        if directory == root:
            return directory.name or str(directory)
        if directory.is_relative_to(root):
            return str(directory.relative_to(root))
    return str(directory)


def run_detail(run: RunSummary) -> Text:
    """Details that do not fit in the table: directory, models, benchmark, date and error."""
    lines = [str(run.directory)]
    about = [f"{role}: {model}" for role, model in run.models]
    about += [run.benchmark] if run.benchmark else []
    about += [run.date.replace("T", " ")] if run.date else []
    lines.append(", ".join(about))
    text = Text("\n".join(one_line(line, _NAME) for line in lines))
    reasons = [run.reason] if run.reason else []
    if run.state == "stopped" and run.trees is not None and run.expected is None:
        reasons.append(pluralize(run.trees, "tree"))
    if run.state == "stopped" and run.kind != "training":
        reasons.append(f"to resume, run its command again with --out {run.directory}")
    if run.unjudged:
        reasons.append("no judge was called")
    if reasons:
        style = PALETTE["note" if run.state == "finished" else "fault"]
        text.append(f"\n{one_line('; '.join(reasons), _NAME)}", style=style)
    return text


def sort_runs(
    runs: Sequence[RunSummary], column: str | None, *, descending: bool
) -> list[RunSummary]:
    """Sort runs, those without a value last; without a column, keep their order."""
    if column in (None, "mark"):
        return list(runs)
    present = [run for run in runs if _value(run, column) not in (None, "")]
    missing = [run for run in runs if _value(run, column) in (None, "")]
    return [*sorted(present, key=lambda r: _value(r, column), reverse=descending), *missing]


def _value(run: RunSummary, column: str | None) -> Any:
    if column == "name":
        return str(run.directory)
    return _models(run) if column == "model" else getattr(run, column or "")


def _models(run: RunSummary) -> str:
    """The distinct models, each by its name."""
    return ", ".join(dict.fromkeys(model_name(model) for _, model in run.models))


def model_name(model: str) -> str:
    """The last part of a model's path; the stage that trained it where that is called `model`."""
    parts = model.rstrip("/").split("/")
    return "/".join(parts[-3:-1]) if parts[-1] in _GENERIC_NAMES and len(parts) > 1 else parts[-1]


def _trees(run: RunSummary) -> str:
    """The number of trees, of those expected while they are not all there."""
    if run.trees is None:
        return ""
    expected = run.expected or 0
    return abbreviate(run.trees) + (f"/{abbreviate(expected)}" if run.trees < expected else "")


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f}%"
