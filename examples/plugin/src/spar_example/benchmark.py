"""Shouting: an answer passes when it is all upper case."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

import spar


class ShoutingOptions(BaseModel):
    """`--benchmark-arg prompts=4`."""

    prompts: int = 6
    """How many examples there are."""


@dataclass(frozen=True)
class Shouting(spar.Benchmark):
    """The benchmark."""

    prompts: int = 6
    options = ShoutingOptions

    def load(self, config: Any) -> list[spar.Prompt]:
        """The examples."""
        return [
            spar.Prompt(
                id=f"shout-{number}",
                messages=(spar.Message(role="user", content=f"Shout the number {number}."),),
            )
            for number in range(self.prompts)
        ]

    def score(self, examples: Sequence[spar.Prompt], outputs: Any) -> spar.Scored:
        """One example each, with its share of the metric."""
        answers = outputs.answers()
        return spar.Scored(
            examples=tuple(
                spar.Example(
                    id=example.id,
                    response=(text := answers[example.id].text),
                    passed=bool(text and text.isupper()),
                    scores={"shouted": (float(bool(text and text.isupper())), 1.0)},
                    usage=answers[example.id].usage,
                )
                for example in examples
            )
        )
