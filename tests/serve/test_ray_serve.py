"""Replicas behind Ray Serve, on a local cluster."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import httpx
import pytest

from spar.errors import UsageError
from spar.store import read_trees
from tests.requires import requires
from tests.serve.harness import asking

pytestmark = [pytest.mark.ray, pytest.mark.slow, requires("ray", "grpc_reflection", "starlette")]


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.filterwarnings("default")  # of Ray's
def test_replicas_share_the_requests(tmp_path: Path) -> None:
    """Two replicas answer, whole and streamed; each has its own record, and every tree is in one of them."""
    import ray
    from ray import serve

    from spar.serve.deployment import application

    port = free_port()
    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False)
    try:
        serve.start(http_options={"host": "127.0.0.1", "port": port})
        arguments = {"engine": "fake", "served_name": "tiny", "offer": "bfs-3", "replicas": "2"}
        serve.run(application({**arguments, "out": str(tmp_path / "out")}), name="spar")
        url = f"http://127.0.0.1:{port}/v1"
        with httpx.Client(timeout=60) as client:
            assert client.get(f"{url}/models").json()["data"][0]["id"] == "bfs-3/tiny"
            body = asking(model="bfs-3/tiny")
            replies = [client.post(f"{url}/chat/completions", json=body) for _ in range(12)]
            streamed = client.post(f"{url}/chat/completions", json={**body, "stream": True})
        assert {reply.status_code for reply in replies} == {200}
        assert streamed.text.endswith("data: [DONE]\n\n")
        ids = {reply.json()["id"] for reply in replies}
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            runs = [path for path in (tmp_path / "out").glob("replica-*/*") if path.is_dir()]
            stored = {tree.prompt.id for run in runs for tree in read_trees(run)}
            if len(stored) == 13:
                break
        assert ids < stored
        assert len({run.parent for run in runs}) == 2
    finally:
        serve.shutdown()  # type: ignore[no-untyped-call]
        ray.shutdown()


def test_wrong_arguments_are_refused() -> None:
    """Before anything is deployed."""
    from spar.serve.deployment import application

    with pytest.raises(UsageError, match="replicas is 'many'"):
        application({"engine": "fake", "replicas": "many"})
    with pytest.raises(UsageError, match="unknown setting"):
        application({"engine": "fake", "modle": "x"})
