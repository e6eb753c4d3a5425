"""Train the embedded model from scratch and write its folder, model card included.

    python -m spar.nano.train --out spar/nano/checkpoint --steps 3600

Plain torch, CPU or GPU. The data is drawn on the fly from the train split of nano-if and never
repeats; quality is then measured on the validation split and reported in the card. `--smoke` is a run
of seconds that tests the code.

Tensor suffixes: B sequences in a batch, T tokens in a sequence, V vocabulary.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import math
import random
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spar.embedded import CHECKPOINT
from spar.nano.card import hardware, write_card
from spar.nano.examples import ACTOR_SHARE, sample_conversation
from spar.nano.model import Recipe, open_or_build, save
from spar.nano.teacher import FlawRates

if TYPE_CHECKING:
    import torch
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

SAVE_EVERY = 500
"""Steps between two saves of the folder."""
IGNORED = -100
"""Label of a token without loss."""


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--out", type=Path, default=CHECKPOINT)
    parser.add_argument("--steps", type=int, default=Recipe().steps)
    parser.add_argument("--seed", type=int, default=Recipe().seed)
    parser.add_argument("--init", default="", help="start from this folder's weights")
    parser.add_argument(
        "--first-example", type=int, default=0, help="index of the first training conversation"
    )
    parser.add_argument("--rate", type=float, default=1.0, help="factor on both learning rates")
    parser.add_argument("--smoke", action="store_true", help="a run of seconds that tests the code")
    arguments = parser.parse_args()
    recipe = Recipe(
        steps=arguments.steps,
        seed=arguments.seed,
        init=arguments.init,
        first_example=arguments.first_example,
        learning_rate=Recipe().learning_rate * arguments.rate,
        matrix_learning_rate=Recipe().matrix_learning_rate * arguments.rate,
    )
    if arguments.smoke:
        recipe = replace(recipe, steps=3, batch=8, hidden=32, layers=1, heads=2, warmup=1)
    facts = train(recipe, FlawRates(), arguments.out)
    quality = asyncio.run(_measure(arguments.out, num_prompts=4 if arguments.smoke else 200))
    write_card(arguments.out, facts, quality)
    print(
        f"wrote {arguments.out}", *(f"{name}: {value}" for name, value in quality.items()), sep="\n"
    )


def train(recipe: Recipe, rates: FlawRates, out: Path) -> dict[str, Any]:
    """Train and save; returns the facts that the model card reports."""
    import torch

    torch.manual_seed(recipe.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model, tokenizer = open_or_build(recipe)
    model.to(device)
    optimizers = build_optimizers(recipe, model)
    schedules = [
        torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, recipe))
        for optimizer in optimizers
    ]
    start, num_tokens, loss_mean = time.monotonic(), 0, float("nan")
    for step, batch in enumerate(_loader(recipe, rates, tokenizer)):
        loss = _step(model, optimizers, {name: value.to(device) for name, value in batch.items()})
        for schedule in schedules:
            schedule.step()
        num_tokens += int(batch["lengths"].sum())
        loss_mean = loss if step == 0 else 0.98 * loss_mean + 0.02 * loss
        if step % 50 == 0 or step + 1 == recipe.steps:
            rate = num_tokens / (time.monotonic() - start)
            print(f"step {step} loss {loss_mean:.4f} tokens/s {rate:.0f}", flush=True)
        if step and step % SAVE_EVERY == 0:
            save(model, tokenizer, out)
    facts = _facts(recipe, rates, model, num_tokens, time.monotonic() - start)
    facts["loss"] = round(loss_mean, 4)
    save(model, tokenizer, out)
    return facts


def build_optimizers(recipe: Recipe, model: LlamaForCausalLM) -> list[torch.optim.Optimizer]:
    """Muon for the layers' matrices, AdamW for embeddings and norms."""
    import torch

    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    matrix_ids = {id(p) for p in matrices}
    others = [p for p in model.parameters() if id(p) not in matrix_ids]
    return [
        torch.optim.Muon(matrices, lr=recipe.matrix_learning_rate, weight_decay=0.05),
        torch.optim.AdamW(others, lr=recipe.learning_rate, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def encode(
    tokenizer: PreTrainedTokenizerFast, conversation: list[dict[str, str]]
) -> tuple[list[int], list[int]]:
    """Token ids of a conversation, and labels: the ids on the assistant's turns, else `IGNORED`."""
    encoded = tokenizer.apply_chat_template(
        conversation, tokenize=True, return_dict=True, return_assistant_tokens_mask=True
    )
    ids, mask = encoded["input_ids"], encoded["assistant_masks"]
    return ids, [token if flag else IGNORED for token, flag in zip(ids, mask, strict=True)]


def _rate(step: int, recipe: Recipe) -> float:
    if step < recipe.warmup:
        return (step + 1) / recipe.warmup
    progress = (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress))


def _step(
    model: LlamaForCausalLM, optimizers: list[torch.optim.Optimizer], batch: dict[str, torch.Tensor]
) -> float:
    import torch

    ids_BT, labels_BT = batch["ids"], batch["labels"]
    with torch.autocast(ids_BT.device.type, torch.bfloat16):
        hidden = model.model(input_ids=ids_BT).last_hidden_state[:, :-1]
        targets = labels_BT[:, 1:]
        labelled = targets != IGNORED
        logits_NV = model.lm_head(hidden[labelled])
        loss = torch.nn.functional.cross_entropy(logits_NV.float(), targets[labelled])
    loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return float(loss.detach())


def _loader(recipe: Recipe, rates: FlawRates, tokenizer: PreTrainedTokenizerFast) -> Any:
    from torch.utils.data import DataLoader, IterableDataset

    class Stream(IterableDataset[dict[str, Any]]):
        def __iter__(self) -> Iterator[dict[str, Any]]:
            return _batches(recipe, rates, tokenizer)

    return DataLoader(Stream(), batch_size=None, num_workers=1, prefetch_factor=8)


def _batches(
    recipe: Recipe, rates: FlawRates, tokenizer: PreTrainedTokenizerFast
) -> Iterator[dict[str, Any]]:
    # Conversations of like length share a batch; the batches of a pool are then shuffled.
    rng = random.Random(f"train/{recipe.seed}/{recipe.first_example}")
    pool_size, num_batches = recipe.batch * 8, 0
    for start in itertools.count(recipe.first_example, pool_size):
        if num_batches >= recipe.steps:
            return
        pool = []
        for index in range(start, start + pool_size):
            messages = sample_conversation("train", recipe.seed, index, rates, rng)
            pool.append(encode(tokenizer, [message.model_dump() for message in messages]))
        pool.sort(key=lambda pair: len(pair[0]))
        groups = [pool[i : i + recipe.batch] for i in range(0, pool_size, recipe.batch)]
        rng.shuffle(groups)
        for group in groups[: recipe.steps - num_batches]:
            yield _pad(group, tokenizer.pad_token_id)
        num_batches += len(groups)


def _pad(group: list[tuple[list[int], list[int]]], pad: int) -> dict[str, torch.Tensor]:
    import torch

    width = max(len(ids) for ids, _ in group)
    return {
        "ids": torch.tensor([ids + [pad] * (width - len(ids)) for ids, _ in group]),
        "labels": torch.tensor([la + [IGNORED] * (width - len(la)) for _, la in group]),
        "lengths": torch.tensor([len(ids) for ids, _ in group]),
    }


async def _measure(folder: Path, num_prompts: int) -> dict[str, str]:
    from spar.infer.engines.hf import HfEngine
    from spar.nano.measure import measure

    engine = HfEngine(str(folder))
    shares = await measure(engine, "validation", num_prompts)
    await engine.aclose()
    return {name: str(share) for name, share in shares.items()}


def _facts(
    recipe: Recipe, rates: FlawRates, model: LlamaForCausalLM, num_tokens: int, seconds: float
) -> dict[str, Any]:
    import torch

    device = str(next(model.parameters()).device)
    return {
        "parameters": model.num_parameters(),
        **asdict(recipe),
        "conversations": recipe.steps * recipe.batch,
        "tokens": num_tokens,
        "seconds": round(seconds),
        "hardware": hardware(torch.get_num_threads(), device),
        "torch": torch.__version__,
        "actor share": ACTOR_SHARE,
        "dials": asdict(rates),
    }


if __name__ == "__main__":
    main()
