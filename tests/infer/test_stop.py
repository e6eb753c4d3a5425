"""Stop strings: where a reply ends, and how each engine is told to end it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spar.infer.engine import Engine, Request, Sampling
from spar.infer.engines.chat import grouped
from spar.infer.engines.fake import FakeEngine
from spar.infer.engines.stops import end_of, num_watched
from spar.types import Message
from tests.answers import Script
from tests.infer.asking import ask, lacking, serving, votes
from tests.infer.test_engine_contract import open_tiny


@given(st.text("ab\n", max_size=12), st.lists(st.text("ab\n", max_size=3), max_size=4))
def test_the_text_before_the_end_has_no_stop_string(text: str, stop: list[str]) -> None:
    """And one character more would begin one, unless it is the whole text."""
    end = end_of(text, stop)
    assert not any(string in text[:end] for string in stop if string)
    assert end == len(text) or any(text.startswith(s, end) for s in stop if s)


@pytest.mark.parametrize(
    ("text", "stop", "kept"),
    [
        ("A. Question: B", ("Question:",), "A. "),
        ("one\n\ntwo", ("two", "\n\n"), "one"),
        ("ab", ("b", "ab"), ""),
        ("one", ("", "two"), "one"),
        ("one", (), "one"),
    ],
)
def test_the_first_to_begin_ends_the_text(text: str, stop: tuple[str, ...], kept: str) -> None:
    """Whatever their order; an empty string stops nothing."""
    assert text[: end_of(text, stop)] == kept


def test_enough_tokens_are_watched() -> None:
    """As many as the longest string has bytes, and one more."""
    assert num_watched(("ab", "é\n")) == 4
    assert num_watched(()) == 1


def test_requests_that_stop_otherwise_are_no_samples_of_one() -> None:
    """Nor are those that differ in how the prompt is read."""
    first, second = votes(2)
    other = Request(first.messages, Sampling(0.7, seed=11, stop=("x",)), tree=1)
    plain = Request(second.messages, second.sampling, tree=1, plain=True)
    cut = Request(second.messages, second.sampling, tree=1, truncate=True)
    assert [n for _, n in grouped([first, second])] == [2]
    for request in (other, plain, cut):
        assert [n for _, n in grouped([first, request])] == [1, 1]


async def test_the_fake_engine_says_how_it_ended() -> None:
    """By the string if it came before the limit, else by the limit."""
    engine = FakeEngine(lambda _: "one two three four")
    requests = [votes(1, max_tokens=3, stop=(word,))[0] for word in ("two", "four")]
    replies = await engine.generate(requests)
    assert [(reply.text, reply.finish) for reply in replies] == [
        ("one ", "stop"),
        ("one two three", "length"),
    ]


@pytest.mark.model
async def test_a_stopped_row_writes_no_further(tiny_model: Path) -> None:
    """It ends with the token that completes the string, and its neighbours go on."""
    engine: Engine = open_tiny(tiny_model)
    message = (Message(role="user", content="tell"),)
    sampling = Sampling(0.0, max_tokens=40)
    (whole,) = await engine.generate([Request(message, sampling)])
    stop = whole.text[4:7]
    stopped = Request(message, Sampling(0.0, max_tokens=40, stop=(stop,)))
    one, other = await engine.generate([stopped, Request(message, sampling)])
    await engine.aclose()
    assert other == whole
    assert one.text == whole.text[: whole.text.find(stop)]
    assert one.completion_tokens < whole.completion_tokens


@pytest.mark.model
async def test_a_special_token_is_a_stop_string_too(tiny_model: Path) -> None:
    """Though no text shows it: as a token it ends the reply, whose start stays as it was."""
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


async def test_a_server_is_sent_four_and_the_reply_is_cut_at_all() -> None:
    """OpenAI's own takes no more than four; an empty one is not sent."""
    stop = ("", "a!", "b!", "c!", "d!", "two")
    with serving(Script(lambda _: "one two three")) as (server, engine, heard):
        (reply,) = await ask(engine, votes(1, stop=stop))
    assert server.seen[0].body["stop"] == ["a!", "b!", "c!", "d!"]
    assert (reply.text, reply.finish, heard) == ("one ", "stop", [])


@pytest.mark.parametrize("script", lacking("stop"), ids=["refuses", "ignores"])
async def test_a_server_without_stop_strings_is_made_up_for(script: Script) -> None:
    """Its replies are cut here."""
    with serving(script) as (server, engine, heard):
        (reply,) = await ask(engine, votes(1, "say what", stop=(" what",)))
    assert (reply.text, reply.finish) == ("say", "stop")
    refused = bool(script.lacks)
    assert len(server.seen) == 1 + refused
    assert heard == [f"{server.url}: takes no stop strings; its replies are cut here"] * refused


async def test_a_request_without_stop_strings_sends_none() -> None:
    """Its body is what it was before there were any."""
    with serving(Script(lambda _: "one two")) as (server, engine, _):
        await ask(engine, votes(1))
    assert set(server.seen[0].body) == {
        "model",
        "messages",
        "temperature",
        "top_p",
        "max_tokens",
    } | {"seed"}
