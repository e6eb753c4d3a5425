"""The vllm engine: what the contract does not say of it. Two engines of its own are opened here."""

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
from tests.infer.fixture_vllm import EAGER, Lent

pytestmark = pytest.mark.vllm

LONG = "Write one sentence that has the word garden in it twice and does not end with a bell. " * 2
"""A prompt of more than one block of the prefix cache."""


def ask(text: str, adapter: str = "", tree: int = 0, **sampling: float | None) -> Request:
    """A request for a short sampled reply."""
    settings = Sampling(**{"temperature": 0.8, "max_tokens": 12, "seed": 0} | sampling)  # type: ignore[arg-type]
    return Request((Message(role="user", content=text),), settings, tree, adapter)


def settings(**fields: object) -> DecodeConfig:
    """Settings of a small engine that is quickly loaded."""
    return load_decode("nano", {"engine_args": EAGER} | fields)


async def texts(engine: Engine, *requests: Request) -> list[str]:
    """What the replies say."""
    return [reply.text for reply in await engine.generate(requests)]


async def test_votes_in_one_request_are_the_votes_asked_one_by_one(vllm_engine: Lent) -> None:
    """Seeds in a row become samples of one request, with the same texts."""
    votes = [ask("tell me", seed=40 + i) for i in range(5)]
    together = await texts(vllm_engine, *votes)
    assert together == [(await texts(vllm_engine, vote))[0] for vote in votes]
    assert len(set(together)) > 1


async def test_a_shared_prompt_is_read_once(vllm_engine: Lent) -> None:
    """All votes but the first find the prompt's whole blocks in the cache, and the counters say so."""
    before = vllm_engine.engine.prefix_cache  # type: ignore[attr-defined]  # of this engine only
    replies = await vllm_engine.generate([ask(LONG, seed=i) for i in range(5)])
    after = vllm_engine.engine.prefix_cache  # type: ignore[attr-defined]
    blocks = (replies[0].prompt_tokens - 1) // 32 * 32
    assert blocks > 0
    assert [reply.cached_tokens for reply in replies] == [0] + [blocks] * 4
    assert after[0] - before[0] == 5 * replies[0].prompt_tokens
    assert after[1] - before[1] == 4 * blocks


async def test_a_cancelled_request_is_aborted_in_vllm(vllm_engine: Lent) -> None:
    """Nothing of it is left to be worked on."""
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
    """Whether `wanted` comes to hold of the number of unfinished samples within half a minute."""
    for _ in range(30_000):
        if condition(engine.num_unfinished):  # type: ignore[operator,attr-defined]
            return True
        await asyncio.sleep(0.001)
    return False


async def test_older_trees_go_first(vllm_engine: Lent) -> None:
    """With vLLM's priority scheduling a smaller tree number overtakes, where more wait than run."""
    ended: list[int] = []

    async def one(tree: int, seed: int) -> None:
        await vllm_engine.generate([ask("tell me", tree=tree, seed=2 * seed, max_tokens=40)])
        ended.append(tree)

    young = [asyncio.create_task(one(9, i)) for i in range(200)]
    await asyncio.sleep(0)
    await asyncio.gather(one(1, 1000), *young)
    assert ended.index(1) < 150


async def test_logprobs_are_the_likeliest_tokens_at_temperature_1(vllm_engine: Lent) -> None:
    """As many as asked for, best first, the same at any temperature."""
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
    # A random model ends some replies at once; these have no token to look at.
    pairs = [
        (c.logprobs[0], w.logprobs[0])
        for c, w in zip(cool, warm, strict=True)
        if c.logprobs and w.logprobs
    ]
    assert len(pairs) > 3
    for likeliest, drawn in pairs:
        assert likeliest.token == next(iter(likeliest.top))
        assert likeliest.top == pytest.approx(drawn.top, abs=1e-4)


@pytest.mark.parametrize("seed", [-1, 2**63, 2**64 + 3])
async def test_any_seed_is_a_seed(vllm_engine: Lent, seed: int) -> None:
    """One that torch would refuse does not end vLLM's process."""
    request = ask("tell me", seed=seed)
    assert await texts(vllm_engine, request) == await texts(vllm_engine, request)


async def test_what_vllm_refuses_fails_alone(vllm_engine: Lent) -> None:
    """More logprobs than vLLM gives stop the run, a token that it does not know is that prompt's own
    fault; either way the engine lives on."""
    with pytest.raises(EngineError, match=r"vLLM cannot serve a request .*logprobs") as caught:
        await vllm_engine.generate([ask("tell me", top_logprobs=999)])
    assert not isinstance(caught.value, PromptRefused)
    strange: Any = SimpleNamespace(encode_request=lambda *_: Rendered((10**6,), thinking=False))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vllm_engine.engine, "_encoder", strange)
        with pytest.raises(PromptRefused, match="vLLM cannot serve a request"):
            await vllm_engine.generate([ask("tell me")])
    assert await texts(vllm_engine, ask("tell me"))


async def test_an_adapter_changes_the_replies_and_an_empty_one_does_not(
    vllm_engine: Lent,
) -> None:
    """LoRA is applied where a request names it, beside requests that do not."""
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


async def test_speculation_says_the_same_and_closing_refuses_what_runs(
    tiny_vllm_model: Path,
    vllm_engine: Lent,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Greedy replies are those without speculation; a close leaves no process and printed nothing."""
    from spar.infer.engines.vllm.engine import open_vllm

    before = set(multiprocessing.active_children())
    told: list[str] = []
    guessing = EAGER | {"speculative_config": NGRAM_SPECULATION | {"prompt_lookup_min": 1}}
    config = settings(engine_args=guessing)
    engine = open_vllm(Deployment(str(tiny_vllm_model)), config, told.append)
    own = set(multiprocessing.active_children()) - before
    asked = [ask(f"say {i} and {i} again", temperature=0.0, max_tokens=60) for i in range(40)]
    assert await texts(engine, *asked) == await texts(vllm_engine, *asked)
    assert engine.counters.drafted > 0
    assert all("speculative decoding" in line for line in told)
    endless = [ask("on", temperature=2.0, seed=3 * i, max_tokens=240) for i in range(60)]
    running = asyncio.create_task(engine.generate(endless))
    assert await becomes(engine, lambda unfinished: unfinished > 0)
    await engine.aclose()
    await engine.aclose()
    with pytest.raises(EngineError, match="closed"):
        await running
    with pytest.raises(EngineError, match="closed"):
        await engine.generate([ask("more")])
    assert own
    assert not any(child.is_alive() for child in own)
    assert capfd.readouterr() == ("", "")


async def test_a_dead_process_is_an_engine_error(tiny_vllm_model: Path) -> None:
    """Who waits is told, who asks later too, and closing still works."""
    from spar.infer.engines.vllm.engine import VllmEngine

    before = set(multiprocessing.active_children())
    engine = VllmEngine(Deployment(str(tiny_vllm_model)), settings())
    own = set(multiprocessing.active_children()) - before
    endless = [ask("on", temperature=2.0, seed=3 * i, max_tokens=240) for i in range(200)]
    running = asyncio.create_task(engine.generate(endless))
    assert await becomes(engine, lambda unfinished: unfinished > 0)
    for child in own:
        child.kill()
    with pytest.raises(EngineError, match="vLLM's engine died"):
        await running
    with pytest.raises(EngineError, match="vLLM's engine died"):
        await engine.generate([ask("more")])
    await engine.aclose()


def test_what_vllm_says_against_loading_is_told_in_one_line(
    tiny_vllm_model: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A failure in vLLM's own process comes back as its reason and a next step."""
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
    ("fields", "said"),
    [
        ({"engine_args": {"max_num_seq": 8}}, "did you mean 'max_num_seqs'"),
        ({"engine_args": {"max_num_seqs": "many"}}, "vLLM cannot load it"),
        ({"device": "tpu"}, "--device tpu: the installed vLLM runs on"),
    ],
)
def test_a_wrong_setting_is_the_users_mistake(
    tiny_vllm_model: Path,
    fields: dict[str, object],
    said: str,
) -> None:
    """It is told before any process is started."""
    from spar.infer.engines.vllm.engine import VllmEngine

    with pytest.raises(UsageError, match=said):
        VllmEngine(Deployment(str(tiny_vllm_model)), settings(**fields))
