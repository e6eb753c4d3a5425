"""A rolling batch over a transformers causal language model: rows join and leave while it decodes.

Rows are left-padded to a common length. Identical prompts that arrive together (the votes on one
response) are read once. Each row draws its tokens by inverse CDF from its own stream of uniforms, so
a row's text does not depend on who shares its batch, up to rounding of the logits.

Tensor suffixes: B rows, T positions in the cache, H heads, D head size, V vocabulary, U distinct prompts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from spar.errors import PromptRefused
from spar.infer.batcher import Ended, Job
from spar.infer.engine import Completion, Finish, TokenLogprobs
from spar.infer.engines.chat import ChatEncoder, Rendered
from spar.infer.engines.kv_cache import RollingCache
from spar.infer.engines.sampling import draw

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_PREFILL_TOKENS = 16_384
_COMPACT_SHARE = 0.25


@dataclass(slots=True, eq=False)
class Row:
    """One reply being written."""

    job: Job
    num_prompt: int
    """Tokens in its prompt."""
    limit: int
    """Most tokens it may generate: its own setting, or what the context leaves."""
    uniforms: np.ndarray[Any, np.dtype[np.float64]]
    """One draw in [0, 1) a token."""
    ends: frozenset[int]
    """Tokens that end it."""
    thinking: bool = False
    """Whether the prompt has opened the model's thinking."""
    tokens: list[int] = field(default_factory=list)
    logprobs: list[TokenLogprobs] = field(default_factory=list)
    ended: bool = False
    num_cached: int = 0
    """Tokens of its prompt that were read for another row."""


class RollingBatch:
    """The `Core` of the hf engine.

    Parameters
    ----------
    model, tokenizer:
        As loaded by transformers, the model already on its device.
    token_budget:
        Most cache positions, rows times longest row; 0 for no limit.
    """

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, token_budget: int = 0
    ) -> None:
        self._model: Any = model
        self._tokenizer: Any = tokenizer
        self._token_budget = token_budget
        self.context = int(getattr(model.config, "max_position_embeddings", 0) or 1 << 30)
        """Tokens that the model holds."""
        self._stops = _stop_ids(model, tokenizer)
        self._encoder = ChatEncoder(tokenizer)
        self.reset()

    @property
    def running(self) -> int:
        """Rows still writing, and those that wait for memory."""
        return sum(not row.ended for row in self._rows) + len(self._held)

    def reset(self) -> None:
        """Forget every row."""
        self._held: list[tuple[tuple[int, ...], Row]] = []
        self._clear()

    def _clear(self) -> None:
        self._rows: list[Row] = []
        self._cache: RollingCache | None = None
        self._mask_BT = torch.zeros(0, 0, dtype=torch.long)
        self._last_B = torch.zeros(0, dtype=torch.long)

    def free(self) -> None:
        """Release the model and its memory."""
        self.reset()
        self._model = None
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def drop(self) -> None:
        """Mark rows whose caller has gone; `step` leaves them out."""
        for row in self._rows:
            row.ended = row.ended or row.job.cancelled
        self._held = [(ids, row) for ids, row in self._held if not row.job.cancelled]
        self._compact()

    def admit(self, jobs: Sequence[Job]) -> list[Ended]:
        """Read the jobs' prompts and add their rows; the first token of each is drawn here."""
        ended: list[Ended] = []
        rows: list[tuple[tuple[int, ...], Row]] = []
        for job in jobs:
            try:
                rendered = self._encoder.fit(job.request, self.context)
                rows.append((rendered.ids, self._row(job, rendered)))
            except PromptRefused as error:
                ended.append((job, error))
            except Exception as error:  # a seed that numpy refuses, say; the other jobs go on
                ended.append((job, PromptRefused(f"the request cannot be served: {error}")))
        self._held += rows
        return ended + self._fill()

    @torch.inference_mode()
    def step(self) -> list[Ended]:
        """One token on every row."""
        filled = self._fill()
        if not self._rows:
            return filled
        one_B1 = torch.ones(len(self._rows), 1, dtype=torch.long, device=self._mask_BT.device)
        self._mask_BT = torch.cat([self._mask_BT, one_B1], dim=1)
        # Ended rows ride along and may pass the context's end, where learned positions end too.
        positions_B1 = (self._mask_BT.sum(dim=1, keepdim=True) - 1).clamp(max=self.context - 1)
        logits_BV = self._forward(self._last_B[:, None], positions_B1)
        ended = self._advance(self._rows, logits_BV)
        self._last_B = self._last_tokens(self._rows)
        self._compact()
        return filled + ended

    def _fill(self) -> list[Ended]:
        fitting: list[tuple[tuple[int, ...], Row]] = []
        while self._held and self._fits([row for _, row in (*fitting, self._held[0])]):
            fitting.append(self._held.pop(0))
        fitting.sort(key=lambda pair: len(pair[0]))
        return [end for group in _groups(fitting) for end in self._prefill(group)]

    def _fits(self, more: Sequence[Row]) -> bool:
        rows = [*self._rows, *more]
        if not self._token_budget or len(rows) == 1:
            return True
        # Rows are aligned to the longest and grow in step, so this is as wide as they ever get.
        longest = max(row.num_prompt + len(row.tokens) for row in rows)
        to_come = max(row.limit - len(row.tokens) for row in rows)
        return len(rows) * (longest + to_come) <= self._token_budget

    def _row(self, job: Job, rendered: Rendered) -> Row:
        num_prompt = len(rendered.ids)
        sampling = job.request.sampling
        limit = min(sampling.max_tokens, self.context - num_prompt)
        uniforms = np.random.Generator(np.random.Philox(sampling.seed)).random(limit)
        ends = self._stops | self._encoder.stop_tokens(sampling.stop)
        return Row(job, num_prompt, limit, uniforms, ends, rendered.thinking)

    @torch.inference_mode()
    def _prefill(self, group: Sequence[tuple[tuple[int, ...], Row]]) -> list[Ended]:
        distinct = {ids: i for i, ids in enumerate(dict.fromkeys(ids for ids, _ in group))}
        ids_UT, mask_UT = self._pad(list(distinct))
        cache = RollingCache()
        positions_UT = (mask_UT.cumsum(dim=1) - 1).clamp(min=0)
        output = self._model(
            input_ids=ids_UT,
            attention_mask=mask_UT,
            position_ids=positions_UT,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        source_B = torch.tensor([distinct[ids] for ids, _ in group], device=ids_UT.device)
        rows = [row for _, row in group]
        read: set[tuple[int, ...]] = set()
        for ids, row in group:
            row.num_cached = len(ids) if ids in read else 0
            read.add(ids)
        ended = self._advance(rows, output.logits[:, -1][source_B])
        self._join(rows, cache.select(source_B), mask_UT[source_B])
        return ended

    def _pad(self, prompts: Sequence[tuple[int, ...]]) -> tuple[torch.Tensor, torch.Tensor]:
        width = max(map(len, prompts))
        pad = self._tokenizer.pad_token_id or 0
        ids = [[pad] * (width - len(prompt)) + list(prompt) for prompt in prompts]
        mask = [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]
        device = self._model.device
        return torch.tensor(ids, device=device), torch.tensor(mask, device=device)

    def _join(self, rows: list[Row], cache: RollingCache, mask_BT: torch.Tensor) -> None:
        if self._cache is None:
            self._cache, self._mask_BT = cache, mask_BT
        else:
            self._cache = self._cache.join(cache)
            width = max(self._mask_BT.shape[1], mask_BT.shape[1])
            self._mask_BT = torch.cat([_left_pad(self._mask_BT, width), _left_pad(mask_BT, width)])
        self._rows = [*self._rows, *rows]
        self._last_B = self._last_tokens(self._rows)
        self._compact()

    def _forward(self, ids_B1: torch.Tensor, positions_B1: torch.Tensor) -> torch.Tensor:
        output = self._model(
            input_ids=ids_B1,
            attention_mask=self._mask_BT,
            position_ids=positions_B1,
            past_key_values=self._cache,
            use_cache=True,
        )
        logits: torch.Tensor = output.logits[:, -1]
        return logits

    def _advance(self, rows: Sequence[Row], logits_BV: torch.Tensor) -> list[Ended]:
        logits_BV = logits_BV.float()
        settings = [row.job.request.sampling for row in rows]
        uniforms = [row.uniforms[len(row.tokens)] if not row.ended else 0.0 for row in rows]
        tokens = draw(logits_BV, settings, uniforms)
        ended = []
        for i, (row, token) in enumerate(zip(rows, tokens, strict=True)):
            if not row.ended:
                ended += self._take(row, token, logits_BV[i])
        return ended

    def _take(self, row: Row, token: int, logits_V: torch.Tensor) -> list[Ended]:
        row.tokens.append(token)
        sampling = row.job.request.sampling
        if sampling.top_logprobs and token not in row.ends:
            row.logprobs.append(self._logprobs(row, token, logits_V))
        stopped = token in row.ends or self._encoder.stops(row.tokens, sampling.stop)
        row.ended = stopped or len(row.tokens) >= row.limit
        return (
            [(row.job, self._completion(row, "stop" if stopped else "length"))] if row.ended else []
        )

    def _logprobs(self, row: Row, token: int, logits_V: torch.Tensor) -> TokenLogprobs:
        top = torch.log_softmax(logits_V, dim=-1).topk(row.job.request.sampling.top_logprobs)
        likeliest: dict[str, float] = {}
        for index, value in zip(top.indices.tolist(), top.values.tolist(), strict=True):
            # Pieces of characters share one text: the first of them, the likeliest, stays.
            likeliest.setdefault(self._tokenizer.decode([index]), value)
        return TokenLogprobs(self._tokenizer.decode([token]), likeliest)

    def _completion(self, row: Row, finish: Finish) -> Completion:
        tokens = row.tokens[:-1] if row.tokens[-1] in row.ends else row.tokens
        return Completion(
            text=self._encoder.written(row.job.request, tokens, thinking=row.thinking),
            finish=finish,
            prompt_tokens=row.num_prompt,
            completion_tokens=len(row.tokens),
            logprobs=tuple(row.logprobs),
            cached_tokens=row.num_cached,
        )

    def _last_tokens(self, rows: Sequence[Row]) -> torch.Tensor:
        return torch.tensor([row.tokens[-1] for row in rows], device=self._mask_BT.device)

    def _compact(self) -> None:
        # Moving the cache costs about a step, so ended rows ride along until they are many.
        kept = [i for i, row in enumerate(self._rows) if not row.ended]
        if not kept:
            self._clear()
        elif len(self._rows) - len(kept) >= len(self._rows) * _COMPACT_SHARE and self._cache:
            self._keep(torch.tensor(kept, device=self._mask_BT.device))

    def _keep(self, kept_B: torch.Tensor) -> None:
        assert self._cache is not None
        self._rows = [self._rows[i] for i in kept_B.tolist()]
        mask_BT = self._mask_BT[kept_B]
        padding = int((mask_BT.cumsum(dim=1) == 0).sum(dim=1).min())
        self._cache = self._cache.select(kept_B, padding)
        self._mask_BT = mask_BT[:, padding:]
        self._last_B = self._last_B[kept_B]


def _left_pad(mask_BT: torch.Tensor, width: int) -> torch.Tensor:
    return torch.nn.functional.pad(mask_BT, (width - mask_BT.shape[1], 0))


def _groups(rows: list[tuple[tuple[int, ...], Row]]) -> list[list[tuple[tuple[int, ...], Row]]]:
    # Sorted by length, so a group's padded size is its count times its last prompt's length.
    groups: list[list[tuple[tuple[int, ...], Row]]] = []
    for pair in rows:
        if groups and (len(groups[-1]) + 1) * len(pair[0]) <= _PREFILL_TOKENS:
            groups[-1].append(pair)
        else:
            groups.append([pair])
    return groups


def _stop_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    config: Any = model.generation_config
    given = getattr(config, "eos_token_id", None)
    listed = given if isinstance(given, list) else [given]
    return frozenset(token for token in (*listed, tokenizer.eos_token_id) if isinstance(token, int))
