"""Supervised training on the assistant's turns: TRL's SFTTrainer on tokenized conversations.

    python -m spar.train.sft sft.json
    torchrun --nproc-per-node 8 -m spar.train.sft sft.json

Used for the bootstrap of both models and for the refiner's RFT. `train_on` says which of the assistant's turns
carry loss. The labels are made in `spar.train.encode`, since TRL's own require marks that most chat templates
lack. The loss is the mean over all trained tokens of an optimizer step.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from spar.train.common import (
    check_lengths,
    dataset,
    fit,
    run_main,
    start_training,
)
from spar.train.rows import each_row, read_conversations
from spar.train.settings import SftSettings
from spar.train.usable import EMPTY, conversation_problem
from spar.train.weights import adapter_config


def train(settings: SftSettings) -> None:
    """Train on the conversations of `settings.data`; the model is in `out/model`.

    Raises
    ------
    UsageError
        A row, a setting or the model is wrong, or too many examples are longer than the cutoff.
    RunStopped
        The loss is not finite; the last good checkpoint stays.
    """
    with start_training(settings, read_conversations, "SFTConfig") as training:
        if training is None:
            return
        examples, encoder = training.examples, training.encoder
        encoded = each_row(
            settings.data, examples, lambda messages: encoder.encode(messages, settings.train_on)
        )
        lengths = [len(example.ids) for example in encoded]
        check_lengths(lengths, settings, training.max_length)
        problems = [
            conversation_problem(example, settings.cutoff)
            if messages[-1].content.strip()
            else EMPTY
            for messages, example in zip(examples, encoded, strict=True)
        ]
        usable = training.usable(problems)
        rows = [{"input_ids": encoded[i].ids, "labels": encoded[i].labels} for i in usable.indexes]
        trainer = training.trl.SFTTrainer(
            model=training.model,
            args=training.arguments,
            train_dataset=dataset(rows),
            processing_class=training.tokenizer,
            peft_config=adapter_config(settings),
        )
        fit(trainer, settings, training.context, lengths, usable)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit code."""
    return run_main(SftSettings, train, arguments)


if __name__ == "__main__":
    sys.exit(main())
