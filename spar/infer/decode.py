"""Many prompts into a run directory.

Trees are independent coroutines: at most `concurrency` of them are in flight, the next prompt is
read when one ends, and each tree is written the moment its search ends. Memory does not grow with
the number of prompts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from spar.errors import EngineError, RunStopped
from spar.infer.search import Roles, SearchSettings, run_search
from spar.infer.summary import Summary
from spar.store import RunStore
from spar.types import Node, Prompt, SearchTree


@dataclass(frozen=True, slots=True)
class Observer:
    """Who is told what happens; each is a function that returns at once."""

    on_start: Callable[[Prompt], None] = lambda _: None
    """A tree was admitted."""
    on_node: Callable[[Node], None] = lambda _: None
    """A node joined some tree."""
    on_tree: Callable[[SearchTree], None] = lambda _: None
    """A tree ended and is written."""


async def decode(
    prompts: Iterable[Prompt],
    roles: Roles,
    settings: SearchSettings,
    store: RunStore,
    *,
    summary: Summary,
    concurrency: int = 64,
    observer: Observer = Observer(),
) -> None:
    """Search every prompt that the store does not have yet, and add up what was found.

    Raises
    ------
    RunStopped
        A request could not be served, or the disk is full. What was written can be resumed.
    """
    running: set[asyncio.Task[SearchTree]] = set()

    async def one(prompt: Prompt) -> SearchTree:
        observer.on_start(prompt)
        return await run_search(prompt, roles, settings, on_node=observer.on_node)

    def write(ended: Iterable[asyncio.Task[SearchTree]]) -> None:
        # Whole trees first: one that failed stops the run, but must not take its neighbours along.
        for task in sorted(ended, key=lambda task: task.exception() is not None):
            tree = task.result()
            store.append(tree)
            summary.add(tree)
            observer.on_tree(tree)

    try:
        for prompt in prompts:
            if prompt.id in store.done:
                continue
            running.add(asyncio.create_task(one(prompt)))
            while len(running) >= concurrency:
                ended, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                write(ended)
        while running:
            ended, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            write(ended)
    except EngineError as error:
        message = f"{error}; {len(store.done)} trees are safe in {store.directory}"
        raise RunStopped(f"{message}; run the same command again to resume") from error
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
