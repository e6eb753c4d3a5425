"""The embedded model's tokenizer: byte-level BPE over nano-if, with spar's template texts as tokens.

Any text can be encoded and decodes to itself: unknown words become bytes. The constant spans of the
judge and refine templates are added tokens, so that a judge prompt takes few more tokens than the
instruction and the response in it.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from spar.nano.examples import sample_conversation
from spar.nano.teacher import FlawRates
from spar.templates import load

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PAD, END = "<|pad|>", "<|end|>"
TURNS = ("<|system|>", "<|user|>", "<|assistant|>")
VOCABULARY = 1280
"""Byte-level BPE entries before the added tokens."""

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>' }}"
    "{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] + '<|end|>' }}{% endgeneration %}"
    "{% else %}{{ message['content'] + '<|end|>' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
"""Every turn is `<|role|>text<|end|>`; marks the assistant's turns for assistant-only losses."""

_REPLY_SPANS = (
    "\nFinal Judgement:",
    "\nFinal Refined Output:\n[[start]]\n",
    "\n[[end]]",
)
_FIELD = re.compile(r"\{\w+\}")
_CORPUS_SIZE = 12_000


def build_tokenizer(seed: int = 0, max_length: int = 1024) -> PreTrainedTokenizerFast:
    """Train the tokenizer on conversations of the train split."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, initial_alphabet=alphabet, show_progress=False, min_frequency=20
    )
    bpe.train_from_iterator(_corpus(seed), trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=list(TURNS),
        model_max_length=max_length,
        clean_up_tokenization_spaces=False,
    )
    _add_spans(tokenizer)
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def template_spans() -> tuple[str, ...]:
    """The constant texts of spar's templates that become one token each."""
    templates = load()
    spans = [span for text in (templates.judge, templates.refine) for span in _FIELD.split(text)]
    return (*(span for span in spans if span), *_REPLY_SPANS)


def _add_spans(tokenizer: PreTrainedTokenizerFast) -> None:
    from tokenizers import AddedToken

    tokenizer.add_tokens([AddedToken(span, normalized=False) for span in template_spans()])


def _corpus(seed: int) -> Iterator[str]:
    cut = re.compile("|".join(re.escape(span) for span in sorted(template_spans(), key=len)[::-1]))
    rng = random.Random(f"tokenizer/{seed}")
    for index in range(_CORPUS_SIZE):
        # Sequences of one letter would teach merges that hide their length from the model.
        messages = sample_conversation("train", seed, index, FlawRates(), rng)
        for message in messages:
            if not re.search(r"(\w)\1\1", message.content):
                yield from cut.split(message.content)
