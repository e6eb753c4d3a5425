"""Fixtures of engines that take long to open, in one place so that one of each serves all modules."""

from __future__ import annotations

from tests.infer.fixture_openai import babbling_server, openai_engine
from tests.infer.fixture_ray import ray_engine, ray_module_engine, ray_nodes
from tests.infer.fixture_vllm import (
    tiny_vllm_model,
    vllm_engine,
    vllm_server,
    vllm_session_engine,
)

__all__ = [
    "babbling_server",
    "openai_engine",
    "ray_engine",
    "ray_module_engine",
    "ray_nodes",
    "tiny_vllm_model",
    "vllm_engine",
    "vllm_server",
    "vllm_session_engine",
]
