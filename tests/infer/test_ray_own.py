"""A Ray cluster on this machine: started without an address, stopped with its last engine."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = [pytest.mark.ray, pytest.mark.slow]

OWN_CLUSTER = """
import asyncio, os, ray, time
from spar.errors import UsageError
from spar.infer.engines.ray import cluster
from spar.infer.engines.ray.engine import RayEngine
from spar.infer.engines.ray.plan import ReplicaPlan
from tests.infer.fixture_ray import ONE_CPU, open_world, replica_spec
from tests.infer.test_ray import request

try:
    cluster.join("127.0.0.1:1")
except UsageError as error:
    print(error)
cluster.join("")
cluster.join("")
engine = RayEngine(ReplicaPlan(replica_spec(open_world), ONE_CPU, 1, 60.0), lambda line: None)
replica = engine.replicas[0]
first = replica.state.description
os.kill(int(first), 9)
while replica.state.description == first:
    time.sleep(0.1)
print(len(asyncio.run(engine.generate(request("one")))))
cluster.leave()
print(ray.is_initialized())
asyncio.run(engine.aclose())
asyncio.run(engine.aclose())
print(ray.is_initialized())
try:
    asyncio.run(engine.generate(request("two")))
except Exception as error:
    print(repr(error))
"""


def test_a_local_cluster_stops_with_its_last_engine() -> None:
    """It starts without an address, and prints nothing when a replica dies.

    An address without a cluster is an error at once.
    """
    pytest.importorskip("ray")
    command = [sys.executable, "-W", "error", "-c", OWN_CLUSTER]
    run = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    message, *lines = run.stdout.splitlines()
    assert message.startswith("--ray-address 127.0.0.1:1: cannot connect")
    assert lines == ["1", "True", "False", "EngineError('the engine is closed')"]
    assert run.stderr == ""
    assert run.returncode == 0
