"""Whether the `n` samples that a server returns for one request are samples. Pure.

Some servers repeat one text `n` times where a request has a seed, so that five votes are one. Equal texts
alone prove nothing: a judge that is sure of itself may say the same five times. So the first requests with
several samples are looked at. If any of them brings different texts, the server samples, and the matter is
closed. If all of the first `MIN_EQUAL` bring equal texts of at least `MIN_CHARACTERS` (a verdict of a few
words is equal too often to count), the next one is asked as single requests with seeds of their own, which
costs nothing but shared prompts. If their texts differ, the server is to blame; if they are equal as well,
it is the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MIN_EQUAL = 6
"""Requests with equal samples before single ones are tried. A model whose samples are equal with probability
p is taken for a faulty server with probability p^6 (1 - p), at most 6 %, and then loses no more than speed."""
MIN_CHARACTERS = 80
"""Length of a text from which on equal samples count."""
EQUAL_SAMPLES_NOTE = (
    "returns one text n times where a request has n samples, and different ones to single requests; votes are "
    "sent as single requests with seeds of their own"
)


@dataclass(slots=True)
class SampleCheck:
    """What is known of one server."""

    num_equal: int = 0
    """Requests so far whose samples were all equal, of at least `MIN_CHARACTERS`."""
    is_sampling: bool = False
    """Whether it is settled that `n` samples are as good as single ones."""

    @property
    def is_suspect(self) -> bool:
        """Whether the next samples are to be requested one by one."""
        return self.num_equal >= MIN_EQUAL and not self.is_sampling

    def record(self, texts: Sequence[str]) -> None:
        """Add the samples of one request."""
        if len(set(texts)) > 1:
            self.is_sampling = True
        elif len(texts[0]) >= MIN_CHARACTERS:
            self.num_equal += 1

    def record_singles(self, texts: Sequence[str]) -> bool:
        """Add samples that were requested one by one while it was suspect; returns whether it is to blame."""
        if self.is_suspect and len(set(texts)) == 1:
            self.is_sampling = True
        return self.is_suspect
