"""A response cache: replies on a disk that any later run takes instead of asking the model again.

Strategies that are compared under one seed ask for much the same: the first draft and its votes, the next drafts, the
refinements of a node. So do the points of a sweep, a run with another vote rule, and a run that is made anew after a
change elsewhere. A request is known by a digest of all that decides its reply: the model's files, the engine and its
settings, the messages, the sampling with its seed. Replies that are drawn afresh (a temperature and no seed) are never
stored, nor are those without a text that a server refused.

A tree counts the calls and tokens of its replies wherever these come from, so what a strategy costs stays what it is
without a cache. Seconds do not.

The file is an SQLite database. Several processes of one machine may use it at once; SQLite's locks do not work on
most network file systems.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeVar

from spar.errors import UsageError
from spar.infer.engine import Completion, Continuation, Likelihood, NoteCallback, Request
from spar.infer.engine_wrappers import EngineWrapper, scorer
from spar.infer.stored_replies import as_values, from_values, request_digests

T = TypeVar("T")
_Q = TypeVar("_Q")

_WAIT_SECONDS = 60.0


class ResponseCache:
    """The replies of one file, which is made if it does not exist.

    Parameters
    ----------
    note:
        Called with a line if the file cannot be read or written any more; the cache is then empty and stores nothing.

    Raises
    ------
    UsageError
        The file cannot be made, or is no response cache.
    """

    def __init__(self, path: Path, note: NoteCallback = lambda _: None) -> None:
        self._path, self._note = path, note
        self._usable = True
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(
                path, timeout=_WAIT_SECONDS, isolation_level=None, check_same_thread=False
            )
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=NORMAL")
            self._database.execute(
                "CREATE TABLE IF NOT EXISTS replies (key TEXT PRIMARY KEY, reply TEXT) WITHOUT ROWID"
            )
            self._database.execute("SELECT key, reply FROM replies LIMIT 1")
        except (OSError, sqlite3.Error) as error:
            raise UsageError(f"--response-cache {path}: {_reason(error)}") from error

    def get(self, keys: Sequence[str]) -> list[Any]:
        """The stored values of each key; None where there are none."""
        return [self._get(key) for key in keys]

    def put(self, values: Mapping[str, Any]) -> None:
        """Store JSON values by key, in place of what was there."""
        if not values or not self._usable:
            return
        rows = [(key, json.dumps(value)) for key, value in values.items()]
        try:
            self._database.execute("BEGIN IMMEDIATE")
            self._database.executemany("INSERT OR REPLACE INTO replies VALUES (?, ?)", rows)
            self._database.execute("COMMIT")
        except sqlite3.Error as error:
            self._give_up(error)

    def close(self) -> None:
        """Close the file. Safe to call twice."""
        self._usable = False
        self._database.close()

    def _get(self, key: str) -> Any:
        if not self._usable:
            return None
        try:
            query = "SELECT reply FROM replies WHERE key = ?"
            found = self._database.execute(query, (key,)).fetchone()
            return None if found is None else json.loads(found[0])
        except (sqlite3.Error, ValueError) as error:
            self._give_up(error)
            return None

    def _give_up(self, error: Exception) -> None:
        self._usable = False
        self._note(f"{self._path}: {_reason(error)}; the run goes on without the response cache")


@dataclass(slots=True)
class CachedEngine(EngineWrapper):
    """Answers from a response cache what is in it, and stores other replies there."""

    cache: ResponseCache
    namespace: str
    """What decides replies besides the requests: a digest of the model and the engine's settings."""
    stamp: Callable[[str], str] = str
    """From an adapter's folder to what changes with its files."""
    requests: int = 0
    """Requests and scored continuations so far."""
    hits: int = 0
    """Of these, those that the cache answered."""
    _stamps: dict[str, str] = field(default_factory=lambda: {"": ""})

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """Pass on the requests that the cache does not hold."""
        digests = request_digests(self.namespace, requests)
        keys = [
            digest_of(digest, self._stamp(r.adapter))
            for digest, r in zip(digests, requests, strict=True)
        ]
        cacheable = [r.sampling.seed is not None or r.sampling.temperature <= 0 for r in requests]
        return await self._answer(
            keys,
            requests,
            cacheable,
            self.engine.generate,
            from_values,
            lambda reply: None if reply.empty_reason else as_values(reply),
        )

    async def score(self, continuations: Sequence[Continuation]) -> list[Likelihood]:
        """Pass on the continuations that the cache does not hold."""
        keys = [
            digest_of(self.namespace, repr([getattr(each, f.name) for f in fields(Continuation)]))
            for each in continuations
        ]
        return await self._answer(
            keys,
            continuations,
            [True] * len(keys),
            scorer(self.engine).score,
            lambda values: Likelihood(**values),
            asdict,
        )

    async def _answer(
        self,
        keys: Sequence[str],
        asked: Sequence[_Q],
        cacheable: Sequence[bool],
        ask: Callable[[Sequence[_Q]], Awaitable[list[T]]],
        read: Callable[[dict[str, Any]], T],
        as_stored: Callable[[T], dict[str, Any] | None],
    ) -> list[T]:
        self.requests += len(keys)
        known = self.cache.get([key for key, may in zip(keys, cacheable, strict=True) if may])
        found = iter(known)
        replies = [_read(read, next(found)) if may else None for may in cacheable]
        missing = [index for index, reply in enumerate(replies) if reply is None]
        self.hits += len(keys) - len(missing)
        if missing:
            new = await ask([asked[index] for index in missing])
            for index, reply in zip(missing, new, strict=True):
                replies[index] = reply
            stored = {
                keys[i]: as_stored(reply)
                for i, reply in zip(missing, new, strict=True)
                if cacheable[i]
            }
            self.cache.put({key: values for key, values in stored.items() if values is not None})
        return [reply for reply in replies if reply is not None]

    def _stamp(self, adapter: str) -> str:
        if adapter not in self._stamps:
            self._stamps[adapter] = self.stamp(adapter)
        return self._stamps[adapter]


def _read(read: Callable[[dict[str, Any]], T], values: Any) -> T | None:
    """The reply of stored values; None for none, or for those of another version."""
    if values is None:
        return None
    try:
        return read(values)
    except (TypeError, ValueError, AttributeError):
        return None


def digest_of(*parts: str) -> str:
    """A digest of several texts in their order."""
    return blake2b(json.dumps(parts).encode("ascii"), digest_size=16).hexdigest()


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
