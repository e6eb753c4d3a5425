"""Log-likelihoods from a transformers model: plain forward passes, beside the generating batch.

The texts of all callers are scored in common batches, longest first. Pairs that differ in their last token
only, such as the answers A to D of one question, share a row. A worker thread runs while there is something
to score, and holds nothing between batches. (lm-eval's own hf model scores texts in the same way, but
loads a model of its own and blocks.)

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
from spar.infer.engines.likelihood import TokenPair, encode, merge_windows

_BATCH_TOKENS = 8192
_BATCH_LOGITS = 1 << 27


@dataclass(slots=True, eq=False)
class _Call:
    """One caller's continuations, and their likelihoods so far."""

    continuations: Sequence[Continuation]
    future: Future[list[Likelihood]] = field(default_factory=Future)
    windows: list[list[TokenPair]] = field(default_factory=list)
    """The token pairs of each continuation."""
    likelihoods: dict[int, Likelihood] = field(default_factory=dict)
    """Index among all pairs to its likelihood."""

    def complete(self) -> None:
        """Return the results to the caller if all are known."""
        num = sum(map(len, self.windows))
        if len(self.likelihoods) == num:
            in_order = (self.likelihoods[i] for i in range(num))
            with contextlib.suppress(InvalidStateError):  # the caller was cancelled
                self.future.set_result(merge_windows(self.windows, in_order))

    def fail(self, error: Exception) -> None:
        """Raise an error in the caller."""
        with contextlib.suppress(InvalidStateError):
            self.future.set_exception(error)


@dataclass(slots=True, eq=False)
class _Row:
    """Tokens that the model reads once, and the pairs that they score."""

    ids: tuple[int, ...]
    """All tokens but the last."""
    pairs: list[tuple[_Call, int, tuple[int, ...]]] = field(default_factory=list)
    """Call, index of the pair, and its continuation."""

    @property
    def num_logits(self) -> int:
        """Tokens of the longest continuation."""
        return max(len(continuation) for _, _, continuation in self.pairs)


_WaitingRows = dict[tuple[int, ...], _Row]
"""Rows to score, by their tokens."""


class HfScorer:
    """Scores continuations with a model that may be in use elsewhere.

    Parameters
    ----------
    model:
        As loaded by transformers, already on its device.
    encoder:
        Of its tokenizer.
    context:
        Context length of the model, in tokens.
    """

    def __init__(self, model: Any, encoder: ChatEncoder, context: int) -> None:
        self._model = model
        self._encoder = encoder
        self._max_pair_tokens = context + 1
        self._vocabulary = int(model.config.get_text_config().vocab_size)
        self._lock = threading.Lock()
        self._new_calls: list[_Call] = []
        self._working = False

    async def score(self, continuations: Sequence[Continuation]) -> list[Likelihood]:
        """One likelihood per continuation, in order; cancelling drops what is not scored yet.

        Raises
        ------
        PromptRefused
            A continuation is too long or its context cannot be rendered.
        EngineError
            The model failed, or the scorer is closed.
        """
        call = _Call(continuations)
        with self._lock:
            if self._model is None:
                raise EngineError("the engine is closed")
            self._new_calls.append(call)
            if not self._working:
                self._working = True
                threading.Thread(target=self._work, name="spar-scorer", daemon=True).start()
        return await asyncio.wrap_future(call.future)

    def close(self) -> None:
        """Release the model; unfinished calls fail."""
        with self._lock:
            self._model = None

    def _work(self) -> None:
        rows: _WaitingRows = {}
        while self._has_work(rows):
            batch = _next_batch(rows, self._vocabulary)
            calls = {call for row in batch for call, _, _ in row.pairs}
            try:
                model = self._model
                if model is None:
                    raise EngineError("the engine was closed")
                _score_rows(model, batch)
            except Exception as error:  # it must reach the callers, not end the thread
                failure = EngineError(f"the model failed: {type(error).__name__}: {error}")
                for call in calls:
                    call.fail(error if isinstance(error, SparError) else failure)
            for call in calls:
                call.complete()

    def _has_work(self, rows: _WaitingRows) -> bool:
        """Add the rows of new calls and drop those of cancelled ones; whether any are left."""
        while True:
            with self._lock:
                calls, self._new_calls = self._new_calls, []
                if not calls:
                    _drop_done(rows)
                    self._working = bool(rows)
                    return self._working
            for call in calls:
                self._add(call, rows)

    def _add(self, call: _Call, rows: _WaitingRows) -> None:
        try:
            call.windows = [
                encode(each, self._encoder, self._max_pair_tokens) for each in call.continuations
            ]
        except Exception as error:  # a tokenizer may raise anything for a text
            failure = EngineError(f"a text cannot be tokenized: {type(error).__name__}: {error}")
            call.fail(error if isinstance(error, SparError) else failure)
            return
        for i, pair in enumerate(chain.from_iterable(call.windows)):
            row = rows.setdefault(pair.ids[:-1], _Row(pair.ids[:-1]))
            row.pairs.append((call, i, pair.continuation))
        call.complete()


def _drop_done(rows: _WaitingRows) -> None:
    for ids, row in tuple(rows.items()):
        row.pairs = [pair for pair in row.pairs if not pair[0].future.done()]
        if not row.pairs:
            del rows[ids]


def _next_batch(rows: _WaitingRows, vocabulary: int) -> list[_Row]:
    """Remove the longest row, and as many of the next longest as fit in a batch with it."""
    waiting = sorted(rows.values(), key=lambda row: -len(row.ids))
    batch, num_logits = [waiting[0]], waiting[0].num_logits
    for row in waiting[1:]:
        num_logits = max(num_logits, row.num_logits)
        num = len(batch) + 1
        if num * len(batch[0].ids) > _BATCH_TOKENS:
            break
        if num * num_logits * vocabulary > _BATCH_LOGITS:
            break
        batch.append(row)
    for row in batch:
        del rows[row.ids]
    return batch


def _score_rows(model: Any, rows: Sequence[_Row]) -> None:
    """Compute the likelihoods of all pairs of these rows."""
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
            logits_to_keep=max(row.num_logits for row in rows),
        )
        logprobs_BKV = output.logits.float().log_softmax(dim=-1)
        for row, logprobs_KV in zip(rows, logprobs_BKV, strict=True):
            for call, i, continuation in row.pairs:
                call.likelihoods[i] = _likelihood(logprobs_KV, continuation)


def _likelihood(logprobs_KV: Any, continuation: tuple[int, ...]) -> Likelihood:
    last_KV = logprobs_KV[-len(continuation) :]
    tokens_K = last_KV.new_tensor(continuation, dtype=int)
    return Likelihood(
        logprob=float(last_KV.gather(1, tokens_K[:, None]).sum()),
        greedy=bool((last_KV.argmax(dim=-1) == tokens_K).all()),
        tokens=len(continuation),
    )
