"""Clients that leave, requests that take too long, and more requests than there is room for."""

from __future__ import annotations

import threading
from pathlib import Path

import httpx
import pytest

from spar.infer.engines.fake import FakeEngine, scripted_reply
from tests.serve.harness import Served, asking, serving, wait_for
from tests.serve.slow_engine import WaitingEngine


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_cancels_its_search(tmp_path: Path, *, stream: bool) -> None:
    """And its requests in the engine; nothing of it is left, and others are served."""
    engine = WaitingEngine()
    with serving(engine, out=tmp_path / "out") as served:
        with pytest.raises(httpx.TimeoutException):
            served.post(asking(stream=stream), timeout=0.5)
        wait_for(lambda: engine.num_cancelled == 1)
        wait_for(lambda: not served.service.admission.requests)
        assert served.service.admission.running == 0
        assert engine.in_flight == 0
        engine.released = True
        assert served.post(asking()).status_code == 200
        text = served.get("/metrics").text
    assert 'spar_requests_total{status="499"} 1.0' in text
    assert 'spar_requests_total{status="200"} 1.0' in text


def test_a_search_that_takes_too_long_is_cancelled() -> None:
    """504, which clients do not try again by themselves."""
    engine = WaitingEngine()
    with serving(engine, serve={"request_timeout": 0.2}) as served:
        response = served.post(asking())
        wait_for(lambda: engine.num_cancelled == 1)
    assert response.status_code == 504
    assert response.headers["x-should-retry"] == "false"
    assert "--request-timeout" in response.json()["error"]["message"]


def test_a_limit_of_seconds_ends_a_search_with_its_best() -> None:
    """The wave in progress is finished, and the best answer so far is given; no time at all is an error."""
    engine = FakeEngine(
        lambda request: "No." if "[[" in request.messages[-1].content else "x", latency=0.1
    )
    with serving(engine) as served:
        reply = served.post(asking(spar={"max_seconds": 0.05})).json()
        assert reply["choices"][0]["message"]["content"] == "x"
        assert reply["spar"]["choices"][0]["stop"] == "budget"
        assert reply["spar"]["nodes"] == 1
        none = served.post(asking(spar={"max_seconds": 1e-9}))
    assert none.status_code == 504
    assert "max_seconds" in none.json()["error"]["message"]


def post_all(served: Served, bodies: list[dict[str, object]]) -> list[httpx.Response]:
    """Ask at the same time."""
    responses: list[httpx.Response] = []
    threads = [
        threading.Thread(target=lambda body=body: responses.append(served.post(body)))
        for body in bodies
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return responses


def test_a_full_queue_is_refused() -> None:
    """429 and when to come back; who waits is served in the end."""
    engine = WaitingEngine()
    with serving(engine, serve={"max_queue": 1}, concurrency=1) as served:
        admitted: list[httpx.Response] = []
        waiting = threading.Thread(
            target=lambda: admitted.extend(post_all(served, [asking("a"), asking("b")]))
        )
        waiting.start()
        admission = served.service.admission
        wait_for(lambda: (admission.running, admission.waiting) == (1, 1))
        refused = served.post(asking("c"))
        streamed = served.post(asking("d", stream=True))
        engine.released = True
        waiting.join()
    assert [response.status_code for response in admitted] == [200, 200]
    for response in (refused, streamed):
        assert response.status_code == 429
        assert 1 <= int(response.headers["retry-after"]) <= 60
        assert response.json()["error"]["type"] == "rate_limit_error"


def test_many_clients_share_one_engine(tmp_path: Path) -> None:
    """Forty at once, no more than eight trees in flight: all are answered, and all trees are stored."""
    engine = FakeEngine(scripted_reply, latency=0.002)
    with serving(engine, out=tmp_path / "out", concurrency=8, budget=3) as served:
        bodies = [asking(f"Say {number}.", model="bfs-3/tiny") for number in range(40)]
        responses = post_all(served, bodies)
        addresses = {response.headers["x-spar-tree"] for response in responses}
        assert {response.status_code for response in responses} == {200}
        assert len(addresses) == 40
        for response in responses[:5]:
            text = response.json()["choices"][0]["message"]["content"]
            assert served.tree(response.headers["x-spar-tree"]).answer == text
