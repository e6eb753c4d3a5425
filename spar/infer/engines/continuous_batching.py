"""Continuous batching for a transformers causal language model: rows join and leave while it decodes.

Rows are left-padded to a common length. Identical prompts that arrive together (the votes on one response)
are prefilled once. Each row samples its tokens by inverse CDF from its own stream of random numbers, so its
text does not depend on the rest of the batch, up to rounding of the logits.

Why not transformers' own `ContinuousBatchingManager` (`generate_batch`): it has one seed per manager and no
per-request seed, so a text would depend on everything else that runs, and spar promises the same tree for
the same seed, also on a CPU. Worth another look when it has per-request seeds.

Tensor suffixes: B rows, T positions in the cache, H heads, D head size, V vocabulary, U distinct prompts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from spar.errors import PromptRefused
from spar.hardware import has_package
from spar.infer.batcher import Finished, PendingRequest
from spar.infer.engine import Completion, Finish, StructuredOutputs, TokenLogprobs
from spar.infer.engines.attention import Block, blocks_of, row_blocks, use_grouped_attention
from spar.infer.engines.chat import ChatEncoder, Rendered
from spar.infer.engines.grammar import PACKAGE, GrammarCompiler, Matcher, constrained
from spar.infer.engines.growing import GrowingReply
from spar.infer.engines.kv_cache import BatchCache, left_pad, starts_of
from spar.infer.engines.rows import Row, num_within, prefill_groups
from spar.infer.engines.sampling import sample_tokens

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_COMPACT_SHARE = 0.25

TokenBudget = Callable[[int], int]
"""From the cache positions that are allocated, rows times width, to the positions that there may be at most."""


class ContinuousBatch:
    """The `EngineCore` of the hf engine.

    Parameters
    ----------
    model, tokenizer:
        As loaded by transformers, the model already on its device.
    token_budget:
        How many cache positions fit into memory; None for no limit. Asked whenever rows are to join.
    encoder:
        Of the same tokenizer; None for a new one.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        token_budget: TokenBudget | None = None,
        encoder: ChatEncoder | None = None,
    ) -> None:
        self._model: Any = model
        use_grouped_attention(model)
        self._tokenizer: Any = tokenizer
        self._token_budget = token_budget
        self.context = int(getattr(model.config, "max_position_embeddings", 0) or 1 << 30)
        """Context length of the model, in tokens."""
        self._eos_ids = _eos_token_ids(model, tokenizer)
        self._encoder = encoder or ChatEncoder(tokenizer)
        self._compiler: GrammarCompiler | None = None
        self.reset()

    @property
    def running(self) -> int:
        """Rows that are decoding, and those that wait for memory."""
        return self.decoding + len(self._queued)

    @property
    def decoding(self) -> int:
        """Rows that are decoding."""
        return sum(not row.finished for row in self._rows)

    def reset(self) -> None:
        """Drop every row."""
        self._queued: list[tuple[tuple[int, ...], Row]] = []
        self._clear()

    def _clear(self) -> None:
        self._rows: list[Row] = []
        self._cache: BatchCache | None = None
        self._blocks: list[Block] = []
        self._mask_BT = torch.zeros(0, 0, dtype=torch.long)
        self._last_B = torch.zeros(0, dtype=torch.long)

    def free(self) -> None:
        """Free the model and its memory."""
        self.reset()
        self._model = None
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def drop_cancelled(self) -> None:
        """Mark rows whose request was cancelled; `step` skips them."""
        for row in self._rows:
            row.finished = row.finished or row.pending.cancelled
        self._queued = [(ids, row) for ids, row in self._queued if not row.pending.cancelled]
        self._compact()

    def admit(self, pending: Sequence[PendingRequest]) -> list[Finished]:
        """Prefill the prompts and add their rows; samples the first token of each."""
        finished: list[Finished] = []
        rows: list[tuple[tuple[int, ...], Row]] = []
        for each in pending:
            try:
                rendered = self._encoder.encode_request(each.request, self.context)
                rows.append((rendered.ids, self._row(each, rendered)))
            except PromptRefused as error:
                finished.append((each, error))
            except Exception as error:  # such as a seed that numpy refuses; other requests continue
                finished.append((each, PromptRefused(f"the request cannot be served: {error}")))
        self._queued += rows
        return finished + self._fill()

    @torch.inference_mode()
    def step(self) -> list[Finished]:
        """Generate one token for every row."""
        filled = self._fill()
        if not self._rows:
            return filled
        assert self._cache is not None
        if self._cache.is_full:  # it is copied anyway: without finished rows and needless padding
            self._select(self._active())
        one_B1 = torch.ones(len(self._rows), 1, dtype=torch.long, device=self._mask_BT.device)
        self._mask_BT = torch.cat([self._mask_BT, one_B1], dim=1)
        # Finished rows stay in the batch for a while and may pass the end of the context.
        positions_B1 = (self._mask_BT.sum(dim=1, keepdim=True) - 1).clamp(max=self.context - 1)
        logits_BV = self._forward(self._last_B[:, None], positions_B1)
        finished = self._advance(self._rows, logits_BV)
        self._last_B = self._last_tokens(self._rows)
        self._compact()
        return filled + finished

    def _fill(self) -> list[Finished]:
        num_fitting = self._num_fitting([row for _, row in self._queued]) if self._queued else 0
        fitting, self._queued = self._queued[:num_fitting], self._queued[num_fitting:]
        fitting.sort(key=lambda pair: len(pair[0]), reverse=True)
        return [each for group in prefill_groups(fitting) for each in self._prefill(group)]

    def _num_fitting(self, queued: Sequence[Row]) -> int:
        """How many of the first queued rows fit into memory; the batch has one row at least.

        Where more of them fit without the finished rows and the padding that the cache holds, it is compacted first.
        """
        if self._token_budget is None:
            return len(queued)
        budget = self._token_budget(0 if self._cache is None else self._cache.num_positions)
        active = [row for row in self._rows if not row.finished]
        longest = max((row.num_prompt + len(row.tokens) for row in active), default=0)
        fitting = num_within(budget, active, queued, longest, len(active))
        if self._cache is None or fitting == 0:
            return fitting
        width = self._mask_BT.shape[1]
        if num_within(budget, active, queued, width, len(self._rows)) < fitting:
            self._select(self._active())
        return fitting

    def _row(self, pending: PendingRequest, rendered: Rendered) -> Row:
        num_prompt = len(rendered.ids)
        sampling = pending.request.sampling
        limit = min(sampling.max_tokens, self.context - num_prompt)
        uniforms = np.random.Generator(np.random.Philox(sampling.seed)).random(limit)
        stop_ids = self._eos_ids | self._encoder.stop_token_ids(sampling.stop)
        row = Row(pending, num_prompt, limit, uniforms, stop_ids, rendered.thinking)
        row.matcher = self._matcher(self._encoder.outputs_to_match(pending.request, rendered))
        if pending.request.on_text is not None:
            row.growing = GrowingReply(
                self._encoder, pending.request, pending.show, thinking=row.thinking
            )
        return row

    def _matcher(self, outputs: StructuredOutputs | None) -> Matcher | None:
        if outputs is None or not has_package(PACKAGE):
            return None
        if self._compiler is None:
            vocab_size = int(self._model.config.get_text_config().vocab_size)
            self._compiler = GrammarCompiler(self._tokenizer, vocab_size, self._eos_ids)
        return self._compiler.matcher(outputs)

    @torch.inference_mode()
    def _prefill(self, group: Sequence[tuple[tuple[int, ...], Row]]) -> list[Finished]:
        distinct = {ids: i for i, ids in enumerate(dict.fromkeys(ids for ids, _ in group))}
        ids_UT, mask_UT = self._pad(list(distinct))
        cache = BatchCache()
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
        prefilled: set[tuple[int, ...]] = set()
        for ids, row in group:
            row.num_cached = len(ids) if ids in prefilled else 0
            prefilled.add(ids)
        finished = self._advance(rows, output.logits[:, -1][source_B])
        self._join(rows, cache, source_B, mask_UT[source_B])
        return finished

    def _pad(self, prompts: Sequence[tuple[int, ...]]) -> tuple[torch.Tensor, torch.Tensor]:
        width = max(map(len, prompts))
        pad = self._tokenizer.pad_token_id or 0
        ids = [[pad] * (width - len(prompt)) + list(prompt) for prompt in prompts]
        mask = [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]
        device = self._model.device
        return torch.tensor(ids, device=device), torch.tensor(mask, device=device)

    def _join(
        self, rows: list[Row], cache: BatchCache, source_B: torch.Tensor, mask_BT: torch.Tensor
    ) -> None:
        """Add rows, whose prompts are rows `source_B` of a cache: in the places of finished ones if all find a place."""
        places = [i for i, row in enumerate(self._rows) if row.finished]
        width = self._mask_BT.shape[1]
        if self._cache is None:
            self._cache, self._mask_BT, self._rows = cache.select(source_B), mask_BT, rows
        elif len(places) >= len(rows) and width >= mask_BT.shape[1]:
            # Both are in the order of their length, or nearly.
            places_B = torch.tensor(places[: len(rows)], device=source_B.device)
            self._cache.put(cache, source_B, places_B)
            self._mask_BT[places_B] = left_pad(mask_BT, width)
            for place, row in zip(places, rows, strict=False):
                self._rows[place] = row
        else:
            active = self._active()
            active_B = torch.tensor(active, dtype=torch.long, device=source_B.device)
            kept_BT = self._mask_BT[active_B]
            padding = min(starts_of(kept_BT), default=width)
            self._cache = self._cache.join(cache, active_B, source_B, padding)
            width = max(width - padding, mask_BT.shape[1])
            self._mask_BT = torch.cat(
                [left_pad(kept_BT[:, padding:], width), left_pad(mask_BT, width)]
            )
            self._rows = [*(self._rows[i] for i in active), *rows]
        self._last_B = self._last_tokens(self._rows)
        self._find_blocks()
        self._compact()

    def _forward(self, ids_B1: torch.Tensor, positions_B1: torch.Tensor) -> torch.Tensor:
        with row_blocks(self._blocks):
            output = self._model(
                input_ids=ids_B1,
                attention_mask=self._mask_BT,
                position_ids=positions_B1,
                past_key_values=self._cache,
                use_cache=True,
            )
        logits: torch.Tensor = output.logits[:, -1]
        return logits

    def _advance(self, rows: Sequence[Row], logits_BV: torch.Tensor) -> list[Finished]:
        logits_BV = logits_BV.float()
        settings = [row.pending.request.sampling for row in rows]
        uniforms = [row.uniforms[len(row.tokens)] if not row.finished else 0.0 for row in rows]
        matchers = [None if row.finished else row.matcher for row in rows]
        tokens = sample_tokens(constrained(logits_BV, matchers), settings, uniforms)
        finished = []
        for i, (row, token) in enumerate(zip(rows, tokens, strict=True)):
            if not row.finished:
                finished += self._append(row, token, logits_BV[i])
        return finished

    def _append(self, row: Row, token: int, logits_V: torch.Tensor) -> list[Finished]:
        row.tokens.append(token)
        sampling = row.pending.request.sampling
        if sampling.top_logprobs and token not in row.stop_ids:
            row.logprobs.append(self._logprobs(row, token, logits_V))
        stopped = token in row.stop_ids or self._encoder.ends_with_stop(row.tokens, sampling.stop)
        row.finished = stopped or len(row.tokens) >= row.limit
        if row.matcher is not None and not row.finished and not row.matcher.accept_token(token):
            row.matcher = None  # no token was permitted: the vocabulary cannot spell what must come
        if not row.finished:
            if row.growing is not None:
                row.growing.add(row.tokens)
            return []
        return [(row.pending, self._completion(row, "stop" if stopped else "length"))]

    def _logprobs(self, row: Row, token: int, logits_V: torch.Tensor) -> TokenLogprobs:
        top = torch.log_softmax(logits_V, dim=-1).topk(row.pending.request.sampling.top_logprobs)
        logprobs: dict[str, float] = {}
        for index, value in zip(top.indices.tolist(), top.values.tolist(), strict=True):
            # Fragments of one character decode to the same text; the most likely of them stays.
            logprobs.setdefault(self._tokenizer.decode([index]), value)
        return TokenLogprobs(self._tokenizer.decode([token]), logprobs)

    def _completion(self, row: Row, finish: Finish) -> Completion:
        tokens = row.tokens[:-1] if row.tokens[-1] in row.stop_ids else row.tokens
        answer = self._encoder.read_completion(row.pending.request, tokens, thinking=row.thinking)
        return Completion(
            text=answer.text,
            unfinished_thinking=answer.unfinished,
            finish=finish,
            prompt_tokens=row.num_prompt,
            completion_tokens=len(row.tokens),
            logprobs=tuple(row.logprobs),
            cached_tokens=row.num_cached,
        )

    def _last_tokens(self, rows: Sequence[Row]) -> torch.Tensor:
        return torch.tensor([row.tokens[-1] for row in rows], device=self._mask_BT.device)

    def _compact(self) -> None:
        # Rows to come take the places of finished ones; those that stay empty cost as much as the others.
        num_finished = sum(row.finished for row in self._rows)
        if num_finished == len(self._rows):
            self._clear()
        elif num_finished >= len(self._rows) * _COMPACT_SHARE:
            self._select(self._active())

    def _active(self) -> list[int]:
        """The rows that are not finished, the longest first, so that rows of similar length are side by side."""
        active = [i for i, row in enumerate(self._rows) if not row.finished]
        starts = starts_of(self._mask_BT) if active else []
        return sorted(active, key=starts.__getitem__)

    def _select(self, active: Sequence[int]) -> None:
        assert self._cache is not None
        rows_B = torch.tensor(active, device=self._mask_BT.device)
        self._rows = [self._rows[i] for i in active]
        mask_BT = self._mask_BT[rows_B]
        padding = min(starts_of(mask_BT))
        self._cache = self._cache.select(rows_B, padding)
        self._mask_BT = mask_BT[:, padding:]
        self._last_B = self._last_B[rows_B]
        self._find_blocks()

    def _find_blocks(self) -> None:
        self._blocks = blocks_of(starts_of(self._mask_BT), self._mask_BT.shape[1])


def _eos_token_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    config: Any = model.generation_config
    eos = getattr(config, "eos_token_id", None)
    ids = eos if isinstance(eos, list) else [eos]
    return frozenset(token for token in (*ids, tokenizer.eos_token_id) if isinstance(token, int))
