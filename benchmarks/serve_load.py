"""Load on `spar serve`: many clients at once, a faulty upstream, clients that vanish, a kill and a restart.

    python benchmarks/serve_load.py [--clients 200] [--requests 600] [--out reports/serve.md]

The server is a process of its own over the simulated engine of `simulated.py` in real time (256 slots, replies of 100
tokens in the mean, 5 times as fast as its defaults), half of the requests are streamed. The reference is the engine's own
flat batch: `spar.decode` of as many prompts with as many trees in flight, in a process of its own as well.

Metric: requests that got no answer (to be 0), latencies, and requests a second as a share of the flat batch's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import aiohttp
from reporting import run_benchmark
from simulated import SimulatedEngine, SimulatedHardware

import spar
from tests.answers import Script
from tests.servers import ScriptedServer

ROOT = Path(__file__).resolve().parents[1]
HARDWARE = SimulatedHardware(base_seconds=0.0015, row_seconds=3.6e-6)
ENGINE = "serve_load:open_simulated"
SEARCH = ("--strategy", "bfs", "--budget", "7")
MODEL = "bfs-7/tiny"
FAULTS = 0.2
VANISHING = 1 / 3
GIVE_UP = 120.0


def open_simulated(*_: Any) -> SimulatedEngine:
    """The engine, for `--engine`."""
    return SimulatedEngine(HARDWARE)


@dataclass(slots=True)
class Outcome:
    """What befell the requests of a scenario."""

    name: str
    asked: int = 0
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    """Of those that were answered."""
    left: int = 0
    """Requests whose client went away on purpose."""
    retries: int = 0
    """Requests that were sent again after an error or a lost connection."""
    lost: int = 0
    """Requests without an answer in the end."""
    notes: list[str] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.latencies) / self.seconds

    def row(self, reference: float) -> str:
        """A line of the table."""
        cuts = quantiles(self.latencies, n=20) if len(self.latencies) > 1 else [0.0] * 19
        cells = (
            self.name,
            f"{self.asked:,}",
            f"{self.lost:,}",
            f"{self.left:,}",
            f"{self.retries:,}",
            f"{cuts[9]:.2f}",
            f"{cuts[18]:.2f}",
            f"{self.rate:.1f}",
            f"{self.rate / reference:.2f}" if reference else "",
            "; ".join(self.notes),
        )
        return f"| {' | '.join(cells)} |"


HEAD = "| scenario | requests | lost | left | sent again | median s | 95 % s | answers/s | of the flat batch | |"


@dataclass(slots=True)
class Server:
    """A server that can be killed and started again."""

    out: Path
    flags: Sequence[str]
    port: int = 0
    process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self.port}/v1"

    def start(self) -> None:
        """Start it, on the same port as before."""
        arguments = ["--port", str(self.port), "--out", str(self.out), "--served-name", "tiny"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "spar", "serve", *arguments, *SEARCH, *self.flags],
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if found := re.search(r"listening on http://[^:]+:(\d+)", line):
                self.port = int(found[1])
                return
        raise SystemExit("the server did not start")

    def stop(self, number: int) -> int:
        """Send a signal; returns the exit code."""
        assert self.process is not None
        assert self.process.stderr is not None
        self.process.send_signal(number)
        code = self.process.wait(60)
        self.process.stderr.close()
        return code


@contextmanager
def serving(folder: Path, *flags: str) -> Iterator[Server]:
    """A server for one scenario; SIGTERM ends it."""
    server = Server(folder / "out", flags)
    server.start()
    try:
        yield server
    finally:
        code = server.stop(signal.SIGTERM)
        assert code == 0, f"the server ended with {code}"


def environment() -> dict[str, str]:
    """That of child processes."""
    return {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'benchmarks'}", "OMP_NUM_THREADS": "1"}


async def ask(
    session: aiohttp.ClientSession, server: Server, number: int, left_after: float
) -> str:
    """Ask once; returns the id of the completion, "" where the client left."""
    body = {
        "model": MODEL,
        "messages": [{"role": "user", "content": f"Write {number} words about rain."}],
        "stream": bool(number % 2),
    }
    url = f"{server.url}/chat/completions"
    try:
        async with asyncio.timeout(left_after or GIVE_UP), session.post(url, json=body) as response:
            if response.status != 200:
                raise aiohttp.ClientError(f"status {response.status}")
            text = await response.text()
    except TimeoutError:
        if left_after:
            return ""
        raise aiohttp.ClientError("no answer in time") from None
    if number % 2:
        if not text.endswith("data: [DONE]\n\n") or '"error"' in text:
            raise aiohttp.ClientError("the stream broke off")
        text = text.partition("data: ")[2].partition("\n")[0]
    return str(json.loads(text)["id"])


async def load(server: Server, outcome: Outcome, clients: int, leaving: float = 0.0) -> set[str]:
    """Clients that ask one request after the other; returns the ids of the completions."""
    rng, ids, numbers = random.Random(0), set[str](), iter(range(outcome.asked))

    async def client(session: aiohttp.ClientSession) -> None:
        for number in numbers:
            left_after = rng.uniform(0.02, 1.0) if rng.random() < leaving else 0.0
            start = time.monotonic()
            while True:
                try:
                    answered = await ask(session, server, number, left_after)
                    break
                except (aiohttp.ClientError, OSError):
                    outcome.retries += 1
                    if time.monotonic() - start > GIVE_UP:
                        outcome.lost += 1
                        return
                    await asyncio.sleep(0.2)
            if answered:
                ids.add(answered)
                outcome.latencies.append(time.monotonic() - start)
            else:
                outcome.left += 1

    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        start = time.monotonic()
        await asyncio.gather(*(client(session) for _ in range(clients)))
        outcome.seconds = time.monotonic() - start
    return ids


async def health(server: Server) -> dict[str, Any]:
    """What the server says of itself."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{server.url.removesuffix('/v1')}/health") as response,
    ):
        return dict(await response.json())


def stored(server: Server) -> set[str]:
    """Ids of the trees in its run directories."""
    runs = [path for path in server.out.iterdir() if path.is_dir()]
    return {tree.prompt.id for run in runs for tree in spar.read_trees(run)}


def flat(requests: int, clients: int) -> Outcome:
    """As many prompts as one batch, with as many trees in flight."""
    code = f"""
import spar
prompts = [f"Write {{n}} words about rain." for n in range({requests})]
run = spar.decode(prompts, engine="{ENGINE}", strategy="bfs", budget=7, concurrency={clients})
print(run.summary.seconds - run.summary.load_seconds, *(tree.seconds for tree in run))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment()
    )
    seconds, *latencies = map(float, done.stdout.split())
    return Outcome("flat batch, no server", requests, seconds, latencies)


def all_at_once(folder: Path, requests: int, clients: int) -> Outcome:
    """Every request is answered, and its tree is stored."""
    outcome = Outcome("clients at once", requests)
    with serving(folder, "--engine", ENGINE) as server:
        ids = asyncio.run(load(server, outcome, clients))
    outcome.notes.append(f"{len(ids & stored(server)):,} of {len(ids):,} trees stored")
    return outcome


def faulty(folder: Path, requests: int, clients: int) -> Outcome:
    """An upstream that fails in a fifth of its requests: the engine asks again, clients see nothing."""
    outcome = Outcome(f"upstream with {FAULTS:.0%} faults", requests)
    script = Script(
        fault_share=FAULTS, faults=("500", "429", "cut", "half", "empty"), seconds=0.01, seed=1
    )
    with (
        ScriptedServer(script, keep=False) as upstream,
        serving(folder, "--base-url", upstream.url) as server,
    ):
        asyncio.run(load(server, outcome, clients))
        outcome.notes.append(f"{upstream.num_requests:,} upstream requests")
    return outcome


def vanishing(folder: Path, requests: int, clients: int) -> Outcome:
    """A third of the clients leave in the first second: the others are answered, and nothing stays behind."""
    outcome = Outcome("clients that vanish", requests)
    with serving(folder, "--engine", ENGINE) as server:
        asyncio.run(load(server, outcome, clients, leaving=VANISHING))
        time.sleep(0.5)
        state = asyncio.run(health(server))
    idle = f"{state['requests']} requests and {state['trees_running']} trees remain in the server"
    outcome.notes.append(idle)
    return outcome


def killed(folder: Path, requests: int, clients: int) -> Outcome:
    """`kill -9` after a third of the flat batch's time, and a restart: clients ask again; what was answered is stored."""
    outcome = Outcome("kill -9 and restart", requests)

    async def run(server: Server) -> set[str]:
        loading = asyncio.create_task(load(server, outcome, clients))
        while len(outcome.latencies) < requests / 3:
            await asyncio.sleep(0.01)
        await asyncio.to_thread(server.stop, signal.SIGKILL)
        await asyncio.to_thread(server.start)
        return await loading

    with serving(folder, "--engine", ENGINE) as server:
        ids = asyncio.run(run(server))
    missing = ids - stored(server)
    outcome.notes.append(f"{len(missing)} of {len(ids):,} answered trees are missing")
    return outcome


SCENARIOS = (all_at_once, faulty, vanishing, killed)


def main() -> None:
    """Run every scenario and print, or write, the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--requests", type=int, default=600)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    requests, clients = arguments.requests, arguments.clients
    reference = flat(requests, clients)
    lines = [HEAD, re.sub(r"[^|]+", "---", HEAD), reference.row(reference.rate)]
    for scenario in SCENARIOS:
        with tempfile.TemporaryDirectory() as folder:
            outcome = scenario(Path(folder), requests, clients)
        # The scripted upstream is no simulated engine: its rate has no reference here.
        lines.append(outcome.row(0.0 if scenario is faulty else reference.rate))
        print(lines[-1], file=sys.stderr, flush=True)
    table = "\n".join(lines)
    print(table)
    if arguments.out:
        arguments.out.write_text(
            PAGE.format(clients=clients, requests=requests, table=table), encoding="utf-8"
        )


PAGE = """\
# Load on the server

    python benchmarks/serve_load.py --clients {clients} --requests {requests} --out reports/serve.md

`spar serve` as a process of its own over a simulated engine in real time (256 slots, a step of 1.5 ms + 3.6 us a row,
replies of 100 tokens in the mean), bfs with a budget of 7, {clients} concurrent clients, half of the requests streamed. The
flat batch is `spar.decode` of as many prompts with as many trees in flight on the same engine, without a server. Faults of
the upstream are 500, 429, cut connections, halves of replies and empty ones, one request in five. One run each; server,
clients and upstream share one machine of two cores with other work.

{table}

*lost*: requests without an answer in the end. *left*: the client went away on purpose. *sent again*: by the client, after an
error or a lost connection. A latency counts from the first time a request was sent.
"""


if __name__ == "__main__":
    run_benchmark(main)
