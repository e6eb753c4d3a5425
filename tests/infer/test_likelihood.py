"""Log-likelihoods: the tokens that are scored, and the engines' results."""

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


class LetterTokenizer:
    """One token per character, numbered from 10; 0 begins a text, and text can spell it as `^`."""

    all_special_tokens = ("^",)
    bos_token, bos_token_id, eos_token_id = "^", 0, 1

    def encode(self, text: str, add_special_tokens: bool) -> list[int]:
        """`ab` is a single token."""
        merged = text.replace("ab", "\x01")
        ids = [0 if c == "^" else 99 if c == "\x01" else 10 + ord(c) - ord("a") for c in merged]
        return [0] * add_special_tokens + ids

    def apply_chat_template(self, turns: Sequence[dict[str, str]], **_: Any) -> str:
        """The last turn and a newline."""
        return f"{turns[-1]['content']}\n"


def encoded(context: Any, text: str, max_tokens: int = 99) -> list[tuple[tuple[int, ...], ...]]:
    """Contexts and continuations to score."""
    pairs = encode(Continuation(context, text), ChatEncoder(LetterTokenizer()), max_tokens)
    return [(pair.context, pair.continuation) for pair in pairs]


SPACE, BREAK = 10 + ord(" ") - ord("a"), 10 + ord("\n") - ord("a")


@pytest.mark.parametrize(
    ("context", "text", "before", "scored"),
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
def test_texts_are_encoded(
    context: Any, text: str, before: tuple[int, ...], scored: tuple[int, ...]
) -> None:
    """Spaces in between go to the continuation; a token across the border, `ab`, shortens it."""
    assert encoded(context, text) == [(before, scored)]


def test_an_empty_continuation_has_no_tokens() -> None:
    """With a context or without."""
    assert encoded("c", "") == encoded("", "") == encoded("", "^") == []


def test_a_long_context_is_truncated_on_the_left() -> None:
    """The continuation is complete, with at least one token of context."""
    assert encoded("cdefg", "hi", max_tokens=5) == [((14, 15, 16), (17, 18))]
    assert encoded("cdefg", "hi", max_tokens=3) == [((16,), (17, 18))]
    with pytest.raises(
        PromptTooLong, match="a continuation has 2 tokens; the model's context is 1"
    ):
        encoded("cdefg", "hi", max_tokens=2)


def test_a_long_text_is_split_into_windows() -> None:
    """They are disjoint; the last is filled up with context."""
    windows = encoded("", "cdefghijkl", max_tokens=5)
    assert windows == [
        ((0,), (12, 13, 14, 15)),
        ((15,), (16, 17, 18, 19)),
        ((17, 18, 19), (20, 21)),
    ]


@given(st.text("cdef", max_size=30), st.integers(2, 9))
def test_windows_score_each_token_once(text: str, max_tokens: int) -> None:
    """In order; none is longer than allowed."""
    windows = encoded("", text, max_tokens)
    assert [t for _, scored in windows for t in scored] == [10 + ord(c) - ord("a") for c in text]
    assert all(
        before and scored and len(before + scored) <= max_tokens for before, scored in windows
    )


def test_windows_are_merged() -> None:
    """Greedy if all are; an empty continuation has probability 1."""
    windows = [[TokenPair((0,), (1,)), TokenPair((1,), (2, 3))], [], [TokenPair((0,), (4,))]]
    likelihoods = [Likelihood(-1.0, True, 1), Likelihood(-2.5, False, 2), Likelihood(-4.0, True, 1)]
    assert merge_windows(windows, likelihoods) == [
        Likelihood(-3.5, False, 3),
        Likelihood(0, True, 0),
        Likelihood(-4.0, True, 1),
    ]


@given(st.text("a \n\t"), st.text("a "))
def test_move_spaces_preserves_the_text(context: str, text: str) -> None:
    """And leaves no space at the end of the context."""
    stripped, rest = move_spaces(context, text)
    assert stripped + rest == context + text
    assert stripped == stripped.rstrip()


def test_scorer_refuses_an_engine_that_cannot_score() -> None:
    """Inside any wrappers."""
    with pytest.raises(UsageError, match=r"no engine for the judge.*--engine hf or vllm"):
        scorer(InstrumentedEngine(AdapterEngine(MissingEngine("judge"), "x")))


async def test_scored_continuations_are_counted() -> None:
    """As calls and tokens, through other wrappers."""
    meter = InstrumentedEngine(AdapterEngine(FakeEngine(echo, latency=0.01), "lora"))
    likelihoods = await scorer(meter).score([Continuation("a", "b c"), Continuation("a", "d")])
    assert (meter.calls, meter.completion_tokens, meter.in_flight) == (2, 3, 0)
    assert meter.counts()["busy_seconds"] > 0
    assert [each.tokens for each in likelihoods] == [2, 1]


def continuations_of(pairs: Sequence[tuple[Any, str]]) -> list[Continuation]:
    """Pairs of context and text as continuations."""
    return [Continuation(context, text) for context, text in pairs]


@pytest.mark.vllm
@pytest.mark.slow
async def test_vllm_agrees_with_hf(tiny_vllm_model: Path) -> None:
    """Within rounding; for an over-long context vLLM reads two tokens fewer."""
    from spar.config import load_decode
    from spar.infer.engines.vllm.engine import VllmEngine

    fitting = continuations_of([*(pair for pair in PAIRS if pair[0] != LONG), (CHAT, " fox")])
    continuations = [*fitting, Continuation(LONG, " end"), Continuation("", LONG)]
    local: Any = open_tiny(tiny_vllm_model)
    expected = await local.score(continuations)
    await local.aclose()
    settings = load_decode("nano", {"engine_args": EAGER})
    engine = VllmEngine(Deployment(str(tiny_vllm_model)), settings)
    scored = await engine.score(continuations)
    await engine.aclose()
    close = [pytest.approx(each.logprob, abs=2e-3) for each in expected[: len(fitting)]]
    assert [each.logprob for each in scored[: len(fitting)]] == close
    assert [(s.greedy, s.tokens) for s in scored] == [(e.greedy, e.tokens) for e in expected]


@pytest.mark.vllm
@pytest.mark.slow
async def test_vllm_with_adapters_refuses_to_score(vllm_engine: Engine) -> None:
    """vLLM would crash."""
    with pytest.raises(UsageError, match="merge the adapter"):
        await scorer(vllm_engine).score(continuations_of(PAIRS))
