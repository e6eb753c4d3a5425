"""How likely a transformers model finds given tokens: plain forward passes, beside the rolling batch.

Whatever callers wait for is read in common batches, the longest first. Pairs that differ in their last
token alone, such as the answers A to D of one question, are read once. A worker thread computes while
there is something to compute; it keeps nothing between batches.

Tensor suffixes: B rows, T positions, K last positions, V vocabulary.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from spar.errors import EngineError, SparError
from spar.infer.engine import Continuation, Likelihood
from spar.infer.engines.chat import ChatEncoder
from spar.infer.engines.likelihood import Pair, encode, regroup

_BATCH_TOKENS = 8192
_BATCH_LOGITS = 1 << 27


@dataclass(slots=True, eq=False)
class _Job:
    """One caller's continuations, and what is known of them so far."""

    continuations: Sequence[Continuation]
    future: Future[list[Likelihood]] = field(default_factory=Future)
    asked: list[list[Pair]] = field(default_factory=list)
    found: dict[int, Likelihood] = field(default_factory=dict)
    """Index among all pairs to its likelihood."""

    @property
    def pairs(self) -> list[Pair]:
        """Those of all continuations, in order."""
        return list(chain.from_iterable(self.asked))

    def resolve_config(self) -> None:
        """Answer, once everything is known."""
        num = sum(map(len, self.asked))
        if len(self.found) == num:
            with contextlib.suppress(InvalidStateError):  # the caller has gone
                self.future.set_result(regroup(self.asked, (self.found[i] for i in range(num))))

    def fail(self, error: Exception) -> None:
        """Answer with an error."""
        with contextlib.suppress(InvalidStateError):
            self.future.set_exception(error)


@dataclass(slots=True, eq=False)
class _Row:
    """What the model reads once, and who asked for it."""

    ids: tuple[int, ...]
    """All tokens but the last."""
    asked: list[tuple[_Job, int, tuple[int, ...]]] = field(default_factory=list)
    """Job, index of the pair, and its continuation."""

    @property
    def keep(self) -> int:
        """Tokens of the longest continuation."""
        return max(len(continuation) for _, _, continuation in self.asked)


_Pool = dict[tuple[int, ...], _Row]
"""Rows that wait, by their tokens."""


class HfScorer:
    """Scores continuations with a model that others may be using.

    Parameters
    ----------
    model, tokenizer:
        As loaded by transformers, the model already on its device.
    context:
        Tokens that the model holds.
    """

    def __init__(self, model: Any, tokenizer: Any, context: int) -> None:
        self._model = model
        self._encoder = ChatEncoder(tokenizer)
        self._most = context + 1
        self._vocabulary = int(model.config.get_text_config().vocab_size)
        self._lock = threading.Lock()
        self._waiting: list[_Job] = []
        self._working = False

    async def score(self, continuations: Sequence[Continuation]) -> list[Likelihood]:
        """One likelihood a continuation, in order; what a cancelled caller wants is left out."""
        job = _Job(continuations)
        with self._lock:
            if self._model is None:
                raise EngineError("the engine is closed")
            self._waiting.append(job)
            if not self._working:
                self._working = True
                threading.Thread(target=self._work, name="spar-scorer", daemon=True).start()
        return await asyncio.wrap_future(job.future)

    def close(self) -> None:
        """Forget the model; what waits is refused."""
        with self._lock:
            self._model = None

    def _work(self) -> None:
        pool: _Pool = {}
        while self._fill(pool):
            batch = _next_batch(pool, self._vocabulary)
            jobs = {job for row in batch for job, _, _ in row.asked}
            try:
                _read(self._opened(), batch)
            except Exception as error:  # the caller must hear of it, not the thread die
                failure = EngineError(f"the model failed: {type(error).__name__}: {error}")
                for job in jobs:
                    job.fail(error if isinstance(error, SparError) else failure)
            for job in jobs:
                job.resolve_config()

    def _opened(self) -> Any:
        model = self._model
        if model is None:
            raise EngineError("the engine was closed")
        return model

    def _fill(self, pool: _Pool) -> bool:
        """Take in whoever waits, leave out who has gone; whether there is anything to do."""
        while True:
            with self._lock:
                jobs, self._waiting = self._waiting, []
                if not jobs:
                    _leave_out(pool)
                    self._working = bool(pool)
                    return self._working
            for job in jobs:
                self._admit(job, pool)

    def _admit(self, job: _Job, pool: _Pool) -> None:
        try:
            job.asked = [encode(each, self._encoder, self._most) for each in job.continuations]
        except Exception as error:  # a tokenizer may raise anything about a text
            failure = EngineError(f"a text cannot be read: {type(error).__name__}: {error}")
            job.fail(error if isinstance(error, SparError) else failure)
            return
        for i, pair in enumerate(job.pairs):
            row = pool.setdefault(pair.ids[:-1], _Row(pair.ids[:-1]))
            row.asked.append((job, i, pair.continuation))
        job.resolve_config()


def _leave_out(pool: _Pool) -> None:
    for ids, row in tuple(pool.items()):
        row.asked = [asked for asked in row.asked if not asked[0].future.done()]
        if not row.asked:
            del pool[ids]


def _next_batch(pool: _Pool, vocabulary: int) -> list[_Row]:
    """Takes the longest row that waits, and as many of the next ones as may be read with it."""
    waiting = sorted(pool.values(), key=lambda row: -len(row.ids))
    batch, keep = [waiting[0]], waiting[0].keep
    for row in waiting[1:]:
        keep = max(keep, row.keep)
        num = len(batch) + 1
        if num * len(batch[0].ids) > _BATCH_TOKENS or num * keep * vocabulary > _BATCH_LOGITS:
            break
        batch.append(row)
    for row in batch:
        del pool[row.ids]
    return batch


def _read(model: Any, rows: Sequence[_Row]) -> None:
    """Find the likelihoods of all pairs of these rows."""
    import torch

    width = len(rows[0].ids)
    ids_BT = [[0] * (width - len(row.ids)) + list(row.ids) for row in rows]
    mask = [[0] * (width - len(row.ids)) + [1] * len(row.ids) for row in rows]
    mask_BT = torch.tensor(mask, device=model.device)
    with torch.inference_mode():
        output = model(
            input_ids=torch.tensor(ids_BT, device=model.device),
            attention_mask=mask_BT,
            position_ids=(mask_BT.cumsum(dim=1) - 1).clamp(min=0),
            use_cache=False,
            logits_to_keep=max(row.keep for row in rows),
        )
        logprobs_BKV = output.logits.float().log_softmax(dim=-1)
        for row, logprobs_KV in zip(rows, logprobs_BKV, strict=True):
            for job, i, continuation in row.asked:
                job.found[i] = _likelihood(logprobs_KV, continuation)


def _likelihood(logprobs_KV: Any, continuation: tuple[int, ...]) -> Likelihood:
    last_KV = logprobs_KV[-len(continuation) :]
    tokens_K = last_KV.new_tensor(continuation, dtype=int)
    return Likelihood(
        logprob=float(last_KV.gather(1, tokens_K[:, None]).sum()),
        greedy=bool((last_KV.argmax(dim=-1) == tokens_K).all()),
        tokens=len(continuation),
    )
