"""`spar decode` with vLLM's own processes, end to end."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from spar.store import read_manifest, read_trees
from tests.cli.test_decode import spar

pytestmark = [pytest.mark.vllm, pytest.mark.model, pytest.mark.slow]

SMALL = ("--engine-arg", "enforce_eager=true", "--engine-arg", f"kv_cache_memory_bytes={1 << 28}")


def test_a_search_runs_on_vllm_and_reports_its_prefix_cache(tmp_path: Path) -> None:
    """Standard output is only the summary, with cached tokens and the hits of the engine's cache."""
    if find_spec("vllm") is None:
        pytest.skip("vLLM is not installed")
    args = ("--engine", "vllm", *SMALL, "--limit", "12", "--vote-rule", "race")
    run = spar("decode", *args, "--out", tmp_path / "run", "--json", check=0)
    summary = json.loads(run.stdout)
    trees = list(read_trees(tmp_path / "run"))
    assert summary["trees"] == len(trees) == 12
    assert summary["passed_after"] >= summary["passed_before"]
    assert 0 < summary["cached_tokens"] < summary["prompt_tokens"]
    (engine,) = summary["engines"].values()
    assert 0 < engine["prefix_hit"] <= engine["prefix_queried"]
    assert summary["aborted_calls"] == sum(tree.usage.aborted_calls for tree in trees) > 0
    assert read_manifest(tmp_path / "run").config["engine"] == "vllm"
