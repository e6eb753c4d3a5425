"""A tiny GGUF file with random weights, for the tests that need one: two layers of Llama, 300 tokens, a chat template."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

HIDDEN, HEADS, LAYERS, INNER = 64, 4, 2, 64
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


def write_gguf(
    path: Path,
    *,
    architecture: str = "llama",
    parts: int = 0,
    extra_layers: int = 0,
    splitting: str = "default",
    seed: int = 0,
) -> Path:
    """Write the file.

    Parameters
    ----------
    architecture:
        What it says that the model's architecture is.
    parts:
        How many files it says that it is one of; 0 says nothing.
    extra_layers:
        Layers that it says to have and has not.
    splitting:
        How it says that its tokenizer splits text.
    """
    gguf = pytest.importorskip("gguf")
    numpy = pytest.importorskip("numpy")
    rng = numpy.random.default_rng(seed)
    tokens = _tokens()
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name("tiny")
    writer.add_context_length(256)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(LAYERS + extra_layers)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS // 2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10_000.0)
    writer.add_vocab_size(len(tokens))
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q4_1)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(splitting)
    writer.add_token_list(tokens)
    writer.add_token_types(
        [gguf.TokenType.CONTROL if t in _SPECIAL else gguf.TokenType.NORMAL for t in tokens]
    )
    writer.add_token_merges(["h e", "t he", "\u010a \u010a"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_chat_template(TEMPLATE)
    if parts:
        writer.add_uint16("split.count", parts)
        writer.add_uint16("split.no", 0)
    for name, shape in _shapes(len(tokens)).items():
        values = rng.normal(0, 0.2, shape).astype(numpy.float32)
        if len(shape) == 1:
            writer.add_tensor(name, numpy.ones(shape, numpy.float32))
            continue
        kind = gguf.GGMLQuantizationType.Q4_1
        writer.add_tensor(name, gguf.quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _tokens() -> list[str]:
    """Special tokens, the bytes in GPT-2's alphabet, and the merged tokens."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    alphabet: Any = bytes_to_unicode()
    return [*_SPECIAL, *(alphabet[byte] for byte in range(256)), "he", "the", "\u010a\u010a"]


def _shapes(num_tokens: int) -> dict[str, tuple[int, ...]]:
    keys = HIDDEN // 2
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (num_tokens, HIDDEN),
        "output_norm.weight": (HIDDEN,),
    }
    for layer in range(LAYERS):
        block = f"blk.{layer}"
        shapes |= {
            f"{block}.attn_norm.weight": (HIDDEN,),
            f"{block}.ffn_norm.weight": (HIDDEN,),
            f"{block}.attn_q.weight": (HIDDEN, HIDDEN),
            f"{block}.attn_k.weight": (keys, HIDDEN),
            f"{block}.attn_v.weight": (keys, HIDDEN),
            f"{block}.attn_output.weight": (HIDDEN, HIDDEN),
            f"{block}.ffn_gate.weight": (INNER, HIDDEN),
            f"{block}.ffn_up.weight": (INNER, HIDDEN),
            f"{block}.ffn_down.weight": (HIDDEN, INNER),
        }
    return shapes
