"""Stop strings: where they cut a reply, and how each engine applies them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spar.infer.engine import Engine, Request, Sampling
from spar.infer.engines.chat import group_samples
from spar.infer.engines.fake import FakeEngine
from spar.infer.engines.stops import find_stop, stop_window_tokens
from spar.types import Message
from tests.answers import Script
from tests.infer.openai_helpers import ask, lacking, serving, votes
from tests.infer.test_engine_contract import open_tiny


@given(st.text("ab\n", max_size=12), st.lists(st.text("ab\n", max_size=3), max_size=4))
def test_the_text_before_the_end_has_no_stop_string(text: str, stop: list[str]) -> None:
    """And it is cut right before one, unless it is the whole text."""
    end = find_stop(text, stop)
    assert not any(string in text[:end] for string in stop if string)
    assert end == len(text) or any(text.startswith(s, end) for s in stop if s)


@pytest.mark.parametrize(
    ("text", "stop", "before"),
    [
        ("A. Question: B", ("Question:",), "A. "),
        ("one\n\ntwo", ("two", "\n\n"), "one"),
        ("ab", ("b", "ab"), ""),
        ("one", ("", "two"), "one"),
        ("one", (), "one"),
    ],
)
def test_the_earliest_match_ends_the_text(text: str, stop: tuple[str, ...], before: str) -> None:
    """Whatever the order of the strings; an empty one is ignored."""
    assert text[: find_stop(text, stop)] == before


def test_stop_window_tokens() -> None:
    """One more than the longest string has bytes."""
    assert stop_window_tokens(("ab", "é\n")) == 4
    assert stop_window_tokens(()) == 1


def test_requests_with_other_stop_strings_are_not_grouped() -> None:
    """Nor are those whose prompt is read differently."""
    first, second = votes(2)
    other = Request(first.messages, Sampling(0.7, seed=11, stop=("x",)), tree=1)
    plain = Request(second.messages, second.sampling, tree=1, plain=True)
    cut = Request(second.messages, second.sampling, tree=1, truncate=True)
    assert [n for _, n in group_samples([first, second])] == [2]
    for request in (other, plain, cut):
        assert [n for _, n in group_samples([first, request])] == [1, 1]


async def test_the_fake_engine_reports_how_a_reply_ended() -> None:
    """At a stop string before the limit, else at the limit."""
    engine = FakeEngine(lambda _: "one two three four")
    requests = [votes(1, max_tokens=3, stop=(word,))[0] for word in ("two", "four")]
    replies = await engine.generate(requests)
    assert [(reply.text, reply.finish) for reply in replies] == [
        ("one ", "stop"),
        ("one two three", "length"),
    ]


@pytest.mark.model
async def test_a_row_ends_at_its_stop_string(tiny_model: Path) -> None:
    """With the token that completes it; other rows continue."""
    engine: Engine = open_tiny(tiny_model)
    message = (Message(role="user", content="tell"),)
    requests = [Request(message, Sampling(1.0, max_tokens=40, seed=seed)) for seed in range(20)]
    # The longest reply: how much the tiny model writes depends on its random tokenizer.
    replies = zip(requests, await engine.generate(requests), strict=True)
    request, whole = max(replies, key=lambda pair: len(pair[1].text))
    stop = whole.text[4:7]
    stopped = replace(request, sampling=replace(request.sampling, stop=(stop,)))
    first, second = await engine.generate([stopped, request])
    await engine.aclose()
    assert second == whole
    assert first.text == whole.text[: whole.text.find(stop)]
    assert first.completion_tokens < whole.completion_tokens


@pytest.mark.model
async def test_a_special_token_works_as_a_stop_string(tiny_model: Path) -> None:
    """Although it is not in the text: the token ends the reply, which is otherwise unchanged."""
    names = ("<|user|>", "<|assistant|>", "<|system|>", "<|pad|>")
    message = (Message(role="user", content="tell"),)
    free = [Sampling(9.0, max_tokens=40, seed=seed) for seed in range(150)]
    engine: Engine = open_tiny(tiny_model)
    whole = await engine.generate([Request(message, sampling) for sampling in free])
    stopped = [Request(message, replace(sampling, stop=names)) for sampling in free]
    cut = await engine.generate(stopped)
    await engine.aclose()
    ended = [(a, b) for a, b in zip(whole, cut, strict=True) if a != b]
    assert len(ended) >= 3
    for long, short in ended:
        assert long.text.startswith(short.text.rstrip("\ufffd"))
        assert short.completion_tokens <= long.completion_tokens
        assert short.finish == "stop"


async def test_four_stop_strings_are_sent_and_all_are_applied() -> None:
    """OpenAI's server accepts at most four; an empty one is not sent."""
    stop = ("", "a!", "b!", "c!", "d!", "two")
    with serving(Script(lambda _: "one two three")) as (server, engine, notes):
        (reply,) = await ask(engine, votes(1, stop=stop))
    assert server.seen[0].body["stop"] == ["a!", "b!", "c!", "d!"]
    assert (reply.text, reply.finish, notes) == ("one ", "stop", [])


@pytest.mark.parametrize("script", lacking("stop"), ids=["refuses", "ignores"])
async def test_replies_of_a_server_without_stop_strings_are_cut(script: Script) -> None:
    """Whether it refuses or ignores them."""
    with serving(script) as (server, engine, notes):
        (reply,) = await ask(engine, votes(1, "say what", stop=(" what",)))
    assert (reply.text, reply.finish) == ("say", "stop")
    refused = bool(script.lacks)
    assert len(server.seen) == 1 + refused
    assert (
        notes == [f"{server.url}: does not accept stop strings; its replies are cut here"] * refused
    )


async def test_without_stop_strings_no_stop_field_is_sent() -> None:
    """The body has the other fields only."""
    with serving(Script(lambda _: "one two")) as (server, engine, _):
        await ask(engine, votes(1))
    assert set(server.seen[0].body) == {
        "model",
        "messages",
        "temperature",
        "top_p",
        "max_tokens",
    } | {"seed"}
