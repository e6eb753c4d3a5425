"""The `vllm` engine: vLLM in process, on GPU and CPU builds alike.

    spar decode prompts.jsonl --engine vllm --engine-arg max_num_seqs=256

vLLM provides continuous batching, the prefix cache, several samples per request and cancellation. spar
renders conversations itself and passes token ids, so that a refine conversation begins with exactly the
tokens of the judge's. With `--engine-arg scheduling_policy=priority` older trees go first.

vLLM runs the model in child processes, from which the main script is hidden (`spar.main_module`): they would
import it again. In float32 a seeded request gives the same text whatever else is
in its batch, up to a rare near tie; in bfloat16 rounding depends on the shape of the batch. With
speculative decoding sampled texts depend on the batch too.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import gc
import itertools
import multiprocessing
import warnings
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeVar

from spar.errors import EngineError, PromptRefused, UsageError, first_line
from spar.infer.engine import (
    Completion,
    Continuation,
    Deployment,
    Likelihood,
    NoteCallback,
    Request,
)
from spar.infer.engines.affinity import Affinity
from spar.infer.engines.chat import ChatEncoder, Rendered
from spar.infer.engines.likelihood import TokenPair, encode, merge_windows
from spar.infer.engines.vllm.args import (
    adapter_requests,
    check_arguments,
    detect_device,
    engine_arguments,
    load_engine_tokenizer,
    speculation_warning,
    structured_outputs_config,
)
from spar.infer.engines.vllm.counters import Counters, stat_logger
from spar.infer.engines.vllm.log_capture import (
    captured,
    failure_reason,
    is_memory_held,
    next_step,
    open_log,
)
from spar.infer.engines.vllm.loop_thread import LoopThread
from spar.infer.engines.vllm.replies import (
    VllmRequest,
    completion,
    growing_reply,
    likelihood,
    make_requests,
    sampling_params,
    scoring_params,
)
from spar.main_module import hidden_main
from spar.subprocesses import end_processes, family

if TYPE_CHECKING:
    from spar.config import DecodeConfig

_SHUTDOWN_TIMEOUT = 2.0
_TASK_CLEANUP_SECONDS = 0.05

T = TypeVar("T")


class _Caller:
    """The event loop that awaits replies, in which callbacks are called until the end of the context."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop, self._is_over = loop, False

    def __enter__(self) -> _Caller:
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over = True

    def bind(self, request: Request) -> Request:
        """The request with a callback that may be called in any thread; as it is where it has none."""
        on_text = request.on_text
        if on_text is None:
            return request

        def show(text: str) -> None:
            if not self._is_over:
                on_text(text)

        def show_soon(text: str) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(show, text)

        return dataclasses.replace(request, on_text=show_soon)


def open_vllm(deployment: Deployment, config: DecodeConfig, note: NoteCallback) -> VllmEngine:
    """Load a model as configured. Blocks for half a minute or more."""
    return VllmEngine(deployment, config, note)


class VllmEngine:
    """vLLM's asynchronous engine, in its own event loop.

    Raises
    ------
    MissingExtra
        vLLM is not installed.
    UsageError
        vLLM cannot load the model or an adapter, or the model has no chat template.
    EngineError
        Another process holds the memory that the model needs.
    """

    def __init__(
        self, deployment: Deployment, config: DecodeConfig, note: NoteCallback = lambda _: None
    ) -> None:
        self.model = deployment.model
        self.structured_outputs = True
        self.counters = Counters()
        """Statistics of vLLM's scheduler."""
        self._request_ids = itertools.count()
        self._running: set[asyncio.Future[Any]] = set()
        self._affinity: Affinity[int] = Affinity()
        self._ranks: Counter[int] = Counter({0: 0})
        """Data-parallel rank to the samples that it works on."""
        self._closed = False
        self._log = open_log()
        self._loop = LoopThread("spar-vllm")
        try:
            with captured(self._log):
                device = self._open(deployment, config, note)
        except BaseException:
            self._release()
            raise
        if warning := speculation_warning(config, on_cpu=device == "cpu"):
            note(warning)

    def _open(self, deployment: Deployment, config: DecodeConfig, note: NoteCallback) -> str:
        """Load the model; returns the device type."""
        device = detect_device(config.device)
        arguments = engine_arguments(deployment, config, on_cpu=device == "cpu")
        self._encoder = ChatEncoder(load_engine_tokenizer(arguments), note)
        self._encoder.template.check(deployment.model, deployment.chat_template_args)
        before = set(multiprocessing.active_children())
        with hidden_main():  # vLLM's processes need nothing of the script that uses spar
            self._core = self._load(arguments)
        self._children = set(multiprocessing.active_children()) - before
        import vllm

        settings = self._core.vllm_config
        num_ranks = int(settings.parallel_config.data_parallel_size)
        self.capacity = num_ranks * int(settings.scheduler_config.max_num_seqs)
        self.block_size = int(settings.cache_config.block_size)
        """Tokens per block of the prefix cache."""
        self._context = int(settings.model_config.max_model_len)
        self._finds_thinking = bool(settings.structured_outputs_config.reasoning_parser)
        self._use_priority = settings.scheduler_config.policy == "priority"
        dtype = str(settings.model_config.dtype).removeprefix("torch.")
        self.description = f"vLLM {vllm.__version__}, {device}, {dtype}"
        self._adapters = adapter_requests(deployment.adapters)
        self._ranks = Counter(dict.fromkeys(range(num_ranks), 0))
        return device

    def _load(self, arguments: Mapping[str, Any]) -> Any:
        from vllm import AsyncEngineArgs
        from vllm.usage.usage_lib import UsageContext
        from vllm.v1.engine.async_llm import AsyncLLM

        check_arguments(arguments, {field.name for field in dataclasses.fields(AsyncEngineArgs)})
        loggers = [stat_logger(self.counters)]
        try:
            structured = structured_outputs_config(arguments)
            args = AsyncEngineArgs(**{**arguments, "structured_outputs_config": structured})
            # Of this context vLLM knows how many sequences and tokens a step suit the GPU; of the
            # default one it does not, and would run 128 sequences on any.
            context = UsageContext.LLM_CLASS
            load = partial(AsyncLLM.from_engine_args, args, usage_context=context)
            return self._loop.call(partial(load, stat_loggers=loggers))
        except Exception as error:  # vLLM may raise anything for what it cannot load
            reason = failure_reason(self._log) or first_line(error)
        # Raised here, not above: vLLM's traceback would keep alive what was built so far.
        gc.collect()
        # Memory that others hold may be free soon: a replica on a cluster tries again.
        kind = EngineError if is_memory_held(reason) else UsageError
        raise kind(f"--model {self.model}: vLLM cannot load it ({reason}); {next_step(reason)}")

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """One completion per request, in order."""
        if self._closed:
            raise EngineError("the engine is closed")
        with _Caller(asyncio.get_running_loop()) as caller:
            bound = [caller.bind(request) for request in requests]
            return await self._loop.run(self._generate(bound)) if bound else []

    async def score(self, continuations: Sequence[Continuation]) -> list[Likelihood]:
        """One likelihood per continuation, in order.

        vLLM accepts no prompt as long as its context, so an over-long text is read with two tokens fewer
        than by transformers.

        Raises
        ------
        UsageError
            Adapters are loaded.
        """
        if self._closed:
            raise EngineError("the engine is closed")
        if self._adapters:  # vLLM 0.32 crashes on prompt logprobs with LoRA
            raise UsageError(
                "--adapter: vLLM cannot compute log-likelihoods while adapters are loaded; "
                "merge the adapter into its model"
            )
        windows = await asyncio.to_thread(self._encode, continuations)
        pairs = list(chain.from_iterable(windows))
        likelihoods = await self._loop.run(self._score(pairs)) if pairs else []
        return merge_windows(windows, likelihoods)

    async def aclose(self) -> None:
        """Stop vLLM's processes and free the model; running requests fail."""
        if not self._closed:
            self._closed = True
            try:
                await self._loop.run(self._shutdown())
            finally:
                await asyncio.to_thread(self._release)

    async def reset_prefix_cache(self) -> None:
        """Clear the prefix cache, for measurements."""
        await self._loop.run(self._core.reset_prefix_cache())

    @property
    def prefix_cache(self) -> tuple[int, int]:
        """Prompt tokens looked up in vLLM's prefix cache so far, and hits."""
        return self.counters.queried, self.counters.hits

    @property
    def mean_batch(self) -> float:
        """Mean tokens per step so far; without speculative decoding, the mean number of sequences."""
        return self.counters.tokens / self.counters.steps if self.counters.steps else 0.0

    @property
    def generated_tokens(self) -> int:
        """Tokens generated so far, those of unfinished replies included."""
        return self.counters.tokens

    @property
    def num_unfinished(self) -> int:
        """Samples that vLLM still works on."""
        return 0 if self._closed else int(self._core.get_num_unfinished_requests())

    async def _shutdown(self) -> None:
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        with warnings.catch_warnings(action="ignore"):  # about sockets that vLLM leaves open
            # The memory of the GPU is free when all of them have exited, the workers too.
            processes = family(child.pid for child in self._children if child.pid)
            # In vLLM's own loop: its tasks must not take the end of its processes for a failure.
            try:
                self._core.shutdown(_SHUTDOWN_TIMEOUT)
            finally:
                end_processes(processes, _SHUTDOWN_TIMEOUT)
            self._core = None
            await asyncio.sleep(_TASK_CLEANUP_SECONDS)  # cancelled tasks still refer to it
            gc.collect()

    def _release(self) -> None:
        self._loop.stop()
        if self._log is not None:
            self._log.close()

    def _encode(self, continuations: Sequence[Continuation]) -> list[list[TokenPair]]:
        return [encode(each, self._encoder, self._context - 1) for each in continuations]

    async def _generate(self, requests: Sequence[Request]) -> list[Completion]:
        made = make_requests(requests, self._encoder, self._context)
        samples = await self._gather([self._sample(request) for request in made])
        return list(chain.from_iterable(samples))

    async def _score(self, pairs: Sequence[TokenPair]) -> list[Likelihood]:
        return await self._gather([self._score_pair(pair) for pair in pairs])

    async def _gather(self, parts: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
        """Run all at once; closing the engine, a failure or cancelling cancels them."""
        tasks = [asyncio.ensure_future(part) for part in parts]
        self._running.update(tasks)
        try:
            return await asyncio.gather(*tasks)
        except asyncio.CancelledError:
            if self._closed:
                raise EngineError("the engine was closed") from None
            raise
        finally:
            for task in tasks:
                task.cancel()
            self._running.difference_update(tasks)

    async def _sample(self, request: VllmRequest) -> list[Completion]:
        params = partial(
            sampling_params, request, self._encoder, finds_thinking=self._finds_thinking
        )
        output, cached = await self._run(request, params)
        return [
            completion(request, sample, encoder=self._encoder, cached_tokens=num_cached)
            for sample, num_cached in zip(output.outputs, cached, strict=True)
        ]

    async def _score_pair(self, pair: TokenPair) -> Likelihood:
        request = VllmRequest(Request((), tree=0), 1, Rendered(pair.ids), room=1)
        output, _ = await self._run(request, scoring_params)
        return likelihood(pair, output.prompt_logprobs)

    async def _run(self, request: VllmRequest, params: Callable[[], Any]) -> tuple[Any, list[int]]:
        """vLLM's final output, and the cached tokens of its samples."""
        from vllm.inputs import tokens_input

        adapter, make_error = request.request.adapter, None
        if adapter and adapter not in self._adapters:
            raise EngineError(f"the adapter {adapter!r} was not opened with the engine")
        request_id = str(next(self._request_ids))
        # vLLM's own balance would spread a tree over the ranks, each of which has its own prefix cache.
        rank = self._affinity.pick(request.request.tree, self._ranks)
        self._ranks[rank] += request.n
        try:
            stream = self._core.generate(
                tokens_input(list(request.rendered.ids)),
                params(),
                request_id,
                lora_request=self._adapters.get(adapter),
                priority=request.request.tree if self._use_priority else 0,
                data_parallel_rank=rank if len(self._ranks) > 1 else None,
            )
            growing, output = growing_reply(request, self._encoder), None
            async for output in stream:
                if growing is not None:
                    growing.add(output.outputs[0].token_ids)
            await self.counters.await_cached(request_id, request.n)
        except Exception as error:  # vLLM may raise anything for a request
            make_error = self._classify(error)
        finally:
            self._ranks[rank] -= request.n
            cached = self.counters.take_cached(request_id, request.n)
        if make_error:  # raised here, not above: vLLM's traceback would keep a dead engine alive
            raise make_error()
        return output, cached

    def _classify(self, error: Exception) -> Callable[[], EngineError]:
        """The error to raise for one of vLLM's, as a function without a reference to it."""
        if self._core.errored:
            reason = failure_reason(self._log) or first_line(error)
            return partial(EngineError, f"vLLM's engine died ({reason})")
        cause = error.__cause__ or error
        # vLLM names the sampling parameter that it refuses. Then it is not this prompt's fault: every
        # request of that role would fail, so the run ends.
        kind = EngineError if getattr(cause, "parameter", None) else PromptRefused
        return partial(kind, f"vLLM cannot serve a request ({first_line(cause)})")
