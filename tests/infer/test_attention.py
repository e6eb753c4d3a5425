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
from spar.infer.engines.hf import _has_other_states  # noqa: E402
from spar.infer.engines.kv_cache import BatchCache  # noqa: E402

pytestmark = pytest.mark.model


def tiny(kind: str) -> Any:
    """A model of an architecture with random weights."""
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **{**SIZES, **OWN.get(kind, {})})
    return AutoModelForCausalLM.from_config(config).eval()


SIZES = {
    "vocab_size": 50,
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
OWN: dict[str, dict[str, Any]] = {
    "gemma2": {"head_dim": 8},
    "lfm2": {"layer_types": ["conv", "full_attention"]},
    "mamba": {"state_size": 4},
    "deepseek_v2": {
        "num_key_value_heads": 4,
        "kv_lora_rank": 8,
        "q_lora_rank": None,
        "qk_nope_head_dim": 8,
        "qk_rope_head_dim": 4,
        "v_head_dim": 6,
        "first_k_dense_replace": 2,
        "n_routed_experts": 2,
        "num_experts_per_tok": 1,
        "moe_intermediate_size": 8,
    },
}


@pytest.mark.parametrize("kind", ["llama", "gemma2", "deepseek_v2"])
def test_rows_of_a_cache_can_be_exchanged(kind: str) -> None:
    """Also where keys and values have different sizes: the next token's logits are those of a pass over the whole."""
    model = tiny(kind)
    ids = torch.randint(0, 50, (3, 7))
    rows = torch.tensor([2, 0, 0, 1])
    with torch.inference_mode():
        whole = model(input_ids=ids[rows], use_cache=False).logits[:, -1]
        cache = BatchCache()
        model(input_ids=ids[:, :-1], past_key_values=cache)
        step = model(input_ids=ids[rows, -1:], past_key_values=cache.select(rows))
    torch.testing.assert_close(step.logits[:, -1], whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "others"),
    [("llama", False), ("gemma2", False), ("deepseek_v2", False), ("lfm2", True), ("mamba", True)],
)
def test_models_with_other_states_are_known(kind: str, others: bool) -> None:
    """Convolutions and state spaces keep more than the cache of keys and values holds."""
    assert _has_other_states(tiny(kind)) == others


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
