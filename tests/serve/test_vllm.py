"""The server over vLLM: tokens as vLLM makes them, searches, and clients that leave."""

from __future__ import annotations

import pytest

from spar.infer.engine import Engine
from spar.types import Prompt
from tests.serve.harness import asking, serving, wait_for
from tests.serve.test_streaming import contents, data_of, stream

pytestmark = [pytest.mark.vllm, pytest.mark.model, pytest.mark.slow]


def never(prompt: Prompt, response: str) -> bool:
    """A judge that no response passes."""
    return False


def test_a_server_over_vllm(vllm_engine: Engine) -> None:
    """A greedy answer comes in pieces that make the whole one; a search has its tree; who leaves frees the engine."""
    draft = {"max_tokens": 24}
    with serving(vllm_engine, draft=draft, judge=never, refiner=lambda p, n: "x") as served:
        body = asking(model="greedy/tiny")
        whole = served.post(body).json()["choices"][0]
        *events, _ = data_of(stream(served, body)[1])
        assert contents(events).strip() == whole["message"]["content"]
        assert events[-1]["choices"][0]["finish_reason"] == whole["finish_reason"]
        if len(whole["message"]["content"].split()) > 1:
            assert len([event for event in events if contents([event])]) > 1
        searched = served.post(asking(model="best-of-n-3/tiny", seed=1)).json()
        assert searched["spar"]["nodes"] == 3
        lines = {**asking(model="bfs-7/tiny"), "stream": True}
        with served.client.stream("POST", f"{served.url}/chat/completions", json=lines) as response:
            next(response.iter_lines())
        wait_for(lambda: not served.service.admission.requests)
