"""How a byte-level tokenizer splits text before it merges bytes, by the name that a GGUF file has for it.

A GGUF file holds the vocabulary and the merges, and of the splitting only a name of llama.cpp's (`tokenizer.ggml.pre`).
transformers knows some of these names and takes GPT-2's rule for all others. A text would then become other tokens than
in the model's training: where digits are split off, the line breaks before `1.` are one token, by GPT-2's rule two.
"""

from __future__ import annotations

from typing import Any

_DIGITS = frozenset("starcoder refact command-r smollm codeshell exaone minerva-7b".split())
"""Names of GPT-2's rule between single digits (llama.cpp, `llm_tokenizer_bpe`)."""
_GPT2 = frozenset("default gpt-2 phi-2 mpt olmo jais trillion granite-docling roberta-bpe".split())
"""Names of GPT-2's rule."""


def set_splitting(tokenizer: Any, name: str) -> bool:
    """Make a tokenizer that transformers read from a GGUF file split text as the file says.

    Returns
    -------
    bool
        Whether the name is known, to transformers or here.
    """
    from tokenizers import pre_tokenizers

    if name in _DIGITS:
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Digits(individual_digits=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
            ]
        )
    return name in _DIGITS | _GPT2 or name in _known_to_transformers()


def _known_to_transformers() -> frozenset[str]:
    try:
        from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS
    except ImportError:  # before 5.19, which knows none
        return frozenset()
    return frozenset(GGUF_PRE_TOKENIZER_SPLITS)
