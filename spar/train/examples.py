"""What a training example is: texts, and the tree and node that they came from.

A `Pair` teaches the actor (DPO), a `RefinerExample` the refiner (SFT on filtered conversations, the
paper's RFT). A line of `dpo.jsonl` in the `jsonl` export is a pair's fields:

    {"run": "search", "prompt_id": "nano-if/test/0/0", "chosen_node": 2, "rejected_node": 0, "swapped": false,
     "prompt": [{"role": "user", "content": "Write something short. ..."}],
     "chosen": "The fox sees the owl.", "rejected": "The fox, it sees the owl."}
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pydantic import Field

from spar.types import Message, Record, Text

Run = Literal["search", "drafts"]
"""Which of a build's two runs a tree stands in: its searches, or its judged drafts."""

Kind = Literal["refine", "tree", "draft"]
"""A winning refinement, a judgement of a node in a search, a judgement of a draft."""


class Pair(Record):
    """Two responses to one prompt, the first of them preferred."""

    run: Run
    """Where the tree stands."""
    prompt_id: Text
    """The tree's prompt."""
    chosen_node: int
    """Id of the node whose response is `chosen`."""
    rejected_node: int
    """Id of the node whose response is `rejected`."""
    swapped: bool = False
    """Whether chance has swapped the sides: the control with shuffled labels."""
    prompt: tuple[Message, ...]
    """The conversation that the actor answered."""
    chosen: Text
    """The response that passed the gate."""
    rejected: Text
    """The response that did not."""


class RefinerExample(Record):
    """One conversation of the search, to be learnt by the refiner."""

    kind: Kind
    """What it teaches."""
    verdict: bool | None = None
    """What the judgement says, None for a refinement."""
    run: Run
    """Where the tree stands."""
    prompt_id: Text
    """The tree's prompt."""
    node: int
    """Id of the node that was written or judged."""
    score: float
    """The judge's score of that node."""
    messages: tuple[Message, ...] = Field(min_length=2)
    """The conversation; the last turn is what the model wrote."""


class Answer(Record):
    """A teacher's answer, to be learnt by the actor."""

    run: Literal["answers"] = "answers"
    """Where the tree stands."""
    prompt_id: Text
    """The tree's prompt."""
    node: int
    """Id of the node that answers."""
    messages: tuple[Message, ...] = Field(min_length=2)
    """The prompt's turns, and the answer as the last."""


Chat = Answer | RefinerExample
"""A conversation that is learnt by SFT."""


def texts(example: Pair | Chat) -> Iterable[str]:
    """Every text of an example."""
    if isinstance(example, Pair):
        return (*(message.content for message in example.prompt), example.chosen, example.rejected)
    return (message.content for message in example.messages)


def has_tokens(example: Pair | Chat) -> bool:
    """Whether every text has a UTF-8 form: a lone surrogate has none, and no tokenizer takes it."""
    try:
        for text in texts(example):
            text.encode()
    except UnicodeEncodeError:
        return False
    return True
