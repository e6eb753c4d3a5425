"""Attention of one decoding step over a batch of rows: keys and values are read where they lie.

With a mask, transformers' `sdpa` copies the keys and values of grouped heads once for each query head, at
every step of every layer. Here the query heads of a group are attended as if they were the positions of
one head, which needs no copy. Rows are left-padded to the longest one; neighbouring rows of similar length
form a block, and a block reads only the positions that one of its rows has.

A model that runs with another implementation than `sdpa` (flash attention, eager) keeps it.

Tensor suffixes: B rows, H query heads, K key heads, G query heads a key head, Q query positions, T positions
in the cache, D head size.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

_NAME = "spar_grouped"
_SIMILAR_LENGTH = 0.75
_MIN_BLOCK_ROWS = 8

Block = tuple[int, int, int]
"""First row, row after the last, and the first position that any of these rows has."""

_current = threading.local()


def use_grouped_attention(model: Any) -> None:
    """Let a model that runs with `sdpa` attend with `grouped_attention`."""
    if getattr(model.config, "_attn_implementation", None) == "sdpa":
        AttentionInterface.register(_NAME, grouped_attention)
        AttentionMaskInterface.register(_NAME, sdpa_mask)
        model.set_attn_implementation(_NAME)


@contextmanager
def row_blocks(blocks: Sequence[Block]) -> Iterator[None]:
    """Attend in these blocks in this thread: they cover every row of the batch, in order."""
    _current.blocks = blocks
    try:
        yield
    finally:
        _current.blocks = ()


def blocks_of(starts: Sequence[int], width: int) -> list[Block]:
    """Cut a batch into blocks of neighbouring rows of similar length.

    Parameters
    ----------
    starts:
        For each row the position of its first token, in [0, width).
    width:
        Positions in the cache.
    """
    blocks: list[Block] = []
    for row, start in enumerate(starts):
        if blocks:
            first, end, block_start = blocks[-1]
            longest, length = width - block_start, width - start
            similar = longest * _SIMILAR_LENGTH <= length <= longest
            if similar or end - first < _MIN_BLOCK_ROWS:
                blocks[-1] = (first, row + 1, min(block_start, start))
                continue
        blocks.append((row, row + 1, start))
    return blocks


def grouped_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Attend as transformers' attention interface asks for; returns the output, BQHD.

    Parameters
    ----------
    query:
        BHQD; anything but a single query position is left to `sdpa`.
    key, value:
        BKTD, where H is a multiple of K.
    attention_mask:
        B1QT, True where a position is attended, or what is to be added to the scores; None attends to all.
    """
    if query.shape[2] != 1 or kwargs.get("position_bias") is not None:
        output: tuple[torch.Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
        return output
    num_rows, num_heads, _, size = query.shape
    query_BKGD = query.reshape(num_rows, key.shape[1], -1, size)
    parts = []
    for first, end, start in getattr(_current, "blocks", ()) or [(0, num_rows, 0)]:
        mask = None if attention_mask is None else attention_mask[first:end, ..., start:]
        parts.append(
            torch.nn.functional.scaled_dot_product_attention(
                query_BKGD[first:end],
                key[first:end, :, start:],
                value[first:end, :, start:],
                attn_mask=mask,
                dropout_p=dropout,
                scale=scaling,
            )
        )
    output_BKGD = parts[0] if len(parts) == 1 else torch.cat(parts)
    return output_BKGD.reshape(num_rows, 1, num_heads, -1), None
