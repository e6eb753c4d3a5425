"""The embedded model: its size, initial weights and folder.

Tensor suffixes: V vocabulary, D hidden size.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from spar.nano.tokenizer import END, PAD, build_tokenizer

if TYPE_CHECKING:
    import torch
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast


@dataclass(frozen=True, slots=True)
class Recipe:
    """Settings of one training run."""

    steps: int = 3600
    """Optimizer steps; the shipped model's stages had 3,560 in all."""
    batch: int = 64
    """Conversations a step."""
    learning_rate: float = 2e-3
    """Peak of the cosine schedule for embeddings and norms, AdamW (0.9, 0.95)."""
    matrix_learning_rate: float = 0.02
    """Peak of the same schedule for the layers' matrices, Muon."""
    warmup: int = 50
    """Steps of linear warm-up."""
    hidden: int = 192
    layers: int = 5
    heads: int = 6
    seed: int = 0
    max_length: int = 1024
    """Longest context in tokens."""
    init: str = ""
    """A folder with the weights and tokenizer to start from; "" starts from scratch."""
    first_example: int = 0
    """Index of the first training conversation; the curriculum fades with the index."""


def open_or_build(recipe: Recipe) -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast]:
    """The model and tokenizer that training starts from."""
    if not recipe.init:
        tokenizer = build_tokenizer(recipe.seed, recipe.max_length)
        return build_model(recipe, tokenizer), tokenizer
    import torch
    from transformers import AutoTokenizer, LlamaForCausalLM

    model = LlamaForCausalLM.from_pretrained(recipe.init, dtype=torch.float32)
    model.set_attn_implementation("eager")
    return model, AutoTokenizer.from_pretrained(recipe.init)


def build_model(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """A Llama of the recipe's size with fresh weights."""
    from transformers import LlamaConfig, LlamaForCausalLM

    vocabulary = tokenizer.get_vocab()
    config = LlamaConfig(
        vocab_size=math.ceil(len(tokenizer) / 64) * 64,
        hidden_size=recipe.hidden,
        intermediate_size=recipe.hidden * 8 // 3 // 32 * 32,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.heads,
        max_position_embeddings=recipe.max_length,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=vocabulary[END],
        pad_token_id=vocabulary[PAD],
    )
    model = LlamaForCausalLM(config)
    # On short sequences plain matrix products train a fifth faster on a CPU than fused attention.
    model.set_attn_implementation("eager")
    tie_word_forms(model, tokenizer)
    return model


def tie_word_forms(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    """Start all forms of a word (` fox`, `fox`, ` FOX`) near each other in embedding space.

    A token's first embedding is a vector of its word, plus one of its form (leading space, case),
    plus noise. So the model need not learn for every keyword that it matches its capitalized forms.
    """
    import torch

    weight_VD = model.model.embed_tokens.weight
    vectors: dict[tuple[str, ...], torch.Tensor] = {}

    def vector(*key: str) -> torch.Tensor:
        return vectors.setdefault(key, torch.randn(weight_VD.shape[1]) * 0.02)

    with torch.no_grad():
        weight_VD.mul_(0.3)
        # By index, since the vocabulary's own order differs from process to process.
        for token, index in sorted(tokenizer.get_vocab().items(), key=lambda item: item[1]):
            text = tokenizer.decode([index])
            case = "upper" if text.isupper() else "lower" if text.islower() else "mixed"
            form = ("form", "space" if text[:1] == " " else "", case)
            weight_VD[index] += vector("word", text.strip().lower() or token) + vector(*form)


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, out: Path) -> None:
    """Write an ordinary Hugging Face folder, weights in bfloat16."""
    import torch

    out.mkdir(parents=True, exist_ok=True)
    copy.deepcopy(model).to("cpu", torch.bfloat16).save_pretrained(out)
    tokenizer.save_pretrained(out)
