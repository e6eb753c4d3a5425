"""Names to code, as literal tables of `module:attribute`, resolved when a name is used.

Adding a strategy, an engine, a judge or a benchmark is a file and a line here; the property and contract tests
run over these tables.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from spar.errors import UsageError

STRATEGIES: Mapping[str, str] = {
    "greedy": "spar.infer.strategies.greedy:greedy",
    "best-of-n": "spar.infer.strategies.best_of_n:best_of_n",
    "iterative": "spar.infer.strategies.iterative:iterative",
    "bfs": "spar.infer.strategies.bfs:bfs",
    "dfs": "spar.infer.strategies.dfs:dfs",
}
"""Strategy name to a `spar.infer.strategy.Strategy`."""

ENGINES: Mapping[str, str] = {
    "hf": "spar.infer.engines.hf:open_hf",
    "vllm": "spar.infer.engines.vllm.engine:open_vllm",
    "openai": "spar.infer.engines.openai.engine:open_openai",
    "ray": "spar.infer.engines.ray.engine:open_ray",
    "fake": "spar.infer.engines.fake:open_fake",
}
"""Engine name to a function `(Deployment, DecodeConfig, Tell) -> Engine` (`spar.infer.engine`)."""

JUDGES: Mapping[str, str] = {
    "votes": "spar.infer.judges:VotesJudge",
    "logprob": "spar.infer.judges:LogprobJudge",
    "verifier": "spar.infer.judges:VerifierJudge",
}
"""Judge name to a class that builds a `spar.infer.judges.Judge`."""


BENCHMARKS: Mapping[str, str] = {
    "ifeval": "spar.eval.ifeval:IFEval",
    "followbench": "spar.eval.followbench.benchmark:FollowBench",
    "llmbar": "spar.eval.llmbar.pointwise:Pointwise",
    "llmbar-pairwise": "spar.eval.llmbar.pairwise:Pairwise",
    "refinement": "spar.eval.refinement:Refinement",
    "nano-if": "spar.eval.nano_if:NanoIF",
    "nano-if-answers": "spar.eval.nano_if:NanoAnswers",
    "gsm8k": "spar.eval.lm_harness.benchmark:gsm8k",
    "mmlu": "spar.eval.lm_harness.benchmark:mmlu",
    "triviaqa": "spar.eval.lm_harness.benchmark:triviaqa",
    "humaneval": "spar.eval.humaneval.benchmark:HumanEval",
}
"""Benchmark name to what makes a `spar.eval.benchmark.Benchmark`, called without arguments. Any other
name may be a task of lm-eval."""


def resolve(table: Mapping[str, str], kind: str, name: str) -> Any:
    """Import what `name` stands for.

    Raises
    ------
    UsageError
        The table has no such name; the message says the closest one and all that are accepted.
    """
    check_name(table, kind, name)
    module, attribute = table[name].split(":")
    return getattr(import_module(module), attribute)


def check_name(table: Mapping[str, Any], kind: str, name: str) -> None:
    """Raise `UsageError` unless `name` is in `table`, without importing anything."""
    if name in table:
        return
    close = difflib.get_close_matches(name, table, n=1, cutoff=0.4)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise UsageError(f"unknown {kind} {name!r}{hint} (accepted: {', '.join(table)})")
