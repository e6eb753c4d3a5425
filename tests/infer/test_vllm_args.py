"""What spar tells vLLM's engine, and what it makes of vLLM's words, without vLLM itself."""

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
    """Engine arguments for settings that differ from the defaults in `fields`."""
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
def test_the_dtype_is_the_other_engines_own(on_cpu: bool, dtype: str, expected: str) -> None:
    """fp32 on a CPU and bf16 on a GPU unless the user says."""
    assert arguments(on_cpu=on_cpu, dtype=dtype)["dtype"] == expected


def test_memory_goes_by_the_models_share(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the GPU's memory, or of a modest cache on a CPU."""
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


def test_the_users_arguments_have_the_last_word() -> None:
    """Whatever spar would have set."""
    given = {"dtype": "half", "scheduling_policy": "priority", "max_num_seqs": 3, "block_size": 64}
    found = arguments(max_batch_size=9, engine_args=given)
    assert {name: found[name] for name in given} == given
    assert arguments(max_batch_size=9)["max_num_seqs"] == 9
    assert "max_num_seqs" not in arguments()


def test_speculation_is_on_where_it_was_asked_for() -> None:
    """`auto` is off here; the user's own speculation replaces spar's."""
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
    ("fields", "on_cpu", "said"),
    [
        ({"speculative_decoding": "on"}, True, "speculative decoding stays off"),
        ({"engine_args": {"speculative_config": {}}}, True, "only greedy"),
        ({"speculative_decoding": "on"}, False, ""),
        ({"speculative_decoding": "auto"}, True, ""),
    ],
)
def test_speculation_is_not_for_cpus(fields: dict[str, object], on_cpu: bool, said: str) -> None:
    """A CPU build is not told to speculate, and the person is told why."""
    config = load_decode(None, fields)
    warning = speculation_warning(config, on_cpu=on_cpu)
    assert said in warning
    assert bool(warning) == bool(said)
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
    ("content", "said"),
    [
        ({"peft_type": "IA3", "r": 8}, "does not describe a LoRA adapter"),
        ({"r": "eight"}, "does not describe a LoRA adapter"),
        ({"r": 0}, "does not describe a LoRA adapter"),
        ([], "does not describe a LoRA adapter"),
    ],
)
def test_an_odd_adapter_is_the_users_mistake(tmp_path: Path, content: object, said: str) -> None:
    """The message names the folder."""
    with pytest.raises(UsageError, match=said):
        adapter_rank(adapter(tmp_path / "odd", content))


def test_a_folder_without_an_adapter_is_the_users_mistake(tmp_path: Path) -> None:
    """No folder, no weights, no JSON, a rank beyond vLLM's."""
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


def test_counters_add_up_and_forget_what_was_taken() -> None:
    """Cached tokens come fewest first, 0 for samples of which nothing was recorded."""
    counters = Counters()
    scheduler = SimpleNamespace(
        prefix_cache_stats=SimpleNamespace(queries=50, hits=32), spec_decoding_stats=None
    )
    ended = [SimpleNamespace(request_id="7", num_cached_tokens=n) for n in (32, 0)]
    iteration = SimpleNamespace(num_generation_tokens=4, finished_requests=ended)
    for _ in range(2):
        counters.record(scheduler, iteration)
    counters.record(None, None)
    counters.record(scheduler, SimpleNamespace(num_generation_tokens=0, finished_requests=[]))
    assert (counters.queried, counters.hits, counters.steps, counters.tokens) == (150, 96, 2, 8)
    assert counters.take_cached("7", 5) == [0, 0, 0, 32, 32]
    assert counters.take_cached("7", 2) == [0, 0]


def refusing(_: object) -> NoReturn:
    """A chat template that takes no system turn."""
    raise ValueError("no system turn, please")


def test_a_prompt_that_cannot_be_served_is_refused_alone() -> None:
    """By the chat template, for its length, or by vLLM, which gives it up."""
    request = Request((Message(role="user", content="a"),))
    encoder: Any = ChatEncoder(SimpleNamespace(all_special_tokens=()))
    encoder.render = refusing
    with pytest.raises(PromptRefused, match="no system turn"):
        make_requests([request], encoder, 9)
    rendered = Rendered((1, 2, 3), thinking=False)
    encoder.render = lambda _: rendered
    with pytest.raises(PromptTooLong, match="3 tokens"):
        make_requests([request], encoder, 3)
    sample = SimpleNamespace(finish_reason="abort")
    with pytest.raises(PromptRefused, match="aborted a request"):
        completion(VllmRequest(request, 1, rendered, 6), sample, encoder=encoder, cached_tokens=0)


@pytest.mark.parametrize(
    ("dead", "parameter", "kind"),
    [(True, None, EngineError), (False, "logprobs", EngineError), (False, None, PromptRefused)],
)
def test_only_a_living_engine_refuses_a_prompt(
    dead: bool, parameter: str | None, kind: type[EngineError]
) -> None:
    """A dead one, and a setting that vLLM would refuse in every request, stop the run."""
    error = ValueError("odd")
    error.parameter = parameter  # type: ignore[attr-defined]  # as vLLM's own errors have it
    engine: Any = SimpleNamespace(_core=SimpleNamespace(errored=dead), _log=None)
    failure = VllmEngine._classify(engine, error)()
    assert type(failure) is kind
    assert "odd" in str(failure)


async def test_work_runs_in_the_threads_loop_and_ends_with_its_caller() -> None:
    """Results and errors come back; a cancelled caller cancels the work; stopping ends the rest."""
    home = LoopThread("home")
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

    assert await home.run(work()) == "done"
    assert home.call(lambda: threading.current_thread().name) == "home"
    assert seen == ["home"]
    with pytest.raises(ZeroDivisionError):
        home.call(lambda: 1 // 0)
    task = asyncio.create_task(home.run(endless()))
    assert await asyncio.to_thread(started.wait, 30)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(ended.wait, 30)
    home.stop()
    home.stop()
