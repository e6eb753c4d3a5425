"""What a table of runs side by side says of a run: `spar view` prints it and serves it."""

from __future__ import annotations

from spar.record.run_table import RunRow
from spar.view.text import one_line
from tui.index.run_summary import RunSummary

PASS = "pass"
"""The metric of a run that is no evaluation: whether an answer passes by ground truth."""
_NAME = 160
_GENERIC_NAMES = frozenset({"model", "adapter", "checkpoint", "final"})
"""Names of folders that say nothing of the model in them."""


def run_row(run: RunSummary, name: str) -> RunRow:
    """A run as a row, its texts in visible forms."""
    score = run.metrics[0].last if run.metrics else None
    each = 1 / run.trees if run.trees else None
    metric = run.metrics[0].name if run.metrics else PASS
    return RunRow(
        run=one_line(name, _NAME),
        state=run.state,
        prompts=one_line(run.benchmark or run.prompts, _NAME),
        model=one_line(models_text(run), _NAME),
        strategy=one_line(run.strategy, _NAME),
        budget=None if run.single and run.budget != 1 else run.budget,
        before=run.before,
        metric=one_line(metric, _NAME),
        value=run.truth,
        stderr=run.error,
        unit=one_line(score.unit, _NAME) if score else "",
        n=run.trees,
        expected=None if run.state == "finished" else run.expected,
        solved=None if run.unjudged else run.solved,
        calls=None if each is None or run.calls is None else run.calls * each,
        tokens=run.tokens_each,
        run_seconds=run.seconds,
    )


def models_text(run: RunSummary) -> str:
    """The distinct models, each by its name."""
    return ", ".join(dict.fromkeys(model_name(model) for _, model in run.models))


def model_name(model: str) -> str:
    """The last part of a model's path; the stage that trained it where that is called `model`."""
    parts = model.rstrip("/").split("/")
    return "/".join(parts[-3:-1]) if parts[-1] in _GENERIC_NAMES and len(parts) > 1 else parts[-1]
