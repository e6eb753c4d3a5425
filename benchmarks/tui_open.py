"""Time until a large run is on the screen of `spar tui`: 100,000 trees, 1 GB.

    python benchmarks/tui_open.py
    python benchmarks/tui_open.py --app          # only through the whole application

Makes the run in a temporary directory, with the file dropped from the page cache where the system allows,
opens it in a process of its own and prints each figure beside its limit. "Busy" figures are
taken while the background pass runs, as they are in the browser; milliseconds are the median of 20 tries.
On a machine with other work, time and processor time differ.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from reporting import run_benchmark
from textual import events

from spar.manifest import Manifest
from spar.store import MANIFEST, TREES
from spar.types import Fault, Judgement, Message, Node, Prompt, SearchTree, Usage, best
from tui.index.rows import Authority, Filter, Sort
from tui.index.run_index import TreeIndex

SHAPES = 400
"""Trees that differ; the others are these under other ids."""
ID = "prompt-%08d"
APP_KEYS = {
    "down": ("j",),
    "a page down": ("pagedown",),
    "fixed, all": ("4", "1"),
    "judge wrong, all": ("6", "1"),
    "sort": ("s",),
}
"""What is done on the screen of a run, and the keys for it."""
PHASES = ("lines are found", "rows are summarised")
"""What the background pass does while keys are pressed."""
LIMITS = {
    "seconds to the first screen": 2.0,
    "ms for a screen of 50 random rows, busy": 100.0,
    "ms to filter solved, busy": 100.0,
    "ms to filter faults, busy": 100.0,
    "ms for a screen of 50 random rows": 100.0,
    "ms to filter solved": 100.0,
    "ms to filter faults": 100.0,
    "peak MB": 300.0,
    "seconds to the first rows on the screen of the application": 1.0,
    **{f"ms for a key: {name}, {phase}": 50.0 for phase in PHASES for name in APP_KEYS},
    "peak MB of the application": 300.0,
}
"""What must not be exceeded; the other figures are for information."""


def main() -> None:
    """Make the run, measure, print."""
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    made.add_argument("--trees", type=int, default=100_000)
    made.add_argument("--json", action="store_true", help="print one line of JSON as well")
    made.add_argument("--app", action="store_true", help="measure only the whole application")
    made.add_argument("--measure", nargs=2, metavar=("RUN", "STARTED"), help=argparse.SUPPRESS)
    args = made.parse_args()
    if args.measure:
        run, started = Path(args.measure[0]), float(args.measure[1])
        print(
            json.dumps(
                asyncio.run(measure_app(run, started)) if args.app else measure(run, started)
            )
        )
        return
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory(prefix="spar-tui-open-") as directory:
        size = write_run(Path(directory), args.trees)
        print(f"{args.trees:,} trees, {size / 1e9:.2f} GB")
        figures: dict[str, float] = {}
        for part in (["--app"],) if args.app else ([], ["--app"]):
            command = [sys.executable, __file__, *part, "--measure", directory, str(time.time())]
            output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
            figures |= json.loads(output)
    for name, figure in figures.items():
        limit = LIMITS.get(name)
        verdict = "" if limit is None else f"limit {limit:g}, {'ok' if figure < limit else 'NO'}"
        print(f"{name:<60} {figure:>10.2f}   {verdict}".rstrip())
    if args.json:
        print(json.dumps(figures))


def write_run(directory: Path, num_trees: int) -> int:
    """Write a run with so many trees; returns the bytes of its trees."""
    (directory / MANIFEST).write_text(
        json.dumps(Manifest(spar_version="0", config={}).model_dump()), encoding="utf-8"
    )
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefghilmnoprstu", k=rng.randint(2, 9))) for _ in range(4000)]
    lines = [make_tree(rng, words).to_json().split(ID) for _ in range(SHAPES)]
    path = directory / TREES
    with path.open("wb") as handle:
        for number in range(num_trees):
            handle.write((ID % number).join(rng.choice(lines)).encode("ascii") + b"\n")
        handle.flush()
        os.fsync(handle.fileno())
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(handle.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return path.stat().st_size


def make_tree(rng: random.Random, words: list[str]) -> SearchTree:
    """A tree of one to eleven nodes with judgements, as BFS leaves it."""

    def text(num_words: int) -> str:
        return " ".join(rng.choices(words, k=num_words))

    nodes: list[Node] = []
    for number in range(rng.randint(1, 11)):
        parent = None if number == 0 else (number - 1) // 3
        yes = rng.randint(0, 5)
        votes = tuple([True] * yes + [False] * (5 - yes))
        judged = Judgement(
            verdicts=votes, critique=text(70) + "\nFinal Judgement: Yes", dissent=text(60)
        )
        node = Node(
            id=number,
            parent=parent,
            depth=0 if parent is None else nodes[parent].depth + 1,
            response=text(80) + "\n“\u00e9”",
            reflection=None if parent is None else text(25),
            judgement=judged,
            usage=Usage(calls=6, prompt_tokens=900, completion_tokens=700, seconds=rng.random()),
            judge_usage=Usage(calls=5, prompt_tokens=800, completion_tokens=600),
            seed=rng.getrandbits(63),
        )
        nodes.append(node)
    answer = best(tuple(nodes))[0]
    faults = (
        Fault(parent=0, stage="refine", reason="the refinement lacks a marker", text=text(40)),
    )
    return SearchTree(
        prompt=Prompt(id=ID, messages=(Message(role="user", content=text(60)),), source="made up"),
        strategy="bfs",
        config="0123456789abcdef",
        nodes=tuple(nodes),
        faults=faults if rng.random() < 0.1 else (),
        selected=answer.id,
        stop="solved" if answer.score > 0.5 else rng.choice(("budget", "exhausted")),
        seconds=rng.random() * 60,
    )


def measure(run: Path, started: float) -> dict[str, float]:
    """Open a run and use it as a user would, in a process that was started at `started`."""
    imported = time.time()
    index = TreeIndex.open(run, Authority(lambda tree: len(tree.nodes) % 2 == 0))
    index.rows(index.order()[:50])
    figures = {
        "seconds to the first screen": time.time() - started,
        "  of these, Python and imports": imported - started,
        "  of these, processor": time.process_time(),
        "rows found by then": float(len(index)),
    }
    done: dict[str, float] = {}
    worker = threading.Thread(target=_work, args=(index, done))
    worker.start()
    while index.progress().bytes_read < index.progress().bytes_total:
        time.sleep(0.01)
    for name, work in _looks(index).items():
        figures |= _times(f"{name}, busy", work)
    worker.join()
    for name, work in (_looks(index) | _sorts(index)).items():
        figures |= _times(name, work)
    figures["seconds to find all lines"] = done.get("lines", done["all"])
    figures["seconds of the whole background pass"] = done["all"]
    figures["  of these, processor: background pass"] = done["processor"]
    for text, regex in (("zzzqqq", False), ("final", False), ("x{9}", True)):
        before = time.process_time()
        figures[f"seconds to look for {text!r}"] = _searched(index, Filter("all", text, regex))
        figures[f"  of these, processor: {text!r}"] = time.process_time() - before
    figures["peak MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    figures["rows"] = float(len(index))
    return figures


async def measure_app(run: Path, started: float) -> dict[str, float]:
    """The same through the whole application, without a terminal: keys are pressed while the background pass runs."""
    from tui.app import SparApp
    from tui.inputs import Inputs
    from tui.screens.trees import TreesScreen
    from tui.widgets.table import Table

    app = SparApp(Inputs(paths=(run,), truth=lambda tree: len(tree.nodes) % 2 == 0))
    figures: dict[str, float] = {}
    async with app.run_test(size=(120, 40)):
        while not app.screen.query(Table) or not app.screen.query_one(Table).count:
            await asyncio.sleep(0.001)
        await _drawn(app)
        figures["seconds to the first rows on the screen of the application"] = (
            time.time() - started
        )
        figures["  of these, processor"] = time.process_time()
        assert isinstance(app.screen, TreesScreen)
        view = app.screen.view
        for phase in PHASES:
            for name, keys in APP_KEYS.items():
                figures |= await _pressed(app, f"{name}, {phase}", keys)
            while phase == PHASES[0] and not view.index.progress().summarised:
                await asyncio.sleep(0.01)
        progress = view.index.progress()
        figures["rows summarised by then"] = float(progress.summarised)
        assert not progress.done, "the run is too small: keys were pressed after it was read"
    figures["peak MB of the application"] = (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    )
    return figures


async def _pressed(app: Any, name: str, keys: tuple[str, ...]) -> dict[str, float]:
    """Milliseconds from each of 20 keys to the screen with its effect, and the processor's part in the screen's thread."""
    from tui.widgets.table import Table

    table, view, taken, busy = app.screen.query_one(Table), app.screen.view, [], []
    for key in keys * (20 // len(keys)):
        start, before = time.perf_counter(), (table.cursor, view.shown, view.sort)
        spent = time.thread_time()
        app.post_message(events.Key(key, None))
        while before == (table.cursor, view.shown, view.sort):
            await asyncio.sleep(0)
        await _drawn(app)
        busy.append(1e3 * (time.thread_time() - spent))
        taken.append(1e3 * (time.perf_counter() - start))
        await asyncio.sleep(0.02)
    return {
        f"ms for a key: {name}": sorted(taken)[len(taken) // 2],
        f"  of these, processor: {name}": sorted(busy)[len(busy) // 2],
        f"  slowest: {name}": max(taken),
    }


async def _drawn(app: Any) -> None:
    """Wait until the screen is drawn."""
    drawn = asyncio.Event()
    app.screen.call_after_refresh(drawn.set)
    await drawn.wait()


def _looks(index: TreeIndex) -> dict[str, Callable[[], object]]:
    rng = random.Random(1)
    numbers = [[rng.randrange(len(index)) for _ in range(50)] for _ in range(1000)]
    return {
        "for a screen of 50 random rows": lambda: index.rows(rng.choice(numbers)),
        "to filter solved": lambda: index.rows(index.order(Filter("solved"))[:50]),
        "to filter faults": lambda: index.rows(index.order(Filter("faults"))[:50]),
        "to filter judge wrong": lambda: index.rows(index.order(Filter("judge-wrong"))[:50]),
    }


def _sorts(index: TreeIndex) -> dict[str, Callable[[], object]]:
    return {
        "to sort by score": lambda: index.order(Filter(), Sort("score")),
        "to sort by tokens": lambda: index.order(Filter(), Sort("tokens")),
        "to sort by prompt": lambda: index.order(Filter(), Sort("prompt")),
        "to find a prompt": lambda: index.find(ID % (len(index) - 1)),
    }


def _work(index: TreeIndex, done: dict[str, float]) -> None:
    start, before = time.perf_counter(), time.thread_time()
    while not index.summarise(0.05):
        progress = index.progress()
        if progress.bytes_read == progress.bytes_total:
            done.setdefault("lines", time.perf_counter() - start)
    done["all"] = time.perf_counter() - start
    done["processor"] = time.thread_time() - before


def _searched(index: TreeIndex, shown: Filter) -> float:
    start = time.perf_counter()
    index.order(shown)
    while not index.search(0.2):
        index.order(shown)
    return time.perf_counter() - start


def _times(name: str, work: Callable[[], object], times: int = 20) -> dict[str, float]:
    """Milliseconds of several tries: the median, the slowest, and the processor's part of the median."""
    taken, busy = [], []
    for _ in range(times):
        start, before = time.perf_counter(), time.thread_time()
        work()
        busy.append(1e3 * (time.thread_time() - before))
        taken.append(1e3 * (time.perf_counter() - start))
        time.sleep(0.02)
    return {
        f"ms {name}": sorted(taken)[times // 2],
        f"  of these, processor: {name}": sorted(busy)[times // 2],
        f"  slowest: {name}": max(taken),
    }


if __name__ == "__main__":
    run_benchmark(main)
