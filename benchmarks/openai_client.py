"""Throughput of the `openai` engine's client: requests a second against a server that answers immediately.

    python benchmarks/openai_client.py --requests 20000 --json

The server is a separate process. For comparison, a bare loop over one httpx client sends the same bodies
with as many in flight, and only parses the answers; the ratio is
the engine's rate over the bare loop's. Requests are votes on a response, each on its own (n = 1), and
then five to a request (n = 5), where a reply counts once for each choice.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from searching import parser, print_json, print_machine

from spar.infer.engine import Deployment, Request, Sampling
from spar.infer.engines.openai.endpoints import request_body
from spar.infer.engines.openai.engine import OpenAIEngine, OpenAISettings
from spar.infer.engines.openai.replies import Capabilities
from spar.types import Message

ROOT = Path(__file__).resolve().parents[1]
WORDS = 120
"""Length of each prompt."""


@contextmanager
def server() -> Iterator[str]:
    """A scripted server in a process of its own; gives its base URL."""
    command = [sys.executable, "-m", "tests.servers"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()


def vote(index: int, seed: int = 0) -> Request:
    """A request as a judge makes it."""
    text = f"Final Judgement {index} " + "word " * WORDS
    return Request((Message(role="user", content=text),), Sampling(0.7, seed=seed), tree=index % 64)


async def per_second(count: int, in_flight: int, call: Callable[[int], Awaitable[object]]) -> float:
    """Calls a second, so many of them on their way at once."""
    indexes = iter(range(count))

    async def work() -> None:
        for index in indexes:
            await call(index)

    start = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(in_flight)))
    return count / (time.perf_counter() - start)


async def engine_rate(url: str, count: int, in_flight: int, n: int) -> float:
    """HTTP requests a second through the engine."""
    engine = OpenAIEngine(Deployment("tiny", (url,)), OpenAISettings(timeout=60))
    try:
        return await per_second(
            count,
            in_flight,
            lambda index: engine.generate([vote(index, seed) for seed in range(n)]),
        )
    finally:
        await engine.aclose()


async def bare_rate(url: str, count: int, in_flight: int, n: int) -> float:
    """The same through one httpx client and nothing else."""
    limits = httpx.Limits(max_connections=in_flight, max_keepalive_connections=in_flight)
    async with httpx.AsyncClient(timeout=60, limits=limits) as client:

        async def call(index: int) -> None:
            body = request_body("tiny", vote(index), n, 512, Capabilities())
            answer = await client.post(f"{url}/chat/completions", json=body)
            assert len(answer.json()["choices"]) == n

        return await per_second(count, in_flight, call)


def measure(count: int, in_flight: int, n: int) -> dict[str, object]:
    """One row: the engine's rate, and its ratio to a bare loop of a tenth of the requests."""
    with server() as url:
        engine = asyncio.run(engine_rate(url, count, in_flight, n))
        bare = asyncio.run(bare_rate(url, max(1, count // 10), in_flight, n))
    return {
        "engine": "openai",
        "n": n,
        "requests": count,
        "in_flight": in_flight,
        "requests_per_second": round(engine, 1),
        "bare_requests_per_second": round(bare, 1),
        "ratio": round(engine / bare, 2),
    }


def main() -> None:
    """Measure and print."""
    made = parser(__doc__)
    made.add_argument("--requests", type=int, default=10_000)
    made.add_argument("--in-flight", type=int, default=64)
    args = made.parse_args()
    print_machine()
    rows = [measure(args.requests, args.in_flight, n) for n in (1, 5)]
    for row in rows:
        print(
            f"n = {row['n']}: {row['requests_per_second']:,} requests/s with {args.in_flight} on their "
            f"way ({args.requests:,} requests); a bare httpx client {row['bare_requests_per_second']:,}, "
            f"ratio {row['ratio']}"
        )
    if args.json:
        print_json(rows)


if __name__ == "__main__":
    main()
