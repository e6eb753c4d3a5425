"""`spar.search`, `spar.decode` and `spar.open_session`."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from spar.config import DecodeConfig
from spar.errors import EngineError, RunStopped, UsageError
from spar.files import expand_home, expand_home_in
from spar.listener import Broadcast, Listener, checked_listener
from spar.run.blocking import blocking, in_thread
from spar.run.decoding import (
    IN_MEMORY,
    DecodeResult,
    PromptLike,
    as_prompts,
    prompt_source,
    run_decode,
    source_of,
    without_file,
)
from spar.run.interactive import Session
from spar.run.keywords import decode_config
from spar.run.resume import PromptSource
from spar.store import read_trees
from spar.types import Prompt, SearchTree


async def search_async(
    prompt: PromptLike,
    *,
    listener: Listener | None = None,
    recipe: str | None = None,
    **settings: Any,
) -> SearchTree:
    """Search for an answer to one prompt; stores nothing.

    Loads the model and frees it again. For several searches, use `open_session`, or `decode`.

    Parameters
    ----------
    prompt:
        A text, a row such as `{"messages": [...]}`, or a `Prompt`.
    listener:
        Receives the events of the search; by default notes go to the logger "spar".
    recipe:
        A YAML file or a shipped recipe; by default the paper's settings, for the embedded model its own.
    settings:
        Fields of `spar.config.DecodeConfig`: `model`, `base_url`, `strategy`, `budget`, ...

    Returns
    -------
    SearchTree
        The tree; `tree.answer` is the text of the best node, None where every attempt failed.

    Raises
    ------
    UsageError
        An unknown setting, a value out of range, or a model that cannot be loaded.
    EngineError
        A request could not be served.
    """
    (tree,) = await _decode(decode_config(recipe, settings), [prompt], listener, given=settings)
    return tree


search = blocking(search_async)


async def decode_async(
    prompts: str | Path | Iterable[PromptLike] = "",
    *,
    out: str | Path | None = None,
    overwrite: bool = False,
    listener: Listener | None = None,
    recipe: str | None = None,
    **settings: Any,
) -> DecodeResult:
    """Search for an answer to every prompt.

    Parameters
    ----------
    prompts:
        The name of a file of prompts or of a data set of the hub, or an iterable of texts, rows or `Prompt` objects; ""
        for those of the recipe, or the built-in prompts of nano-if.
    out:
        The run directory. The same call resumes it; other settings are refused. None stores nothing.
    overwrite:
        Delete an earlier run in the directory first.
    listener, recipe, settings:
        As in `search`. `spar.ProgressBar()` is a listener that shows progress.

    Returns
    -------
    DecodeResult
        The trees in the order of the prompts, and the totals of the run.

    Raises
    ------
    UsageError
        As in `search`; a wrong row; a directory that holds something else.
    ConfigChanged
        The directory holds a run with other settings; the message has the difference.
    RunStopped
        A request could not be served, or the disk is full. The same call resumes.
    """
    config = decode_config(recipe, settings)
    return await _decode(config, prompts, listener, out=out, overwrite=overwrite, given=settings)


decode = blocking(decode_async)


async def _decode(
    config: DecodeConfig,
    prompts: str | Path | Iterable[PromptLike],
    listener: Listener | None,
    *,
    out: str | Path | None = None,
    overwrite: bool = False,
    given: Mapping[str, Any],
) -> DecodeResult:
    listener = checked_listener(listener)
    if isinstance(prompts, str | Path):  # a data set of the hub may have to be downloaded
        config, source = await in_thread(partial(_prompts, config, prompts, given))
    else:
        config, source = _prompts(config, prompts, given)
    if out is not None:
        decoded = await run_decode(
            config, source, out=expand_home(Path(out)), overwrite=overwrite, listener=listener
        )
        ids = tuple(prompt.id for prompt in decoded.source.read())
        return DecodeResult(decoded.directory.absolute(), decoded.summary, ids)
    trees = _Trees()
    with temporary_run() as directory:
        decoded = await run_decode(
            config, source, out=directory, listener=Broadcast(trees, listener)
        )
    ids = tuple(prompt.id for prompt in source.read())
    return DecodeResult(None, decoded.summary, ids, trees.by_id)


async def read_trees_async(path: str | Path) -> AsyncIterator[SearchTree]:
    """Like `read_trees`, without blocking the event loop while a line is read and parsed."""
    trees = await asyncio.to_thread(read_trees, path)
    while (tree := await asyncio.to_thread(next, trees, None)) is not None:
        yield tree


def open_session(
    *, listener: Listener | None = None, recipe: str | None = None, **settings: Any
) -> Session[DecodeConfig]:
    """A session, whose models stay loaded from one search to the next; close it, or use `with`.

    Parameters
    ----------
    listener, recipe, settings:
        As in `search`.

    Raises
    ------
    UsageError
        An unknown setting, or a value out of range.
    """
    return Session(decode_config(recipe, settings), checked_listener(listener))


class _Trees(Listener):
    """Collects the trees of a run that stores nothing."""

    def __init__(self) -> None:
        self.by_id: dict[str, SearchTree] = {}

    def tree(self, tree: SearchTree) -> None:
        """Store it under its prompt's id."""
        self.by_id[tree.prompt.id] = tree


@contextmanager
def temporary_run() -> Iterator[Path]:
    """A run directory that is deleted at the end.

    Raises
    ------
    EngineError
        What stopped the run, without its advice to resume it.
    """
    with tempfile.TemporaryDirectory(prefix="spar-") as folder:
        try:
            yield Path(folder) / "run"
        except RunStopped as error:
            raise (error.__cause__ if isinstance(error.__cause__, EngineError) else error) from None


def _prompts(
    config: DecodeConfig, prompts: str | Path | Iterable[PromptLike], given: Mapping[str, Any]
) -> tuple[DecodeConfig, PromptSource]:
    if isinstance(prompts, str | Path):
        name = expand_home_in(str(prompts))
        config = config.model_copy(update={"prompts": name}) if name else config
        return config, prompt_source(config)
    field = str(given.get("prompt_field") or "")
    config = config.model_copy(update={"prompt_field": ""}) if field else config
    config = without_file(config, IN_MEMORY, {})
    is_collection = isinstance(prompts, Iterable) and not hasattr(prompts, "columns")
    if isinstance(prompts, Mapping | Prompt) or not is_collection:
        raise UsageError(
            f"prompts is a {type(prompts).__name__}; pass a list of texts, rows or spar.Prompt objects"
        )
    source = source_of(islice(as_prompts(prompts, field), config.limit))
    if not source.count:
        raise UsageError("there are no prompts; give at least one")
    return config, source
