"""Bodies of any kind: an answer or an error in the API's shape, never a 500, and the server goes on.

`SPAR_FUZZ=10000 pytest tests/serve/test_fuzz.py` tries so many.
"""

from __future__ import annotations

import json
import os
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.serve.harness import Served, asking

EXAMPLES = int(os.environ.get("SPAR_FUZZ", "200"))

NUMBERS = st.one_of(st.integers(), st.floats(), st.integers(-3, 9))
TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=())),
    st.sampled_from(
        ["bfs-7/tiny", "greedy/tiny", "dfs-2", "user", "assistant", "system", "json_object", "none"]
    ),
)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXTS, inner, max_size=4)),
    max_leaves=12,
)
PARTS = st.one_of(
    TEXTS,
    st.lists(
        st.one_of(st.fixed_dictionaries({"type": st.just("text"), "text": TEXTS}), JSON), max_size=3
    ),
    JSON,
)
MESSAGES = st.one_of(
    st.lists(
        st.one_of(
            st.fixed_dictionaries(
                {
                    "role": st.sampled_from(
                        ["user", "assistant", "system", "developer", "tool", "x"]
                    ),
                    "content": PARTS,
                },
                optional={"tool_calls": JSON, "name": JSON},
            ),
            JSON,
        ),
        max_size=4,
    ),
    JSON,
)
SCHEMAS = st.dictionaries(
    st.sampled_from(
        "type properties items pattern $ref $defs allOf anyOf not enum const minimum maxLength if then $schema "
        "additionalProperties required format dependentRequired prefixItems contains $dynamicRef $id".split()
    ),
    st.one_of(JSON, st.sampled_from(["string", "object", "#", "#/$defs/a", "(a+)+$", "http://x/"])),
    max_size=5,
)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "model": st.one_of(TEXTS, JSON),
    "messages": MESSAGES,
    "n": st.one_of(st.integers(-1, 3), JSON),
    "stream": st.one_of(st.booleans(), JSON),
    "stream_options": st.one_of(st.fixed_dictionaries({"include_usage": JSON}), JSON),
    "seed": JSON,
    "stop": st.one_of(st.lists(TEXTS), JSON),
    "max_tokens": st.one_of(st.integers(-1, 50), JSON),
    "max_completion_tokens": JSON,
    "temperature": JSON,
    "top_p": JSON,
    "response_format": st.one_of(
        st.fixed_dictionaries({"type": TEXTS}, optional={"json_schema": JSON}),
        st.fixed_dictionaries(
            {
                "type": st.just("json_schema"),
                "json_schema": st.fixed_dictionaries({"schema": SCHEMAS}),
            }
        ),
        JSON,
    ),
    "tools": JSON,
    "tool_choice": JSON,
    "metadata": JSON,
    "spar": st.one_of(
        st.fixed_dictionaries(
            {},
            optional={
                "strategy": st.one_of(st.sampled_from(["bfs", "greedy", "mcts"]), JSON),
                "budget": st.one_of(st.integers(-1, 5), JSON),
                "judge": st.one_of(st.sampled_from(["votes", "hybrid", "checklist"]), JSON),
                "max_seconds": JSON,
                "instruction_id_list": JSON,
                "kwargs": JSON,
            },
        ),
        JSON,
    ),
}
BODIES = st.one_of(
    st.fixed_dictionaries({}, optional=FIELDS).map(lambda fields: {**asking(), **fields}),
    st.fixed_dictionaries({}, optional=FIELDS),
    JSON,
).map(lambda body: json.dumps(body).encode())
RAW = st.one_of(
    st.binary(max_size=60), BODIES.map(lambda data: data[: len(data) // 2]), BODIES, BODIES, BODIES
)


@settings(
    max_examples=EXAMPLES,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    deadline=None,
)
@given(data=RAW)
def test_any_body_is_answered(served: Served, data: bytes) -> None:
    """200 with a completion or a stream, or a 4xx with what is wrong; a 502 only where the model itself gave nothing."""
    response = served.client.post(
        f"{served.url}/chat/completions",
        content=data,
        headers={"content-type": "application/json"},
    )
    if response.status_code == 200:
        is_stream = response.headers["content-type"].startswith("text/event-stream")
        assert is_stream or response.json()["choices"]
        assert not is_stream or response.text.endswith("data: [DONE]\n\n")
    else:
        error = response.json()["error"]
        assert response.status_code in (400, 404, 502, 504), (data, error)
        assert response.status_code != 502 or error["code"] in ("no_answer", "engine_error")
        assert error["message"]
    assert served.service.admission.running == 0
