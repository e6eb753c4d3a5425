"""Preference training: TRL's DPOTrainer on pairs, with the paper's loss.

    python -m spar.train.dpo dpo.json
    torchrun --nproc-per-node 8 -m spar.train.dpo dpo.json

The loss is DPO's (sigmoid, beta 0.1) plus 0.1 times the SFT loss on the chosen side. TRL averages the second
term over the tokens of a micro-batch, LLaMA-Factory's `pref_ftx`, which the paper used, over its examples: the
same where a micro-batch is one pair, close otherwise.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from spar.errors import UsageError
from spar.train.common import (
    check_lengths,
    dataset,
    fit,
    run_main,
    start_training,
)
from spar.train.context import TrainingContext
from spar.train.encode import Encoder, Rendering
from spar.train.owned import PAIRS, is_owned, mark_owned
from spar.train.progress import wait_for_all
from spar.train.rows import SIDES, each_row, read_pairs
from spar.train.settings import DpoSettings
from spar.train.usable import EMPTY, pair_problem
from spar.train.weights import adapter_config, set_dropout
from spar.types import Message

_RENDERED = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
"""The chat template that TRL gets: the turns are rendered already, as a search renders them."""


def train(settings: DpoSettings) -> None:
    """Train on the pairs of `settings.data`; the model is in `out/model`.

    Raises
    ------
    UsageError
        A row, a setting or the model is wrong, or too many pairs are longer than the cutoff.
    RunStopped
        The loss is not finite; the last good checkpoint stays.
    """
    with start_training(settings, read_pairs, "DPOConfig", **loss_arguments(settings)) as training:
        if training is None:
            return
        encoder, tokenizer, context = training.encoder, training.tokenizer, training.context
        pairs, cutoff = training.examples, settings.cutoff
        renderings = each_row(settings.data, pairs, lambda pair: _renderings(pair, encoder))
        encoded = [_encoded(rendered, encoder) for rendered in renderings]
        lengths = [max(len(pair["chosen"]), len(pair["rejected"])) for pair in encoded]
        check_lengths(lengths, settings, training.max_length)
        problems = [
            pair_problem(len(ids["prompt"]), ids["chosen"], ids["rejected"], cutoff)
            if pair["chosen"][0].content.strip()
            else EMPTY
            for pair, ids in zip(pairs, encoded, strict=True)
        ]
        usable = training.usable(problems)
        template, tokenizer.chat_template = tokenizer.chat_template, _RENDERED
        rows = [_row(renderings[i]) for i in usable.indexes]
        trainer = training.trl.DPOTrainer(
            model=training.model,
            args=training.arguments,
            train_dataset=_shared_dataset(rows, settings, context),
            processing_class=tokenizer,
            peft_config=adapter_config(settings),
        )
        tokenizer.chat_template = template  # checkpoints and adapters are saved with it
        if settings.method != "full":
            set_dropout(trainer.model, settings.lora.dropout)
        fit(trainer, settings, context, lengths, usable)


def _renderings(pair: Mapping[str, tuple[Message, ...]], encoder: Encoder) -> dict[str, Rendering]:
    """Either side of a pair in its context."""
    return {side: encoder.text((*pair["prompt"], *pair[side])) for side in SIDES}


def _encoded(rendered: Mapping[str, Rendering], encoder: Encoder) -> dict[str, list[int]]:
    """The tokens of a context, and of the context with either side."""
    sides = {side: encoder.tokens(each.context + each.reply) for side, each in rendered.items()}
    return {"prompt": encoder.tokens(rendered["chosen"].context), **sides}


def _row(rendered: Mapping[str, Rendering]) -> dict[str, Any]:
    """A pair for TRL: the context as the user's turn, and each side with its end as the assistant's."""
    return {
        "prompt": [{"role": "user", "content": rendered["chosen"].context}],
        **{side: [{"role": "assistant", "content": each.reply}] for side, each in rendered.items()},
    }


def loss_arguments(settings: DpoSettings) -> dict[str, Any]:
    """TRL's settings of the loss."""
    types, weights = ["sigmoid"], [1.0]
    if settings.sft_weight:
        types, weights = [*types, "sft"], [*weights, settings.sft_weight]
    return {
        "beta": settings.beta,
        "loss_type": types,
        "loss_weights": weights,
        "precompute_ref_log_probs": settings.precompute_reference,
    }


def _shared_dataset(
    rows: list[dict[str, Any]], settings: DpoSettings, context: TrainingContext
) -> Any:
    """The pairs, on disk where several processes share the reference's log-probabilities.

    TRL's main process caches them next to the data. For data in memory, the cache is in a folder of each
    process's own.
    """
    if not settings.precompute_reference or context.processes == 1:
        return dataset(rows)
    from datasets import load_from_disk

    folder = context.out / PAIRS
    if context.main:
        if folder.exists() and not is_owned(folder):
            raise UsageError(
                f"{folder} is in the way: this training has not written it; move it away"
            )
        mark_owned(folder)
        dataset(rows).save_to_disk(str(folder))
    wait_for_all()
    return load_from_disk(str(folder))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit code."""
    return run_main(DpoSettings, train, arguments)


if __name__ == "__main__":
    sys.exit(main())
