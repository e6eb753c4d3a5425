"""Speedup of a refinement by n-gram speculation, one request at a time.

    python benchmarks/speculation.py --prompts 40 --json

A refinement repeats most of its parent, so what followed the last tokens in the prompt is a good guess
of what follows now. The refine requests of a few searches are sent again one after the other to vLLM
without and with speculation; it prints the wall time with over the wall time without (below 1 is
faster), the share of proposed tokens that were accepted, and tokens a step. Greedy unless
`--temperature` is set, because vLLM's CPU build samples wrongly under speculation.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from reporting import run_benchmark
from searching import parser, print_json, print_machine, search

from spar.config import DecodeConfig, load_decode
from spar.infer.engine import Request
from spar.infer.engines.vllm.args import NGRAM_SPECULATION
from spar.infer.engines.vllm.engine import VllmEngine
from spar.nano.tasks import prompts
from spar.run.resolve import deployments


def configuration(model: str, speculate: str, eager: bool) -> DecodeConfig:
    """BFS by the embedded model's recipe."""
    arguments: dict[str, Any] = {"enforce_eager": eager}
    if speculate == "on":
        arguments["speculative_config"] = dict(NGRAM_SPECULATION)
    return load_decode("nano", {"engine": "vllm", "model": model, "engine_args": arguments})


async def refinements(engine: VllmEngine, config: DecodeConfig, count: int) -> list[Request]:
    """The refine requests of a search over `count` prompts."""
    run = await search(config, prompts("test", limit=count), engine)
    return [request for call in run.calls for request in call if len(request.messages) == 3]


async def one_by_one(engine: VllmEngine, requests: Sequence[Request]) -> tuple[float, int]:
    """Seconds and generated tokens of the requests, each sent when the last one has ended."""
    start, tokens = time.perf_counter(), 0
    for request in requests:
        (reply,) = await engine.generate([request])
        tokens += reply.completion_tokens
    return time.perf_counter() - start, tokens


async def measure(model: str, count: int, eager: bool, temperature: float) -> list[dict[str, Any]]:
    """One row without and one with speculation, on the same requests."""
    rows: list[dict[str, Any]] = []
    requests: list[Request] = []
    for speculate in ("off", "on"):
        config = configuration(model, speculate, eager)
        engine = await asyncio.to_thread(VllmEngine, deployments(config)["refiner"], config)
        try:
            requests = requests or [
                replace(request, sampling=replace(request.sampling, temperature=temperature))
                for request in await refinements(engine, config, count)
            ]
            await one_by_one(engine, requests[:10])
            before = engine.counters.totals()
            seconds, tokens = await one_by_one(engine, requests)
            counted = [
                now - then for now, then in zip(engine.counters.totals(), before, strict=True)
            ]
        finally:
            await engine.aclose()
        steps, drafted, accepted = counted
        rows.append(
            {
                "engine": engine.description,
                "speculate": speculate,
                "requests": len(requests),
                "tokens": tokens,
                "seconds": round(seconds, 3),
                "milliseconds_a_token": round(1000 * seconds / tokens, 3),
                "tokens_a_step": round(tokens / steps, 3),
                "accepted_share": round(accepted / drafted, 4) if drafted else 0.0,
            }
        )
    rows[1]["ratio"] = round(rows[1]["milliseconds_a_token"] / rows[0]["milliseconds_a_token"], 4)
    return rows


def main() -> None:
    """Measure and print."""
    made = parser(__doc__)
    made.add_argument("--prompts", type=int, default=40, help="whose refinements are sent again")
    made.add_argument("--model", default="", help="the embedded model unless named")
    made.add_argument("--temperature", type=float, default=0.0)
    made.add_argument("--eager", action="store_true", help="no compilation: loads sooner")
    args = made.parse_args()
    print_machine()
    rows = asyncio.run(measure(args.model, args.prompts, args.eager, args.temperature))
    for row in rows:
        print(
            f"speculation {row['speculate']}: {row['milliseconds_a_token']:.2f} ms a token, "
            f"{row['tokens_a_step']:.2f} tokens a step, {row['accepted_share']:.0%} of the proposed "
            f"accepted, {row['requests']} refinements"
        )
    print(f"time with over time without, a token: {rows[1]['ratio']:.2f}")
    if args.json:
        print_json(rows)


if __name__ == "__main__":
    run_benchmark(main)
