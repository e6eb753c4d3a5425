"""What the cells of a run say, as plain texts: what a list of runs draws, filters and sorts by."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from tui.index.run_rows import models_text
from tui.index.run_summary import RunSummary
from tui.widgets.bars import abbreviate, seconds_text

_RESUMED = " ↻"


def cell_texts(run: RunSummary, now: datetime | None = None) -> dict[str, str]:
    """Column to what a run has there; `now` is the time for which the time left is computed."""
    return {
        "state": _state(run, now),
        "strategy": strategy_text(run),
        "prompts": run.prompts,
        "model": models_text(run),
        "judge": run.judge,
        "trees": _trees(run),
        "solved": "-" if run.unjudged else percent(run.solved),
        "pass": _passes(run),
        "error": "" if run.error is None or not is_share(run) else f"±{100 * run.error:.1f}",
        "cost": "" if run.tokens_each is None else f"{abbreviate(round(run.tokens_each))} tok",
        "date": run.date[:16].replace("T", " "),
    }


def run_name(directory: Path, labels: Mapping[Path, str]) -> str:
    """A run's path below one of the folders after the folder's label (`path_labels`), or its own name if it is that folder."""
    for root, label in labels.items():
        if directory == root:
            return label or directory.name or str(directory)
        if directory.is_relative_to(root):
            return str(label / directory.relative_to(root))
    return str(directory)


def strategy_text(run: RunSummary) -> str:
    """The strategy with its budget; empty where it is not known."""
    name = run.strategy or (run.kind if run.kind == "training" else "")
    shows_budget = name and not run.single and run.budget and run.budget > 1
    return f"{name} {run.budget}" if shows_budget else name


def passing_share(run: RunSummary) -> float | None:
    """The value of its column of passes: by ground truth, without any by the judge."""
    return run.truth if run.truth is not None or run.unjudged else run.solved


def is_share(run: RunSummary) -> bool:
    """Whether the first metric is a share."""
    last = run.metrics[0].last if run.metrics else None
    return last is None or last.is_share


def percent(share: float | None) -> str:
    """A share in per cent; empty without one."""
    return "" if share is None else f"{100 * share:.1f} %"


def _state(run: RunSummary, now: datetime | None) -> str:
    resumed = _RESUMED if run.is_resumed else ""
    if run.state == "running" and run.stage:
        return run.stage
    left = run.starts[-1].seconds_left(run.trees or 0, now) if run.starts and now else None
    if run.state == "running" and left is not None:
        return f"{seconds_text(left)} left"
    return f"{run.state}{resumed}"


def _trees(run: RunSummary) -> str:
    """The number of trees, of those expected while they are not all there."""
    if run.trees is None:
        return ""
    expected = run.expected or 0
    return abbreviate(run.trees) + (f"/{abbreviate(expected)}" if run.trees < expected else "")


def _passes(run: RunSummary) -> str:
    """The share that passes, after `→` the one after the search or the training; by the judge without ground truth."""
    if run.truth is None:
        return "" if run.solved is None or run.unjudged else f"judge {percent(run.solved)}"
    if not is_share(run):
        return f"{run.truth:.2f}"
    after = f"{100 * run.truth:.1f} %"
    return after if run.before is None else f"{100 * run.before:.1f} → {after}"
