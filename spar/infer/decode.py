"""Many prompts into a run directory.

Trees are independent coroutines. The next prompt is read when there is room for its tree, in order,
and each tree is written the moment its search ends. Memory does not grow with the number of prompts.

Room is a multiple of what the engines can work on at once: each tree has at least one request under
way, so the engine is full as long as prompts last, and the trees that are left when they run out are
many enough to fill it a while longer. Requests are served in the order in which they come: serving
older trees first keeps young ones, whose chain of calls is the longest, from starting, and made a
run of 541 prompts 4 % slower on the simulated engine (reports/schedule_ratio.md).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import count

from spar.errors import EngineError, RunStopped
from spar.infer.cut_replies import CUT_REPLIES, CutReplies
from spar.infer.engine import PROMPT_ID, TREE
from spar.infer.following import attempt_callback
from spar.infer.gather import cancel
from spar.infer.roles import Roles
from spar.infer.search import SearchSettings, run_search
from spar.infer.summary import Summary
from spar.listener import Listener
from spar.store import RunStore
from spar.types import Node, Prompt, SearchTree

DEFAULT_ROOM = 256
"""Most trees in flight where nothing limits the engine."""


RootsProvider = Callable[[Prompt], Awaitable[Sequence[Node]]]
"""The judged roots from which a prompt's search starts; an empty sequence lets the strategy draft."""


PromptSearch = Callable[
    [Prompt, Roles, SearchSettings, Callable[[Node], None]], Awaitable[SearchTree]
]
"""Searches one prompt; calls its last argument with each node that joins the tree."""


async def decode(
    prompts: Iterable[Prompt],
    roles: Roles,
    settings: SearchSettings,
    store: RunStore,
    *,
    summary: Summary,
    room: Callable[[], int] = lambda: DEFAULT_ROOM,
    listener: Listener = Listener(),
    roots: RootsProvider | None = None,
    cut_replies: CutReplies | None = None,
    searches: Mapping[str, PromptSearch] | None = None,
) -> None:
    """Search every prompt without a tree in the store, and add up the totals.

    Parameters
    ----------
    room:
        Most trees in flight at this moment.
    listener:
        Receives the events `admitted`, `node` and `tree`.
    roots:
        Gives the judged nodes from which a prompt's search starts; None lets the strategy draft.
    cut_replies:
        Counts replies that end at their token limit; None counts them in the trees only.
    searches:
        Ids of the prompts to search, with or without a tree, to how; None for those without one, from the start.

    Raises
    ------
    RunStopped
        A request could not be served, the disk is full, or all first votes were cut at their token limit. What was
        written can be resumed.
    """
    numbers, ended, running = count(1), asyncio.Queue[asyncio.Task[SearchTree]](), set()

    async def search(prompt: Prompt) -> SearchTree:
        TREE.set(next(numbers))  # seen by this task and those it starts, and by no other
        PROMPT_ID.set(prompt.id)
        CUT_REPLIES.set(cut_replies)
        own = searches[prompt.id] if searches is not None else None
        return await search_prompt(prompt, roles, settings, listener, roots=roots, search=own)

    async def write_next() -> None:
        tasks = [await ended.get()]
        while not ended.empty():
            tasks.append(ended.get_nowait())
        # Whole trees first: one that failed stops the run, but must not take its neighbours along.
        for task in sorted(tasks, key=lambda task: task.exception() is not None):
            running.discard(task)
            tree = task.result()
            store.append(tree)
            summary.add(tree)
            listener.tree(tree)

    try:
        for prompt in prompts:
            if prompt.id in store.done if searches is None else prompt.id not in searches:
                continue
            while len(running) >= room():
                await write_next()
            task = asyncio.create_task(search(prompt))
            task.add_done_callback(ended.put_nowait)
            running.add(task)
        while running:
            await write_next()
    except EngineError as error:
        raise RunStopped(
            f"{error}; {store.saved(f'in {store.directory}')}; rerun the command to resume"
        ) from error
    finally:
        await cancel(running)


async def search_prompt(
    prompt: Prompt,
    roles: Roles,
    settings: SearchSettings,
    listener: Listener,
    *,
    roots: RootsProvider | None = None,
    search: PromptSearch | None = None,
) -> SearchTree:
    """Search one prompt; the listener receives the events `admitted`, `attempt` and `node`.

    Parameters
    ----------
    roots:
        As in `decode`.
    search:
        How it is searched; None from the start.

    Raises
    ------
    EngineError
        A request could not be served. There is no partial tree.
    """
    listener.admitted(prompt)
    on_node = partial(listener.node, prompt)
    if search is not None:
        return await search(prompt, roles, settings, on_node)
    initial = await roots(prompt) if roots is not None else ()
    return await run_search(
        prompt,
        roles,
        settings,
        roots=initial,
        on_node=on_node,
        on_attempt=attempt_callback(listener, prompt),
    )
