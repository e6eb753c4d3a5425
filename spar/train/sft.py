"""Supervised training on the assistant's turns: TRL's SFTTrainer on conversations that are tokens already.

    python -m spar.train.sft sft.json
    torchrun --nproc-per-node 8 -m spar.train.sft sft.json

The bootstrap of both models and the refiner's RFT. `train_on` says which of the assistant's turns carry
loss; the labels are made here (`spar.train.encode`), since TRL's own need marks in the chat template that
most models' templates lack. The loss is the mean over all trained tokens of an optimizer step.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from spar.train.common import (
    check_lengths,
    context_of,
    dataset,
    fit,
    import_trl,
    load,
    run_main,
    trainer_arguments,
)
from spar.train.context import opened
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
        The loss is no finite number; the last good checkpoint stays.
    """
    with opened(settings) as place:
        if place is None:
            return
        conversations = read_conversations(settings.data)
        trl = import_trl()
        args = trl.SFTConfig(**trainer_arguments(settings, place))
        tokenizer, model, encoder = load(settings, place)
        encoded = [encoder.encode(messages, settings.train_on) for messages in conversations]
        lengths = [len(example.ids) for example in encoded]
        check_lengths(lengths, settings, context_of(model))
        trainer = trl.SFTTrainer(
            model=model,
            args=args,
            train_dataset=dataset([{"input_ids": e.ids, "labels": e.labels} for e in encoded]),
            processing_class=tokenizer,
            peft_config=adapter_config(settings),
        )
        fit(trainer, settings, place, lengths)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit code."""
    return run_main(SftSettings, train, arguments)


if __name__ == "__main__":
    sys.exit(main())
