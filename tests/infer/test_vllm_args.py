"""Engine arguments, requests, errors and statistics of the vllm engine, without vLLM itself."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

from spar.config import load_decode
from spar.errors import EngineError, PromptRefused, PromptTooLong, UsageError
from spar.infer.engine import Deployment, Request
from spar.infer.engines.chat import ChatEncoder, Rendered
from spar.infer.engines.vllm.args import (
    NGRAM_SPECULATION,
    adapter_rank,
    check_arguments,
    engine_arguments,
    speculates,
    speculation_warning,
)
from spar.infer.engines.vllm.counters import Counters
from spar.infer.engines.vllm.engine import VllmEngine
from spar.infer.engines.vllm.loop_thread import LoopThread
from spar.infer.engines.vllm.replies import VllmRequest, completion, make_requests
from spar.types import Message


def arguments(
    deployment: Deployment = Deployment("m"), *, on_cpu: bool = True, **fields: object
) -> dict[str, Any]:
    """Engine arguments for the default settings with `fields` changed."""
    return engine_arguments(deployment, load_decode(None, fields), on_cpu=on_cpu)


@pytest.mark.parametrize(
    ("on_cpu", "dtype", "expected"),
    [
        (True, "auto", "float32"),
        (False, "auto", "bfloat16"),
        (False, "fp32", "float32"),
        (True, "bf16", "bfloat16"),
    ],
)
def test_the_dtype_is_that_of_the_other_engines(on_cpu: bool, dtype: str, expected: str) -> None:
    """fp32 on a CPU and bf16 on a GPU by default."""
    assert arguments(on_cpu=on_cpu, dtype=dtype)["dtype"] == expected


def test_memory_is_the_models_share(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the GPU's memory, or of a small cache on a CPU."""
    monkeypatch.delenv("VLLM_CPU_KVCACHE_SPACE", raising=False)
    half = Deployment("m", share=0.5)
    assert arguments(on_cpu=False)["gpu_memory_utilization"] == 0.9
    assert arguments(half, on_cpu=False)["gpu_memory_utilization"] == 0.45
    whole = arguments()["kv_cache_memory_bytes"]
    assert whole >= 1 << 30
    assert arguments(half)["kv_cache_memory_bytes"] == whole // 2
    assert "gpu_memory_utilization" not in arguments()
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "3")
    assert "kv_cache_memory_bytes" not in arguments()


def test_engine_args_override_everything() -> None:
    """Including what spar sets itself."""
    user = {"dtype": "half", "scheduling_policy": "priority", "max_num_seqs": 3, "block_size": 64}
    found = arguments(max_batch_size=9, engine_args=user)
    assert {name: found[name] for name in user} == user
    assert arguments(max_batch_size=9)["max_num_seqs"] == 9
    assert "max_num_seqs" not in arguments()


def test_speculative_decoding_is_on_if_requested() -> None:
    """`auto` is off here; the user's own configuration replaces spar's."""
    assert [
        speculates(load_decode(None, {"speculative_decoding": s})) for s in ("on", "off", "auto")
    ] == [*(True, False, False)]
    on_gpu = arguments(on_cpu=False, speculative_decoding="on")
    assert on_gpu["speculative_config"] == NGRAM_SPECULATION
    own = {"speculative_config": {"method": "suffix"}}
    assert arguments(speculative_decoding="on", engine_args=own)["speculative_config"] == {
        "method": "suffix"
    }
    assert "speculative_config" not in arguments(on_cpu=False)


@pytest.mark.parametrize(
    ("fields", "on_cpu", "message"),
    [
        ({"speculative_decoding": "on"}, True, "speculative decoding stays off"),
        ({"engine_args": {"speculative_config": {}}}, True, "only greedy"),
        ({"speculative_decoding": "on"}, False, ""),
        ({"speculative_decoding": "auto"}, True, ""),
    ],
)
def test_speculative_decoding_is_off_on_cpus(
    fields: dict[str, object], on_cpu: bool, message: str
) -> None:
    """With a warning that says why."""
    config = load_decode(None, fields)
    warning = speculation_warning(config, on_cpu=on_cpu)
    assert message in warning
    assert bool(warning) == bool(message)
    if on_cpu and not config.engine_args:
        assert "speculative_config" not in engine_arguments(Deployment("m"), config, on_cpu=True)


def test_an_unseeded_run_seeds_vllm_afresh() -> None:
    """vLLM's own default would give every unseeded run the same texts."""
    assert {arguments()["seed"] for _ in range(3)} == {0}
    found = [engine_arguments(Deployment("m"), _unseeded(), on_cpu=True)["seed"] for _ in range(8)]
    assert len(set(found)) > 1


def _unseeded() -> Any:
    return load_decode(None, {}).model_copy(update={"seed": None})


def test_an_unknown_argument_gets_the_closest_name() -> None:
    """Known ones pass."""
    check_arguments({"max_num_seqs": 1}, ["max_num_seqs"])
    with pytest.raises(UsageError, match=r"--engine-arg max_num_seq: .*'max_num_seqs'"):
        check_arguments({"max_num_seq": 1}, ["max_num_seqs", "dtype"])


def adapter(folder: Path, content: object, weights: str = "adapter_model.safetensors") -> str:
    """An adapter's folder with a configuration and a file of no weights."""
    folder.mkdir(exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps(content))
    (folder / weights).write_bytes(b"")
    return str(folder)


@pytest.mark.parametrize(("ranks", "rounded"), [([4], 8), ([8, 16], 16), ([33, 1], 64), ([1], 1)])
def test_ranks_are_rounded_to_what_vllm_takes(
    tmp_path: Path, ranks: list[int], rounded: int
) -> None:
    """The largest of the adapters counts; a CPU build gets one slot more than there are adapters."""
    folders = tuple(adapter(tmp_path / str(rank), {"r": rank}) for rank in ranks)
    found = arguments(Deployment("m", adapters=folders))
    assert found["enable_lora"] is True
    assert found["max_lora_rank"] == rounded
    assert found["max_loras"] == len(ranks) + 1
    on_gpu = arguments(Deployment("m", adapters=folders), on_cpu=False)
    assert on_gpu["max_loras"] == len(ranks)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"peft_type": "IA3", "r": 8}, "does not describe a LoRA adapter"),
        ({"r": "eight"}, "does not describe a LoRA adapter"),
        ({"r": 0}, "does not describe a LoRA adapter"),
        ([], "does not describe a LoRA adapter"),
    ],
)
def test_an_invalid_adapter_is_a_usage_error(tmp_path: Path, content: object, message: str) -> None:
    """The message names the folder."""
    with pytest.raises(UsageError, match=message):
        adapter_rank(adapter(tmp_path / "odd", content))


def test_a_folder_without_an_adapter_is_a_usage_error(tmp_path: Path) -> None:
    """No folder, no weights, invalid JSON, or a rank above vLLM's maximum."""
    with pytest.raises(UsageError, match=r"has no adapter_config\.json"):
        adapter_rank(str(tmp_path / "nowhere"))
    with pytest.raises(UsageError, match="has no adapter_model"):
        adapter_rank(adapter(tmp_path / "a", {"r": 8}, weights="else.txt"))
    (tmp_path / "adapter_config.json").write_text("{")
    with pytest.raises(UsageError, match="cannot be read"):
        adapter_rank(str(tmp_path))
    huge = (adapter(tmp_path / "huge", {"r": 9999}),)
    with pytest.raises(UsageError, match="rank 9999 is above"):
        arguments(Deployment("m", adapters=huge))


def test_counters_add_up() -> None:
    """Cached tokens come fewest first, 0 for samples without a record; taking them removes them."""
    counters = Counters()
    scheduler = SimpleNamespace(
        prefix_cache_stats=SimpleNamespace(queries=50, hits=32), spec_decoding_stats=None
    )
    finished = [SimpleNamespace(request_id="7", num_cached_tokens=n) for n in (32, 0)]
    iteration = SimpleNamespace(num_generation_tokens=4, finished_requests=finished)
    for _ in range(2):
        counters.record(scheduler, iteration)
    counters.record(None, None)
    counters.record(scheduler, SimpleNamespace(num_generation_tokens=0, finished_requests=[]))
    assert (counters.queried, counters.hits, counters.steps, counters.tokens) == (150, 96, 2, 8)
    assert counters.take_cached("7", 5) == [0, 0, 0, 32, 32]
    assert counters.take_cached("7", 2) == [0, 0]


async def test_cached_tokens_are_waited_for() -> None:
    """vLLM records a step after all chunks of its outputs, turns of the event loop later; some steps never."""
    counters = Counters()

    async def record() -> None:
        for _ in range(5):
            await asyncio.sleep(0)
        counters.cached["7"].append(16)

    recording = asyncio.create_task(record())
    await counters.await_cached("7", 1)
    assert counters.take_cached("7", 1) == [16]
    await recording
    await counters.await_cached("8", 1)
    assert counters.take_cached("8", 1) == [0]
    assert not counters.cached


def refusing(*_: object) -> NoReturn:
    """A chat template that accepts no system turn."""
    raise ValueError("no system turn, please")


def test_prompts_that_cannot_be_served_are_refused() -> None:
    """By the chat template, for their length, or by vLLM."""
    request = Request((Message(role="user", content="a"),))
    encoder: Any = ChatEncoder(SimpleNamespace(all_special_tokens=()))
    encoder.render = refusing
    with pytest.raises(PromptRefused, match="no system turn"):
        make_requests([request], encoder, 9)
    rendered = Rendered((1, 2, 3), thinking=False)
    encoder.render = lambda *_: rendered
    with pytest.raises(PromptTooLong, match="3 tokens"):
        make_requests([request], encoder, 3)
    sample = SimpleNamespace(finish_reason="abort")
    with pytest.raises(PromptRefused, match="aborted a request"):
        completion(VllmRequest(request, 1, rendered, 6), sample, encoder=encoder, cached_tokens=0)


@pytest.mark.parametrize(
    ("dead", "parameter", "kind"),
    [(True, None, EngineError), (False, "logprobs", EngineError), (False, None, PromptRefused)],
)
def test_errors_are_classified(dead: bool, parameter: str | None, kind: type[EngineError]) -> None:
    """A dead engine and a refused sampling parameter end the run; other errors concern the prompt."""
    error = ValueError("odd")
    error.parameter = parameter  # type: ignore[attr-defined]  # as vLLM's own errors have it
    engine: Any = SimpleNamespace(_core=SimpleNamespace(errored=dead), _log=None)
    failure = VllmEngine._classify(engine, error)()
    assert type(failure) is kind
    assert "odd" in str(failure)


async def test_loop_thread() -> None:
    """It returns results and errors; cancelling the caller cancels the work; stopping ends the rest."""
    loop = LoopThread("loop")
    seen: list[str] = []
    started, ended = threading.Event(), threading.Event()

    async def work() -> str:
        seen.append(threading.current_thread().name)
        return "done"

    async def endless() -> None:
        try:
            started.set()
            await asyncio.sleep(3600)
        finally:
            ended.set()

    assert await loop.run(work()) == "done"
    assert loop.call(lambda: threading.current_thread().name) == "loop"
    assert seen == ["loop"]
    with pytest.raises(ZeroDivisionError):
        loop.call(lambda: 1 // 0)
    task = asyncio.create_task(loop.run(endless()))
    assert await asyncio.to_thread(started.wait, 30)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(ended.wait, 30)
    loop.stop()
    loop.stop()
