"""Log-likelihoods: which tokens are asked for, and what each engine answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spar.errors import PromptTooLong, UsageError
from spar.infer.engine import Continuation, Deployment, Engine, Likelihood
from spar.infer.engine_wrappers import AdapterEngine, InstrumentedEngine, MissingEngine, scorer
from spar.infer.engines.chat import ChatEncoder
from spar.infer.engines.fake import FakeEngine
from spar.infer.engines.likelihood import TokenPair, encode, merge_windows, move_spaces
from spar.types import Message
from tests.infer.fixture_vllm import EAGER
from tests.infer.openai_helpers import echo
from tests.infer.test_engine_contract import open_tiny

CHAT = (Message(role="user", content="say <|end|> one"),)
LONG = "word " * 400
PAIRS = [
    ("The fox", " runs"),
    ("The fox", " sleeps all day"),
    ("The fox ", "runs"),
    ("Line\n\n", "next"),
    ("", "alone here"),
    ("", "<|end|> alone"),
    *(("Answer:", f" {letter}") for letter in "ABCD"),
    (LONG, " end"),
    (LONG, "of it all"),
    ("x", "y"),
]


class Letters:
    """A token a character, numbered from 10; 0 begins a text, and text can spell it as `^`."""

    all_special_tokens = ("^",)
    bos_token, bos_token_id, eos_token_id = "^", 0, 1

    def encode(self, text: str, add_special_tokens: bool) -> list[int]:
        """One after the other; `ab` is a token of its own."""
        merged = text.replace("ab", "\x01")
        ids = [0 if c == "^" else 99 if c == "\x01" else 10 + ord(c) - ord("a") for c in merged]
        return [0] * add_special_tokens + ids

    def apply_chat_template(self, turns: Sequence[dict[str, str]], **_: Any) -> str:
        """The last turn, and a line's end."""
        return f"{turns[-1]['content']}\n"


def tokens(context: Any, text: str, most: int = 99) -> list[tuple[tuple[int, ...], ...]]:
    """What is asked for."""
    pairs = encode(Continuation(context, text), ChatEncoder(Letters()), most)
    return [(pair.context, pair.continuation) for pair in pairs]


SPACE, BREAK = 10 + ord(" ") - ord("a"), 10 + ord("\n") - ord("a")


@pytest.mark.parametrize(
    ("context", "text", "before", "asked"),
    [
        ("c", "d", (0, 12), (13,)),
        ("c ", "d", (0, 12), (SPACE, 13)),
        ("c \n", "d", (0, 12), (SPACE, BREAK, 13)),
        ("^c", "d", (0, 12), (13,)),
        ("", "cd", (0,), (12, 13)),
        ("", "^cd", (0,), (12, 13)),
        (" ", "d", (0,), (SPACE, 13)),
        ("ca", "bd", (0, 12, 10), (13,)),
        ((Message(role="user", content="c"),), "d", (0, 12), (BREAK, 13)),
    ],
    ids=repr,
)
def test_texts_become_tokens(
    context: Any, text: str, before: tuple[int, ...], asked: tuple[int, ...]
) -> None:
    """Spaces between go to the continuation; a token over the border, `ab`, shortens it."""
    assert tokens(context, text) == [(before, asked)]


def test_what_is_empty_asks_for_nothing() -> None:
    """With a context or without."""
    assert tokens("c", "") == tokens("", "") == tokens("", "^") == []


def test_a_long_context_loses_its_start() -> None:
    """The continuation stays whole, with a token before it at least."""
    assert tokens("cdefg", "hi", most=5) == [((14, 15, 16), (17, 18))]
    assert tokens("cdefg", "hi", most=3) == [((16,), (17, 18))]
    with pytest.raises(
        PromptTooLong, match="a continuation has 2 tokens; the model's context is 1"
    ):
        tokens("cdefg", "hi", most=2)


def test_a_long_text_falls_into_windows() -> None:
    """Disjoint ones; the last is filled up with what comes before it."""
    found = tokens("", "cdefghijkl", most=5)
    assert found == [
        ((0,), (12, 13, 14, 15)),
        ((15,), (16, 17, 18, 19)),
        ((17, 18, 19), (20, 21)),
    ]


@given(st.text("cdef", max_size=30), st.integers(2, 9))
def test_windows_ask_for_each_token_once(text: str, most: int) -> None:
    """In order, and none of them is longer than it may be."""
    found = tokens("", text, most)
    assert [t for _, asked in found for t in asked] == [10 + ord(c) - ord("a") for c in text]
    assert all(before and asked and len(before + asked) <= most for before, asked in found)


def test_windows_are_summed() -> None:
    """Greedy where all are; nothing asked is certain."""
    asked = [[TokenPair((0,), (1,)), TokenPair((1,), (2, 3))], [], [TokenPair((0,), (4,))]]
    found = [Likelihood(-1.0, True, 1), Likelihood(-2.5, False, 2), Likelihood(-4.0, True, 1)]
    assert merge_windows(asked, found) == [
        Likelihood(-3.5, False, 3),
        Likelihood(0, True, 0),
        Likelihood(-4.0, True, 1),
    ]


@given(st.text("a \n\t"), st.text("a "))
def test_moving_spaces_loses_nothing(context: str, text: str) -> None:
    """And leaves none at the context's end."""
    kept, rest = move_spaces(context, text)
    assert kept + rest == context + text
    assert kept == kept.rstrip()


def test_an_engine_that_cannot_score_says_so() -> None:
    """Whatever is wrapped around it."""
    with pytest.raises(UsageError, match=r"no engine for the judge.*--engine hf or vllm"):
        scorer(InstrumentedEngine(AdapterEngine(MissingEngine("judge"), "x")))


async def test_what_is_scored_is_counted() -> None:
    """As calls and tokens, by the meter, through whatever is between."""
    meter = InstrumentedEngine(AdapterEngine(FakeEngine(echo, latency=0.01), "lora"))
    found = await scorer(meter).score([Continuation("a", "b c"), Continuation("a", "d")])
    assert (meter.calls, meter.completion_tokens, meter.in_flight) == (2, 3, 0)
    assert meter.counts()["busy_seconds"] > 0
    assert [each.tokens for each in found] == [2, 1]


def asked(pairs: Sequence[tuple[Any, str]]) -> list[Continuation]:
    """The pairs as continuations."""
    return [Continuation(context, text) for context, text in pairs]


@pytest.mark.vllm
@pytest.mark.slow
async def test_vllm_agrees_with_hf(tiny_vllm_model: Path) -> None:
    """Within rounding; an over-long context, of which vLLM reads two tokens fewer, is no fault."""
    from spar.config import load_decode
    from spar.infer.engines.vllm.engine import VllmEngine

    fitting = asked([*(pair for pair in PAIRS if pair[0] != LONG), (CHAT, " fox")])
    continuations = [*fitting, Continuation(LONG, " end"), Continuation("", LONG)]
    local: Any = open_tiny(tiny_vllm_model)
    wanted = await local.score(continuations)
    await local.aclose()
    settings = load_decode("nano", {"engine_args": EAGER})
    engine = VllmEngine(Deployment(str(tiny_vllm_model)), settings)
    found = await engine.score(continuations)
    await engine.aclose()
    close = [pytest.approx(each.logprob, abs=2e-3) for each in wanted[: len(fitting)]]
    assert [each.logprob for each in found[: len(fitting)]] == close
    assert [(f.greedy, f.tokens) for f in found] == [(w.greedy, w.tokens) for w in wanted]


@pytest.mark.vllm
@pytest.mark.slow
async def test_vllm_with_adapters_refuses_to_score(vllm_engine: Engine) -> None:
    """Its engine would die of it."""
    with pytest.raises(UsageError, match="merge the adapter"):
        await scorer(vllm_engine).score(asked(PAIRS))
