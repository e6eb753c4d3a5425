"""A server that speaks OpenAI's protocol in front of the simulated engine: continuous batching in real time.

    python benchmarks/batching_server.py --slots 256        prints its base URL and serves until it is killed

A process of its own, so that it shares no event loop with the client that is measured. Speeds are those of
`SERVER`: a decoding step of 7.5 ms and 18 us a running sequence, prompts read in 5 ms and 15 us a token,
log-normal lengths of mean 100, a third of the responses good, votes right in five of six cases. With
`--immediate` it answers at once, and only the client's own work is left.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

from aiohttp import web

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from reporting import run_benchmark
from server_process import server_process
from simulated import SimulatedEngine, SimulatedHardware

from spar.infer.engine import Engine
from spar.infer.engines.fake import FakeEngine, scripted_reply
from tests.answers import requests_of

SERVER = SimulatedHardware(prefill_seconds=0.005, prefill_token_seconds=15e-6)
"""Speed of the server, like that of a model of some billion weights on one GPU."""


def batching_server(*arguments: str) -> AbstractContextManager[str]:
    """The server in a process of its own, with these arguments; gives its base URL."""
    return server_process([sys.executable, __file__, *arguments])


def application(engine: Engine) -> web.Application:
    """The endpoints that a search uses."""

    async def complete(request: web.Request) -> web.Response:
        replies = await engine.generate(requests_of(json.loads(await request.read())))
        choices = [
            {
                "index": i,
                "message": {"role": "assistant", "content": reply.text},
                "finish_reason": "stop",
            }
            for i, reply in enumerate(replies)
        ]
        usage = {
            "prompt_tokens": replies[0].prompt_tokens,
            "completion_tokens": sum(reply.completion_tokens for reply in replies),
        }
        return web.json_response({"choices": choices, "usage": usage})

    async def models(_: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": "simulated"}]})

    made = web.Application()
    made.router.add_post("/v1/chat/completions", complete)
    made.router.add_get("/v1/models", models)
    return made


async def serve(engine: Engine) -> None:
    """Serve on loopback until killed."""
    runner = web.AppRunner(application(engine), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=2048)
    await site.start()
    addresses: Any = runner.addresses
    print(f"http://127.0.0.1:{addresses[0][1]}/v1", flush=True)
    await asyncio.Event().wait()


def main() -> None:
    """Serve."""
    flags = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    flags.add_argument("--slots", type=int, default=SERVER.slots)
    flags.add_argument("--immediate", action="store_true")
    args = flags.parse_args()
    engine: Any = SimulatedEngine(replace(SERVER, slots=args.slots))
    if args.immediate:
        engine = FakeEngine(scripted_reply)
        engine.record = False
    asyncio.run(serve(engine))


if __name__ == "__main__":
    run_benchmark(main)
