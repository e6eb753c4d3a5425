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
from spar.record.layout import EVAL_STAGE, LAST_TRAINING
from spar.record.run_log import RunStart, has_more_trees, num_prompts, read_starts
from spar.record.training import ORIGIN, iteration_folder, iteration_number
from spar.store import LOCK, SUMMARY, TREES, read_manifest
from tui.index.scores import (
    MetricHistory,
    evaluation_metrics,
    finite,
    iterations_of,
    read_object,
    read_scores,
)

try:
    import fcntl
except ImportError:  # Windows: runs in progress are not detected
    fcntl = None  # type: ignore[assignment]

RunKind = Literal["decode", "evaluation", "training"]
RunState = Literal["running", "finished", "stopped", "broken"]

INLINE = "--prompt "
"""Before the text of a prompt that was passed on the command line."""
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
    """Most responses a prompt."""
    single: bool = False
    """Whether each prompt got one, as greedy decoding gives, so that the budget says nothing."""
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
    before: float | None = None
    """Share of the first drafts that pass by ground truth; for a training loop, the first score of its first metric."""
    truth: float | None = None
    """Share of the answers that pass by ground truth; for an evaluation or a training loop, its first metric at the end."""
    error: float | None = None
    """Standard error of `truth`."""
    metrics: tuple[MetricHistory, ...] = ()
    """All metrics of an evaluation, or of a training loop by iteration."""
    tokens: int | None = None
    """Generated tokens."""
    calls: int | None = None
    """Requests to models."""
    seconds: float | None = None
    """Of all its starts, without loading models; None where nothing was searched, as for a point read out of a larger run, and where
    an earlier start had more prompts than the totals count."""
    date: str = ""
    """When the run was started: UTC, ISO 8601."""
    benchmark: str = ""
    """Benchmark of an evaluation."""
    answers_given: bool = False
    """Whether it is an evaluation of answers from a file, so that no search has written trees."""
    prompts: str = ""
    """Name of the file or set of its prompts."""
    judge: str = ""
    """Name of the judge's method, empty for a run without one."""
    stage: str = ""
    """For a training loop that is running, the stage that it is in."""
    starts: tuple[RunStart, ...] = ()
    """When it was started and resumed, as far as it was recorded."""
    iterations: tuple[Path, ...] = ()
    """Folders of a training loop's iterations, in order."""

    @property
    def tokens_each(self) -> float | None:
        """Generated tokens a prompt."""
        return self.tokens / self.trees if self.trees and self.tokens is not None else None

    @property
    def is_resumed(self) -> bool:
        """Whether it was stopped and resumed."""
        return any(start.done for start in self.starts)

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
    totals, results = read_object(directory / SUMMARY), read_object(directory / RESULTS)
    given = _answers_given(config, results)
    state, reason = _state(directory, kind, config, totals, given=given)
    if given:  # the settings are of no search that was made
        config = {**config, "strategy": "", "budget": None, "judge": ""}
    unjudged = bool(totals) and not totals.get("solved") and _is_unjudged(directory / TREES)
    is_single = "nodes" in totals and totals["nodes"] == totals.get("trees")
    starts = read_starts(directory)
    shares = _shares(directory, kind, totals, results)
    return RunSummary(
        directory,
        kind,
        state,
        reason,
        parent,
        strategy=_string(config.get("strategy")),
        single=is_single,
        budget=_integer(config.get("budget")),
        models=() if given else tuple(manifest.models.items()),
        trees=_integer(results.get("n") if given else totals.get("trees")),
        expected=None if given else num_prompts(config, totals, starts),
        solved=None if unjudged else _share(totals),
        unjudged=unjudged,
        before=None if is_single else shares.before,
        truth=shares.after,
        error=shares.error,
        metrics=shares.metrics,
        tokens=_integer(totals.get("completion_tokens")),
        calls=_integer(totals.get("calls")),
        seconds=None if has_more_trees(totals, starts) else _seconds(totals),
        date=manifest.created,
        benchmark=_string(results.get("benchmark")) or _string(config.get("benchmark")),
        answers_given=given,
        prompts=_prompts(config),
        judge="" if kind == "training" or unjudged else _string(config.get("judge")),
        stage=_running_stage(iterations) if kind == "training" and state == "running" else "",
        starts=starts,
        iterations=iterations,
    )


@dataclass(frozen=True, slots=True)
class _Shares:
    """What a run's results say of its responses."""

    before: float | None
    after: float | None
    error: float | None
    metrics: tuple[MetricHistory, ...] = ()


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
    directory: Path,
    kind: RunKind,
    config: Mapping[str, Any],
    totals: Mapping[str, Any],
    *,
    given: bool,
) -> tuple[RunState, str]:
    if is_locked(directory / LOCK):
        return "running", ""
    if kind == "training":
        return _loop_state(directory, config)
    if given:
        return "finished", ""
    if not totals:
        return "stopped", "it did not finish"
    if _seconds_after(directory / TREES, directory / SUMMARY) > STALE_SECONDS:
        return "stopped", "it was resumed, and killed"
    done, expected = _integer(totals.get("trees")) or 0, num_prompts(config, totals)
    if expected is not None and done < expected:
        return "stopped", f"it has {done:,} of {expected:,} trees"
    if kind == "evaluation" and not (directory / RESULTS).is_file():
        return "stopped", f"it has no {RESULTS}"
    return "finished", ""


def _answers_given(config: Mapping[str, Any], results: Mapping[str, Any]) -> bool:
    """Whether a finished evaluation is of answers out of a file, which no search of its own has written."""
    run = results.get("run")
    return bool(config.get("responses")) and isinstance(run, Mapping) and not run.get("model")


def _is_unjudged(trees: Path) -> bool:
    """Whether the first tree of a run was answered without a judge."""
    try:
        with trees.open("rb") as handle:
            tree = json.loads(handle.readline(MAX_FIRST_BYTES))
        nodes, faults = tree["nodes"], tree["faults"]
        return bool(nodes) and not faults and all(node["judgement"] is None for node in nodes)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


def _loop_state(directory: Path, config: Mapping[str, Any]) -> tuple[RunState, str]:
    """The state of a training loop that is not running: finished if its last stage is done."""
    last = _integer(config.get("iterations")) or 1 if config.get("iterative", True) else 1
    methods = config.get("methods")
    training = str(methods[-1]) if isinstance(methods, list) and methods else LAST_TRAINING
    stage = EVAL_STAGE if config.get("benchmarks") else training
    if read_object(iteration_folder(directory, last) / f"{stage}.json").get("state") == "done":
        return "finished", ""
    for folder in reversed([folder for _, folder in iterations_of(directory)]):
        for path in sorted(folder.glob("*.json")):
            record = read_object(path)
            if record.get("state") in ("failed", "running"):
                title = f"stage {iteration_number(folder)}/{path.stem}"
                return "stopped", " ".join(
                    f"{title}: {record.get('message') or 'interrupted'}".split()
                )
    return "stopped", ""


def _shares(
    directory: Path, kind: RunKind, totals: Mapping[str, Any], results: Mapping[str, Any]
) -> _Shares:
    """The shares of a run: by its evaluation, else those that it counted itself."""
    metrics = evaluation_metrics(results)
    if kind == "training":
        metrics = read_scores(directory).metrics
    if not metrics:
        before, after = finite(totals.get("passed_before")), finite(totals.get("passed_after"))
        return _Shares(before, after, finite(totals.get("passed_after_stderr")))
    first, last = metrics[0].first, metrics[0].last
    error = last.stderr if last else None
    is_change = len([score for score in metrics[0].scores if score]) > 1
    before = first.value if first and is_change else None
    return _Shares(before, last.value if last else None, error, metrics)


def _running_stage(iterations: tuple[Path, ...]) -> str:
    """The stage that a training loop is in, such as `1/search`."""
    for folder in reversed(iterations):
        for path in sorted(folder.glob("*.json")):
            if read_object(path).get("state") == "running":
                return f"{iteration_number(folder)}/{path.stem}"
    return ""


def _prompts(config: Mapping[str, Any]) -> str:
    """The name of the file or set of a run's prompts."""
    if prompts := _string(config.get("prompts")):
        inline = prompts.startswith(INLINE)
        return prompts.removeprefix(INLINE).strip() if inline else Path(prompts).name
    if benchmark := _string(config.get("benchmark")):
        return benchmark
    return "built-in" if config.get("prompts") == "" else ""


def _share(totals: Mapping[str, Any]) -> float | None:
    trees, solved = _integer(totals.get("trees")), _integer(totals.get("solved"))
    return solved / trees if trees and solved is not None else None


def _seconds(totals: Mapping[str, Any]) -> float | None:
    seconds, loading = finite(totals.get("seconds")), finite(totals.get("load_seconds"))
    return max(seconds - (loading or 0.0), 0.0) if seconds and totals.get("engines") else None


def _seconds_after(young: Path, old: Path) -> float:
    """Seconds by which one file is newer than another."""
    try:
        return young.stat().st_mtime - old.stat().st_mtime
    except OSError:
        return 0.0


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _integer(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
