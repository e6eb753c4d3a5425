"""Time of one decoding step of the hf engine over rows and context, beside transformers' `sdpa`.

    OMP_NUM_THREADS=1 python benchmarks/attention_step.py --model DIR --rows 8,32,96,192 --contexts 128,512,1536

The cache is filled with random keys and values of that length, half of the rows with a quarter of it as padding. Each
pair of rows and context is measured with both kinds of attention in turn; the fastest of four steps counts.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import torch
from reporting import run_benchmark
from transformers import AutoModelForCausalLM

from spar.infer.engines.attention import use_grouped_attention
from spar.infer.engines.kv_cache import BatchCache

STEPS = 4


@torch.inference_mode()
def seconds_of_step(model: Any, rows: int, context: int) -> float:
    """Seconds of the fastest of `STEPS` decoding steps."""
    config, cache = model.config, BatchCache()
    for layer in range(config.num_hidden_layers):
        shape = (rows, config.num_key_value_heads, context, config.head_dim)
        keys = torch.randn(shape, dtype=model.dtype)
        cache.update(keys, keys.clone(), layer)
    mask_BT = torch.ones(rows, context, dtype=torch.long)
    mask_BT[::2, : context // 4] = 0
    ids_B1 = torch.randint(5, config.vocab_size, (rows, 1))
    fastest = float("inf")
    for _ in range(STEPS):
        mask_BT = torch.cat([mask_BT, torch.ones(rows, 1, dtype=torch.long)], dim=1)
        positions_B1 = mask_BT.sum(dim=1, keepdim=True) - 1
        start = time.perf_counter()
        model(
            input_ids=ids_B1,
            attention_mask=mask_BT,
            position_ids=positions_B1,
            past_key_values=cache,
            use_cache=True,
        )
        fastest = min(fastest, time.perf_counter() - start)
    return fastest


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--rows", default="8,32,96,192")
    parser.add_argument("--contexts", default="128,512,1536")
    parser.add_argument("--dtype", default="fp32", choices=["fp32", "bf16"])
    args = parser.parse_args()
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[args.dtype]
    model: Any = AutoModelForCausalLM.from_pretrained(args.model, dtype=dtype).eval()
    print(f"{args.dtype}, {torch.get_num_threads()} threads; tokens a second")
    for context in map(int, args.contexts.split(",")):
        for rows in map(int, args.rows.split(",")):
            model.set_attn_implementation("sdpa")
            copied = seconds_of_step(model, rows, context)
            use_grouped_attention(model)
            grouped = seconds_of_step(model, rows, context)
            print(
                f"context {context:5d}, {rows:4d} rows: sdpa {rows / copied:6.0f}, "
                f"grouped {rows / grouped:6.0f}, ratio {copied / grouped:.1f}"
            )


if __name__ == "__main__":
    run_benchmark(main)
