"""Summarize a run directory from its small files (`RunSummary`).

A run that stopped early looks finished if neither its totals nor its settings give the number of prompts.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from spar.errors import UsageError
from spar.record.evaluation import RESULTS
from spar.record.layout import BUILT_IN_PROMPTS, EVAL_STAGE, LAST_TRAINING
from spar.record.training import ORIGIN, SCORES_FILE, iteration_folder, iteration_number
from spar.store import LOCK, SUMMARY, TREES, read_manifest

try:
    import fcntl
except ImportError:  # Windows: runs in progress are not detected
    fcntl = None  # type: ignore[assignment]

RunKind = Literal["decode", "evaluation", "training"]
RunState = Literal["running", "finished", "stopped", "broken"]

MAX_FIRST_BYTES = 1 << 20
"""A longer first line is not read to find out whether a run was judged."""
STALE_SECONDS = 60.0
"""If the trees are this much newer than the totals, the run was resumed and then killed."""


@dataclass(frozen=True, slots=True)
class RunSummary:
    """One run, as a row of a table."""

    directory: Path
    kind: RunKind
    state: RunState
    reason: str = ""
    """Why the run is broken or stopped, on one line."""
    parent: Path | None = None
    """The run that this is a stage of: the nearest one above it."""
    strategy: str = ""
    budget: int | None = None
    models: tuple[tuple[str, str], ...] = ()
    """Role and model."""
    trees: int | None = None
    """Number of trees according to the totals, which are written at the end; None before."""
    expected: int | None = None
    """Number of prompts; None if it is not known."""
    solved: float | None = None
    """Share of the judged trees."""
    unjudged: bool = False
    """Whether no judge was called for any tree."""
    truth: float | None = None
    """Share of the answers that pass by ground truth; for a training run, of its latest models."""
    tokens: int | None = None
    """Generated tokens."""
    date: str = ""
    """When the run was started: UTC, ISO 8601."""
    benchmark: str = ""
    """Benchmark of an evaluation."""
    iterations: tuple[Path, ...] = ()
    """Folders of a training loop's iterations, in order."""

    @property
    def browsable(self) -> bool:
        """Whether it has trees of its own."""
        return (self.directory / TREES).is_file()


def read_run(directory: Path, parent: Path | None = None) -> RunSummary | None:
    """Summarize a directory with a `run.json`; None if it has no trees, such as a trainer's."""
    try:
        manifest = read_manifest(directory)
    except (UsageError, RecursionError) as error:
        reason = " ".join(str(error).split())
        return RunSummary(directory, "decode", "broken", reason, parent)
    config, iterations = manifest.config, tuple(folder for _, folder in iterations_of(directory))
    if ORIGIN not in config and "strategy" not in config and not (directory / TREES).exists():
        return None
    kind = _kind(directory, config, parent)
    totals, results = _read_object(directory / SUMMARY), _read_object(directory / RESULTS)
    state, reason = _state(directory, kind, config, totals)
    unjudged = bool(totals) and not totals.get("solved") and _is_unjudged(directory / TREES)
    return RunSummary(
        directory,
        kind,
        state,
        reason,
        parent,
        strategy=_string(config.get("strategy")),
        budget=_integer(config.get("budget")),
        models=tuple(manifest.models.items()),
        trees=_integer(totals.get("trees")),
        expected=_num_prompts(config, totals),
        solved=None if unjudged else _share(totals),
        unjudged=unjudged,
        truth=_latest_score(iterations) if kind == "training" else _truth(totals, results),
        tokens=_integer(totals.get("completion_tokens")),
        date=manifest.created,
        benchmark=_string(results.get("benchmark")) or _string(config.get("benchmark")),
        iterations=iterations,
    )


def iterations_of(directory: Path) -> list[tuple[int, Path]]:
    """The numbers and folders of a training loop's iterations, in order."""
    try:
        folders = [entry for entry in directory.iterdir() if entry.is_dir()]
    except OSError:
        return []
    numbered = [(iteration_number(folder), folder) for folder in folders]
    return sorted((number, folder) for number, folder in numbered if number is not None)


def is_locked(path: Path) -> bool:
    """Whether a process holds a lock file; checking never blocks another process."""
    if fcntl is None:
        return False
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # some network file systems have no locks
        return False
    finally:
        os.close(descriptor)
    return False


def _kind(directory: Path, config: Mapping[str, Any], parent: Path | None) -> RunKind:
    if ORIGIN in config:
        return "training"
    if (directory / RESULTS).is_file():
        return "evaluation"
    folders_between = directory.relative_to(parent).parts if parent else ()
    is_top_level = parent is None or any(
        iteration_number(Path(part)) is not None for part in folders_between
    )
    return "evaluation" if config.get("benchmark") and is_top_level else "decode"


def _state(
    directory: Path, kind: RunKind, config: Mapping[str, Any], totals: Mapping[str, Any]
) -> tuple[RunState, str]:
    if is_locked(directory / LOCK):
        return "running", ""
    if kind == "training":
        return _loop_state(directory, config)
    if not totals:
        return "stopped", "it did not finish"
    if _seconds_after(directory / TREES, directory / SUMMARY) > STALE_SECONDS:
        return "stopped", "it was resumed, and killed"
    done, expected = _integer(totals.get("trees")) or 0, _num_prompts(config, totals)
    if expected is not None and done < expected:
        return "stopped", f"it has {done:,} of {expected:,} trees"
    if kind == "evaluation" and not (directory / RESULTS).is_file():
        return "stopped", f"it has no {RESULTS}"
    return "finished", ""


def _is_unjudged(trees: Path) -> bool:
    """Whether the first tree of a run was answered without a judge."""
    try:
        with trees.open("rb") as handle:
            tree = json.loads(handle.readline(MAX_FIRST_BYTES))
        nodes, faults = tree["nodes"], tree["faults"]
        return bool(nodes) and not faults and all(node["judgement"] is None for node in nodes)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


def _num_prompts(config: Mapping[str, Any], totals: Mapping[str, Any]) -> int | None:
    """The number of prompts; None if neither the totals nor the settings give it."""
    if (prompts := _integer(totals.get("prompts"))) is not None:
        return prompts
    if config.get("prompts") == "" and not config.get("benchmark"):
        return _integer(config.get("limit")) or BUILT_IN_PROMPTS
    return None


def _loop_state(directory: Path, config: Mapping[str, Any]) -> tuple[RunState, str]:
    """The state of a training loop that is not running: finished if its last stage is done."""
    last = _integer(config.get("iterations")) or 1 if config.get("iterative", True) else 1
    methods = config.get("methods")
    training = str(methods[-1]) if isinstance(methods, list) and methods else LAST_TRAINING
    stage = EVAL_STAGE if config.get("benchmarks") else training
    if _read_object(iteration_folder(directory, last) / f"{stage}.json").get("state") == "done":
        return "finished", ""
    for folder in reversed([folder for _, folder in iterations_of(directory)]):
        for path in sorted(folder.glob("*.json")):
            record = _read_object(path)
            if record.get("state") in ("failed", "running"):
                title = f"stage {iteration_number(folder)}/{path.stem}"
                return "stopped", " ".join(
                    f"{title}: {record.get('message') or 'interrupted'}".split()
                )
    return "stopped", ""


def _latest_score(iterations: tuple[Path, ...]) -> float | None:
    """The pass rate in the first evaluation of the latest iteration that has one."""
    for folder in reversed(iterations):
        for metrics in _read_object(folder / EVAL_STAGE / SCORES_FILE).values():
            if (share := _metric(metrics)) is not None:
                return share
    return None


def _truth(totals: Mapping[str, Any], results: Mapping[str, Any]) -> float | None:
    measured = _metric(results.get("metrics"))
    return _number(totals.get("passed_after")) if measured is None else measured


def _metric(metrics: Any) -> float | None:
    match metrics:
        case {"pass": {"value": value}}:
            return _number(value)
    return None


def _share(totals: Mapping[str, Any]) -> float | None:
    trees, solved = _integer(totals.get("trees")), _integer(totals.get("solved"))
    return solved / trees if trees and solved is not None else None


def _seconds_after(young: Path, old: Path) -> float:
    """Seconds by which one file is newer than another."""
    try:
        return young.stat().st_mtime - old.stat().st_mtime
    except OSError:
        return 0.0


def _read_object(path: Path) -> Mapping[str, Any]:
    """Read a JSON object; an empty one if there is none."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _integer(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
