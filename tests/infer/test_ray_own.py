"""A Ray cluster of this machine's own: started without an address, ended with its last engine."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = [pytest.mark.ray, pytest.mark.slow]

OWN_CLUSTER = """
import asyncio, os, ray, time
from spar.errors import UsageError
from spar.infer.engines.ray import cluster
from spar.infer.engines.ray.engine import Fleet, RayEngine
from tests.infer.fixture_ray import CPU, open_world, plan
from tests.infer.test_ray import ask

try:
    cluster.join("127.0.0.1:1")
except UsageError as mistake:
    print(mistake)
cluster.join("")
cluster.join("")
engine = RayEngine(Fleet(plan(open_world), CPU, 1, 60.0), lambda line: None)
seat = engine.seats[0]
first = seat.state.description
os.kill(int(first), 9)
while seat.state.description == first:
    time.sleep(0.1)
print(len(asyncio.run(engine.generate(ask("one")))))
cluster.leave()
print(ray.is_initialized())
asyncio.run(engine.aclose())
asyncio.run(engine.aclose())
print(ray.is_initialized())
try:
    asyncio.run(engine.generate(ask("two")))
except Exception as error:
    print(repr(error))
"""


def test_an_own_cluster_ends_with_its_last_engine() -> None:
    """It is started where no address is given, and prints nothing of its own when a replica dies.

    An address without a cluster is refused at once.
    """
    pytest.importorskip("ray")
    command = [sys.executable, "-W", "error", "-c", OWN_CLUSTER]
    run = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    refusal, *lines = run.stdout.splitlines()
    assert refusal.startswith("--ray-address 127.0.0.1:1: cannot be used")
    assert lines == ["1", "True", "False", "EngineError('the engine is closed')"]
    assert run.stderr == ""
    assert run.returncode == 0
