"""Preference training: TRL's DPOTrainer on pairs, with the paper's loss.

    python -m spar.train.dpo dpo.json
    torchrun --nproc-per-node 8 -m spar.train.dpo dpo.json

The loss is DPO's (sigmoid, beta 0.1) plus 0.1 times the SFT loss on the chosen side. TRL averages that
second term over the tokens of a micro-batch; LLaMA-Factory's `pref_ftx`, which the paper used, over its
examples: the same where a micro-batch is one pair, close otherwise.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from typing import Any

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
from spar.train.context import Place, opened
from spar.train.encode import Encoder, read_pairs
from spar.train.progress import wait_for_all
from spar.train.settings import DpoSettings
from spar.train.weights import adapter_config

PAIRS = "pairs"
"""Folder below a training's own with its pairs and what was computed ahead; removed when it is done."""
_ENDED = "{% if not add_generation_prompt %}{{ eos_token }}{% endif %}"
"""Put after a chat template that lets a reply end without a token that says so."""


def train(settings: DpoSettings) -> None:
    """Train on the pairs of `settings.data`; the model is in `out/model`.

    Raises
    ------
    UsageError
        A row, a setting or the model is wrong, or too many pairs are longer than the cutoff.
    RunStopped
        The loss is no finite number; the last good checkpoint stays.
    """
    with opened(settings) as place:
        if place is None:
            return
        pairs = read_pairs(settings.data)
        trl = import_trl()
        args = trl.DPOConfig(**trainer_arguments(settings, place), **loss_arguments(settings))
        tokenizer, model, encoder = load(settings, place)
        lengths = [
            max(encoder.length((*pair["prompt"], *pair[side])) for side in ("chosen", "rejected"))
            for pair in pairs
        ]
        check_lengths(lengths, settings, context_of(model))
        if encoder.lacks_end():
            tokenizer.chat_template = tokenizer.chat_template.removesuffix("\n") + _ENDED
        trainer = trl.DPOTrainer(
            model=model,
            args=args,
            train_dataset=_shared([_turns(encoder, pair) for pair in pairs], settings, place),
            processing_class=tokenizer,
            peft_config=adapter_config(settings),
        )
        fit(trainer, settings, place, lengths)
        if place.main:
            shutil.rmtree(place.out / PAIRS, ignore_errors=True)


def loss_arguments(settings: DpoSettings) -> dict[str, Any]:
    """The loss, in TRL's words."""
    types, weights = ["sigmoid"], [1.0]
    if settings.sft_weight:
        types, weights = [*types, "sft"], [*weights, settings.sft_weight]
    return {
        "beta": settings.beta,
        "loss_type": types,
        "loss_weights": weights,
        "precompute_ref_log_probs": settings.precompute_reference,
    }


def _shared(rows: list[dict[str, Any]], settings: DpoSettings, place: Place) -> Any:
    """The pairs, on the disk where every process must find what was computed ahead beside them.

    TRL's main process writes the reference's log-probabilities next to the data; of data in memory each
    process has its own place.
    """
    if not settings.precompute_reference or place.processes == 1:
        return dataset(rows)
    from datasets import load_from_disk

    folder = place.out / PAIRS
    if place.main:
        dataset(rows).save_to_disk(str(folder))
    wait_for_all()
    return load_from_disk(str(folder))


def _turns(encoder: Encoder, pair: dict[str, Any]) -> dict[str, Any]:
    return {name: encoder.turns(messages) for name, messages in pair.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit code."""
    return run_main(DpoSettings, train, arguments)


if __name__ == "__main__":
    sys.exit(main())
