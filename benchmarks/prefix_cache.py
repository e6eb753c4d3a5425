"""The share of a search's prompt tokens that are in vLLM's prefix cache.

    python benchmarks/prefix_cache.py --json

BFS, budget 15, five full votes, the embedded model, vLLM in process. Printed twice for each run: by
vLLM's own counters (tokens hit over tokens looked up), and by the replies' own counts, as
in a run's summary. vLLM stores prefixes in whole blocks, so the block size is the granularity;
`--block-sizes` compares several (CPU builds take multiples of 32).
"""

from __future__ import annotations

import asyncio
from typing import Any

from reporting import run_benchmark
from searching import parser, print_json, print_machine, search

from spar.config import load_decode
from spar.infer.engines.vllm.engine import VllmEngine
from spar.nano.tasks import prompts
from spar.run.resolve import deployments


async def measure(num_prompts: int, block_size: int, eager: bool) -> dict[str, Any]:
    """One run's row."""
    arguments = {"enforce_eager": eager} | ({"block_size": block_size} if block_size else {})
    config = load_decode("nano", {"engine": "vllm", "engine_args": arguments})
    engine = await asyncio.to_thread(VllmEngine, deployments(config)["actor"], config)
    try:
        await search(config, prompts("validation", limit=2), engine)
        await engine.reset_prefix_cache()
        queried, hit = engine.prefix_cache
        run = await search(config, prompts("test", limit=num_prompts), engine)
        queried, hit = engine.prefix_cache[0] - queried, engine.prefix_cache[1] - hit
    finally:
        await engine.aclose()
    usage = run.summary.usage
    return {
        "engine": engine.description,
        "prompts": num_prompts,
        "block_size": block_size or engine.block_size,
        "calls": usage.calls,
        "prompt_tokens": usage.prompt_tokens,
        "tokens_a_prompt": round(usage.prompt_tokens / usage.calls, 1),
        "hit_rate": round(hit / queried, 4),
        "hit_rate_by_replies": round(usage.cached_tokens / usage.prompt_tokens, 4),
        "seconds": round(run.seconds, 2),
    }


def main() -> None:
    """Measure and print."""
    made = parser(__doc__)
    made.add_argument("--prompts", type=int, default=541)
    made.add_argument("--block-sizes", type=int, nargs="*", default=[0], help="0 is spar's default")
    made.add_argument("--eager", action="store_true", help="no compilation: loads sooner")
    args = made.parse_args()
    print_machine()
    rows = []
    for block_size in args.block_sizes:
        row = asyncio.run(measure(args.prompts, block_size, args.eager))
        print(
            f"block {row['block_size']}: {row['hit_rate']:.1%} of {row['prompt_tokens']:,} prompt "
            f"tokens from the cache (by the replies {row['hit_rate_by_replies']:.1%}), "
            f"{row['calls']:,} calls in {row['seconds']:.1f} s",
            flush=True,
        )
        rows.append(row)
    if args.json:
        print_json(rows)


if __name__ == "__main__":
    run_benchmark(main)
