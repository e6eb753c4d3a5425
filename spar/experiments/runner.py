"""Runs experiments, or takes them from the disk, and writes their pages and the index.

RUNS/embedded/figure5/seed-0/...     the runs of an experiment, which a later start resumes
RUNS/embedded/figure5/result.json    what was found; a page is written from it without a model
OUT/figure5.md, OUT/README.md        the pages, and an index with a line and a number for each
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from spar.errors import ConfigChanged, UsageError
from spar.eval.plots import require_matplotlib
from spar.experiments.experiment import Experiment, Plan
from spar.experiments.loops.pool import calls_of_loops, last_end, num_parallel, one_thread
from spar.experiments.page import MARKS, write_page
from spar.experiments.registry import EXPERIMENTS
from spar.files import is_same_file, replace_json
from spar.hardware import describe_hardware
from spar.plugins import check_name
from spar.record.evaluation import writing
from spar.record.experiments import ExperimentResult, read_experiment, write_experiment
from spar.run.build import git_commit, package_versions
from spar.stage_processes import stage_processes

ALL = "all"
"""Every experiment that can be run here."""
INDEX = "README.md"
DATA = "data"
"""Setting of a result: the digests of the data that it was measured on."""
SECONDS = "seconds.json"
"""What the starts of an experiment have taken, those that were killed left out; in its folder."""
CALLS_PER_SECOND = 30.0
"""Calls of the embedded model a second of a process on one core, where many searches run at once."""


async def report(
    names: Sequence[str], plan: Plan, out: Path, *, command: str = ""
) -> list[ExperimentResult]:
    """Measure experiments, or take what an earlier start has measured, and write their pages and the index.

    Parameters
    ----------
    names:
        Experiments; `all` for every one that can be run with the plan.
    out:
        Folder of the pages.
    command:
        How to repeat it, for the pages.

    Raises
    ------
    UsageError
        As `select`; or runs that an earlier start has left are of other settings.
    RunStopped
        A request could not be served, or the disk is full; the same call resumes.
    """
    chosen = select(names, plan)
    require_matplotlib()  # before anything is generated
    results = []
    with stage_processes(one_thread()) as execute_stage:
        plan = replace(plan, execute_stage=execute_stage)
        for experiment in chosen:
            result = await _measured(experiment, plan, command)
            path = write_page(experiment, result, out)
            plan.listener.note(f"{experiment.name}: {path}")
            results.append(result)
    write_index(results, out)
    return results


def select(names: Sequence[str], plan: Plan) -> list[Experiment]:
    """The experiments of these names.

    Raises
    ------
    UsageError
        An unknown name, or an experiment that cannot be run with the plan; one whose folder has results of another model or
        of other data.
    """
    named = [name for name in dict.fromkeys(names) if name != ALL]
    for name in named:
        check_name(EXPERIMENTS, "experiment", name, more=f"{ALL}, list")
        if reason := EXPERIMENTS[name].lacks(plan):
            raise UsageError(f"{name} cannot be run with {plan.label}: {reason}")
    chosen = [EXPERIMENTS[name] for name in named]
    if ALL in names:
        chosen = [one for one in EXPERIMENTS.values() if not one.lacks(plan)]
    for experiment in chosen:
        _refuse_other_results(experiment, _plan_for(experiment, plan))
    return chosen


def plan_lines(names: Sequence[str], plan: Plan) -> Iterator[str]:
    """What a report will do and how long it takes, before it starts."""
    total, seconds, counted = 0.0, 0.0, dict[str, list[float]]()
    at_once, chosen = num_parallel(plan), select(names, plan)
    seeds = f"{plan.seeds} seed{'s' if plan.seeds > 1 else ''}"
    for experiment in chosen:
        if _stored(experiment, plan) is not None:
            yield f"{experiment.name}: measured already; its page is written again"
            continue
        cost = experiment.cost(plan)
        loops = replace(plan, iterations=plan.iterations or cost.iterations)
        more: list[float] = []
        for arm in cost.loops:
            before = counted.get(arm, [0.0] * plan.seeds)
            counted[arm] = [*map(max, calls_of_loops(loops, arm), before)]
            more += [now - then for now, then in zip(counted[arm], before, strict=True)]
        calls = cost.calls + sum(more)
        lasts = (cost.calls + last_end(more, at_once)) / CALLS_PER_SECOND
        total, seconds = total + calls, seconds + lasts
        shown = "nothing more to run"
        if calls:
            shown = f"about {calls:,.0f} calls{_time(lasts, at_once, plan)}"
            shown += f", with {seeds}" if len(chosen) == 1 else ""
        yield f"{experiment.name}: {cost.why}; {shown}"
    if ALL in names:
        for experiment in EXPERIMENTS.values():
            if reason := experiment.lacks(plan):
                yield f"{experiment.name}: left out: {reason}"
    if len(chosen) > 1:
        yield f"in all, with {seeds}: about {total:,.0f} calls{_time(seconds, at_once, plan)}"


def _time(seconds: float, at_once: int, plan: Plan) -> str:
    if not plan.embedded:
        return ""
    minutes = seconds / 60
    shown = f"{max(minutes, 1):.0f} min" if minutes < 100 else f"{minutes / 60:.1f} h"
    return f", {shown} on {at_once if at_once > 2 else 'two'} idle cores"


def write_index(results: Sequence[ExperimentResult], out: Path) -> None:
    """Write `README.md`: the experiments with a line and a number each, then the other pages and indexes below the folder.

    Only the lines of these results are new: a page that an earlier report has written may be of another model, other sizes or
    other runs, and stays with its line as it is.
    """
    rows, earlier = {}, _index_lines(out / INDEX)
    reported = {result.experiment: result for result in results}
    for experiment in EXPERIMENTS.values():
        page = out / f"{experiment.name}.md"
        if not page.is_file():
            continue
        if result := reported.get(experiment.name):
            rows[page.name] = _index_row(experiment, result)
        elif line := next((each for each in earlier if f"]({page.name})" in each), None):
            rows[page.name] = line
    lines = ["# Reports"]
    if rows:
        lines += [
            "",
            "Pages of `spar report`, an experiment each. ✓: a claim, of the paper or our own, holds here, ✗: it does not, ?: it is "
            "inconclusive.",
            "",
            "| in the paper | experiment | measured on | claims | in a number |",
            "|---|---|---|---|---|",
            *rows.values(),
        ]
    lines += [*_links("Reports below this folder:", sorted(out.glob(f"*/{INDEX}")), out)]
    others = sorted(path for path in out.glob("*.md") if path.name not in {*rows, INDEX})
    lines += [*_links("Reports written by hand, from the commands that they name:", others, out)]
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        (out / INDEX).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _links(title: str, paths: Sequence[Path], out: Path) -> Iterator[str]:
    if not paths:
        return
    yield from ("", title, "")
    for path in paths:
        relative = path.relative_to(out)
        name = _title(path) if relative.parent == Path() else relative.parent.name
        yield f"- [{name}]({relative.as_posix()})"


def _index_lines(index: Path) -> list[str]:
    """The lines of an index's table, [] where there is none."""
    text = index.read_text(encoding="utf-8") if index.is_file() else ""
    return [line for line in text.splitlines() if line.startswith("| ")]


def _index_row(experiment: Experiment, result: ExperimentResult) -> str:
    claims = " ".join(MARKS[claim.verdict] for claim in result.measured.claims)
    seeds = result.settings["seeds"]
    on = f"{result.facts['model']}, {seeds} seed{'s' if seeds > 1 else ''}"
    on += ", quick" if result.settings["quick"] else ""
    on += f", {share:.0%} of the prompts" if (share := result.settings.get("share", 1)) < 1 else ""
    link = f"[{experiment.title}]({experiment.name}.md)"
    return f"| {experiment.source} | {link} | {on} | {claims} | {result.measured.headline} |"


def _title(path: Path) -> str:
    first = path.read_text(encoding="utf-8").split("\n", 1)[0]
    return first.removeprefix("# ") or path.stem


def _settings(experiment: Experiment, plan: Plan) -> dict[str, Any]:
    """What decides the numbers."""
    shared = {"model": plan.model or "embedded", "engine": plan.engine, "seeds": plan.seeds}
    share = {} if plan.share == 1 else {"share": plan.share}
    data = {DATA: dict(digests)} if (digests := experiment.data(plan)) else {}
    return {**shared, "quick": plan.quick, **share, **experiment.sizes(plan), **data}


def _stored(experiment: Experiment, plan: Plan) -> ExperimentResult | None:
    """An earlier result, if it was measured with the same settings."""
    plan = _plan_for(experiment, plan)
    result = read_experiment(plan.folder(experiment.name))
    if result is None:
        return None
    stored, current = result.settings, _settings(experiment, plan)
    alike = {**stored, DATA: None} == {**current, DATA: None}
    return result if alike and not _changed_data(stored, current) else None


def _changed_data(stored: Mapping[str, Any], current: Mapping[str, Any]) -> list[str]:
    """The data sets and files with other contents than when a result was measured; an earlier version stored no digests."""
    before = stored.get(DATA, {})
    return [
        name for name, digest in current.get(DATA, {}).items() if before.get(name, digest) != digest
    ]


def _refuse_other_results(experiment: Experiment, plan: Plan) -> None:
    """Raise `UsageError` if the folder of an experiment has a result of another model, whose name ends alike, or of other data.

    The runs beside it can then not be resumed.
    """
    current, folder = _settings(experiment, plan), plan.folder(experiment.name)
    if (result := read_experiment(folder)) is None:
        return
    model, other = current["model"], result.settings["model"]
    if model != other and not is_same_file(model, other):
        raise UsageError(
            f"{folder} has results of another model, {other}; give another --runs for {model}"
        )
    if changed := _changed_data(result.settings, current):
        raise UsageError(
            f"{folder} has results of other data ({', '.join(changed)}, changed since); give another --runs, or the earlier --data"
        )


def _plan_for(experiment: Experiment, plan: Plan) -> Plan:
    """The plan as it concerns an experiment: one without training loops has the same runs for any number of iterations."""
    return plan if experiment.cost(plan).loops else replace(plan, iterations=None)


async def _measured(experiment: Experiment, plan: Plan, command: str) -> ExperimentResult:
    plan = _plan_for(experiment, plan)
    stored = _stored(experiment, plan)
    if stored is not None:
        plan.listener.note(f"{experiment.name}: measured already")
        return stored
    plan.listener.note(f"{experiment.name}: {experiment.source}, {experiment.cost(plan).why}")
    folder = plan.folder(experiment.name)
    resumed = folder.is_dir() and any(folder.iterdir())
    start = time.monotonic()
    try:
        measured = await experiment.measure(plan)
    except ConfigChanged as error:
        raise ConfigChanged(
            f"{experiment.name}: {error.problem}", "\ngive another --runs"
        ) from error
    finally:
        seconds = _add_seconds(folder, time.monotonic() - start)
    result = ExperimentResult(
        experiment=experiment.name,
        settings=_settings(experiment, plan),
        command=command,
        facts={
            "model": plan.label,
            "commit": git_commit() or "unknown",
            "versions": ", ".join(_versions()),
            "hardware": describe_hardware(),
        },
        seconds=seconds,
        resumed=resumed,
        measured=measured,
    )
    write_experiment(folder, result)
    return result


def _add_seconds(folder: Path, seconds: float) -> float:
    """Add to what earlier starts took; returns the sum."""
    path, before = folder / SECONDS, 0.0
    with suppress(OSError, ValueError):  # the first start, or a file that is damaged
        before = float(json.loads(path.read_bytes())["seconds"])
    with suppress(OSError):  # the measurement that failed says what is wrong with the disk
        folder.mkdir(parents=True, exist_ok=True)
        replace_json(path, {"seconds": before + seconds})
    return before + seconds


def _versions() -> Iterable[str]:
    return (f"{name} {version}" for name, version in package_versions().items())
