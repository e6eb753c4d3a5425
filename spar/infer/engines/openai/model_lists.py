"""Which models servers have, and the check of a requested one before a run.

A server may have models that its list lacks: Ollama takes `llama3.2` for `llama3.2:latest`, Azure takes the names of
deployments, gateways route names that they do not list. So such a model is asked for a few tokens, and refused if that
fails. Some servers of one model answer to any name, so these are asked only where the name is a part of the listed one.
"""

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
    RequestTimeout,
    ResponseTooLarge,
)
from spar.infer.engines.openai.errors import error_status, read_error
from spar.infer.engines.openai.learning import is_about

PROBE_TEXT = "Reply with the single word OK."
"""A prompt that no server refuses for what it says."""

_CHECK_TIMEOUT = 20.0
_MAX_LISTED = 8
_TRIED_TOKENS = 16
_NO_LIST = frozenset({404, 405, 501})
"""Statuses of a server that has no list."""
_LIMITS = ("max_tokens", "max_completion_tokens")
"""Names of the limit on a reply's tokens, the older one first."""

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
        Called for each server that is down, if not all are, and for each that does not list the requested model but
        serves it.
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
    results = _run(_list_all(addresses, model, note))
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
    addresses: Sequence[tuple[str, Key]], requested: str, note: NoteCallback
) -> list[list[str] | EngineError | UsageError | None]:
    async def one(url: str, key: Key) -> list[str] | EngineError | UsageError | None:
        try:
            models = await list_models(url, key, is_required=not requested)
            if models is not None and await _serves_unlisted(url, key, models, requested):
                note(f"{url}: does not list the model {requested!r}; it is requested all the same")
                return [*models, requested]
            return models
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


async def list_models(url: str, key: Key, *, is_required: bool = False) -> list[str] | None:
    """Names of the models at a base URL; None if the server does not list them.

    Parameters
    ----------
    is_required:
        Whether a server that has a list and refuses it now, such as a busy one, is an error too.

    Raises
    ------
    ServerRefused
        The server rejects the key.
    EngineError
        The server cannot be reached or is not ready, or refuses a required list.
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
    refusal = read_error(response.status, response.headers, response.content, key.redact)
    if refusal.rejects_key or refusal.status == 403:
        raise ServerRefused(f"{url}: rejected the key (HTTP {response.status}); {key.hint}")
    if response.status >= 500:
        raise EngineError(f"{url}: the server is not ready (HTTP {response.status}); see its log")
    if 200 <= response.status < 300:
        return read_models(response.content)
    if is_required and response.status not in _NO_LIST:
        raise EngineError(
            f"{url}: does not list its models: {refusal}; name one with --model NAME, or try again later"
        )
    return None


async def _serves_unlisted(url: str, key: Key, models: Sequence[str], model: str) -> bool:
    """Whether a server replies to a harmless prompt as a model that it does not list, or at least begins to."""
    is_part = any(name.startswith(f"{model}:") or name.endswith(f"/{model}") for name in models)
    if model in ("", *models) or not (is_part or len(models) > 1):
        return False
    pool = ConnectionPool(url, key)
    request = {"model": model, "messages": [{"role": "user", "content": PROBE_TEXT}]}
    try:
        for limit in _LIMITS:
            body = json.dumps({**request, limit: _TRIED_TOKENS}).encode()
            response = await pool.send("/chat/completions", body, _CHECK_TIMEOUT)
            status = error_status(response.status, response.content)
            if 200 <= status < 300:
                return b'"choices"' in response.content
            error = read_error(status, response.headers, response.content, key.redact)
            if error.overloaded:  # which says nothing of the name
                return True
            if not is_about(error, limit):
                return False
    except RequestTimeout:  # it is loading the model: one that it does not know is refused at once
        return True
    except RequestFailed:
        pass
    finally:
        await pool.aclose()
    return False


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
