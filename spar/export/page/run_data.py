"""A run and its totals as the JSON values that the page's script reads (assets/dashboard.js)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spar.errors import SparError, UsageError
from spar.export.page.tree_data import IDENTIFIER, TITLE, Json, usage_data
from spar.record.evaluation import RESULTS, read_results
from spar.record.layout import absolute_path
from spar.record.run_log import num_prompts, read_starts
from spar.record.run_outcomes import BeforeAfter, RunOutcomes, Share
from spar.store import TREES, read_manifest, read_summary
from spar.view.text import one_line

_SETTINGS = ("strategy", "budget", "votes", "judge", "refiner", "benchmark", "limit", "gate")
"""Settings that say what a run is."""


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What a run directory says of itself."""

    name: str
    facts: tuple[tuple[str, str], ...] = ()
    """Settings and origin, label and value."""
    expected: int | None = None
    """Number of prompts that it was started for; None where that is unknown."""
    metrics: tuple[Json, ...] = ()
    """Of an evaluation: name, value, standard error, n and unit."""


def run_facts(path: Path, name: str = "") -> RunFacts:
    """What the run directory, or the file of trees, says of itself; what is missing is left out."""
    directory = path if path.is_dir() else path.parent
    name = one_line(name or run_name(path), IDENTIFIER)
    try:
        manifest = read_manifest(directory)
    except UsageError:
        return RunFacts(name)
    config = manifest.config
    settings = [(key, str(config[key])) for key in _SETTINGS if config.get(key) not in (None, "")]
    models: dict[str, list[str]] = {}
    for role, model in manifest.models.items():
        models.setdefault(str(model), []).append(role)
    facts = [
        *settings,
        *((" and ".join(roles), model) for model, roles in models.items()),
        *([("seed", str(manifest.seed))] if manifest.seed is not None else []),
        ("started", manifest.created),
        ("spar", manifest.spar_version),
    ]
    return RunFacts(
        name,
        tuple((label, one_line(value, TITLE)) for label, value in facts),
        num_prompts(config, _totals(directory), read_starts(directory)),
        _metrics(directory),
    )


def run_name(path: Path) -> str:
    """The last two parts of a run's path, since many runs are called after their strategy alone."""
    directory = path if path.is_dir() or path.name != TREES else path.parent
    parts = [part for part in absolute_path(directory).parts if part != "/"]
    return "/".join(parts[-2:])


def totals_data(totals: RunOutcomes) -> Json:
    """The totals of a run: what the dashboard shows."""
    return {
        "trees": totals.trees,
        "nodes": totals.nodes,
        "refinements": totals.refinements,
        "seconds": round(totals.seconds, 3),
        "unjudged": totals.unjudged,
        "unanswered": totals.unanswered,
        "faulty": totals.faulty,
        "stops": dict(totals.stops),
        "changes": dict(totals.changes),
        "shown": _before_after(totals.shown),
        "truth": _before_after(totals.by_truth),
        "judge": _before_after(totals.by_judge),
        "too_lenient": totals.too_lenient,
        "too_strict": totals.too_strict,
        "compared": totals.compared,
        "constraints": [
            [one_line(name, IDENTIFIER), kind.n, kind.before, kind.after]
            for name, kind in totals.failing_types()
        ],
        "depths": [
            [point.depth, point.reached, point.mean, point.stderr]
            for point in totals.score_by_depth()
        ],
        "usage": usage_data(totals.roles.items()),
    }


def _before_after(shares: BeforeAfter) -> Json | None:
    if not shares.after.n:
        return None
    return {
        "before": _share(shares.before),
        "after": _share(shares.after),
        "gain": shares.gain,
        "n": shares.after.n,
    }


def _share(share: Share) -> list[Any]:
    return [share.value, share.stderr]


def _totals(directory: Path) -> Mapping[str, Any]:
    """The content of `summary.json`; empty while the run has none, or where it is damaged."""
    try:
        return read_summary(directory)
    except SparError:
        return {}


def _metrics(directory: Path) -> tuple[Json, ...]:
    if not (directory / RESULTS).is_file():
        return ()
    try:
        results = read_results(directory)
    except UsageError:
        return ()
    units: Mapping[str, str] = results.units
    return tuple(
        {
            "name": one_line(name, IDENTIFIER),
            "value": metric.value,
            "stderr": metric.stderr,
            "n": metric.n,
            "unit": units.get(name, ""),
        }
        for name, metric in results.metrics.items()
    )
