"""Fixtures of engines that take long to open, in one place so that one of each serves all modules."""

from __future__ import annotations

from tests.infer.fixture_openai import babbling_server, openai_engine
from tests.infer.fixture_ray import ray_engine, ray_module_engine, ray_nodes

__all__ = [
    "babbling_server",
    "openai_engine",
    "ray_engine",
    "ray_module_engine",
    "ray_nodes",
]
