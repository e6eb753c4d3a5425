"""What a server costs a search: its wall time over a server, over that of the same requests all at once.

    python benchmarks/served_ratio.py --prompts 64 256 541 --repeats 3 --json

BFS, budget 15, five votes, through the `openai` engine to a server in a process of its own
(`batching_server.py`). *Flat* is the time that the requests of that very run would take there if all were
present at once, computed by the same model on a virtual clock. *In process* is the ratio of a search on that model
without a server, on the virtual clock too: what is left is the chain of dependent calls. `--starts` compares
concurrency limits at the start, in interleaved rounds.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from batching_server import SERVER, batching_server
from reporting import run_benchmark
from searching import Searched, parser, plain_prompts, print_json, print_machine, run, search
from simulated import SimulatedEngine, SimulatedHardware

from spar.config import load_decode
from spar.infer.engine import Deployment, Request
from spar.infer.engines.openai.concurrency_limit import INITIAL_LIMIT
from spar.infer.engines.openai.engine import OpenAIEngine, OpenAISettings


async def served(url: str, num_prompts: int, start: int) -> Searched:
    """A search through the openai engine."""
    settings = OpenAISettings(initial_concurrency=start)
    engine = OpenAIEngine(Deployment("simulated", (url,)), settings)
    try:
        return await search(configuration(), plain_prompts(num_prompts), engine)
    finally:
        await engine.aclose()


async def in_process(hardware: SimulatedHardware, num_prompts: int) -> Searched:
    """The same search on the model of the server itself."""
    engine = SimulatedEngine(hardware)
    try:
        return await search(configuration(), plain_prompts(num_prompts), engine)
    finally:
        await engine.aclose()


async def flat(hardware: SimulatedHardware, calls: list[Sequence[Request]]) -> float:
    """Seconds of the same requests present at once."""
    engine, clock = SimulatedEngine(hardware), asyncio.get_running_loop().time
    start = clock()
    await asyncio.gather(*(engine.generate(call) for call in calls))
    await engine.aclose()
    return clock() - start


def configuration() -> Any:
    """BFS, budget 15, five votes."""
    return load_decode("nano", {"engine": "fake", "speculative_decoding": "off"})


def measure(
    hardware: SimulatedHardware, url: str, num_prompts: int, starts: list[int], repeats: int
) -> list[dict[str, Any]]:
    """One row for each start."""
    chain = run(lambda: in_process(hardware, num_prompts), virtual=True)
    lower = chain.seconds / run(lambda: flat(hardware, chain.calls), virtual=True)
    rows: dict[int, list[tuple[float, float, int, float]]] = {start: [] for start in starts}
    for _ in range(repeats):
        for start in starts:
            cpu = time.process_time()
            searched = run(partial(served, url, num_prompts, start), virtual=False)
            cpu = time.process_time() - cpu
            once = run(partial(flat, hardware, searched.calls), virtual=True)
            rows[start].append((searched.seconds, once, len(searched.calls), cpu))
    return [
        {
            "prompts": num_prompts,
            "slots": hardware.slots,
            "start": start,
            "ratio": round(statistics.median(s / f for s, f, *_ in rows[start]), 3),
            "ratios": [round(s / f, 3) for s, f, *_ in rows[start]],
            "in_process_ratio": round(lower, 3),
            "seconds": [round(s, 1) for s, *_ in rows[start]],
            "flat_seconds": [round(f, 1) for _, f, *_ in rows[start]],
            "requests": [n for *_, n, _ in rows[start]],
            "cpu_ms_a_request": [round(1e3 * cpu / n, 2) for *_, n, cpu in rows[start]],
        }
        for start in starts
    ]


def main() -> None:
    """Measure and print."""
    flags = parser(__doc__)
    flags.add_argument("--prompts", type=int, nargs="*", default=[64, 256, 541])
    flags.add_argument("--slots", type=int, default=SERVER.slots)
    flags.add_argument("--starts", type=int, nargs="*", default=[INITIAL_LIMIT])
    flags.add_argument("--repeats", type=int, default=3)
    args = flags.parse_args()
    print_machine()
    hardware, table = replace(SERVER, slots=args.slots), []
    with batching_server("--slots", str(args.slots)) as url:
        for num_prompts in args.prompts:
            rows = measure(hardware, url, num_prompts, args.starts, args.repeats)
            table += rows
            for row in rows:
                print(
                    f"{row['prompts']} prompts, {row['slots']} slots, start {row['start']}: served/flat "
                    f"{row['ratio']} {row['ratios']}, in process {row['in_process_ratio']}, "
                    f"flat {row['flat_seconds'][0]} s",
                    flush=True,
                )
    if args.json:
        print_json(table)


if __name__ == "__main__":
    run_benchmark(main)
