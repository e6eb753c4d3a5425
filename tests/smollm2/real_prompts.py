"""Conversations in plain English, and what transformers' own `generate` replies to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spar.infer.engine import Request, Sampling
from spar.types import Message

MAX_TOKENS = 24
DEFAULT_SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
"""What the model's chat template says where a conversation has no system turn."""
_STORY = (
    "A ferry left the harbour of a small town at six in the morning with forty passengers on board. Fog lay "
    "over the water, and the captain went slowly. After an hour the engine stopped, and a fishing boat took "
    "the ferry in tow. The passengers drank tea from paper cups, sang old songs and came home at noon. "
)


def talk(*texts: str, system: str = "") -> tuple[Message, ...]:
    """A conversation that begins with the user, who alternates with the assistant."""
    turns = [Message(role="system", content=system)] if system else []
    roles = ("user", "assistant")
    return (*turns, *(Message(role=roles[i % 2], content=text) for i, text in enumerate(texts)))


CONVERSATIONS = {
    "short": talk("What is the capital of France?"),
    "list": talk("Give me a numbered list of three fruits, each with its colour."),
    "long": talk(f"{_STORY * 2}\n\nSummarise this story in one sentence."),
    "system": talk("Who are you?", system="You are a pirate named Redbeard."),
    "turns": talk("Name a colour.", "Blue.", "Name another one, and a thing of that colour."),
}


def requests(
    conversations: Sequence[tuple[Message, ...]] = tuple(CONVERSATIONS.values()), **sampling: Any
) -> list[Request]:
    """Greedy requests."""
    settings = Sampling(**{"max_tokens": MAX_TOKENS} | sampling)
    return [Request(messages, settings) for messages in conversations]


@dataclass(frozen=True, slots=True)
class Reply:
    """A greedy reply of transformers, one prompt at a time."""

    tokenizer: Any
    prompt: tuple[int, ...]
    ids: tuple[int, ...]
    """With the token that ended it, if one did."""
    seconds: tuple[int, ...]
    """The second most likely token at each position."""
    gaps: tuple[float, ...]
    """By how much that one is less likely, in nats."""

    @property
    def text(self) -> str:
        """Without special tokens."""
        return self.decode(self.ids)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of tokens, without special tokens."""
        return str(self.tokenizer.decode(ids, skip_special_tokens=True))

    def assert_same_or_tied(self, text: str, tie: float) -> bool:
        """Fail unless a text is this reply, or first parts from it where two tokens are a near tie.

        Parameters
        ----------
        tie:
            The largest difference of two log-probabilities that counts as one.

        Returns
        -------
        bool
            Whether it is the same.
        """
        if text == self.text:
            return True
        ids = self.ids
        at = next(i for i in range(len(ids)) if not text.startswith(self.decode(ids[: i + 1])))
        other = self.decode((*ids[:at], self.seconds[at]))
        assert text.startswith(other), f"{text!r} parts from {self.text!r} for an unlikely token"
        assert self.gaps[at] < tie, f"{text!r} parts from {self.text!r} without a near tie"
        return False


def reference_replies(folder: Path) -> dict[str, Reply]:
    """The replies to `CONVERSATIONS` by transformers alone, in fp32, each prompt on its own."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    replies = {}
    for name, messages in CONVERSATIONS.items():
        turns = [{"role": message.role, "content": message.content} for message in messages]
        prompt = tokenizer.apply_chat_template(
            turns, add_generation_prompt=True, return_dict=True, return_tensors="pt"
        )
        output = model.generate(
            **prompt,
            do_sample=False,
            max_new_tokens=MAX_TOKENS,
            return_dict_in_generate=True,
            output_scores=True,
        )
        width = prompt["input_ids"].shape[1]
        top = torch.stack(output.scores)[:, 0].log_softmax(dim=-1).topk(2)
        replies[name] = Reply(
            tokenizer=tokenizer,
            prompt=tuple(prompt["input_ids"][0].tolist()),
            ids=tuple(output.sequences[0, width:].tolist()),
            seconds=tuple(top.indices[:, 1].tolist()),
            gaps=tuple((top.values[:, 0] - top.values[:, 1]).tolist()),
        )
    return replies
