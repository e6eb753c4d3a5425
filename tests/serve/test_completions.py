"""Whole completions: every field of the API, over a real connection."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest

from spar.infer.engine import Request
from spar.infer.engines.fake import FakeEngine, scripted_reply
from spar.plugins import STRATEGIES
from spar.serve.lengths import AnswerLimit
from spar.serve.messages import CONTINUE
from spar.serve.request import LEAST_TOP_P, parse_request
from spar.store import read_trees
from tests.serve.harness import Served, asking, serving


def test_models_are_the_searches(served: Served) -> None:
    """The settings' own first, then every strategy; each can be looked up alone."""
    listed = served.get("/v1/models").json()
    assert listed["object"] == "list"
    names = [model["id"] for model in listed["data"]]
    assert names[0] == "bfs-7/tiny"
    assert {"greedy/tiny", "best-of-n-7/tiny", "ab-mcts-7/tiny"} < set(names)
    for model in listed["data"]:
        assert (model["object"], model["owned_by"]) == ("model", "spar")
        assert abs(model["created"] - time.time()) < 3600
    assert served.get("/v1/models/dfs-3/tiny").json()["id"] == "dfs-3/tiny"
    assert served.get("/v1/models/dfs-3/other").status_code == 404


def test_a_completion_has_every_field_of_the_api(served: Served) -> None:
    """Ids, the model as asked, choices, and the usage of the whole search."""
    response = served.post(asking())
    reply = response.json()
    assert response.status_code == 200
    assert reply["id"].startswith("chatcmpl-")
    assert (reply["object"], reply["model"]) == ("chat.completion", "bfs-7/tiny")
    assert abs(reply["created"] - time.time()) < 60
    (choice,) = reply["choices"]
    assert (choice["index"], choice["finish_reason"]) == (0, "stop")
    tree = served.tree(response.headers["x-spar-tree"])
    assert choice["message"] == {"role": "assistant", "content": tree.answer, "refusal": None}
    usage = reply["usage"]
    assert usage["prompt_tokens"] == tree.usage.prompt_tokens
    assert usage["completion_tokens"] == tree.usage.completion_tokens
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert reply["spar"]["calls"] == tree.usage.calls
    assert reply["spar"]["nodes"] == len(tree.nodes)
    own = reply["spar"]["answer_usage"]["completion_tokens"]
    hidden = usage["completion_tokens_details"]["reasoning_tokens"]
    assert own + hidden == usage["completion_tokens"]
    assert own > 0
    assert hidden > 0


@pytest.mark.parametrize(
    ("model", "fields", "strategy", "budget"),
    [
        ("", {}, "bfs", 7),
        ("tiny", {}, "bfs", 7),
        ("dfs-3/tiny", {}, "dfs", 3),
        ("best-of-n-2", {}, "best-of-n", 2),
        ("greedy/tiny", {}, "greedy", 1),
        ("greedy-9/tiny", {}, "greedy", 1),
        ("bfs-7/tiny", {"strategy": "beam", "budget": 4}, "beam", 4),
        ("greedy/tiny", {"strategy": "bfs"}, "bfs", 7),
        ("dfs-3/tiny", {"budget": 5, "judge": "logprob"}, "dfs", 5),
    ],
)
def test_the_model_and_the_side_field_choose_the_search(
    served: Served, model: str, fields: dict[str, Any], strategy: str, budget: int
) -> None:
    """The id names strategy and budget; the field `spar` overrides them."""
    reply = served.post({**asking(), "model": model, "spar": fields}).json()
    assert (reply["spar"]["strategy"], reply["spar"]["budget"]) == (strategy, budget)
    assert reply["spar"]["judge"] == fields.get("judge", "votes")


def test_n_answers_are_n_searches(served: Served) -> None:
    """Each has a tree and a seed of its own; the usage is their sum."""
    response = served.post(asking(n=3, seed=5))
    reply = response.json()
    trees = [served.tree(address) for address in response.headers["x-spar-tree"].split(", ")]
    assert [choice["index"] for choice in reply["choices"]] == [0, 1, 2]
    assert [choice["message"]["content"] for choice in reply["choices"]] == [
        tree.answer for tree in trees
    ]
    assert len({tree.nodes[0].response for tree in trees}) == 3
    assert [tree.prompt.meta["request"]["seed"] for tree in trees] == [5, 6, 7]
    assert reply["usage"]["completion_tokens"] == sum(t.usage.completion_tokens for t in trees)


def test_the_same_seed_gives_the_same_answer(served: Served) -> None:
    """And the same tree; without a seed a sampled draft differs."""
    sampled: dict[str, Any] = {"temperature": 0.7, "model": "best-of-n-3/tiny"}
    first, again = (served.post(asking(seed=11, **sampled)) for _ in range(2))
    one, other = (served.tree(r.headers["x-spar-tree"]) for r in (first, again))
    assert [node.response for node in one.nodes] == [node.response for node in other.nodes]
    assert one.prompt.id != other.prompt.id
    free = {served.post(asking(**sampled)).json()["choices"][0]["message"]["content"] for _ in "ab"}
    assert len(free) == 2


def test_sampling_reaches_the_drafts() -> None:
    """Limits, temperature and stop strings are the drafts'; the settings' limit is not exceeded."""
    seen: list[Request] = []

    def reply(request: Request) -> str:
        seen.append(request)
        return "one two three STOP four"

    with serving(FakeEngine(reply), draft={"temperature": 0.5, "max_tokens": 64}) as served:
        body = asking(model="greedy/tiny", temperature=0.3, top_p=0.8, stop="STOP", max_tokens=99)
        answer = served.post(body).json()["choices"][0]
        assert (answer["message"]["content"], answer["finish_reason"]) == (
            "one two three",
            "stop",
        )
        sampling = seen[-1].sampling
        assert (sampling.temperature, sampling.top_p, sampling.stop) == (0.3, 0.8, ("STOP",))
        assert sampling.max_tokens == 64
        cut = served.post(asking(model="greedy/tiny", max_completion_tokens=2)).json()
        assert cut["choices"][0]["message"]["content"] == "one two"
        assert cut["choices"][0]["finish_reason"] == "length"
        served.post(asking(model="greedy/tiny", temperature=0))
        assert seen[-1].sampling.temperature == 0
        served.post(asking(model="greedy/tiny", temperature=1, top_p=0))
        assert seen[-1].sampling.top_p == LEAST_TOP_P


def test_refinements_end_at_stop_strings() -> None:
    """The record has the whole reply, the answer ends before the string."""

    def reply(request: Request) -> str:
        text = request.messages[-1].content
        if "[[start]]" in text:
            return "Better.\nFinal Refined Output:\n[[start]]\nfine. END and more\n[[end]]"
        if "Final Judgement" in text:
            return f"Final Judgement: {'Yes' if 'fine.' in text and 'END' not in text else 'No'}"
        return "bad"

    with serving(FakeEngine(reply)) as served:
        reply_body = served.post(asking(stop=["END"])).json()
        assert reply_body["choices"][0]["message"]["content"].strip() == "fine."
        assert reply_body["spar"]["choices"][0]["solved"]


@pytest.mark.parametrize(
    ("refined", "limit", "reason"), [(40, 10, "length"), (40, 60, "stop"), (40, None, "stop")]
)
def test_a_refinement_is_no_longer_than_the_limit(
    refined: int, limit: int | None, reason: str
) -> None:
    """It is cut before it is judged, although the refiner's reply may be longer; the record has all of it."""
    judged: list[str] = []

    def reply(request: Request) -> str:
        text = request.messages[-1].content
        if "[[start]]" in text:
            words = " ".join(f"word{number}" for number in range(refined))
            return f"{'Too short. ' * 20}\nFinal Refined Output:\n[[start]]\n{words}\n[[end]]"
        if "Final Judgement" in text:
            judged.append(text)
            return f"Final Judgement: {'Yes' if 'word0' in text else 'No'}"
        return "bad"

    with serving(FakeEngine(reply)) as served:
        body = {**asking(), "max_tokens": limit}
        choice = served.post(body).json()["choices"][0]
    words = choice["message"]["content"].split()
    assert choice["finish_reason"] == reason
    assert 0 < len(words) <= (limit or refined)
    assert (len(words) == refined) == (reason == "stop")
    assert any(choice["message"]["content"] in text for text in judged)
    assert any(f"word{refined - 1}" in text for text in judged) == (reason == "stop")


def test_a_limit_is_counted_by_the_tokenizer() -> None:
    """Exactly; a reply that is short enough as a whole is not cut."""

    class Words:
        """A tokenizer of words."""

        is_fast = True

        def __call__(self, text: str, **_: Any) -> dict[str, Any]:
            return {"offset_mapping": [match.span() for match in re.finditer(r"\S+", text)]}

    limit = AnswerLimit(3, Words())
    assert limit.apply("one two three") == "one two three"
    assert not limit.cut
    assert limit.apply("one two three four") == "one two three"
    assert limit.cut == {"one two three"}
    assert limit.apply("one two three four", reply_tokens=3) == "one two three four"


def test_a_conversation_keeps_its_turns() -> None:
    """Parts, the role developer and unknown fields are read as the API has them."""
    seen: list[Request] = []

    def reply(request: Request) -> str:
        seen.append(request)
        return scripted_reply(request)

    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": "Hi.", "name": "ann"},
        {"role": "assistant", "content": "User: is what I call you. Assistant: me."},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
    ]
    with serving(FakeEngine(reply)) as served:
        body = {"model": "greedy", "messages": messages, "user": "x", "novel_field": {"a": 1}}
        assert served.post(body).status_code == 200
    assert [(m.role, m.content) for m in seen[0].messages] == [
        ("system", "Be brief."),
        ("user", "Hi."),
        ("assistant", "User: is what I call you. Assistant: me."),
        ("user", "a\nb"),
    ]


USER = {"role": "user", "content": "Hi."}


@pytest.mark.parametrize(
    ("turns", "sent"),
    [
        (
            [USER, {"role": "assistant", "content": "Hello, I"}],
            [("user", "Hi."), ("assistant", "Hello, I"), ("user", CONTINUE)],
        ),
        ([USER, {"role": "assistant", "content": ""}], [("user", "Hi.")]),
        ([USER, {"role": "assistant", "content": None}], [("user", "Hi.")]),
        ([{"role": "system", "content": "Say hi."}], [("user", "Say hi.")]),
        (
            [USER, {"role": "developer", "content": "Be brief."}],
            [("user", "Hi."), ("user", "Be brief.")],
        ),
        (
            [USER, {"role": "assistant", "content": None, "refusal": "No."}, USER],
            [("user", "Hi."), ("assistant", "No."), ("user", "Hi.")],
        ),
        (
            [USER, {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}, USER],
            [("user", "Hi."), ("assistant", "No."), ("user", "Hi.")],
        ),
        (
            [USER, {"role": "assistant", "content": [], "tool_calls": None}, USER],
            [("user", "Hi."), ("assistant", ""), ("user", "Hi.")],
        ),
    ],
)
def test_conversations_as_front_ends_end_them(
    turns: list[Any], sent: list[tuple[str, str]]
) -> None:
    """With an answer to continue, a turn to be filled, the system's last word: all are answered, as OpenAI's servers do."""
    prompt = parse_request({"messages": turns}, max_choices=1).prompt
    assert prompt is not None
    assert [(m.role, m.content) for m in prompt.messages] == sent


@pytest.mark.parametrize(
    "fields",
    [
        {"model": None},
        {"metadata": "chat 5"},
        {"stop": [f"stop {number}" for number in range(20)]},
        {"tools": None, "tool_choice": "auto", "functions": []},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": None}}},
        {"stream_options": {"include_obfuscation": False}, "stream": None, "n": None, "seed": None},
        {
            "prediction": {"type": "content", "content": "x"},
            "reasoning_effort": "low",
            "store": False,
        },
    ],
)
def test_what_clients_leave_empty_or_add_is_no_error(
    served: Served, fields: dict[str, Any]
) -> None:
    """Nulls, lists without an entry, and fields of other servers."""
    assert served.post({**asking(), **fields}).status_code == 200


def test_messages_under_their_newer_name(served: Served) -> None:
    """Cursor sends the body of OpenAI's newer API to chat completions."""
    turns = [{"role": "user", "content": [{"type": "input_text", "text": "Say hello."}]}]
    response = served.post({"model": "greedy/tiny", "input": turns, "tools": []})
    assert served.tree(response.headers["x-spar-tree"]).prompt.messages[-1].content == "Say hello."


def test_a_slash_at_the_end_of_the_list(served: Served) -> None:
    """Some clients write one."""
    assert served.get("/v1/models/").json() == served.get("/v1/models").json()


def test_an_answer_that_speaks_of_turns_is_whole() -> None:
    """An answer with "User:" and lone surrogates in it arrives as it is."""
    said = "Assistant: no. User: yes. \ud800 done"
    with serving(FakeEngine(lambda _: said)) as served:
        reply = served.post(asking(model="greedy")).json()
    assert reply["choices"][0]["message"]["content"] == said.replace("\ud800", "\ufffd")


def test_a_model_that_says_nothing_gives_an_empty_answer() -> None:
    """As other servers do, and no error."""
    with serving(FakeEngine(lambda _: " ")) as served:
        reply = served.post(asking(model="greedy"))
    assert reply.status_code == 200
    assert reply.json()["choices"][0]["message"]["content"] == ""


def test_without_a_record_there_is_no_address(tmp_path: Path) -> None:
    """Nothing is written and no header is sent."""
    with serving(out=None) as served:
        response = served.post(asking())
    assert "x-spar-tree" not in response.headers
    assert response.json()["spar"]["choices"][0]["tree"] is None
    assert list(tmp_path.iterdir()) == []


def test_the_record_is_an_ordinary_run(served: Served) -> None:
    """Its trees carry the digest of the run's settings, and what the request asked for."""
    response = served.post(asking(temperature=0.25, seed=3))
    tree = served.tree(response.headers["x-spar-tree"])
    assert tree.prompt.id == response.json()["id"]
    assert tree.prompt.meta["request"] == {"temperature": 0.25, "seed": 3}
    assert tree.config[:8] in response.headers["x-spar-tree"]
    run = response.headers["x-spar-tree"].rpartition("/")[0]
    assert served.out is not None
    assert tree.prompt.id in [t.prompt.id for t in read_trees(served.out / Path(run).name)]


def test_health_and_metrics(served: Served) -> None:
    """Health says how busy the server is; metrics count trees, nodes, tokens and latencies."""
    served.post(asking())
    assert served.get("/health").json()["status"] == "ok"
    text = served.get("/metrics").text
    for name in (
        *("spar_requests_total", "spar_request_seconds_bucket", "spar_trees_total"),
        *("spar_nodes_total", "spar_tokens_total", "spar_trees_waiting", "spar_trees_solved_total"),
    ):
        assert f"\n{name}" in text


def test_constraints_of_a_request_are_checked_by_programs(served: Served) -> None:
    """The judge `verifier` needs no vote; an answer that breaks a constraint does not pass."""
    for kind, solved in (("punctuation:no_comma", True), ("startend:quotation", False)):
        fields = {"judge": "verifier", "instruction_id_list": [kind], "kwargs": [{}], "budget": 2}
        reply = served.post(asking(model="best-of-n-2/tiny", spar=fields)).json()
        assert reply["spar"]["choices"][0]["solved"] is solved
        assert reply["spar"]["calls"] == 2  # drafts


def test_plug_ins_are_offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A strategy of an installed package is listed; one that is named by its path only where the server offers it."""
    monkeypatch.setitem(STRATEGIES, "mine", "spar.infer.strategies.dfs:SPEC")
    with serving(budget=2) as served:
        listed = [model["id"] for model in served.get("/v1/models").json()["data"]]
        assert "mine-2/tiny" in listed
        assert served.post(asking(model="mine-2/tiny")).json()["spar"]["strategy"] == "mine"
    path = "spar.infer.strategies.dfs:SPEC"
    with serving(serve={"offer": (f"{path}-3", "greedy")}, out=tmp_path / "out") as served:
        listed = [model["id"] for model in served.get("/v1/models").json()["data"]]
        assert listed == [f"{path}-3/tiny", "greedy/tiny"]
        for model in (f"{path}-3/tiny", f"{path}-2/tiny"):
            response = served.post(asking(model=model))
            assert response.json()["spar"]["strategy"] == path
            assert served.tree(response.headers["x-spar-tree"]).strategy == path
        other = "spar.infer.strategies.bfs:SPEC-3/tiny"
        assert served.post(asking(model=other)).status_code == 404


def test_greedy_is_kept_however_many_searches_are_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Requests with tools are answered by it, whenever they come."""
    monkeypatch.setattr("spar.serve.searching.MAX_PREPARED", 2)
    with serving() as served:
        for budget in range(1, 5):
            assert served.post(asking(spar={"budget": budget})).status_code == 200
        assert served.service.greedy[1].config.strategy == "greedy"
