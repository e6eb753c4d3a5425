"""Constrains the replies of the hf engine to a JSON schema or a regular expression, with xgrammar, as vLLM does.

At each step the tokens with which a reply cannot go on lose their probability; the end of turn is possible once the
reply matches as a whole. JSON is written in one line: a small model may otherwise write white space without end.

Tensor suffixes: B rows, V vocabulary, W words of 32 bits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch

from spar.infer.engine import StructuredOutputs

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PACKAGE = "xgrammar"
"""What must be installed."""
Matcher = Any
"""xgrammar's `GrammarMatcher`: what a reply may go on with. xgrammar is typed in parts."""


class GrammarCompiler:
    """Makes matchers for a model's vocabulary.

    Parameters
    ----------
    vocab_size:
        Of the model, which may be larger than the tokenizer's.
    stop_ids:
        Tokens that end a reply.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, vocab_size: int, stop_ids: Iterable[int]
    ) -> None:
        import xgrammar

        self._xgrammar: Any = xgrammar
        vocabulary = self._xgrammar.TokenizerInfo.from_huggingface(
            tokenizer, vocab_size=vocab_size, stop_token_ids=sorted(stop_ids)
        )
        self._compiler = self._xgrammar.GrammarCompiler(vocabulary)

    def matcher(self, outputs: StructuredOutputs) -> Matcher:
        """A matcher for one reply; what it must match is compiled once.

        Raises
        ------
        Exception
            Whatever xgrammar raises for a schema or an expression that it cannot compile.
        """
        if outputs.json is None:
            compiled = self._compiler.compile_regex(outputs.regex)
        else:
            compiled = self._compiler.compile_json_schema(dict(outputs.json), any_whitespace=False)
        return self._xgrammar.GrammarMatcher(compiled)


def constrained(logits_BV: torch.Tensor, matchers: Sequence[Matcher | None]) -> torch.Tensor:
    """The logits, where rows with a matcher have minus infinity for each token that it does not permit next."""
    rows = [(i, matcher) for i, matcher in enumerate(matchers) if matcher is not None]
    if not rows:
        return logits_BV
    import xgrammar

    num_rows, size = logits_BV.shape
    bits_BW = xgrammar.allocate_token_bitmask(num_rows, size)  # all are permitted
    for i, matcher in rows:
        matcher.fill_next_token_bitmask(bits_BW, i)
    bits_BW = bits_BW.to(logits_BV.device)
    shifts = torch.arange(32, device=logits_BV.device, dtype=torch.int32)
    permitted_BV = ((bits_BW[:, :, None] >> shifts) & 1).bool().flatten(1)[:, :size]
    return logits_BV.masked_fill(~permitted_BV, float("-inf"))
