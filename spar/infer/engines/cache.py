"""A key-value cache whose rows can be picked and joined, and that grows without copying each step.

Tensor suffixes: B rows, H heads, T positions, D head size.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers.cache_utils import DynamicCache, DynamicLayer

_MIN_ROOM = 64


class GrowingLayer(DynamicLayer):
    """A dynamic layer that writes into spare room and doubles it when it is used up."""

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
        keys_BHTD, values_BHTD = self._room(end, key_states)
        keys_BHTD[:, :, start:end] = key_states
        values_BHTD[:, :, start:end] = value_states
        self._expose(end)
        assert self.keys is not None and self.values is not None
        return self.keys, self.values

    def put(self, keys_BHTD: torch.Tensor, values_BHTD: torch.Tensor) -> GrowingLayer:
        """Hold these tensors; room is made when the next position comes."""
        self.lazy_initialization(keys_BHTD, values_BHTD)
        self._store = (keys_BHTD, values_BHTD)
        self._expose(keys_BHTD.shape[-2])
        return self

    def _expose(self, length: int) -> None:
        assert self._store is not None
        self._length = length
        self.keys, self.values = (tensor[:, :, :length] for tensor in self._store)

    def _room(self, end: int, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if self._store is None or self._store[0].shape[-2] < end:
            batch, heads, _, size = like.shape
            shape = (batch, heads, end + max(_MIN_ROOM, end // 2), size)
            fresh = (like.new_zeros(shape), like.new_zeros(shape))
            if self._store is not None:
                for new, old in zip(fresh, self._store, strict=True):
                    new[:, :, : self._length] = old[:, :, : self._length]
            self._store = fresh
        return self._store


class RollingCache(DynamicCache):
    """A cache of `GrowingLayer`s; made anew by `select` and `join`."""

    def __init__(self, layers: list[GrowingLayer] | None = None) -> None:
        super().__init__()
        self.layer_class_to_replicate = GrowingLayer
        self.layers = list(layers or [])

    def select(self, rows_B: torch.Tensor, padding: int = 0) -> RollingCache:
        """Rows by index, repeats allowed, without the first `padding` positions."""
        return RollingCache(
            [
                GrowingLayer().put(
                    layer.keys[:, :, padding:].index_select(0, rows_B),
                    layer.values[:, :, padding:].index_select(0, rows_B),
                )
                for layer in self.layers
            ]
        )

    def join(self, other: RollingCache) -> RollingCache:
        """Rows of both, the shorter left-padded with zeros that the attention mask hides."""
        width = max(self.get_seq_length(), other.get_seq_length())
        return RollingCache(
            [
                GrowingLayer().put(
                    torch.cat([_left_pad(mine.keys, width), _left_pad(theirs.keys, width)]),
                    torch.cat([_left_pad(mine.values, width), _left_pad(theirs.values, width)]),
                )
                for mine, theirs in zip(self.layers, other.layers, strict=True)
            ]
        )


def _left_pad(states_BHTD: torch.Tensor, width: int) -> torch.Tensor:
    return torch.nn.functional.pad(states_BHTD, (0, 0, width - states_BHTD.shape[-2], 0))
