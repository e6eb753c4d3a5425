"""Train the embedded model from scratch and write its folder, model card included.

    python -m spar.nano.train --out spar/nano/checkpoint --steps 1700

Plain torch, CPU or GPU. The data is drawn on the fly from the train split of nano-if and never
repeats; quality is then measured on the validation split, and the card is written from what was
measured. `--smoke` is a run of seconds that only proves the code.

Tensor suffixes: B sequences in a batch, T tokens in a sequence, V vocabulary.
"""

from __future__ import annotations

import argparse
import asyncio
import copy
import itertools
import math
import random
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spar.nano import CHECKPOINT
from spar.nano.card import hardware, write_card
from spar.nano.examples import ACTOR_SHARE, sample_conversation
from spar.nano.teacher import Dials
from spar.nano.tokenizer import END, PAD, build_tokenizer

if TYPE_CHECKING:
    import torch
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

SAVE_EVERY = 500
"""Steps between two saves of the folder."""
IGNORED = -100
"""Label of a token that carries no loss."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Settings of one training run."""

    steps: int = 1700
    """Optimizer steps."""
    batch: int = 64
    """Conversations a step."""
    learning_rate: float = 2e-3
    """Peak of the cosine schedule for embeddings and norms, AdamW (0.9, 0.95)."""
    matrix_learning_rate: float = 0.02
    """Peak of the same schedule for the layers' matrices, Muon."""
    warmup: int = 50
    """Steps of linear warm-up."""
    hidden: int = 192
    layers: int = 5
    heads: int = 6
    seed: int = 0
    max_length: int = 1024
    """Longest context in tokens."""


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--out", type=Path, default=CHECKPOINT)
    parser.add_argument("--steps", type=int, default=Recipe().steps)
    parser.add_argument("--seed", type=int, default=Recipe().seed)
    parser.add_argument(
        "--smoke", action="store_true", help="a run of seconds that proves the code"
    )
    arguments = parser.parse_args()
    recipe = Recipe(steps=arguments.steps, seed=arguments.seed)
    if arguments.smoke:
        recipe = Recipe(steps=3, batch=8, hidden=32, layers=1, heads=2, warmup=1)
    facts = train(recipe, Dials(), arguments.out)
    quality = asyncio.run(_measured(arguments.out, num_prompts=4 if arguments.smoke else 250))
    write_card(arguments.out, facts, quality)
    print(
        f"wrote {arguments.out}", *(f"{name}: {value}" for name, value in quality.items()), sep="\n"
    )


def train(recipe: Recipe, dials: Dials, out: Path) -> dict[str, Any]:
    """Train and save; returns the facts that the model card reports."""
    import torch

    torch.manual_seed(recipe.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    tokenizer = build_tokenizer(recipe.seed, recipe.max_length)
    model = build_model(recipe, tokenizer).to(device)
    optimizers = build_optimizers(recipe, model)
    schedules = [
        torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, recipe))
        for optimizer in optimizers
    ]
    start, num_tokens, loss_mean = time.monotonic(), 0, float("nan")
    for step, batch in enumerate(_loader(recipe, dials, tokenizer)):
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
    facts = _facts(recipe, dials, model, num_tokens, time.monotonic() - start)
    facts["loss"] = round(loss_mean, 4)
    save(model, tokenizer, out)
    return facts


def build_model(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """A Llama of the recipe's size with fresh weights."""
    from transformers import LlamaConfig, LlamaForCausalLM

    vocabulary = tokenizer.get_vocab()
    config = LlamaConfig(
        vocab_size=math.ceil(len(tokenizer) / 64) * 64,
        hidden_size=recipe.hidden,
        intermediate_size=recipe.hidden * 8 // 3 // 32 * 32,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.heads,
        max_position_embeddings=recipe.max_length,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=vocabulary[END],
        pad_token_id=vocabulary[PAD],
    )
    model = LlamaForCausalLM(config)
    # On short sequences plain matrix products train a fifth faster on a CPU than fused attention.
    model.set_attn_implementation("eager")
    tie_word_forms(model, tokenizer)
    return model


def tie_word_forms(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    """Start all forms of a word (` fox`, `fox`, ` FOX`) near each other in embedding space.

    A token's first embedding is a vector of its word, plus one of its form (leading space, case),
    plus noise. The model then need not learn a hundred times that a keyword and its capitals match.
    """
    import torch

    weight_VD = model.model.embed_tokens.weight
    vectors: dict[tuple[str, ...], torch.Tensor] = {}

    def vector(*key: str) -> torch.Tensor:
        return vectors.setdefault(key, torch.randn(weight_VD.shape[1]) * 0.02)

    with torch.no_grad():
        weight_VD.mul_(0.3)
        for token, index in tokenizer.get_vocab().items():
            text = tokenizer.decode([index])
            case = "upper" if text.isupper() else "lower" if text.islower() else "mixed"
            form = ("form", "space" if text[:1] == " " else "", case)
            weight_VD[index] += vector("word", text.strip().lower() or token) + vector(*form)


def build_optimizers(recipe: Recipe, model: LlamaForCausalLM) -> list[torch.optim.Optimizer]:
    """Muon for the layers' matrices, AdamW for embeddings and norms."""
    import torch

    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    known = {id(p) for p in matrices}
    rest = [p for p in model.parameters() if id(p) not in known]
    return [
        torch.optim.Muon(matrices, lr=recipe.matrix_learning_rate, weight_decay=0.05),
        torch.optim.AdamW(rest, lr=recipe.learning_rate, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, out: Path) -> None:
    """Write an ordinary Hugging Face folder, weights in bfloat16."""
    import torch

    out.mkdir(parents=True, exist_ok=True)
    copy.deepcopy(model).to("cpu", torch.bfloat16).save_pretrained(out)
    tokenizer.save_pretrained(out)


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
        kept = targets != IGNORED
        logits_NV = model.lm_head(hidden[kept])
        loss = torch.nn.functional.cross_entropy(logits_NV.float(), targets[kept])
    loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return float(loss.detach())


def _loader(recipe: Recipe, dials: Dials, tokenizer: PreTrainedTokenizerFast) -> Any:
    from torch.utils.data import DataLoader, IterableDataset

    class Stream(IterableDataset[dict[str, Any]]):
        def __iter__(self) -> Iterator[dict[str, Any]]:
            return _batches(recipe, dials, tokenizer)

    return DataLoader(Stream(), batch_size=None, num_workers=1, prefetch_factor=8)


def _batches(
    recipe: Recipe, dials: Dials, tokenizer: PreTrainedTokenizerFast
) -> Iterator[dict[str, Any]]:
    # Conversations of like length share a batch; the batches of a pool are then shuffled.
    rng = random.Random(f"train/{recipe.seed}")
    pool_size, made = recipe.batch * 8, 0
    for start in itertools.count(0, pool_size):
        if made >= recipe.steps:
            return
        pool = []
        for index in range(start, start + pool_size):
            messages = sample_conversation("train", recipe.seed, index, dials, rng)
            pool.append(encode(tokenizer, [message.model_dump() for message in messages]))
        pool.sort(key=lambda pair: len(pair[0]))
        groups = [pool[i : i + recipe.batch] for i in range(0, pool_size, recipe.batch)]
        rng.shuffle(groups)
        for group in groups[: recipe.steps - made]:
            yield _pad(group, tokenizer.pad_token_id)
        made += len(groups)


def _pad(group: list[tuple[list[int], list[int]]], pad: int) -> dict[str, torch.Tensor]:
    import torch

    width = max(len(ids) for ids, _ in group)
    return {
        "ids": torch.tensor([ids + [pad] * (width - len(ids)) for ids, _ in group]),
        "labels": torch.tensor([la + [IGNORED] * (width - len(la)) for _, la in group]),
        "lengths": torch.tensor([len(ids) for ids, _ in group]),
    }


async def _measured(folder: Path, num_prompts: int) -> dict[str, str]:
    from spar.infer.engines.hf import HfEngine
    from spar.nano.measure import measure

    engine = HfEngine(str(folder))
    shares = await measure(engine, "validation", num_prompts)
    await engine.aclose()
    return {name: str(share) for name, share in shares.items()}


def _facts(
    recipe: Recipe, dials: Dials, model: LlamaForCausalLM, num_tokens: int, seconds: float
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
        "dials": asdict(dials),
    }


if __name__ == "__main__":
    main()
