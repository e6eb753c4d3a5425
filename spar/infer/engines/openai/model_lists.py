"""Which models servers list, and the check of a requested one before a run."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from spar.errors import EngineError, ServerRefused, UsageError
from spar.infer.engine import NoteCallback
from spar.infer.engines.openai.addresses import REDACTED, Key, base_url, read_key
from spar.infer.engines.openai.connection_pool import (
    ConnectionPool,
    RequestFailed,
    ResponseTooLarge,
)

_CHECK_TIMEOUT = 20.0
_MAX_LISTED = 8

T = TypeVar("T")


def check_server(
    urls: Sequence[str],
    model: str,
    api_key_env: str,
    note: NoteCallback = lambda _: None,
    headers: Mapping[str, Any] | None = None,
) -> str:
    """Ask every server which models it serves; returns the name of the model to request. Blocks.

    As long as one of them responds the others may be down; the engine starts without them.

    Parameters
    ----------
    model:
        The requested model, "" for the only one that the servers have.
    note:
        Called for each server that is down, if not all are.
    headers:
        As for `read_key`.

    Raises
    ------
    UsageError
        A URL is invalid, the key is missing, or no model is named where a server has several or does not
        list them.
    ServerRefused
        A server rejects the key or does not have the model.
    EngineError
        No server can be reached and is ready.
    """
    addresses = [(url, read_key(api_key_env, url, headers)) for url in map(base_url, urls)]
    results = _run(_list_all(addresses))
    failures = [result for result in results if isinstance(result, EngineError)]
    for (url, _), models in zip(addresses, results, strict=True):
        if isinstance(models, UsageError):
            raise models
        if not isinstance(models, EngineError):
            model = choose_model(url, models, model)
    if len(failures) == len(urls):
        raise failures[0]
    for failure in failures:
        note(f"{failure}; continuing with the other servers")
    return model


async def _list_all(
    addresses: Sequence[tuple[str, Key]],
) -> list[list[str] | EngineError | UsageError | None]:
    async def one(url: str, key: Key) -> list[str] | EngineError | UsageError | None:
        try:
            return await list_models(url, key)
        except (EngineError, UsageError) as error:
            return error

    return await asyncio.gather(*(one(url, key) for url, key in addresses))


def _run(work: Coroutine[Any, Any, T]) -> T:
    """Run to completion, also beside an event loop that runs in this thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(asyncio.run, work).result()


async def list_models(url: str, key: Key) -> list[str] | None:
    """Names of the models at a base URL; None if the server does not list them.

    Raises
    ------
    ServerRefused
        The server rejects the key.
    EngineError
        The server cannot be reached or is not ready.
    UsageError
        The environment's proxy or certificates cannot be used.
    """
    pool = ConnectionPool(url, key)
    try:
        response = await pool.send("/models", None, _CHECK_TIMEOUT)
    except ResponseTooLarge as error:
        raise EngineError(f"{url}/models: {error}; is this an OpenAI-compatible server?") from None
    except RequestFailed as error:
        raise EngineError(
            f"{url}: no server responds ({error}); start the server or correct --base-url"
        ) from None
    finally:
        await pool.aclose()
    if response.status in (401, 403):
        raise ServerRefused(f"{url}: rejected the key (HTTP {response.status}); {key.hint}")
    if response.status >= 500:
        raise EngineError(f"{url}: the server is not ready (HTTP {response.status}); see its log")
    return read_models(response.content) if 200 <= response.status < 300 else None


def read_models(content: bytes) -> list[str] | None:
    """Model names in the body of a response to GET /models; None if it is not such a list."""
    try:
        body: Any = json.loads(content)
    except (ValueError, RecursionError):
        return None
    rows = body.get("data") if isinstance(body, dict) else None
    if not isinstance(rows, list):
        return None
    return [str(row["id"]) for row in rows if isinstance(row, dict) and "id" in row]


def choose_model(url: str, models: list[str] | None, requested: str) -> str:
    """The requested model if the server has it or lists none; its only model if none is requested.

    Raises
    ------
    UsageError
        No model is requested, and the server has several or does not list them.
    ServerRefused
        The server does not have the requested model.
    """
    if models is None:
        if not requested:
            raise UsageError(f"{url}: does not list its models; name one with --model NAME")
        return requested
    if requested in models:
        return requested
    if requested:
        raise ServerRefused(
            f"{url}: has no model {requested!r} ({format_models(models)}); name one with --model"
        )
    if len(models) != 1 or REDACTED in models[0]:
        raise UsageError(f"{url}: name a model with --model NAME ({format_models(models)})")
    return models[0]


def format_models(models: Sequence[str]) -> str:
    """The first few of a server's models, for a message."""
    more = f" and {len(models) - _MAX_LISTED} more" if len(models) > _MAX_LISTED else ""
    names = ", ".join(name if name.isprintable() else ascii(name) for name in models[:_MAX_LISTED])
    return f"it has: {names or 'none'}{more}"
