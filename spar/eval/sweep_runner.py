"""What `spar sweep` does: plan the points, run each on what earlier ones hold, score, tabulate, plot.

Answers are taken from larger budgets of the same strategy, a grader's replies from any earlier point.

OUT/NAME/bfs-15/        an evaluation, as `spar eval` writes it
OUT/NAME/sweep.csv      a row a point; also sweep.md and sweep.png
OUT/NAME/replayed.json  point to how many of its trees an earlier point held
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean

from pydantic import TypeAdapter

from spar.config import FREE, EvalConfig
from spar.errors import UsageError
from spar.eval.benchmark import ANSWERS
from spar.eval.earlier_results import fewer_scored, num_scored
from spar.eval.job_outputs import RunOutputs
from spar.eval.job_runner import DirectoryJobRunner, start_all
from spar.eval.needed_data import fetch_data
from spar.eval.plots import plot, require_matplotlib
from spar.eval.runner import (
    EvalRequest,
    OpenedBenchmark,
    find_benchmarks,
    open_benchmark,
    run_jobs,
    score,
)
from spar.eval.side_by_side import OneOfSeveral, SideBySide, may_run_side_by_side
from spar.eval.sweep import BUDGETS, Point, fill, plan, sources, strategy_labels
from spar.eval.sweep_table import Row, headline, in_order, markdown, row, write_csv
from spar.files import replace_json
from spar.infer.replay import dependent_steps
from spar.infer.response_cache import FROM_CACHE
from spar.infer.strategy import SearchConfig
from spar.listener import Listener
from spar.manifest import config_digest
from spar.record.evaluation import Results, read_examples, writing
from spar.run.blocking import in_thread
from spar.run.build import make_manifest, search_settings
from spar.run.engine_pool import EnginePool
from spar.run.job import Job
from spar.run.resolve import resolve_config
from spar.run.resume import PromptSource, is_complete, load_summary
from spar.store import RunStore
from spar.types import SearchTree

REPLAYED = "replayed.json"


@dataclasses.dataclass(frozen=True, slots=True)
class Sweep:
    """The flags that are a sweep's own."""

    strategies: tuple[str, ...]
    budgets: tuple[int, ...] = BUDGETS
    metric: str = ""
    """What is plotted; "" for the benchmark's headline."""
    deepen: bool = True
    """Whether a tree search goes deeper where its shape cannot spend the budget."""


async def sweep(
    config: EvalConfig,
    request: EvalRequest,
    grid: Sweep,
    *,
    directory: Path,
    listener: Listener,
    command: str = "",
) -> list[Row]:
    """Run and score every point, and write the table and the plot.

    Parameters
    ----------
    command:
        How to repeat the sweep, for the table; "" leaves it out.

    Raises
    ------
    UsageError
        What `plan`, `find_benchmarks` and `open_benchmark` refuse, answers from a file, or a metric that there is not,
        once the first point is scored.
    """
    shape = SearchConfig(config.branching, config.beam_width, config.depth)
    points = plan(grid.strategies, grid.budgets, shape, deepen=grid.deepen)
    first = await in_thread(lambda: _open_first(config, request, directory, listener))
    if first.outputs.external_answers is not None:
        raise UsageError(
            "spar sweep makes the answers itself; to score a file, use spar eval --responses"
        )
    opened = [_at(first, point, directory) for point in points]
    counts = _Counts(directory / REPLAYED, fresh=request.overwrite)
    runs = SideBySide(listener) if may_run_side_by_side(config) else None
    jobs = _stages(opened, points, counts, runs or listener)
    for job in jobs:
        job.offline = request.offline
    start_all(jobs, fresh=request.overwrite)
    before = num_scored(opened[0].outputs.directory)
    try:
        if grid.metric and len(points) > 1:  # a wrong name must not cost a sweep
            await run_jobs(opened[:1], jobs[:1], close=False)
            headline(score(opened[0]), grid.metric)
        groups = [point.strategy for point in points] if runs else ()
        await run_jobs(opened, jobs, close=False, groups=groups)
    finally:
        await jobs[0].pool.aclose(listener.note)
        if runs:
            runs.finished()
    results = [score(benchmark) for benchmark in opened]
    if fewer := fewer_scored(before, results[0].n):
        listener.note(fewer)
    untimed = {
        point.strategy
        for point, benchmark in zip(points, opened, strict=True)
        if _had_cache(benchmark.outputs.directory)
    }
    metric = grid.metric if grid.metric in results[0].metrics else ""
    rows = [
        row(
            point,
            result,
            _answering(benchmark),
            metric=metric,
            replayed=counts[point],
            steps=await job.steps(_answering(benchmark)),
            timed=not config.response_cache and point.strategy not in untimed,
            passed={each.id: each.passed for each in read_examples(benchmark.outputs.directory)},
        )
        for point, result, benchmark, job in zip(points, results, opened, jobs, strict=True)
    ]
    rows = in_order(rows, [*strategy_labels(grid.strategies).values()])
    _write(directory, rows, results, command)
    headline(
        results[0], grid.metric
    )  # raises for a metric that there is not; the table has another one then
    return rows


def _open_first(
    config: EvalConfig, request: EvalRequest, directory: Path, listener: Listener
) -> OpenedBenchmark:
    """The benchmark, its data fetched and read: takes up to minutes."""
    benchmarks = find_benchmarks(config, request)
    require_matplotlib()  # before anything is downloaded or generated
    fetch_data(benchmarks, config, listener, offline=request.offline)
    return open_benchmark(request.names[0], config, request, directory)


def read_names(text: str) -> tuple[str, ...]:
    """`a,b` to its parts; blanks around them do not count."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def read_budgets(text: str) -> tuple[int, ...]:
    """`1,3` to numbers; raises `UsageError` where one is none."""
    try:
        return tuple(int(part) for part in read_names(text))
    except ValueError as error:
        raise UsageError(f"--budgets {text!r}: expected whole numbers, such as 1,3,7") from error


def default_directory(config: EvalConfig) -> Path:
    """`runs/sweep-DIGEST`: the same command, or one with more points, finds its runs again."""
    free = (*FREE, "strategy", "budget", "benchmark")
    return Path("runs") / f"sweep-{config_digest(config.stored(), free=free)[:8]}"


@dataclasses.dataclass(slots=True)
class SweepJobRunner(DirectoryJobRunner):
    """Stages that take from earlier points what these hold, before anything is run."""

    point: Point
    earlier: Mapping[Point, Path]
    """The earlier points, those most alike first, and their directories."""
    counts: _Counts
    answers: Job | None = None
    """The stage that answers, once it was run."""

    async def run(self, job: Job) -> None:
        """Fill a stage's run directory, then search what is still missing."""
        self.answers = job if job.name == ANSWERS else self.answers
        await self._fill(job)
        await DirectoryJobRunner.run(self, job)

    async def steps(self, trees: Iterable[SearchTree]) -> float | None:
        """Mean number of dependent steps of the trees that tell it."""
        if self.answers is None:
            return None
        job, config = self.answers, self._config(self.answers)
        settings = job.changed(search_settings(config, ""))
        counts = [
            await dependent_steps(tree, settings, config.votes, roots=job.roots) for tree in trees
        ]
        known = [count for count in counts if count is not None]
        return fmean(known) if known else None

    async def _fill(self, job: Job) -> None:
        config, directory = self._config(job), self.outputs.directory / job.name
        source = PromptSource(lambda: iter(job.prompts), len(job.prompts))
        folders = [
            folder / job.name
            for point, folder in self.earlier.items()
            # Answers of another strategy would bring that one's load, hence its seconds, along.
            if job.name != ANSWERS or point.strategy == self.point.strategy
        ]
        first = job.name == ANSWERS and self.point not in self.counts
        if first and not folders:
            self.counts.add(self.point, 0)
        if not job.prompts or not folders or is_complete(directory, config, source):
            return
        config = resolve_config(config, lambda _: None, roles=job.model_roles(config))
        manifest = make_manifest(config)
        settings = job.changed(search_settings(config, manifest.digest))
        with RunStore.open(directory, manifest) as store:
            # The count comes before any search, so what is stored without a count is left over from a fill that was cut short.
            num_held = len(store.done) if first else 0
            num_held += await fill(store, job, settings, folders)
            if job.name == ANSWERS:
                self.counts.add(self.point, num_held)
            if not num_held:
                return
            store.log(
                f"{num_held} trees are of earlier runs: {[point.name for point in self.earlier]}"
            )
            store.write_summary(load_summary(directory).as_dict())
        where = f"{self.point.name}/{job.name}".rstrip("/")
        self.listener.note(f"{where}: {num_held} of {source.count} trees are in earlier runs")


def _read_counts(path: Path) -> dict[str, int]:
    try:
        return TypeAdapter(dict[str, int]).validate_json(path.read_bytes())
    except ValueError as error:  # pydantic's is one
        raise UsageError(
            f"{path} is damaged; delete it, and the trees that are there are not replayed again"
        ) from error


class _Counts:
    """How many trees of each point were replayed; stored for when the sweep is resumed."""

    def __init__(self, path: Path, *, fresh: bool) -> None:
        self._path = path
        self._known: dict[str, int] = {}
        if path.is_file() and not fresh:
            self._known = _read_counts(path)

    def __contains__(self, point: Point) -> bool:
        return point.name in self._known

    def __getitem__(self, point: Point) -> int:
        return self._known.get(point.name, 0)

    def add(self, point: Point, count: int) -> None:
        """Note that a point has so many more."""
        self._known[point.name] = self[point] + count
        with contextlib.suppress(OSError):  # the run that follows says what is wrong there
            self._path.parent.mkdir(parents=True, exist_ok=True)
            replace_json(self._path, dict(self._known))


def _at(first: OpenedBenchmark, point: Point, directory: Path) -> OpenedBenchmark:
    """The benchmark at one point, its data read once for all of them."""
    config = first.config.model_copy(update=point.changes(first.config.strategy_args))
    return dataclasses.replace(first, config=config, outputs=RunOutputs(directory / point.name))


def _had_cache(directory: Path) -> bool:
    """Whether a run had a response cache, at any of its starts: its seconds are not those of the model."""
    engines = load_summary(directory).engines.values()
    return any(FROM_CACHE in counts for counts in engines)


def _answering(benchmark: OpenedBenchmark) -> Iterator[SearchTree]:
    """The trees that answer; an earlier run may have left those of more examples."""
    ids = {prompt.id for prompt in benchmark.examples}
    return (tree for tree in benchmark.outputs.trees(ANSWERS) if tree.prompt.id in ids)


def _stages(
    opened: Sequence[OpenedBenchmark],
    points: Sequence[Point],
    counts: _Counts,
    listener: Listener | SideBySide,
) -> list[SweepJobRunner]:
    pool = EnginePool()
    folders = {p: b.outputs.directory for p, b in zip(points, opened, strict=True)}

    def earlier(point: Point) -> dict[Point, Path]:
        # Strategies that run concurrently may not have finished their points.
        alone = isinstance(listener, Listener)
        found = sources(points, point)
        return {p: folders[p] for p in found if alone or p.strategy == point.strategy}

    return [
        SweepJobRunner(
            benchmark.config,
            benchmark.outputs,
            listener if isinstance(listener, Listener) else OneOfSeveral(listener),
            pool,
            point=point,
            earlier=earlier(point),
            counts=counts,
        )
        for point, benchmark in zip(points, opened, strict=True)
    ]


def _write(directory: Path, rows: Sequence[Row], results: Sequence[Results], command: str) -> None:
    facts, name = results[0].run, rows[0].metric
    unit = results[0].units.get(name, "")
    lines = [
        *([f"`{command}`"] if command else []),
        f"model {facts['model']}, seed {facts['seed']}, {results[0].n:,} of {facts['whole']:,} examples",
        f"commit {facts['git_commit'] or 'unknown'}",
    ]
    title = f"{results[0].benchmark}: {name} by strategy and budget"
    with writing(directory):
        write_csv(directory / "sweep.csv", rows)
        (directory / "sweep.md").write_text(markdown(title, rows, lines), encoding="utf-8")
        plot(directory / "sweep.png", f"{title}, n = {rows[0].n:,}", rows, unit)
