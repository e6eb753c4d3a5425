"""Attention of a decoding step that copies no keys: equal to transformers' own, for any blocks of rows."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from transformers import LlamaConfig, LlamaForCausalLM  # noqa: E402  # after the skip
from transformers.integrations.sdpa_attention import sdpa_attention_forward  # noqa: E402

from spar.infer.engines.attention import (  # noqa: E402
    blocks_of,
    grouped_attention,
    row_blocks,
    use_grouped_attention,
)

pytestmark = pytest.mark.model


@given(st.lists(st.integers(0, 199), min_size=1, max_size=60))
def test_blocks_cover_every_row_and_every_token(starts: list[int]) -> None:
    """In order, without a gap, and no block begins after the first token of one of its rows."""
    blocks = blocks_of(starts, 200)
    assert blocks[0][0] == 0
    assert blocks[-1][1] == len(starts)
    assert all(before[1] == after[0] for before, after in pairwise(blocks))
    for first, end, start in blocks:
        assert start == min(starts[first:end])


def test_rows_of_another_length_get_blocks_of_their_own() -> None:
    """Old long rows and short ones that have just joined do not read each other's width."""
    assert blocks_of([0, 1, 5, 9, 3, 2, 1, 0] + [180] * 8, 200) == [(0, 8, 0), (8, 16, 180)]
    assert blocks_of([100] * 9 + [0], 200) == [(0, 9, 100), (9, 10, 0)]
    assert blocks_of([0, 190], 200) == [(0, 2, 0)]  # not worth a kernel of its own


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("cut", [True, False])
def test_it_equals_sdpa(groups: int, masked: bool, cut: bool) -> None:
    """One query position: the same output with and without a mask, as one block or as several."""
    torch.manual_seed(0)
    rows, width, heads = 20, 50, 2
    starts = [0] * 9 + [30] * 11 if masked else [0] * rows
    query = torch.randn(rows, heads * groups, 1, 16)
    key, value = torch.randn(2, rows, heads, width, 16)
    mask = torch.arange(width)[None, :] >= torch.tensor(starts)[:, None]
    layer: Any = torch.nn.Identity()
    layer.num_key_value_groups = groups
    mask_or_none = mask[:, None, None, :] if masked else None
    expected, _ = sdpa_attention_forward(layer, query, key, value, mask_or_none, scaling=0.3)
    with row_blocks(blocks_of(starts, width) if cut else []):
        output, _ = grouped_attention(layer, query, key, value, mask_or_none, scaling=0.3)
    assert output.shape == expected.shape
    torch.testing.assert_close(output, expected)


def test_a_model_with_another_attention_keeps_it() -> None:
    """Only `sdpa` is replaced, and the logits of prompts and of single steps stay what they were."""
    config = LlamaConfig(
        vocab_size=50,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    torch.manual_seed(0)
    model: Any = LlamaForCausalLM(config).eval()
    model.set_attn_implementation("eager")
    use_grouped_attention(model)
    assert model.config._attn_implementation == "eager"
    model.set_attn_implementation("sdpa")
    ids = torch.randint(0, 50, (3, 7))
    mask = torch.ones_like(ids)
    mask[0, :4] = 0
    with torch.inference_mode():
        logits = []
        for _ in range(2):
            past = model(input_ids=ids[:, :-1], attention_mask=mask[:, :-1]).past_key_values
            step = model(input_ids=ids[:, -1:], attention_mask=mask, past_key_values=past)
            logits.append(step.logits)
            use_grouped_attention(model)
    assert model.config._attn_implementation != "sdpa"
    torch.testing.assert_close(logits[0], logits[1])
