"""What `spar decode` does once its settings are known.

Reads and checks every prompt before a model is loaded, opens the run directory, runs, reports. Kept
apart from `decode.py` so that `spar --help` imports none of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from spar.cli import report
from spar.cli.display import Display, open_display
from spar.config import DecodeConfig
from spar.errors import SparError
from spar.infer.decode import Observer, decode
from spar.infer.estimate import dry_run_text
from spar.infer.setup import Engines, check_models, make_manifest, open_roles, search_settings
from spar.infer.summary import Summary
from spar.manifest import Manifest
from spar.nano.tasks import prompts as nano_prompts
from spar.prompts import prompt_from_text, read_prompts
from spar.store import RunStore, read_summary, read_trees
from spar.types import Prompt, SearchTree

T = TypeVar("T")

BUILT_IN_PROMPTS = 100
"""Prompts of the built-in set where no `--limit` is given: the first of nano-if's test split."""


@dataclass(frozen=True, slots=True)
class Invocation:
    """The flags that are not settings of the run."""

    prompt: str | None = None
    out: Path | None = None
    fresh: bool = False
    dry_run: bool = False
    json_summary: bool = False
    show_tree: bool = False
    display: str = "auto"


@dataclass(frozen=True, slots=True)
class PromptSource:
    """Prompts that can be read as often as needed."""

    read: Callable[[], Iterator[Prompt]]
    count: int


class Interrupted(SparError):
    """Ctrl-C stopped the run."""

    exit_code = 130


def run(config: DecodeConfig, invocation: Invocation) -> None:
    """Decode as asked, and print what was found."""
    display = open_display(invocation.display)
    source = open_prompts(config, invocation.prompt)
    if invocation.prompt is not None:
        config = config.model_copy(update={"prompts": f"--prompt {invocation.prompt}"})
    if invocation.dry_run:
        print(report.visible(dry_run_text(config, next(source.read()), source.count)))
        return
    check_models(config)
    manifest = make_manifest(config)
    directory = invocation.out or default_directory(config, manifest)
    with RunStore.open(directory, manifest, fresh=invocation.fresh) as store:
        summary = asyncio.run(_run(config, source, store, display))
    _print_results(config, invocation, directory, summary)


def open_prompts(config: DecodeConfig, text: str | None) -> PromptSource:
    """Find the prompts and read them once through, so that a bad row is told before a model loads."""
    if text is not None:
        prompt = prompt_from_text(text)
        return PromptSource(lambda: iter([prompt]), 1)
    if not config.prompts:
        count = config.limit or BUILT_IN_PROMPTS
        return PromptSource(lambda: nano_prompts("test", limit=count), count)
    if config.prompts == "-":
        rows = list(read_prompts("-", config.limit))
        return PromptSource(lambda: iter(rows), len(rows))
    count = sum(1 for _ in read_prompts(config.prompts, config.limit))
    return PromptSource(lambda: read_prompts(config.prompts, config.limit), count)


def default_directory(config: DecodeConfig, manifest: Manifest) -> Path:
    """`runs/STRATEGY-BUDGET-DIGEST`: the same command finds its run again."""
    return Path("runs") / f"{config.strategy}-{config.budget}-{manifest.digest[:8]}"


async def _run(
    config: DecodeConfig, source: PromptSource, store: RunStore, display: Display
) -> Summary:
    summary = _resumed_summary(store)
    if summary.trees:
        display.note(f"resuming: {summary.trees} trees are there already")
    if summary.trees >= source.count and all(p.id in store.done for p in source.read()):
        return summary
    start, earlier = time.monotonic(), summary.seconds
    display.note("loading the model ...")
    engines = Engines(config)
    try:
        await _interruptible(_search(config, source, store, display, engines, summary), store)
    finally:
        summary.seconds = earlier + time.monotonic() - start
        display.close()
        await engines.aclose()
        store.write_summary(summary.as_dict())
        for line in engines.describe():
            store.log(line)
            display.note(line)
    return summary


async def _search(
    config: DecodeConfig,
    source: PromptSource,
    store: RunStore,
    display: Display,
    engines: Engines,
    summary: Summary,
) -> None:
    roles = await _in_thread(lambda: open_roles(config, engines))
    settings = search_settings(config, store.manifest.digest)
    display.start(source.count, summary.trees, lambda: engines.completion_tokens)

    def on_tree(tree: SearchTree) -> None:
        for fault in tree.faults:
            store.log(f"{tree.prompt.id}: {fault.stage} below {fault.parent}: {fault.reason}")
        display.tree(tree)

    await decode(
        source.read(),
        roles,
        settings,
        store,
        summary=summary,
        concurrency=config.concurrency,
        observer=Observer(on_start=display.admit, on_tree=on_tree),
    )


async def _in_thread(work: Callable[[], T]) -> T:
    """Do blocking work aside, so that Ctrl-C is heard meanwhile; nobody waits for an abandoned one."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(done: Callable[[Any], None], value: Any) -> None:
        if not future.done():
            done(value)

    def run() -> None:
        try:
            outcome: tuple[Callable[[Any], None], Any] = (future.set_result, work())
        except BaseException as error:  # whatever it is belongs to the one who asked
            outcome = (future.set_exception, error)
        with contextlib.suppress(RuntimeError):  # the loop has gone: the run was interrupted
            loop.call_soon_threadsafe(settle, *outcome)

    threading.Thread(target=run, name="spar-loader", daemon=True).start()
    return await future


async def _interruptible(work: Any, store: RunStore) -> None:
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    with contextlib.suppress(
        NotImplementedError
    ):  # Windows: Ctrl-C then ends the run as an exception
        loop.add_signal_handler(signal.SIGINT, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        raise Interrupted(
            f"interrupted; {len(store.done)} trees are safe in {store.directory}; "
            "run the same command again to resume"
        ) from None
    finally:
        with contextlib.suppress(NotImplementedError):
            loop.remove_signal_handler(signal.SIGINT)


def _resumed_summary(store: RunStore) -> Summary:
    summary = Summary()
    if store.done:
        for tree in read_trees(store.directory):
            summary.add(tree)
        try:
            summary.seconds = float(read_summary(store.directory).get("seconds", 0.0))
        except SparError:  # killed before it wrote a summary: the time is lost, the trees are not
            summary.seconds = 0.0
    return summary


def _print_results(
    config: DecodeConfig, invocation: Invocation, directory: Path, summary: Summary
) -> None:
    if invocation.json_summary:
        facts = {"run": str(directory), "strategy": config.strategy, "budget": config.budget}
        print(json.dumps({**facts, **summary.as_dict()}))
    elif invocation.prompt is not None:
        report.print_answer(next(read_trees(directory)))
    else:
        report.print_summary(config, summary)
        if invocation.show_tree:
            report.print_solved_tree(read_trees(directory))
        report.print_run(directory)
