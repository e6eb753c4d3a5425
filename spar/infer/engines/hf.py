"""The `hf` engine: transformers in process, on CPU or GPU, with continuous batching.

    spar decode prompts.jsonl --engine hf --model DIR

In float32 a seeded request gives the same text whatever else is in its batch, up to a rare near tie; in
bfloat16 rounding depends on the shape of the batch, so seeded texts can differ between runs. Texts are
scored in forward passes of their own, beside that batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import TYPE_CHECKING, Any

from spar.cores import import_torch
from spar.errors import MissingExtra, UsageError, first_line
from spar.hardware import available_memory, has_package
from spar.infer.batcher import Batcher
from spar.infer.engine import (
    Completion,
    Continuation,
    Deployment,
    Likelihood,
    NoteCallback,
    Request,
)
from spar.infer.engines.chat import ChatEncoder, load_tokenizer
from spar.infer.engines.scoring import HfScorer
from spar.pretrained import load_pretrained_model, prepare_model

if TYPE_CHECKING:
    from spar.config import DecodeConfig
    from spar.infer.engines.continuous_batching import TokenBudget

_CPU_BATCH_SIZE, _GPU_BATCH_SIZE = 192, 256
_CACHE_MEMORY_SHARE = 0.6


@dataclass(frozen=True, slots=True)
class HfSettings:
    """How to load and batch a model."""

    dtype: str = "auto"
    """auto (bf16 on a GPU, fp32 on a CPU), bf16 or fp32."""
    device: str = "auto"
    """auto, cpu, or a torch device such as cuda:0."""
    max_batch_size: int = 0
    """Sequences in a batch at most; 0 chooses by device."""


def open_hf(deployment: Deployment, config: DecodeConfig, note: NoteCallback) -> HfEngine:
    """Load a model as configured."""
    if deployment.adapters:
        raise UsageError(
            "--adapter requires --engine vllm; for --engine hf, merge the adapter into its model"
        )
    settings = HfSettings(config.dtype, config.device, config.max_batch_size)
    return HfEngine(deployment.model, settings, note, deployment.chat_template_args)


class HfEngine:
    """A transformers model with continuous batching.

    Parameters
    ----------
    note:
        Takes lines for the user.
    chat_template_args:
        Variables of the chat template that requests will bring.

    Raises
    ------
    MissingExtra
        torch or transformers is not installed.
    UsageError
        The model cannot be loaded, or its chat template cannot render prompts or reads no such variable.
    """

    def __init__(
        self,
        model: str,
        settings: HfSettings = HfSettings(),
        note: NoteCallback = lambda _: None,
        chat_template_args: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        torch = _import_torch()
        from spar.infer.engines.continuous_batching import ContinuousBatch
        from spar.infer.engines.grammar import PACKAGE

        self.model = model
        device, dtype = _placement(torch, settings)
        prepare_model(model, note)
        encoder = ChatEncoder(load_tokenizer(model), note)
        encoder.template.check(model, chat_template_args)
        loaded = load_pretrained_model(model, dtype=dtype)
        loaded.to(device).eval()
        default_size = _CPU_BATCH_SIZE if device.type == "cpu" else _GPU_BATCH_SIZE
        self.capacity = settings.max_batch_size or default_size
        core = ContinuousBatch(
            loaded, encoder.tokenizer, _token_budget(torch, loaded, device), encoder
        )
        self.description = f"{loaded.num_parameters() / 1e6:.1f}M parameters, {device}, {dtype}"
        self.structured_outputs = has_package(PACKAGE)
        self._has_other_states = _has_other_states(loaded)
        self._batcher = Batcher(core, self.capacity)
        self._scorer = HfScorer(loaded, encoder, core.context)

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """One completion per request, in order.

        Raises
        ------
        UsageError
            The model keeps states of another kind than keys and values, such as those of Mamba.
        """
        if self._has_other_states:
            raise UsageError(
                f"--model {self.model}: it keeps states besides keys and values, whose rows the hf engine cannot "
                "batch; use --engine vllm or a server"
            )
        return await self._batcher.submit(requests)

    async def score(self, continuations: Sequence[Continuation]) -> list[Likelihood]:
        """One likelihood per continuation, in order."""
        return await self._scorer.score(continuations)

    async def aclose(self) -> None:
        """Stop the worker threads and free the model."""
        self._scorer.close()
        await self._batcher.aclose()

    @property
    def mean_batch(self) -> float:
        """Mean number of sequences per decoding step so far."""
        return self._batcher.mean_batch

    @property
    def generated_tokens(self) -> int:
        """Tokens generated so far, those of unfinished replies included."""
        return self._batcher.row_steps

    @property
    def prefix_cache(self) -> tuple[int, int]:
        """(0, 0): prompts are shared within a prefill batch only."""
        return 0, 0


def _import_torch() -> Any:
    try:
        torch = import_torch()
        import transformers  # noqa: F401  # to see whether it is installed
    except ImportError as error:
        raise MissingExtra(error.name or "torch", "hf", "the hf engine") from error
    return torch


def _placement(torch: Any, settings: HfSettings) -> tuple[Any, Any]:
    name = settings.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(
            f"--device {name}: not available ({first_line(error)}); use auto, cpu or a torch device such as cuda:0"
        ) from error
    default = "fp32" if device.type == "cpu" else "bf16"
    dtypes = {"bf16": torch.bfloat16, "fp32": torch.float32}
    dtype = default if settings.dtype == "auto" else settings.dtype
    if dtype not in dtypes:
        raise UsageError(f"--dtype {dtype!r} is unknown (accepted: auto, bf16, fp32)")
    return device, dtypes[dtype]


def _has_other_states(model: Any) -> bool:
    """Whether a model keeps more than keys and values, as those with convolutions or state spaces do."""
    from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

    kinds = {type(layer) for layer in DynamicCache(config=model.config).layers}
    takes_cache = "past_key_values" in signature(model.forward).parameters
    return not takes_cache or not kinds <= {DynamicLayer, DynamicSlidingWindowLayer}


def _token_budget(torch: Any, model: Any, device: Any) -> TokenBudget:
    config = model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", config.num_attention_heads)
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    both = 2 * size  # key and value
    if getattr(config, "kv_lora_rank", None):  # latent attention, whose cache here holds every head
        heads = config.num_attention_heads
        both = config.qk_nope_head_dim + config.qk_rope_head_dim + config.v_head_dim
    per_token = config.num_hidden_layers * heads * both * model.dtype.itemsize

    def tokens(free: int, allocated: int = 0) -> int:
        # A share of what would be free without the cache: a share of the rest would take all in the end.
        return int(_CACHE_MEMORY_SHARE * (free / per_token + allocated))

    if device.type == "cuda":
        # torch keeps what it has freed, so the driver's number is right only before the first batch.
        fixed = tokens(torch.cuda.mem_get_info(device)[0])
        return lambda allocated: fixed
    return lambda allocated: tokens(available_memory(), allocated)
