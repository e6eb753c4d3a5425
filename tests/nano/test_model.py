"""Fresh weights of the embedded model."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

pytestmark = pytest.mark.model


class Vocabulary:
    """A tokenizer of four tokens that lists them in an order of its own."""

    TOKENS = ("fox", " fox", "FOX", " bell")

    def __init__(self, order: tuple[int, ...]) -> None:
        self._order = order

    def get_vocab(self) -> dict[str, int]:
        """Token to index."""
        return {self.TOKENS[index]: index for index in self._order}

    def decode(self, indices: list[int]) -> str:
        """The token's text."""
        return self.TOKENS[indices[0]]


def test_fresh_embeddings_do_not_depend_on_the_order_of_the_vocabulary() -> None:
    """Tokenizers list their tokens in another order in each process; the same seed gives the same weights."""
    torch: Any = pytest.importorskip("torch")
    from spar.nano.model import tie_word_forms

    weights = []
    for order in ((0, 1, 2, 3), (3, 1, 0, 2)):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            embedding = torch.nn.Embedding(4, 8)
            model: Any = SimpleNamespace(model=SimpleNamespace(embed_tokens=embedding))
            tokenizer: Any = Vocabulary(order)
            tie_word_forms(model, tokenizer)
        weights.append(embedding.weight.detach())
    assert torch.equal(weights[0], weights[1])
