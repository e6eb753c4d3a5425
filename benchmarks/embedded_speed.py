"""Speed of a search on the embedded model, and the speedup from batching.

    python benchmarks/embedded_speed.py --prompts 64

BFS, budget 15, five full votes, on the hf engine: seconds, generated tokens a second and mean batch
size, then the same engine with one row at a time on a few of the prompts, as a ratio in the same run.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import tempfile
from pathlib import Path

from reporting import run_benchmark

from spar.config import load_decode
from spar.infer.engine import Stats
from spar.infer.summary import Summary
from spar.nano.tasks import prompts
from spar.run.build import make_manifest
from spar.run.decoding import source_of
from spar.run.engine_pool import EnginePool
from spar.run.resolve import resolve_config
from spar.run.session import Run
from spar.store import RunStore

SINGLE_PROMPTS = 4
"""Prompts of the reference run with one row at a time."""


async def measure(num_prompts: int, rows: int, directory: Path) -> tuple[Summary, float, float]:
    """Totals, seconds of the search (the model's loading left out) and mean rows a step."""
    config = resolve_config(
        load_decode("nano", {"max_batch_size": rows, "engine": "hf"}), lambda _: None
    )
    source, pool = source_of(prompts("test", limit=num_prompts)), EnginePool()
    with RunStore.open(directory, make_manifest(config)) as store:
        summary = await Run(config, source, store, pool=pool).execute()
    (engine,) = pool.engines.values()
    batch = engine.engine.mean_batch if isinstance(engine.engine, Stats) else 0.0
    await pool.aclose(lambda _: None)
    return summary, summary.seconds - summary.load_seconds, batch


def main() -> None:
    """Measure and print."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--prompts", type=int, default=64)
    num_prompts = parser.parse_args().prompts
    with tempfile.TemporaryDirectory() as folder:
        batched, seconds, batch = asyncio.run(measure(num_prompts, 0, Path(folder) / "batched"))
        single, alone, _ = asyncio.run(measure(SINGLE_PROMPTS, 1, Path(folder) / "single"))
    rate = batched.usage.completion_tokens / seconds
    reference = single.usage.completion_tokens / alone
    print(
        f"machine: {os.cpu_count()} cores, {platform.machine()}, {torch.get_num_threads()} threads"
    )
    print(
        f"{num_prompts} prompts: {seconds:.1f} s, {batched.nodes} nodes, {batched.usage.calls} calls"
    )
    print(
        f"{batched.usage.completion_tokens:,} tokens generated, {rate:,.0f} a second, mean batch {batch:.1f}"
    )
    print(f"ratio to one row at a time ({reference:,.0f} tokens a second): {rate / reference:.1f}")


if __name__ == "__main__":
    run_benchmark(main)
