"""The searches of one request while they run, and what a stream says of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

from spar.serve.errors import ApiError
from spar.serve.offers import answers_once
from spar.serve.reply import Chunks, event, progress_line
from spar.serve.searching import Answer, Job, SearchService
from spar.types import Node


class RunningReply:
    """The searches of one request while they run.

    Parameters
    ----------
    release:
        Called once when they have ended, however that is.
    """

    def __init__(self, service: SearchService, job: Job, release: Callable[[], None]) -> None:
        self.job, self.status = job, 200
        self._service, self._release = service, release
        self._nodes: asyncio.Queue[tuple[int, Node] | None] = asyncio.Queue()
        self._task: asyncio.Task[list[Answer]] | None = None

    def start(self) -> asyncio.Task[list[Answer]]:
        """Start searching."""
        self._task = asyncio.create_task(self._search())
        self._task.add_done_callback(self._ended)
        return self._task

    def cancel(self) -> None:
        """Stop searching, if that has not ended."""
        if self._task is not None:
            self._task.cancel()

    async def events(self, keep_alive: float) -> AsyncIterator[bytes]:
        """The stream: roles, progress, answers, usage, the end; a comment after so many seconds of silence."""
        assert self._task is not None
        job, request = self.job, self.job.request
        chunks = Chunks(job, int(time.time()))
        for index in range(request.n):
            yield event(chunks.role(index))
        shows_progress = not answers_once(job.offer.strategy)
        if shows_progress:
            begun = f"{job.offer.strategy}: at most {job.offer.budget} responses\n"
            for index in range(request.n):
                yield event(chunks.reasoning(index, begun))
        while True:
            try:
                async with asyncio.timeout(keep_alive):
                    item = await self._nodes.get()
            except TimeoutError:
                yield b": searching\n\n"
                continue
            if item is None:
                break
            if shows_progress:
                yield event(chunks.reasoning(item[0], progress_line(job, item[1])))
        try:
            answers = await self._task
        except ApiError as error:
            self.status = error.status
            yield event(error.content)
        else:
            for index, answer in enumerate(answers):
                for chunk in chunks.answer(index, answer):
                    yield event(chunk)
            if request.include_usage:
                yield event(chunks.usage(answers))
        yield event("[DONE]")

    async def _search(self) -> list[Answer]:
        return await self._service.answers(
            self.job, lambda index, node: self._nodes.put_nowait((index, node))
        )

    def _ended(self, task: asyncio.Task[list[Answer]]) -> None:
        self._nodes.put_nowait(None)
        self._service.finish(self.job)
        self._release()
        if not task.cancelled():
            task.exception()  # whoever waits for it raises it; nobody may
