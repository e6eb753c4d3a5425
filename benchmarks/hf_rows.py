"""Tokens a second of the hf engine over the rows of its batch, beside `transformers.generate`.

    python benchmarks/hf_rows.py --model DIR --prompts 96 --max-tokens 256 --rows 8,24,48,96 --rounds 3

Greedy answers to the prompts of a JSON lines file. Each round measures every number of rows once, with the
engine and with `generate` on batches of as many prompts in the file's order; what is printed is the median
over the rounds with all values, tokens counted up to each reply's end. `--clock cpu` divides by the
processor's seconds instead of the wall's, for a machine that does other work too (with OMP_NUM_THREADS=1).
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import psutil
from reporting import run_benchmark

from spar.infer.engine import Request, Sampling
from spar.infer.engines.hf import HfEngine, HfSettings
from spar.prompts import read_prompts
from spar.types import Message

Clock = Callable[[], float]


def requests_of(path: str, num_prompts: int, max_tokens: int) -> list[Request]:
    """One greedy request for each of the first prompts of a file."""
    prompts = list(read_prompts(path, limit=num_prompts))
    return [Request(p.messages, Sampling(0.0, max_tokens=max_tokens)) for p in prompts]


def engine_rate(
    model: str, dtype: str, rows: int, requests: Sequence[Request], clock: Clock
) -> float:
    """Generated tokens a second of the engine."""

    async def run() -> float:
        engine = HfEngine(model, HfSettings(dtype=dtype, max_batch_size=rows))
        start = clock()
        completions = await engine.generate(requests)
        seconds = clock() - start
        await engine.aclose()
        return sum(each.completion_tokens for each in completions) / seconds

    return asyncio.run(run())


def generate_rate(
    loaded: Any, tokenizer: Any, rows: int, requests: Sequence[Request], clock: Clock
) -> float:
    """Generated tokens a second of `transformers.generate`, one batch of `rows` prompts after the other."""
    import torch

    tokens, start = 0, clock()
    for first in range(0, len(requests), rows):
        batch = requests[first : first + rows]
        texts = [_render(tokenizer, request.messages) for request in batch]
        inputs = tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)
        inputs = inputs.to(loaded.device)
        with torch.inference_mode():
            output_BT = loaded.generate(
                **inputs, max_new_tokens=batch[0].sampling.max_tokens, do_sample=False
            )
        for reply in output_BT[:, inputs["input_ids"].shape[1] :].tolist():
            tokens += (
                reply.index(tokenizer.eos_token_id) + 1
                if tokenizer.eos_token_id in reply
                else len(reply)
            )
    return tokens / (clock() - start)


def _render(tokenizer: Any, messages: Sequence[Message]) -> str:
    turns = [{"role": message.role, "content": message.content} for message in messages]
    text: str = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    return text


def main() -> None:
    """Measure and print."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True, help="prompts, JSON lines")
    parser.add_argument("--prompts", type=int, default=96)
    parser.add_argument("--max-tokens", type=int, default=256)
    parser.add_argument("--rows", default="8,24,48,96")
    parser.add_argument("--dtype", default="fp32", choices=["fp32", "bf16"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clock", default="wall", choices=["wall", "cpu"])
    parser.add_argument("--no-generate", action="store_true", help="measure the engine only")
    args = parser.parse_args()
    clock = time.process_time if args.clock == "cpu" else time.perf_counter
    requests = requests_of(args.data, args.prompts, args.max_tokens)
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[args.dtype]
    tokenizer = AutoTokenizer.from_pretrained(args.model, padding_side="left")
    loaded = AutoModelForCausalLM.from_pretrained(args.model, dtype=dtype).eval()
    counts = [int(part) for part in args.rows.split(",")]
    rates: dict[tuple[str, int], list[float]] = {}
    for _ in range(args.rounds):
        for rows in counts:
            rate = engine_rate(args.model, args.dtype, rows, requests, clock)
            rates.setdefault(("spar", rows), []).append(rate)
            if not args.no_generate:
                rate = generate_rate(loaded, tokenizer, rows, requests, clock)
                rates.setdefault(("generate", rows), []).append(rate)
    print(f"{len(requests)} prompts, {args.max_tokens} tokens at most, {args.dtype},")
    print(
        f"{torch.get_num_threads()} threads, {args.rounds} rounds; tokens a second ({args.clock})"
    )
    for (name, rows), values in sorted(rates.items()):
        listed = " ".join(f"{value:.0f}" for value in values)
        print(f"{name:>9} {rows:4d} rows: {statistics.median(values):6.0f}  ({listed})")
    print(f"memory at the end: {psutil.Process().memory_info().rss / 2**30:.1f} GiB")


if __name__ == "__main__":
    run_benchmark(main)
