"""The `vllm` engine: vLLM in process, on GPU and CPU builds alike.

    spar decode prompts.jsonl --engine vllm --engine-arg max_num_seqs=256

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
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeVar

from spar.errors import EngineError, PromptRefused, UsageError
from spar.infer.engine import (
    Completion,
    Continuation,
    Deployment,
    Likelihood,
    NoteCallback,
    Request,
)
from spar.infer.engines.chat import ChatEncoder, Rendered
from spar.infer.engines.likelihood import Pair, encode, regroup
from spar.infer.engines.vllm import log_capture as quiet
from spar.infer.engines.vllm.args import (
    check_arguments,
    engine_arguments,
    speculation_warning,
)
from spar.infer.engines.vllm.counters import Counters, stat_logger
from spar.infer.engines.vllm.loop_thread import LoopThread
from spar.infer.engines.vllm.opening import (
    adapter_requests,
    description,
    device_type,
    tokenizer,
)
from spar.infer.engines.vllm.replies import (
    Ask,
    asks,
    completion,
    likelihood,
    sampling_params,
    scoring_params,
)
from spar.main_module import hidden_main

if TYPE_CHECKING:
    from spar.config import DecodeConfig

_STOP_SECONDS = 2.0
_SETTLE_SECONDS = 0.05

T = TypeVar("T")


def open_vllm(deployment: Deployment, config: DecodeConfig, note: NoteCallback) -> VllmEngine:
    """Load a model as the configuration says; takes half a minute or more."""
    return VllmEngine(deployment, config, note)


class VllmEngine:
    """vLLM's asynchronous engine, in an event loop of its own.

    Raises
    ------
    MissingExtra
        vLLM is not installed.
    UsageError
        vLLM cannot load the model or an adapter, or the model has no chat template.
    """

    def __init__(
        self, deployment: Deployment, config: DecodeConfig, note: NoteCallback = lambda _: None
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
            with quiet.captured(self._log):
                device = self._open(deployment, config)
        except BaseException:
            self._release()
            raise
        if warning := speculation_warning(config, on_cpu=device == "cpu"):
            note(warning)

    def _open(self, deployment: Deployment, config: DecodeConfig) -> str:
        device = device_type(config.device)
        arguments = engine_arguments(deployment, config, on_cpu=device == "cpu")
        self._encoder = ChatEncoder(tokenizer(arguments))
        others = set(multiprocessing.active_children())
        with hidden_main():  # vLLM's processes need nothing of the script that uses spar
            self._core = self._load(arguments)
        self._children = set(multiprocessing.active_children()) - others
        settings = self._core.vllm_config
        self.capacity = int(settings.scheduler_config.max_num_seqs)
        self.block_size = int(settings.cache_config.block_size)
        """Tokens in a block: the grain of the prefix cache."""
        self._context = int(settings.model_config.max_model_len)
        self._by_age = settings.scheduler_config.policy == "priority"
        self.description = description(device, settings.model_config.dtype)
        self._adapters = adapter_requests(deployment.adapters)
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
            said = quiet.failure_reason(self._log) or _one_line(error)
        # Raised here, not above: vLLM's traceback would keep alive what it had built so far.
        gc.collect()
        raise UsageError(
            f"--model {self.model}: vLLM cannot load it ({said}); "
            "change how it is loaded with --engine-arg NAME=VALUE, or use --engine hf"
        )

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """One completion a request, in order."""
        if self._closed:
            raise EngineError("the engine is closed")
        return await self._home.run(self._serve(requests)) if requests else []

    async def score(self, continuations: Sequence[Continuation]) -> list[Likelihood]:
        """One likelihood a continuation, in order.

        vLLM takes no prompt as long as its context: of an over-long one two tokens fewer are read than
        transformers would read.

        Raises
        ------
        UsageError
            Adapters are loaded.
        """
        if self._closed:
            raise EngineError("the engine is closed")
        if self._adapters:  # asked for a prompt's log-probabilities, vLLM 0.32 dies of them
            raise UsageError(
                "--adapter: vLLM cannot say how likely a given text is while adapters are loaded; "
                "merge the adapter into its model"
            )
        asked = await asyncio.to_thread(self._encode, continuations)
        pairs = list(chain.from_iterable(asked))
        return regroup(asked, await self._home.run(self._score(pairs)) if pairs else [])

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

    def _encode(self, continuations: Sequence[Continuation]) -> list[list[Pair]]:
        return [encode(each, self._encoder, self._context - 1) for each in continuations]

    async def _serve(self, requests: Sequence[Request]) -> list[Completion]:
        wanted = asks(requests, self._encoder, self._context)
        replies = await self._all([self._sample(ask) for ask in wanted])
        return list(chain.from_iterable(replies))

    async def _score(self, pairs: Sequence[Pair]) -> list[Likelihood]:
        return await self._all([self._weigh(pair) for pair in pairs])

    async def _all(self, parts: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
        tasks = [asyncio.ensure_future(part) for part in parts]
        self._under_way.update(tasks)
        try:
            return await asyncio.gather(*tasks)
        except asyncio.CancelledError:
            if self._closed:
                raise EngineError("the engine was closed") from None
            raise
        finally:
            for task in tasks:
                task.cancel()
            self._under_way.difference_update(tasks)

    async def _sample(self, ask: Ask) -> list[Completion]:
        output, held = await self._answer(ask, lambda: sampling_params(ask, self._encoder))
        return [
            completion(ask, sample, encoder=self._encoder, cached_tokens=cached)
            for sample, cached in zip(output.outputs, held, strict=True)
        ]

    async def _weigh(self, pair: Pair) -> Likelihood:
        ask = Ask(Request((), tree=0), 1, Rendered(pair.ids), room=1)
        output, _ = await self._answer(ask, scoring_params)
        return likelihood(pair, output.prompt_logprobs)

    async def _answer(self, ask: Ask, params: Callable[[], Any]) -> tuple[Any, list[int]]:
        """vLLM's last output, and the cached tokens of its samples."""
        number, adapter, failure = str(next(self._numbers)), self._adapter(ask), None
        try:
            output = await self._last_output(ask, number, adapter=adapter, params=params())
        except Exception as error:  # vLLM may raise anything about a request
            failure = self._failure(error)
        finally:
            held = self.counters.take_cached(number, ask.n)
        if failure:  # raised here, not above: vLLM's traceback would keep a dead engine alive
            raise failure()
        return output, held

    async def _last_output(self, ask: Ask, number: str, *, adapter: Any, params: Any) -> Any:
        from vllm.inputs import tokens_input

        stream = self._core.generate(
            tokens_input(list(ask.rendered.ids)),
            params,
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
            said = quiet.failure_reason(self._log) or _one_line(error)
            return partial(EngineError, f"vLLM's engine died ({said})")
        cause = error.__cause__ or error
        # vLLM names the sampling parameter that it refuses: then it is no prompt's own fault, every
        # request of that role would fail, and the run should say so at once.
        kind = EngineError if getattr(cause, "parameter", None) else PromptRefused
        return partial(kind, f"vLLM cannot serve a request ({_one_line(cause)})")


def _one_line(error: BaseException) -> str:
    return str(error).strip().split("\n", 1)[0] or type(error).__name__
