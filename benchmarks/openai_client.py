"""Throughput of the `openai` engine's client: requests a second against a server that answers immediately.

    python benchmarks/openai_client.py --requests 6000 --repeats 5 --json

The server is a process of its own (`tests.servers`). Three clients send requests of five votes with as many in
flight: a *bare* loop over one aiohttp session, which only parses the answers, the *engine*, and a whole
*search* (BFS, budget 15) with all of spar around it, whose requests differ. Rounds are interleaved, so that
other work on the machine falls on all of them; medians are printed. Processor time depends less on other
work than wall time: its inverse is what one idle core could send.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from reporting import run_benchmark
from searching import parser, plain_prompts, print_json, print_machine, search
from server_process import server_process

from spar.config import load_decode
from spar.infer.engine import Deployment, Request, Sampling
from spar.infer.engines.openai.endpoints import request_body
from spar.infer.engines.openai.engine import OpenAIEngine, OpenAISettings
from spar.infer.engines.openai.replies import Capabilities
from spar.types import Message

ROOT = Path(__file__).resolve().parents[1]
WORDS = 120
"""Length of each prompt of the engine and the bare loop."""
VOTES = 5
REQUESTS_PER_PROMPT = 8.4
"""Of the search, at a third of good responses."""


@dataclass(frozen=True, slots=True)
class Rate:
    """One measurement."""

    requests: int
    seconds: float
    cpu_seconds: float


def server() -> AbstractContextManager[str]:
    """A scripted server; gives its base URL."""
    return server_process([sys.executable, "-m", "tests.servers"], cwd=ROOT)


def vote(index: int, seed: int = 0) -> Request:
    """A request as a judge makes it."""
    text = f"Final Judgement {index} " + "word " * WORDS
    return Request((Message(role="user", content=text),), Sampling(0.7, seed=seed), tree=index % 64)


async def measured(count: int, in_flight: int, call: Callable[[int], Awaitable[object]]) -> Rate:
    """Rate of `count` calls, so many of them on their way at once."""
    indexes = iter(range(count))

    async def work() -> None:
        for index in indexes:
            await call(index)

    start, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(work() for _ in range(in_flight)))
    return Rate(count, time.perf_counter() - start, time.process_time() - cpu)


async def engine_rate(url: str, count: int, in_flight: int) -> Rate:
    """Requests through the engine."""
    engine = OpenAIEngine(Deployment("tiny", (url,)), OpenAISettings(timeout=60))
    try:
        return await measured(
            count,
            in_flight,
            lambda index: engine.generate([vote(index, seed) for seed in range(VOTES)]),
        )
    finally:
        await engine.aclose()


async def bare_rate(url: str, count: int, in_flight: int) -> Rate:
    """The same through one aiohttp session and nothing else."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def call(index: int) -> None:
            body = request_body("tiny", vote(index), VOTES, 512, Capabilities())
            async with session.post(f"{url}/chat/completions", json=body) as answer:
                assert len((await answer.json())["choices"]) == VOTES

        return await measured(count, in_flight, call)


async def search_rate(url: str, count: int, in_flight: int) -> Rate:
    """A search of about as many requests; the engine's limit decides how many are in flight."""
    engine = OpenAIEngine(Deployment("tiny", (url,)), OpenAISettings(timeout=60))
    config = load_decode("nano", {"engine": "fake", "concurrency": in_flight})
    try:
        start, cpu = time.perf_counter(), time.process_time()
        prompts = plain_prompts(round(count / REQUESTS_PER_PROMPT))
        searched = await search(config, prompts, engine)
        cpu_seconds = time.process_time() - cpu
        return Rate(len(searched.calls), time.perf_counter() - start, cpu_seconds)
    finally:
        await engine.aclose()


CLIENTS = {"bare": bare_rate, "engine": engine_rate, "search": search_rate}


def main() -> None:
    """Measure and print."""
    flags = parser(__doc__)
    flags.add_argument("--requests", type=int, default=6_000)
    flags.add_argument("--in-flight", type=int, default=64)
    flags.add_argument("--repeats", type=int, default=5)
    args = flags.parse_args()
    print_machine()
    rates: dict[str, list[Rate]] = {name: [] for name in CLIENTS}
    with server() as url:
        for _ in range(args.repeats):
            for name, client in CLIENTS.items():
                rates[name].append(asyncio.run(client(url, args.requests, args.in_flight)))
    rows = []
    for name, measurements in rates.items():
        ms = [1e3 * rate.cpu_seconds / rate.requests for rate in measurements]
        row = {
            "client": name,
            "requests": [rate.requests for rate in measurements],
            "in_flight": args.in_flight,
            "requests_per_second": [round(rate.requests / rate.seconds) for rate in measurements],
            "cpu_ms_a_request": round(statistics.median(ms), 3),
            "all_cpu_ms": [round(each, 3) for each in ms],
        }
        rows.append(row)
        print(
            f"{name}: {row['cpu_ms_a_request']} ms of processor time a request, "
            f"{statistics.median(row['requests_per_second']):,.0f} requests/s of wall time"
        )
    if args.json:
        print_json(rows)


if __name__ == "__main__":
    run_benchmark(main)
