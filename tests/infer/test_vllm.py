"""The vllm engine beyond the contract suite. This module opens three engines of its own."""

from __future__ import annotations

import asyncio
import multiprocessing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from spar.config import DecodeConfig, load_decode
from spar.errors import EngineError, PromptRefused, UsageError
from spar.infer.engine import Deployment, Engine, Request, Sampling
from spar.infer.engines.chat import Rendered
from spar.infer.engines.vllm.args import NGRAM_SPECULATION
from spar.types import Message
from tests.infer.fixture_vllm import EAGER, SharedEngine

pytestmark = pytest.mark.vllm

LONG = "Write one sentence that has the word garden in it twice and does not end with a bell. " * 2
"""A prompt longer than one block of the prefix cache."""


def ask(text: str, adapter: str = "", tree: int = 0, **sampling: float | None) -> Request:
    """A request for a short sampled reply."""
    settings = Sampling(**{"temperature": 0.8, "max_tokens": 12, "seed": 0} | sampling)  # type: ignore[arg-type]
    return Request((Message(role="user", content=text),), settings, tree, adapter)


def settings(**fields: object) -> DecodeConfig:
    """Settings of a small engine that loads quickly."""
    return load_decode("nano", {"engine_args": EAGER} | fields)


async def texts(engine: Engine, *requests: Request) -> list[str]:
    """The texts of the replies."""
    return [reply.text for reply in await engine.generate(requests)]


async def test_votes_in_one_request_equal_votes_in_single_requests(
    vllm_engine: SharedEngine,
) -> None:
    """Consecutive seeds become samples of one request, with the same texts."""
    votes = [ask("tell me", seed=40 + i) for i in range(5)]
    together = await texts(vllm_engine, *votes)
    assert together == [(await texts(vllm_engine, vote))[0] for vote in votes]
    assert len(set(together)) > 1


async def test_a_shared_prompt_is_prefilled_once(vllm_engine: SharedEngine) -> None:
    """All votes but the first find the whole blocks of the prompt in the cache; the counters agree."""
    before = vllm_engine.engine.prefix_cache  # type: ignore[attr-defined]  # of this engine only
    replies = await vllm_engine.generate([ask(LONG, seed=i) for i in range(5)])
    after = vllm_engine.engine.prefix_cache  # type: ignore[attr-defined]
    blocks = (replies[0].prompt_tokens - 1) // 32 * 32
    assert blocks > 0
    assert [reply.cached_tokens for reply in replies] == [0] + [blocks] * 4
    assert after[0] - before[0] == 5 * replies[0].prompt_tokens
    assert after[1] - before[1] == 4 * blocks


async def test_a_cancelled_request_is_aborted_in_vllm(vllm_engine: SharedEngine) -> None:
    """It leaves no unfinished samples."""
    engine = vllm_engine.engine
    requests = [ask("on and on", seed=3 * i, max_tokens=200, temperature=2.0) for i in range(40)]
    task = asyncio.create_task(vllm_engine.generate(requests))
    assert await becomes(engine, lambda unfinished: unfinished > 0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await becomes(engine, lambda unfinished: unfinished == 0)
    assert len(await vllm_engine.generate([ask("again")])) == 1


async def becomes(engine: Engine, condition: object) -> bool:
    """Whether `condition` holds for the number of unfinished samples within half a minute."""
    for _ in range(30_000):
        if condition(engine.num_unfinished):  # type: ignore[operator,attr-defined]
            return True
        await asyncio.sleep(0.001)
    return False


async def test_older_trees_go_first_with_priority_scheduling(vllm_engine: SharedEngine) -> None:
    """A smaller tree number overtakes waiting requests."""
    finished: list[int] = []

    async def one(tree: int, seed: int) -> None:
        await vllm_engine.generate([ask("tell me", tree=tree, seed=2 * seed, max_tokens=40)])
        finished.append(tree)

    young = [asyncio.create_task(one(9, i)) for i in range(200)]
    await asyncio.sleep(0)
    await asyncio.gather(one(1, 1000), *young)
    assert finished.index(1) < 150


async def test_logprobs_are_the_top_tokens_at_temperature_1(vllm_engine: SharedEngine) -> None:
    """As many as requested, best first, the same at any sampling temperature."""
    cool, warm = [
        await vllm_engine.generate(
            [ask(f"tell {i}", max_tokens=6, top_logprobs=4, temperature=t) for i in range(20)]
        )
        for t in (0.0, 1.5)
    ]
    for reply in (*cool, *warm):
        assert len(reply.logprobs) == reply.completion_tokens - (reply.finish == "stop")
        for entry in reply.logprobs:
            values = list(entry.top.values())
            assert 1 <= len(values) <= 4
            assert values == sorted(values, reverse=True)
            assert max(values) <= 0
    # A random model ends some replies at once; these have no tokens.
    pairs = [
        (c.logprobs[0], w.logprobs[0])
        for c, w in zip(cool, warm, strict=True)
        if c.logprobs and w.logprobs
    ]
    assert len(pairs) > 3
    for greedy, sampled in pairs:
        assert greedy.token == next(iter(greedy.top))
        assert greedy.top == pytest.approx(sampled.top, abs=1e-4)


@pytest.mark.parametrize("seed", [-1, 2**63, 2**64 + 3])
async def test_any_integer_is_a_seed(vllm_engine: SharedEngine, seed: int) -> None:
    """A seed that torch refuses does not end vLLM's process."""
    request = ask("tell me", seed=seed)
    assert await texts(vllm_engine, request) == await texts(vllm_engine, request)


async def test_requests_that_vllm_refuses_fail_alone(vllm_engine: SharedEngine) -> None:
    """Too many logprobs are an `EngineError`, an unknown token is `PromptRefused`; the engine continues."""
    with pytest.raises(EngineError, match=r"vLLM cannot serve a request .*logprobs") as caught:
        await vllm_engine.generate([ask("tell me", top_logprobs=999)])
    assert not isinstance(caught.value, PromptRefused)
    encoder: Any = SimpleNamespace(encode_request=lambda *_: Rendered((10**6,), thinking=False))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vllm_engine.engine, "_encoder", encoder)
        with pytest.raises(PromptRefused, match="vLLM cannot serve a request"):
            await vllm_engine.generate([ask("tell me")])
    assert await texts(vllm_engine, ask("tell me"))


async def test_adapters_are_applied_per_request(
    vllm_engine: SharedEngine,
) -> None:
    """To requests that name one; an adapter of zeros changes nothing."""
    zero, strong = vllm_engine.engine._adapters  # type: ignore[attr-defined]  # folders, in order
    plain, same, other = [
        await texts(vllm_engine, *(ask("tell me", adapter, seed=7 * i) for i in range(6)))
        for adapter in ("", zero, strong)
    ]
    assert same == plain
    assert other != plain
    mixed = [ask("tell me", adapter, seed=7) for adapter in (strong, "", strong)]
    assert await texts(vllm_engine, *mixed) == [other[1], plain[1], other[1]]
    with pytest.raises(EngineError, match="was not opened"):
        await vllm_engine.generate([ask("tell me", "elsewhere")])


async def test_speculative_decoding_and_closing(
    tiny_vllm_model: Path,
    vllm_engine: SharedEngine,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Greedy replies equal those without speculation; closing ends all processes and prints nothing."""
    from spar.infer.engines.vllm.engine import open_vllm

    before = set(multiprocessing.active_children())
    notes: list[str] = []
    speculative = EAGER | {"speculative_config": NGRAM_SPECULATION | {"prompt_lookup_min": 1}}
    config = settings(engine_args=speculative)
    engine = open_vllm(Deployment(str(tiny_vllm_model)), config, notes.append)
    children = set(multiprocessing.active_children()) - before
    requests = [ask(f"say {i} and {i} again", temperature=0.0, max_tokens=60) for i in range(40)]
    assert await texts(engine, *requests) == await texts(vllm_engine, *requests)
    assert engine.counters.drafted > 0
    assert all("speculative decoding" in line for line in notes)
    endless = [ask("on", temperature=2.0, seed=3 * i, max_tokens=240) for i in range(60)]
    running = asyncio.create_task(engine.generate(endless))
    assert await becomes(engine, lambda unfinished: unfinished > 0)
    await engine.aclose()
    await engine.aclose()
    with pytest.raises(EngineError, match="closed"):
        await running
    with pytest.raises(EngineError, match="closed"):
        await engine.generate([ask("more")])
    assert children
    assert not any(child.is_alive() for child in children)
    assert capfd.readouterr() == ("", "")


async def test_a_tree_stays_on_one_of_two_data_parallel_ranks(
    tiny_vllm_model: Path, vllm_engine: SharedEngine
) -> None:
    """Its second request finds its prompt in the cache; texts and capacity are those of two engines."""
    from spar.infer.engines.vllm.engine import VllmEngine

    config = settings(engine_args=EAGER | {"data_parallel_size": 2})
    engine = VllmEngine(Deployment(str(tiny_vllm_model)), config)
    try:
        assert engine.capacity == 2 * vllm_engine.capacity
        requests = [ask(f"Tree {tree}. {LONG}", tree=tree) for tree in range(1, 9)]
        assert await texts(engine, *requests) == await texts(vllm_engine, *requests)
        ranks = [engine._affinity.pick(tree, engine._ranks) for tree in range(1, 9)]
        assert sorted(ranks) == [0] * 4 + [1] * 4
        again = await engine.generate(requests)
        assert all(reply.cached_tokens >= 32 for reply in again)
    finally:
        await engine.aclose()


async def test_a_dead_process_raises_engine_error(tiny_vllm_model: Path) -> None:
    """In running and later requests; closing still works."""
    from spar.infer.engines.vllm.engine import VllmEngine

    before = set(multiprocessing.active_children())
    engine = VllmEngine(Deployment(str(tiny_vllm_model)), settings())
    children = set(multiprocessing.active_children()) - before
    endless = [ask("on", temperature=2.0, seed=3 * i, max_tokens=240) for i in range(200)]
    running = asyncio.create_task(engine.generate(endless))
    assert await becomes(engine, lambda unfinished: unfinished > 0)
    for child in children:
        child.kill()
    with pytest.raises(EngineError, match="vLLM's engine died"):
        await running
    with pytest.raises(EngineError, match="vLLM's engine died"):
        await engine.generate([ask("more")])
    await engine.aclose()


def test_a_loading_error_is_reported_on_one_line(
    tiny_vllm_model: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """An error in vLLM's own process arrives as its reason and a next step."""
    from spar.infer.engines.vllm.engine import VllmEngine

    before = set(multiprocessing.active_children())
    refused = settings(engine_args=EAGER | {"block_size": 16})
    with capfd.disabled(), pytest.raises(UsageError) as caught:  # forks write where this one writes
        VllmEngine(Deployment(str(tiny_vllm_model)), refused)
    assert "No common block size for 16" in str(caught.value)
    assert "--engine-arg NAME=VALUE" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert set(multiprocessing.active_children()) <= before


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"engine_args": {"max_num_seq": 8}}, "did you mean 'max_num_seqs'"),
        ({"engine_args": {"max_num_seqs": "many"}}, "vLLM cannot load it"),
        ({"device": "tpu"}, "--device tpu: the installed vLLM runs on"),
    ],
)
def test_an_invalid_setting_is_a_usage_error(
    tiny_vllm_model: Path,
    fields: dict[str, object],
    message: str,
) -> None:
    """It is reported before any process starts."""
    from spar.infer.engines.vllm.engine import VllmEngine

    with pytest.raises(UsageError, match=message):
        VllmEngine(Deployment(str(tiny_vllm_model)), settings(**fields))
