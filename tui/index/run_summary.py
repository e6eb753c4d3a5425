"""What one run directory is, by its small files: see `RunSummary`.

A run that stopped early looks like a finished one where nothing says how many prompts it had; see `_state`.
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
except ImportError:  # Windows: a running process cannot be told there
    fcntl = None  # type: ignore[assignment]

Kind = Literal["decode", "evaluation", "training"]
State = Literal["running", "finished", "stopped", "broken"]

STALE_SECONDS = 60.0
"""Trees so much younger than the totals were written by a start of the run that was killed."""


@dataclass(frozen=True, slots=True)
class RunSummary:
    """One run, as a table shows it."""

    directory: Path
    kind: Kind
    state: State
    why: str = ""
    """One line: why a run is broken, or what stopped it."""
    parent: Path | None = None
    """The run of which this is a stage: the nearest one above it."""
    strategy: str = ""
    budget: int | None = None
    models: tuple[tuple[str, str], ...] = ()
    """Role and model."""
    trees: int | None = None
    """By the totals, which a run writes when it ends; None before."""
    solved: float | None = None
    """Share of the trees."""
    truth: float | None = None
    """Share of the answers that pass by ground truth; for a training, those of its latest models."""
    tokens: int | None = None
    """Generated."""
    date: str = ""
    """When it was started: UTC, ISO 8601."""
    benchmark: str = ""
    """What an evaluation measures."""
    iterations: tuple[Path, ...] = ()
    """Folders of a training loop's iterations, in order."""

    @property
    def browsable(self) -> bool:
        """Whether it has trees of its own."""
        return (self.directory / TREES).is_file()


def read_run(directory: Path, parent: Path | None = None) -> RunSummary | None:
    """What a directory with a `run.json` is; None for one that holds no trees, such as a trainer's."""
    try:
        manifest = read_manifest(directory)
    except (UsageError, RecursionError) as error:
        why = " ".join(str(error).split())
        return RunSummary(directory, "decode", "broken", why, parent)
    config, iterations = manifest.config, tuple(folder for _, folder in iterations_of(directory))
    if ORIGIN not in config and "strategy" not in config and not (directory / TREES).exists():
        return None
    kind = _kind(directory, config, parent)
    totals, results = _object(directory / SUMMARY), _object(directory / RESULTS)
    state, why = _state(directory, kind, config, totals)
    return RunSummary(
        directory,
        kind,
        state,
        why,
        parent,
        strategy=_text(config.get("strategy")),
        budget=_whole(config.get("budget")),
        models=tuple(manifest.models.items()),
        trees=_whole(totals.get("trees")),
        solved=_share(totals),
        truth=_latest_score(iterations) if kind == "training" else _truth(totals, results),
        tokens=_whole(totals.get("completion_tokens")),
        date=manifest.created,
        benchmark=_text(results.get("benchmark")) or _text(config.get("benchmark")),
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
    """Whether a process holds a lock file; the lock is never kept from one who wants it."""
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


def _kind(directory: Path, config: Mapping[str, Any], parent: Path | None) -> Kind:
    if ORIGIN in config:
        return "training"
    if (directory / RESULTS).is_file():
        return "evaluation"
    between = directory.relative_to(parent).parts if parent else ()
    alone = parent is None or any(iteration_number(Path(part)) is not None for part in between)
    return "evaluation" if config.get("benchmark") and alone else "decode"


def _state(
    directory: Path, kind: Kind, config: Mapping[str, Any], totals: Mapping[str, Any]
) -> tuple[State, str]:
    if is_locked(directory / LOCK):
        return "running", ""
    if kind == "training":
        return _loop_state(directory, config)
    if not totals:
        return "stopped", f"it has no readable {SUMMARY}"
    if _age(directory / TREES, directory / SUMMARY) > STALE_SECONDS:
        return "stopped", "it was resumed, and killed"
    done, wanted = _whole(totals.get("trees")) or 0, _num_prompts(config, totals)
    if wanted is not None and done < wanted:
        return "stopped", f"it has {done:,} of {wanted:,} trees"
    if kind == "evaluation" and not (directory / RESULTS).is_file():
        return "stopped", f"it has no {RESULTS}"
    return "finished", ""


def _num_prompts(config: Mapping[str, Any], totals: Mapping[str, Any]) -> int | None:
    """How many trees the run was to have; None where neither its totals nor its settings say."""
    if (prompts := _whole(totals.get("prompts"))) is not None:
        return prompts
    if config.get("prompts") == "" and not config.get("benchmark"):
        return _whole(config.get("limit")) or BUILT_IN_PROMPTS
    return None


def _loop_state(directory: Path, config: Mapping[str, Any]) -> tuple[State, str]:
    """A training loop that nobody runs: finished when its last stage is done."""
    last = _whole(config.get("iterations")) or 1 if config.get("iterative", True) else 1
    stage = EVAL_STAGE if config.get("benchmarks") else LAST_TRAINING
    if _object(iteration_folder(directory, last) / f"{stage}.json").get("state") == "done":
        return "finished", ""
    for folder in reversed([folder for _, folder in iterations_of(directory)]):
        for path in sorted(folder.glob("*.json")):
            record = _object(path)
            if record.get("state") in ("failed", "running"):
                title = f"stage {iteration_number(folder)}/{path.stem}"
                return "stopped", " ".join(f"{title}: {record.get('message') or 'cut off'}".split())
    return "stopped", ""


def _latest_score(iterations: tuple[Path, ...]) -> float | None:
    """The first evaluation's pass share, of the latest iteration that was measured."""
    for folder in reversed(iterations):
        for metrics in _object(folder / EVAL_STAGE / SCORES_FILE).values():
            if (share := _metric(metrics)) is not None:
                return share
    return None


def _truth(totals: Mapping[str, Any], results: Mapping[str, Any]) -> float | None:
    measured = _metric(results.get("metrics"))
    return _real(totals.get("passed_after")) if measured is None else measured


def _metric(metrics: Any) -> float | None:
    match metrics:
        case {"pass": {"value": value}}:
            return _real(value)
    return None


def _share(totals: Mapping[str, Any]) -> float | None:
    trees, solved = _whole(totals.get("trees")), _whole(totals.get("solved"))
    return solved / trees if trees and solved is not None else None


def _age(young: Path, old: Path) -> float:
    """Seconds by which one file was written after another."""
    try:
        return young.stat().st_mtime - old.stat().st_mtime
    except OSError:
        return 0.0


def _object(path: Path) -> Mapping[str, Any]:
    """A JSON object, an empty one where there is none."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _real(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
