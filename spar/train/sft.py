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
from spar.train.encode import read_conversations
from spar.train.settings import SftSettings
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
        encoded = [
            training.encoder.encode(messages, settings.train_on) for messages in training.examples
        ]
        lengths = [len(example.ids) for example in encoded]
        check_lengths(lengths, settings, training.max_length)
        trainer = training.trl.SFTTrainer(
            model=training.model,
            args=training.arguments,
            train_dataset=dataset([{"input_ids": e.ids, "labels": e.labels} for e in encoded]),
            processing_class=training.tokenizer,
            peft_config=adapter_config(settings),
        )
        fit(trainer, settings, training.context, lengths)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit code."""
    return run_main(SftSettings, train, arguments)


if __name__ == "__main__":
    sys.exit(main())
