"""The journal of a run: the replies of the trees in flight, so that a killed run asks for none of them again.

    calls.jsonl    ["a7", "5d1c...", {"text": "...", "finish": "stop", ...}]     prompt id, request, completion

A finished call is written within `FLUSH_SECONDS`, several at once, unless its tree ends before; so what `kill -9`
can lose is what was answered in that time. A resumed run takes the replies of its unfinished trees from the journal:
the request is known by a digest of all that decides its reply (model, messages, sampling with its seed), so another
template, model or setting matches nothing. Several replies to equal requests are given back in their order.

When a tree is stored, its calls are of no further use: they are left out when the file is written anew, which it is
once it has grown beyond `MAX_IDLE_BYTES` and more than half of it is of no use. The file is deleted when every tree is
stored, but for the replies of prompts that a start leaves out, as with a smaller --limit. Where it cannot be written, the
run goes on without it.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict, deque
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from spar.files import replacing
from spar.infer.engine import PROMPT_ID, Completion, Engine, NoteCallback, Request
from spar.infer.engine_wrappers import EngineWrapper
from spar.infer.stored_replies import as_values, from_values, request_digests

FLUSH_SECONDS = 0.2
"""Longest time that a reply waits to be written."""
MAX_IDLE_BYTES = 64 << 20
"""Size from which a file that is mostly of no use is written anew."""
_ENCODE = json.JSONEncoder(separators=(",", ":")).encode


class Journal:
    """The journal of one run directory.

    Parameters
    ----------
    path:
        The file; it is made when the first reply is written.
    done:
        Ids of the prompts whose trees are stored.
    note:
        Called with a line if the file cannot be written.
    prompts:
        Ids of the prompts that are searched now, None for all; the replies of others stay in the file.
    """

    def __init__(
        self,
        path: Path,
        done: Container[str],
        note: NoteCallback,
        *,
        prompts: Container[str] | None = None,
    ) -> None:
        self._path, self._note, self._prompts = path, note, prompts
        self._stored: dict[str, dict[str, deque[bytes]]] = {}
        """Prompt id to request to the lines of its replies, of an earlier start."""
        self._new: dict[str, list[tuple[str, Completion]]] = defaultdict(list)
        """Prompt id to the replies that are not written yet."""
        self._bytes: dict[str, int] = defaultdict(int)
        """Prompt id to the size of its lines in the file."""
        self._others: set[str] = set()
        """Ids of the prompts with replies in the file that are not searched now."""
        self._size = 0
        self._flushing: asyncio.TimerHandle | None = None
        self._usable = True
        with self._trying():
            self._read(done)

    def wrap(self, engine: Engine) -> Engine:
        """The engine, which answers from this journal what is in it, and writes the rest to it."""
        return JournaledEngine(engine, self)

    @property
    def num_stored(self) -> int:
        """Replies of an earlier start that have not been given back."""
        return sum(len(lines) for calls in self._stored.values() for lines in calls.values())

    def recall(self, prompt_id: str, request: str) -> Completion | None:
        """The next stored reply to a request; None if there is none."""
        lines = self._stored.get(prompt_id, {}).get(request)
        return from_values(json.loads(lines.popleft())[2]) if lines else None

    def record(self, prompt_id: str, request: str, completion: Completion) -> None:
        """Write a reply soon."""
        self._new[prompt_id].append((request, completion))
        if self._flushing is None and self._usable:
            self._flushing = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self.flush)

    def forget(self, prompt_id: str) -> None:
        """Drop the calls of a tree that is stored."""
        self._new.pop(prompt_id, None)
        self._stored.pop(prompt_id, None)
        self._bytes.pop(prompt_id, None)

    def flush(self) -> None:
        """Write the replies that are waiting."""
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        lines = []
        for prompt_id, calls in self._new.items():
            own = [_line(prompt_id, request, completion) for request, completion in calls]
            self._bytes[prompt_id] += sum(map(len, own))
            lines += own
        self._new.clear()
        if not lines or not self._usable:
            return
        with self._trying():
            if self._size > MAX_IDLE_BYTES and self._size > 2 * sum(self._bytes.values()):
                self._keep(self._bytes)
            with self._path.open("ab") as stream:
                self._size += stream.write(b"".join(lines))

    def close(self, *, finished: bool) -> None:
        """Write what is waiting; if the run is finished, delete the file, but for the replies of other prompts."""
        if not finished:
            self.flush()
            return
        if self._flushing is not None:
            self._flushing.cancel()
        if self._others:
            with self._trying():
                self._keep(self._others)
            return
        with suppress(OSError):
            self._path.unlink(missing_ok=True)

    def _read(self, done: Container[str]) -> None:
        """Read the calls of unfinished trees, and leave a file with nothing else; a torn line is dropped."""
        if not self._path.is_file():
            return
        unfinished = []
        with self._path.open("rb") as stream:
            for line in stream:
                try:
                    prompt_id, request, values = json.loads(line)
                    from_values(values)
                    known = prompt_id in done
                except (ValueError, TypeError, AttributeError):  # torn, or of another version
                    continue
                if known:
                    continue
                if self._prompts is None or prompt_id in self._prompts:
                    calls = self._stored.setdefault(prompt_id, defaultdict(deque))
                    calls[request].append(line)
                else:
                    self._others.add(prompt_id)
                self._bytes[prompt_id] += len(line)
                unfinished.append(line)
        if not unfinished:
            self._path.unlink()
            return
        self._replace(unfinished)

    def _keep(self, ids: Iterable[str]) -> None:
        """Leave only the replies of some prompts in the file."""
        wanted = {_ENCODE(prompt_id).encode("ascii") for prompt_id in ids}
        with self._path.open("rb") as stream:
            useful = [line for line in stream if line[1 : line.index(b'","') + 1] in wanted]
        self._replace(useful)

    def _replace(self, lines: list[bytes]) -> None:
        with replacing(self._path) as stream:
            stream.write(b"".join(lines))
        self._size = sum(map(len, lines))

    @contextmanager
    def _trying(self) -> Iterator[None]:
        """Go on without the file at an error of the disk."""
        try:
            yield
        except OSError as error:
            self._usable = False
            self._note(
                f"{self._path} cannot be written: {error.strerror or error}; if the run is killed, the replies of the "
                "trees in flight are lost"
            )


def drop_replies(path: Path, ids: Container[str], note: NoteCallback) -> None:
    """Take the replies of some prompts out of a journal that no run is using, so that their requests are sent again."""
    Journal(path, ids, note).close(finished=False)


@dataclass(slots=True)
class JournaledEngine(EngineWrapper):
    """Answers from a journal what is in it, and writes other replies to it."""

    journal: Journal

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """Pass on the requests that the journal does not hold."""
        prompt_id = PROMPT_ID.get()
        keys = [*request_digests(self.model, requests)]
        replies = [self.journal.recall(prompt_id, key) for key in keys]
        missing = [index for index, reply in enumerate(replies) if reply is None]
        if missing:
            sent = [requests[index] for index in missing]
            for index, reply in zip(missing, await self.engine.generate(sent), strict=True):
                replies[index] = reply
                self.journal.record(prompt_id, keys[index], reply)
        return [reply for reply in replies if reply is not None]


def _line(prompt_id: str, request: str, completion: Completion) -> bytes:
    return _ENCODE([prompt_id, request, as_values(completion)]).encode("ascii") + b"\n"
