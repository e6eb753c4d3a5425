"""Overhead of the search: driver, roles, parsers and store over the fake engine, without latency.

    python benchmarks/search_overhead.py --prompts 100000

Streams prompts in and trees out in one process, and prints judged nodes a second, peak memory, and
as a ratio the time of the search over the time of calling the same fake engine for the same requests
directly.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from reporting import run_benchmark

from spar.config import load_decode
from spar.infer.engine import Request
from spar.infer.engines.fake import FakeEngine, scripted_reply
from spar.infer.summary import Summary
from spar.run.decoding import run_decode
from spar.run.resume import PromptSource
from spar.types import Message, Prompt


def prompts(count: int) -> Iterator[Prompt]:
    """Plain prompts, made one at a time."""
    for i in range(count):
        yield Prompt(id=str(i), messages=(Message(role="user", content=f"Say something, {i}."),))


async def search(count: int, directory: Path) -> Summary:
    """Decode `count` prompts with BFS, budget 15, five votes, into a run directory."""
    config = load_decode("nano", {"engine": "fake"})
    source = PromptSource(lambda: prompts(count), count)
    return (await run_decode(config, source, out=directory)).summary


async def bare_calls(count: int) -> float:
    """Seconds that the fake engine takes for `count` requests on its own."""
    engine = FakeEngine(scripted_reply)
    engine.record = False
    request = Request((Message(role="user", content="Final Judgement " + "word " * 120),))
    start = time.perf_counter()
    for _ in range(count // 5):
        await engine.generate([request] * 5)
    return time.perf_counter() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--prompts", type=int, default=20_000)
    count = parser.parse_args().prompts
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        summary = asyncio.run(search(count, Path(folder) / "run"))
        seconds = time.perf_counter() - start
    bare = asyncio.run(bare_calls(summary.usage.calls))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"machine: {os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    )
    print(
        f"prompts {count:,}, judged nodes {summary.nodes:,}, calls {summary.usage.calls:,}, {seconds:.1f} s"
    )
    print(f"judged nodes a second: {summary.nodes / seconds:,.0f}")
    print(f"peak memory: {peak:.0f} MB")
    print(f"ratio to the bare fake engine: {seconds / bare:.1f}")


if __name__ == "__main__":
    run_benchmark(main)
