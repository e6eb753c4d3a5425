"""The searches of one request while they run, and what a stream says of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

from spar.serve.errors import ApiError, unexpected_error
from spar.serve.http import Ending
from spar.serve.offers import answers_once
from spar.serve.reply import Chunks, GrowingAnswer, event, pieces, progress_line, text_of
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
        self.job, self.ending = job, Ending()
        self._service, self._release = service, release
        self._events: asyncio.Queue[tuple[int, Node | str] | None] = asyncio.Queue()
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
        """The stream: roles, progress, answers, usage, the end; a comment after so many seconds of silence.

        A search shows its progress and then its answer; what needs no search is shown while it is generated.
        """
        assert self._task is not None
        job, request = self.job, self.job.request
        chunks = Chunks(job, int(time.time()))
        growing = [GrowingAnswer(request.shape) for _ in range(request.n)]
        for number in range(request.n):
            yield event(chunks.role(number))
        shows_progress = not answers_once(job.offer.strategy)
        if shows_progress:
            first_line = f"{job.offer.strategy}: at most {job.offer.budget} responses\n"
            for number in range(request.n):
                yield event(chunks.reasoning(number, first_line))
        while True:
            try:
                async with asyncio.timeout(keep_alive):
                    item = await self._events.get()
            except TimeoutError:
                yield b": searching\n\n"
                continue
            if item is None:
                break
            index, news = item
            if isinstance(news, str):
                if delta := growing[index].add(news):
                    yield event(chunks.content(index, delta))
            elif shows_progress:
                yield event(chunks.reasoning(index, progress_line(job, news)))
        try:
            answers = await self._task
            rests = [each.finish(text_of(a)) for each, a in zip(growing, answers, strict=True)]
        except Exception as error:
            failure = error if isinstance(error, ApiError) else unexpected_error(error)
            self.ending.status = failure.status
            yield event(failure.content)
        else:
            for index, (answer, rest) in enumerate(zip(answers, rests, strict=True)):
                for piece in pieces(rest):
                    yield event(chunks.content(index, piece))
                yield event(chunks.end(index, answer))
            if request.include_usage:
                yield event(chunks.usage(answers))
        yield event("[DONE]")

    async def _search(self) -> list[Answer]:
        streams = self.job.request.stream and self.job.streams_text
        return await self._service.answers(self.job, self._put, self._put if streams else None)

    def _put(self, index: int, news: Node | str) -> None:
        self._events.put_nowait((index, news))

    def _ended(self, task: asyncio.Task[list[Answer]]) -> None:
        self._events.put_nowait(None)
        self._service.finish(self.job)
        self._release()
        if not task.cancelled():
            task.exception()  # a caller that awaits it raises it; there may be none
