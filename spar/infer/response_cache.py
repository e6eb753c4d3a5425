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

import asyncio
import json
import os
import sqlite3
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import closing
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field, fields
from hashlib import blake2b
from pathlib import Path
from typing import Any, Generic, TypeVar

from spar.errors import UsageError
from spar.infer.engine import Completion, Continuation, Likelihood, NoteCallback, Request
from spar.infer.engine_wrappers import EngineWrapper, scorer
from spar.infer.stored_replies import as_values, from_values, request_digests

Q = TypeVar("Q")
T = TypeVar("T")

FROM_CACHE = "from_cache"
"""In an engine's counts of a run: replies that its cache had, also where these are none."""
APPLICATION_ID = 0x73706172
"""What SQLite stores in a file to tell whose it is: `spar` in ASCII."""
BUSY_SECONDS = 0.1
"""How long a write waits for another process; then it is put off for ten times as long."""
CLOSE_SECONDS = 5
"""How long the last one waits, and the first."""
REPEATABLE: ContextVar[bool] = ContextVar("repeatable", default=True)
"""Whether what the current task asks may be asked again: False where its seed was drawn at random, so nothing is stored."""
_STATEMENTS = (
    f"PRAGMA application_id = {APPLICATION_ID}",  # before the file has a log, in which nobody looks for it
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = NORMAL",
    "CREATE TABLE IF NOT EXISTS replies (key TEXT PRIMARY KEY, reply TEXT) WITHOUT ROWID",
)


def check_file(path: Path) -> None:
    """Raise `UsageError` where a path can be no response cache; nothing is written."""
    try:
        if path.exists():
            _refuse_other_file(path)
        home = next(each for each in (path, *path.parents) if each.exists())
        if not os.access(home, os.W_OK) or (home != path and not home.is_dir()):
            raise UsageError(f"--response-cache {path}: {home} cannot be written to")
    except (OSError, ValueError) as error:
        raise UsageError(f"--response-cache {path}: {_reason(error)}") from error


def _refuse_other_file(path: Path) -> None:
    """Raise `UsageError` unless a file is a response cache or empty.

    SQLite reads it: who opens and closes a file otherwise drops the locks on it of the whole process, those of a cache in
    use among them, and another process then ruins it (https://www.sqlite.org/howtocorrupt.html, section 2.2).
    """
    if path.is_file() and not path.stat().st_size:
        return
    number = 0
    try:
        address = f"{path.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(address, timeout=CLOSE_SECONDS, uri=True)) as database:
            (number,) = database.execute("PRAGMA application_id").fetchone()
    except sqlite3.OperationalError as error:
        raise UsageError(f"--response-cache {path}: {_reason(error)}") from error
    except sqlite3.DatabaseError:  # not one of SQLite's
        pass
    if number != APPLICATION_ID:
        raise UsageError(f"--response-cache {path}: that is no response cache, but another file")


class ResponseCache:
    """The replies of one file, which is made if it does not exist.

    A write that another process holds up for longer than a moment is put off, so that nobody waits for it.

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
        self.in_flight: dict[str, asyncio.Future[Any]] = {}
        """Key to the reply that is being generated for it; None in the end if it was not."""
        self._path, self._note = path, note
        self._usable = True
        self._unwritten: dict[str, str] = {}
        self._next_write = 0.0
        check_file(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(
                path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            self._prepare()
        except (OSError, sqlite3.Error) as error:
            raise UsageError(f"--response-cache {path}: {_reason(error)}") from error

    def get(self, keys: Sequence[str]) -> list[Any]:
        """The stored values of each key; None where there are none."""
        return [self._get(key) for key in keys]

    def put(self, values: Mapping[str, Any]) -> None:
        """Store JSON values by key, in place of what was there."""
        if not self._usable:
            return
        self._unwritten |= {key: json.dumps(value) for key, value in values.items()}
        if time.monotonic() >= self._next_write:
            self._write()

    def close(self) -> None:
        """Write what was put off, and close the file. Safe to call twice."""
        if self._usable and self._unwritten:
            self._database.execute(f"PRAGMA busy_timeout = {1000 * CLOSE_SECONDS}")
            self._write()
        self._usable = False
        self._database.close()

    def _prepare(self) -> None:
        """Make the table; another process may do so at this moment, for which SQLite does not wait at every statement."""
        end = time.monotonic() + CLOSE_SECONDS
        while True:
            try:
                (number,) = self._database.execute("PRAGMA application_id").fetchone()
                for statement in _STATEMENTS[number == APPLICATION_ID :]:
                    self._database.execute(statement)
                return
            except sqlite3.OperationalError as error:
                if not _is_busy(error) or time.monotonic() > end:
                    raise
                time.sleep(0.01)

    def _write(self) -> None:
        if not self._usable or not self._unwritten:
            return
        try:
            with self._database:  # commits, or rolls back
                self._database.execute("BEGIN IMMEDIATE")
                self._database.executemany(
                    "INSERT OR REPLACE INTO replies VALUES (?, ?)", self._unwritten.items()
                )
            self._unwritten.clear()
        except sqlite3.Error as error:
            if _is_busy(error):
                self._next_write = time.monotonic() + BUSY_SECONDS * 10
                return
            self._give_up(error)

    def _get(self, key: str) -> Any:
        if key in self._unwritten:
            return json.loads(self._unwritten[key])
        if not self._usable:
            return None
        try:
            query = "SELECT reply FROM replies WHERE key = ?"
            found = self._database.execute(query, (key,)).fetchone()
            return None if found is None else json.loads(found[0])
        except (ValueError, TypeError):  # somebody wrote something else there
            return None
        except sqlite3.Error as error:
            if not _is_busy(error):
                self._give_up(error)
            return None

    def _give_up(self, error: Exception) -> None:
        self._usable = False
        self._unwritten.clear()
        self._note(f"{self._path}: {_reason(error)}; the run goes on without the response cache")


@dataclass(slots=True)
class CachedEngine(EngineWrapper):
    """Answers from a response cache what is in it, and stores other replies there."""

    cache: ResponseCache
    namespace: str
    """What decides replies besides the requests: a digest of the model and the engine's settings."""
    stamps: Mapping[str, str] = field(default_factory=dict)
    """An adapter to what changed with its files, when it was loaded."""
    requests: int = 0
    """Requests and scored continuations so far."""
    hits: int = 0
    """Of these, those that the cache answered."""

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """Pass on the requests that the cache does not hold."""
        digests = request_digests(self.namespace, requests)
        keys = [
            digest_of(digest, self.stamps.get(request.adapter, ""))
            if _repeatable(request)
            else None
            for digest, request in zip(digests, requests, strict=True)
        ]
        return await self._answer(keys, requests, _Completions(self.engine.generate))

    async def score(self, continuations: Sequence[Continuation]) -> list[Likelihood]:
        """Pass on the continuations that the cache does not hold."""
        keys = [
            digest_of(self.namespace, repr([getattr(each, f.name) for f in fields(Continuation)]))
            for each in continuations
        ]
        return await self._answer(keys, continuations, _Likelihoods(scorer(self.engine).score))

    async def _answer(
        self, keys: Sequence[str | None], asked: Sequence[Q], kind: _Kind[Q, T]
    ) -> list[T]:
        self.requests += len(keys)
        replies = self._stored(keys, kind)
        missing = [index for index, reply in enumerate(replies) if reply is None]
        # What a run beside this one asks for is waited for.
        in_flight = {index: self.cache.in_flight.get(keys[index] or "") for index in missing}
        mine = [index for index in missing if in_flight[index] is None]
        self.hits += len(keys) - len(mine)
        if mine:
            new = await self._ask([keys[i] for i in mine], [asked[i] for i in mine], kind)
            for index, reply in zip(mine, new, strict=True):
                replies[index] = reply
        for index, future in in_flight.items():
            if future is not None:
                replies[index] = await asyncio.shield(future)
                if replies[index] is None:  # that run was cancelled, or its request was not served
                    self.requests, self.hits = self.requests - 1, self.hits - 1
                    replies[index] = (await self._answer([keys[index]], [asked[index]], kind))[0]
        return [reply for reply in replies if reply is not None]

    def _stored(self, keys: Sequence[str | None], kind: _Kind[Q, T]) -> list[T | None]:
        known = iter(self.cache.get([key for key in keys if key is not None]))
        return [None if key is None else _read(kind.read, next(known)) for key in keys]

    async def _ask(
        self, keys: Sequence[str | None], asked: Sequence[Q], kind: _Kind[Q, T]
    ) -> list[T]:
        loop = asyncio.get_running_loop()
        futures = {key: loop.create_future() for key in keys if key is not None}
        self.cache.in_flight.update(futures)
        replies: dict[str | None, T] = {}
        try:
            new = await kind.ask(asked)
            replies = dict(zip(keys, new, strict=True))
        finally:
            for key, future in futures.items():
                self.cache.in_flight.pop(key, None)
                future.set_result(replies.get(key))
        values = {key: kind.values(replies[key]) for key in futures}
        self.cache.put({key: value for key, value in values.items() if value is not None})
        return new


@dataclass(frozen=True, slots=True)
class _Kind(Generic[Q, T]):
    """How one kind of question is asked, and its replies stored."""

    ask: Callable[[Sequence[Q]], Awaitable[list[T]]]

    def values(self, reply: T) -> dict[str, Any] | None:
        """The reply as JSON values; None for one that is not to be stored."""
        raise NotImplementedError

    def read(self, values: dict[str, Any]) -> T:
        """The reply of such values."""
        raise NotImplementedError


class _Completions(_Kind[Request, Completion]):
    __slots__ = ()

    def values(self, reply: Completion) -> dict[str, Any] | None:
        return None if reply.empty_reason else as_values(reply)

    def read(self, values: dict[str, Any]) -> Completion:
        return from_values(values)


class _Likelihoods(_Kind[Continuation, Likelihood]):
    __slots__ = ()

    def values(self, reply: Likelihood) -> dict[str, Any]:
        return asdict(reply)

    def read(self, values: dict[str, Any]) -> Likelihood:
        return Likelihood(**values)


def _repeatable(request: Request) -> bool:
    """Whether an equal request may come, and has the same reply and not one drawn afresh."""
    if not REPEATABLE.get():
        return False
    return request.sampling.seed is not None or request.sampling.temperature <= 0


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


def _is_busy(error: Exception) -> bool:
    """Whether another process is at work on the file."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
