"""A key-value cache whose rows can be selected and joined, and that grows without a copy per step.

transformers' `DynamicCache` concatenates, and so copies, all keys and values at every step.

Tensor suffixes: B rows, H heads, T positions, D head size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Self

import torch
from transformers.cache_utils import DynamicCache, DynamicLayer

_SPACE = 128


class GrowingLayer(DynamicLayer):  # type: ignore[misc]  # transformers is untyped here
    """A dynamic layer that writes into preallocated space and allocates more when it is full."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._length = 0
        self._store: tuple[torch.Tensor, torch.Tensor] | None = None

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append positions; returns views of all keys and values, each BHTD."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start, end = self._length, self._length + key_states.shape[-2]
        keys_BHTD, values_BHTD = self._with_space(end, (key_states, value_states))
        keys_BHTD[:, :, start:end] = key_states
        values_BHTD[:, :, start:end] = value_states
        self._expose(end)
        assert self.keys is not None and self.values is not None
        return self.keys, self.values

    def put(self, other: GrowingLayer, taken_B: torch.Tensor, rows_B: torch.Tensor) -> None:
        """Write rows of another layer over rows of this one, right-aligned in time; nothing else is copied.

        Parameters
        ----------
        other:
            A layer with at most as many positions.
        taken_B:
            The rows to take from it, repeats allowed.
        rows_B:
            The rows that they replace, none twice.
        """
        assert self._store is not None
        for store, tensor in zip(self._store, other.states(), strict=True):
            start = self._length - tensor.shape[-2]
            store[:, :, :start].index_fill_(0, rows_B, 0)  # the attention mask hides them
            store[:, :, start : self._length].index_copy_(
                0, rows_B, tensor.index_select(0, taken_B)
            )

    def gather(self, sources: Sequence[tuple[GrowingLayer, torch.Tensor, int]]) -> Self:
        """Copy rows of other layers, right-aligned in time, with space for further positions.

        Each source is a layer, the rows to take, and the number of leading positions to skip. The gap to the left of a shorter source is filled with zeros, which the attention mask hides.
        """
        parts = [
            [tensor[:, :, skip:].index_select(0, rows_B) for tensor in layer.states()]
            for layer, rows_B, skip in sources
        ]
        width = max(part[0].shape[-2] for part in parts)
        batch = sum(part[0].shape[0] for part in parts)
        self.lazy_initialization(*parts[0])
        self._store = _allocate(parts[0], batch, width)
        row = 0
        for part in parts:
            end, start = row + part[0].shape[0], width - part[0].shape[-2]
            for store, tensor in zip(self._store, part, strict=True):
                store[row:end, :, :start] = 0
                store[row:end, :, start:width] = tensor
            row = end
        self._expose(width)
        return self

    def states(self) -> tuple[torch.Tensor, torch.Tensor]:
        """All keys and values, each BHTD."""
        assert self.keys is not None and self.values is not None
        return self.keys, self.values

    @property
    def num_positions(self) -> int:
        """Allocated positions: rows times width."""
        return 0 if self._store is None else self._store[0].shape[0] * self._store[0].shape[2]

    @property
    def is_full(self) -> bool:
        """Whether another position needs more space, and so a copy."""
        return self._store is None or self._store[0].shape[2] == self._length

    def _expose(self, length: int) -> None:
        assert self._store is not None
        self._length = length
        self.keys, self.values = (tensor[:, :, :length] for tensor in self._store)

    def _with_space(
        self, end: int, states: Sequence[torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if self._store is None or self._store[0].shape[-2] < end:
            fresh = _allocate(states, states[0].shape[0], end)
            if self._store is not None:
                for new, old in zip(fresh, self._store, strict=True):
                    new[:, :, : self._length] = old[:, :, : self._length]
            self._store = fresh
        return self._store


class BatchCache(DynamicCache):  # type: ignore[misc]  # as above
    """A cache of `GrowingLayer`s.

    `select` and `join` return new caches and empty their sources layer by layer, so that the cache as a whole
    is never in memory twice.
    """

    def __init__(self, layers: list[GrowingLayer] | None = None) -> None:
        super().__init__()
        self.layer_class_to_replicate = GrowingLayer
        self.layers = list(layers or [])

    @property
    def num_positions(self) -> int:
        """Allocated positions: rows times width."""
        return self.layers[0].num_positions if self.layers else 0

    @property
    def is_full(self) -> bool:
        """Whether another position needs more space, and so a copy."""
        return not self.layers or self.layers[0].is_full

    def put(self, other: BatchCache, taken_B: torch.Tensor, rows_B: torch.Tensor) -> None:
        """Write rows of another cache over rows of this one, in place; see `GrowingLayer.put`."""
        for mine, theirs in zip(self.layers, other.layers, strict=True):
            mine.put(theirs, taken_B, rows_B)

    def select(self, rows_B: torch.Tensor, padding: int = 0) -> BatchCache:
        """The rows with these indexes, repeats allowed, without the first `padding` positions."""
        return BatchCache(
            [GrowingLayer().gather([(layer, rows_B, padding)]) for layer in self._take_layers()]
        )

    def join(
        self, other: BatchCache, rows_B: torch.Tensor, taken_B: torch.Tensor, padding: int = 0
    ) -> BatchCache:
        """Rows of this cache, without its first `padding` positions, and after them rows of another one."""
        pairs = zip(self._take_layers(), other._take_layers(), strict=True)
        return BatchCache(
            [
                GrowingLayer().gather([(mine, rows_B, padding), (theirs, taken_B, 0)])
                for mine, theirs in pairs
            ]
        )

    def _take_layers(self) -> Iterator[GrowingLayer]:
        # Each layer is dropped when the next one is asked for.
        self.layers.reverse()
        while self.layers:
            yield self.layers.pop()


def _allocate(
    states: Sequence[torch.Tensor], batch: int, width: int
) -> tuple[torch.Tensor, torch.Tensor]:
    # All is read at every step, so a copy every 128 steps costs little, and spare positions cost memory.
    # Keys and values may differ in size: latent attention.
    keys, values = (
        like.new_empty(batch, like.shape[1], width + _SPACE, like.shape[3]) for like in states
    )
    return keys, values


def starts_of(mask_BT: torch.Tensor) -> list[int]:
    """The position of each row's first token, from a mask that is 1 where a row has one."""
    starts: list[int] = mask_BT.argmax(dim=1).tolist()
    return starts


def left_pad(mask_BT: torch.Tensor, width: int) -> torch.Tensor:
    """The mask of rows with empty positions in front, up to this width."""
    return torch.nn.functional.pad(mask_BT, (width - mask_BT.shape[1], 0))
