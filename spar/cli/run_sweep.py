"""What `spar sweep` does: plan the points, run each on what earlier ones hold, score, tabulate, plot.

Answers are taken from larger budgets of the same strategy, a grader's replies from any earlier point.

OUT/NAME/bfs-15/        an evaluation, as `spar eval` writes it
OUT/NAME/sweep.csv      a row a point; also sweep.md and sweep.png
OUT/NAME/replayed.json  point to how many of its trees an earlier one held
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from spar.cli.begun import PromptSource, is_finished, summary_so_far
from spar.cli.display import Display, open_display
from spar.cli.pool import Pool
from spar.cli.run_eval import Evaluation, Opened, carry_out, open_benchmark, score
from spar.cli.stages import RunStages
from spar.config import FREE, EvalConfig
from spar.errors import UsageMistake
from spar.eval.benchmark import ANSWERS, Stage
from spar.eval.kept import KeptRun
from spar.eval.plots import plot, require_matplotlib
from spar.eval.record import Results, writing
from spar.eval.sweep import BUDGETS, Point, fill, plan, sources
from spar.eval.sweep_table import Row, in_order, markdown, row, write_csv
from spar.files import replace_json
from spar.infer.deploy import roles_asked, settle
from spar.infer.setup import make_manifest, search_settings
from spar.infer.strategy import SearchConfig
from spar.manifest import config_digest
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


def run(config: EvalConfig, evaluation: Evaluation, request: Sweep) -> list[Row]:
    """Sweep as asked, write what was found, and print it."""
    display = open_display(evaluation.display)
    directory = (evaluation.out or default_directory(config)) / evaluation.names[0]
    rows = sweep(config, evaluation, request, directory=directory, display=display)
    if evaluation.json_results:
        print(json.dumps({"sweep": str(directory), "rows": [dataclasses.asdict(r) for r in rows]}))
    else:
        _print(rows, directory)
    return rows


def sweep(
    config: EvalConfig,
    evaluation: Evaluation,
    request: Sweep,
    *,
    directory: Path,
    display: Display,
) -> list[Row]:
    """Run and score every point, and write the table and the plot.

    Raises
    ------
    UsageMistake
        What `plan` and `open_benchmark` refuse, answers from a file, or a metric that there is not.
    """
    shape = SearchConfig(config.branch, config.keep, config.depth)
    points = plan(request.strategies, request.budgets, shape, deepen=request.deepen)
    require_matplotlib()  # before anything is generated
    first = open_benchmark(evaluation.names[0], config, evaluation, directory)
    if first.kept.given is not None:
        raise UsageMistake(
            "spar sweep makes the answers itself; to score a file, use spar eval --responses"
        )
    opened = [_at(first, point, directory) for point in points]
    counts = _Counts(directory / REPLAYED, fresh=evaluation.fresh)
    stages = _stages(opened, points, counts, display)
    for stage in stages:
        stage.start(fresh=evaluation.fresh)
    asyncio.run(carry_out(opened, stages))
    results = [score(one) for one in opened]
    rows = [
        row(point, result, _answering(one), metric=request.metric, replayed=counts[point])
        for point, result, one in zip(points, results, opened, strict=True)
    ]
    rows = in_order(rows, request.strategies)
    _write(directory, rows, results)
    return rows


def read_names(text: str) -> tuple[str, ...]:
    """`a,b` to its parts; blanks around them do not count."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def read_budgets(text: str) -> tuple[int, ...]:
    """`1,3` to numbers; raises `UsageMistake` where one is none."""
    try:
        return tuple(int(part) for part in read_names(text))
    except ValueError as error:
        raise UsageMistake(f"--budgets {text!r}: expected whole numbers, such as 1,3,7") from error


def default_directory(config: EvalConfig) -> Path:
    """`runs/sweep-DIGEST`: the same command, or one with more points, finds its runs again."""
    free = (*FREE, "strategy", "budget", "benchmark")
    return Path("runs") / f"sweep-{config_digest(config.model_dump(mode='json'), free=free)[:8]}"


@dataclasses.dataclass(slots=True)
class SweepStages(RunStages):
    """Stages that take from earlier points what these hold, before anything is run."""

    point: Point
    earlier: Mapping[Point, Path]
    """The earlier points, those most alike first, and their directories."""
    counts: _Counts

    async def run(self, stage: Stage) -> None:
        """Fill a stage's run directory, then search what is still missing."""
        await self._fill(stage)
        await RunStages.run(self, stage)

    async def _fill(self, stage: Stage) -> None:
        config, directory = self._config(stage), self.kept.directory / stage.name
        source = PromptSource(lambda: iter(stage.prompts), len(stage.prompts))
        folders = [
            folder / stage.name
            for point, folder in self.earlier.items()
            # Answers of another strategy would bring that one's load, hence its seconds, along.
            if stage.name != ANSWERS or point.strategy == self.point.strategy
        ]
        first = stage.name == ANSWERS and self.point not in self.counts
        if first and not folders:
            self.counts.add(self.point, 0)
        if not stage.prompts or not folders or is_finished(directory, config, source):
            return
        config = settle(config, lambda _: None, asked=stage.speakers or roles_asked(config))
        manifest = make_manifest(config)
        settings = stage.changed(search_settings(config, manifest.digest))
        with RunStore.open(directory, manifest) as store:
            # The count comes before any search, so what is there without one is of a fill cut short.
            num_held = len(store.done) if first else 0
            num_held += await fill(store, stage, settings, folders)
            if stage.name == ANSWERS:
                self.counts.add(self.point, num_held)
            if not num_held:
                return
            store.log(
                f"{num_held} trees are of earlier runs: {[point.name for point in self.earlier]}"
            )
            store.write_summary(summary_so_far(directory).as_dict())
        where = f"{self.point.name}/{stage.name}".rstrip("/")
        self.display.note(f"{where}: {num_held} of {source.count} trees are in earlier runs")


class _Counts:
    """How many trees of each point were replayed; kept on the disk for when the sweep is resumed."""

    def __init__(self, path: Path, *, fresh: bool) -> None:
        self._path = path
        self._known: dict[str, int] = {}
        if path.is_file() and not fresh:
            self._known = json.loads(path.read_bytes())

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


def _at(first: Opened, point: Point, directory: Path) -> Opened:
    """The benchmark at one point, its data read once for all of them."""
    changed = {"strategy": point.strategy, "budget": point.budget, "depth": point.depth}
    config = first.config.model_copy(update=changed)
    return dataclasses.replace(first, config=config, kept=KeptRun(directory / point.name))


def _answering(one: Opened) -> Iterator[SearchTree]:
    """The trees that answer; an earlier run may have left those of more examples."""
    ids = {prompt.id for prompt in one.examples}
    return (tree for tree in one.kept.trees(ANSWERS) if tree.prompt.id in ids)


def _stages(
    opened: Sequence[Opened], points: Sequence[Point], counts: _Counts, display: Display
) -> list[SweepStages]:
    pool, folders = (
        Pool(),
        {point: one.kept.directory for point, one in zip(points, opened, strict=True)},
    )
    return [
        SweepStages(
            one.config,
            one.kept,
            display,
            pool,
            point=point,
            earlier={source: folders[source] for source in sources(points, point)},
            counts=counts,
        )
        for point, one in zip(points, opened, strict=True)
    ]


def _write(directory: Path, rows: Sequence[Row], results: Sequence[Results]) -> None:
    facts, name = results[0].run, rows[0].metric
    unit = results[0].units.get(name, "")
    told = [
        f"`spar {shlex.join(sys.argv[1:])}`",
        f"model {facts['model']}, seed {facts['seed']}, {results[0].n:,} of {facts['whole']:,} examples",
        f"commit {facts['git_commit'] or 'unknown'}",
    ]
    title = f"{results[0].benchmark}: {name} by strategy and budget"
    with writing(directory):
        write_csv(directory / "sweep.csv", rows)
        (directory / "sweep.md").write_text(markdown(title, rows, told, unit), encoding="utf-8")
        plot(directory / "sweep.png", f"{title}, n = {rows[0].n:,}", rows, unit)


def _print(rows: Sequence[Row], directory: Path) -> None:
    from rich.table import Table

    from spar.cli.report import as_text, open_console

    console = open_console(piped_width=120)
    table = Table()
    heads = ("strategy", "budget", rows[0].metric, "error", "nodes", "calls", "tokens", "seconds")
    for head in heads:
        table.add_column(as_text(head), justify="left" if head == "strategy" else "right")
    for one in rows:
        error = "-" if one.stderr is None else f"{one.stderr:.4f}"
        costs = (f"{one.nodes:.1f}", f"{one.calls:.1f}", f"{one.tokens:,.0f}", f"{one.seconds:.2f}")
        table.add_row(as_text(one.strategy), f"{one.budget}", f"{one.value:.4f}", error, *costs)
    console.print(table)
    for name in ("sweep.csv", "sweep.md", "sweep.png"):
        console.print(as_text(f"{directory / name}"), soft_wrap=True)
