"""What a server refuses: in the API's shape, with a status of its own, naming the field."""

from __future__ import annotations

import json
from typing import Any

import pytest

from spar.config import DecodeConfig
from spar.errors import EngineError, PromptRefused, PromptTooLong, ServerRefused, UsageError
from spar.infer.engine import Request
from spar.infer.engines.fake import FakeEngine
from spar.serve.errors import NO_RETRY
from spar.serve.failures import failure, no_answer
from spar.serve.shaping import Refusals
from spar.types import Fault, SearchTree
from tests.fakes import make_prompt
from tests.serve.harness import Served, asking, serving

TURN = {"role": "user", "content": "Hi."}
DEEP = json.loads("[" * 80 + "]" * 80)


@pytest.mark.parametrize(
    ("fields", "status", "param"),
    [
        ({"messages": []}, 400, "messages"),
        ({"messages": "hi"}, 400, "messages"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, 400, "messages"),
        ({"messages": [{"role": "user", "content": "  "}]}, 400, "messages"),
        ({"messages": [{"role": "assistant", "content": "Well,"}]}, 400, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400, "messages"),
        ({"model": "gpt-4"}, 404, "model"),
        ({"model": "os:system-5/tiny"}, 404, "model"),
        ({"model": "bfs-99999/tiny"}, 400, "model"),
        ({"model": 5}, 400, "model"),
        ({"n": 0}, 400, "n"),
        ({"n": 100}, 400, "n"),
        ({"temperature": -1}, 400, "temperature"),
        ({"max_tokens": 0}, 400, "max_tokens"),
        ({"seed": 2**80}, 400, "seed"),
        ({"stop": ["x"] * 65}, 400, "stop"),
        ({"stop": ["x", None]}, 400, "stop"),
        ({"tool_choice": 5}, 400, "tool_choice"),
        ({"spar": {"budget": 10_000}}, 400, "spar.budget"),
        ({"spar": {"strategy": "tests.strategies:SPEC"}}, 400, "spar.strategy"),
        ({"spar": {"judge": "os:system"}}, 400, "spar.judge"),
        ({"spar": {"buget": 3}}, 400, "spar.buget"),
        ({"spar": {"judge": "verifier"}}, 400, None),
        ({"spar": {"kwargs": [{}]}}, 400, "spar"),
        ({"spar": {"instruction_id_list": ["no:such"]}}, 400, "spar"),
        ({"model": "greedy", "spar": {"instruction_id_list": ["no:such"]}}, 400, "spar"),
        ({"metadata": DEEP}, 400, None),
        ({"response_format": {"type": "xml"}}, 400, "response_format"),
    ],
)
def test_a_wrong_body_is_refused(
    served: Served, fields: dict[str, Any], status: int, param: str | None
) -> None:
    """With the field's name, what it holds and what is accepted."""
    response = served.post({**asking(), **fields})
    error = response.json()["error"]
    assert (response.status_code, error["param"]) == (status, param)
    assert error["type"] == "invalid_request_error"
    assert error["message"]
    assert "\n" not in error["message"]


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b"\xff\xfe", 400),
        (b'{"temperature": NaN, "messages": []}', 400),
        (b'{"temperature": 1e999, "messages": []}', 400),
        (b'{"n": ' + b"9" * 5000 + b"}", 400),
        (b"[" * 100_000, 400),
        (b" " * 5_000_000, 413),
    ],
)
def test_a_body_that_is_no_object_is_refused(served: Served, content: bytes, status: int) -> None:
    """No JSON, too deep or too large: an error, not a traceback."""
    response = served.client.post(
        f"{served.url}/chat/completions",
        content=content,
        headers={"content-type": "application/json"},
    )
    assert response.status_code == status
    assert response.json()["error"]["code"]


def test_another_content_type_is_refused(served: Served) -> None:
    """A page of a browser can send a form to loopback; it cannot send JSON without being asked first."""
    response = served.client.post(f"{served.url}/chat/completions", content=json.dumps(asking()))
    assert response.status_code == 415
    assert "application/json" in response.json()["error"]["message"]


def test_other_paths_and_methods_are_refused(served: Served) -> None:
    """In the API's shape."""
    for response, status in (
        (served.get("/v1/embeddings"), 404),
        (served.get("/v1/chat/completions"), 405),
    ):
        assert response.status_code == status
        assert "/v1/models" in response.json()["error"]["message"]


def test_the_key_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    """By everything but the health check; a wrong one is not repeated."""
    monkeypatch.setenv("SPAR_TEST_KEY", "right-key")
    with serving(serve={"client_key_env": "SPAR_TEST_KEY"}) as served:
        for headers in (
            {},
            {"authorization": "Bearer wrong-key"},
            {"authorization": "right-key"},
            {"authorization": "Bearer \xe9".encode("latin-1")},
        ):
            for response in (
                served.post(asking(), headers=headers),
                served.get("/v1/models", headers=headers),
                served.get("/metrics", headers=headers),
            ):
                assert response.status_code == 401
                assert response.json()["error"]["code"] == "invalid_api_key"
                assert "wrong-key" not in response.text
        right = {"authorization": "Bearer right-key"}
        assert served.post(asking(), headers=right).status_code == 200
        assert served.get("/health").status_code == 200
        counts = served.get("/metrics", headers=right).text
        assert 'spar_requests_total{status="401"} 4.0' in counts
        assert 'spar_requests_total{status="200"} 1.0' in counts
    monkeypatch.delenv("SPAR_TEST_KEY")
    with (
        pytest.raises(UsageError, match="SPAR_TEST_KEY is not set"),
        serving(serve={"client_key_env": "SPAR_TEST_KEY"}),
    ):
        pass


@pytest.mark.parametrize(
    ("raised", "status", "code"),
    [
        (EngineError("the server is away"), 502, "engine_error"),
        (PromptTooLong("900 tokens, and the model holds 256"), 400, "context_length_exceeded"),
        (PromptRefused("the template raises"), 400, "invalid_value"),
    ],
)
def test_what_the_engine_raises(raised: Exception, status: int, code: str) -> None:
    """A failed engine is the server's fault, a prompt that does not fit the client's."""

    def reply(_: Request) -> str:
        raise raised

    with serving(FakeEngine(reply)) as served:
        response = served.post(asking())
    assert response.status_code == status
    assert response.json()["error"]["code"] == code
    assert str(raised) in response.json()["error"]["message"]


def test_a_judge_that_votes_on_them_takes_constraints_of_unknown_types(served: Served) -> None:
    """As `hybrid` says of itself; the others, which read no constraints, refuse what nobody would check."""
    fields = {"instruction_id_list": ["no:such"], "judge": "hybrid"}
    assert served.post(asking(spar=fields)).status_code == 200


def test_a_search_without_an_answer_is_not_repeated() -> None:
    """By OpenAI's clients: it has had its budget, and the engine its retries."""
    fault = Fault(parent=None, stage="draft", reason="http://up:8000/v1: nothing that helps")
    tree = SearchTree(
        prompt=make_prompt(), strategy="bfs", config="", faults=(fault,), stop="budget"
    )
    error = no_answer(tree, Refusals(), DecodeConfig(base_url=("http://up:8000/v1",)))
    assert (error.status, error.code, error.headers) == (502, "no_answer", NO_RETRY)
    assert str(error).endswith("has no answer: the model's server: nothing that helps")
    # One of two drafts was refused, and the other failed otherwise: that is not the prompt's.
    both = tree.model_copy(update={"faults": (fault, fault)})
    one, two = (Refusals(PromptRefused("a filter"), count) for count in (1, 2))
    assert no_answer(both, one, DecodeConfig()).code == "no_answer"
    assert no_answer(both, two, DecodeConfig()).status == 400


def test_a_server_that_refuses_the_key_is_not_asked_again() -> None:
    """By OpenAI's clients; one that is away may be."""
    assert failure(ServerRefused("a wrong key"), DecodeConfig()).headers == NO_RETRY
    assert failure(EngineError("away"), DecodeConfig()).headers != NO_RETRY
