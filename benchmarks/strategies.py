"""How the strategies compare on the embedded model: passes against the number of responses.

    python benchmarks/strategies.py --prompts 200 --out reports

Every strategy at budgets 1, 3, 7, 15 and 31 on the same nano-if test prompts, by the judge's own
verdict and by ground truth, each with its standard error. `--strategies` measures some of them, and `--add` puts other reports'
rows (same prompts and seed) beside them, so that two processes can share the work. Identical requests (all runs share their
first draft, and a small budget is the beginning of a large one) are answered from memory, so each
run is what the driver does, at a fraction of the cost. The paper's shape (branch 3, keep 2, depth 3)
ends after 16 nodes breadth-first and 22 depth-first; at budget 31 the depth is 6 so that the budget
binds. Writes `strategies.json`, `strategies.md` and `strategies.png`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import platform
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spar.config import DecodeConfig, load_decode
from spar.infer.deploy import Engines
from spar.infer.engine import Completion, Engine, Request
from spar.infer.search import Roles, run_search
from spar.infer.setup import open_roles, search_settings
from spar.infer.summary import share_stderr
from spar.nano.tasks import prompts
from spar.nano.verifiers import passes
from spar.types import Prompt, SearchTree

STRATEGIES = ("best-of-n", "iterative", "bfs", "dfs")
BUDGETS = (31, 15, 7, 3, 1)
DEEP = 6
"""Depth at budgets beyond what depth 3 can spend."""


class RememberingEngine:
    """Answers a request that was made before from memory; seeds make that exact."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.model = engine.model
        self.capacity = engine.capacity
        self.description = engine.description
        self.known: dict[Request, asyncio.Future[Completion]] = {}

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """One completion a request, in order."""
        return list(await asyncio.gather(*map(self._one, requests)))

    async def _one(self, request: Request) -> Completion:
        if request not in self.known:
            future = asyncio.get_running_loop().create_future()
            self.known[request] = future
            future.set_result((await self.engine.generate([request]))[0])
        return await asyncio.shield(self.known[request])

    async def aclose(self) -> None:
        """Close the inner engine."""
        await self.engine.aclose()


def settings(strategy: str, budget: int, seed: int) -> DecodeConfig:
    """The recipe of the embedded model at one strategy and budget."""
    depth = DEEP if budget > 15 else None
    return load_decode(
        "nano", {"strategy": strategy, "budget": budget, "depth": depth, "seed": seed}
    )


async def search_all(
    config: DecodeConfig, roles: Roles, tasks: Sequence[Prompt]
) -> list[SearchTree]:
    """One tree a prompt, at most `concurrency` in flight."""
    places = asyncio.Semaphore(config.concurrency)

    async def one(prompt: Prompt) -> SearchTree:
        async with places:
            return await run_search(prompt, roles, search_settings(config, ""))

    return list(await asyncio.gather(*map(one, tasks)))


def row(strategy: str, budget: int, trees: Sequence[SearchTree]) -> dict[str, Any]:
    """The shares and the mean cost of one run."""
    n = len(trees)
    truths = [bool(tree.answer and passes(tree.answer, tree.prompt.meta)) for tree in trees]
    solved = [tree.solved for tree in trees]
    usage = [tree.usage for tree in trees]
    return {
        "strategy": strategy,
        "budget": budget,
        "n": n,
        "judge": sum(solved) / n,
        "judge_stderr": share_stderr(sum(solved) / n, n),
        "truth": sum(truths) / n,
        "truth_stderr": share_stderr(sum(truths) / n, n),
        "nodes": sum(len(tree.nodes) for tree in trees) / n,
        "calls": sum(u.calls for u in usage) / n,
        "tokens": sum(u.completion_tokens for u in usage) / n,
        "faults": sum(len(tree.faults) for tree in trees),
        "truths": [int(truth) for truth in truths],
    }


def gain(after: Sequence[int], before: Sequence[int]) -> tuple[float, float]:
    """Mean paired difference in points, and its standard error."""
    diffs = [100 * (a - b) for a, b in zip(after, before, strict=True)]
    mean = sum(diffs) / len(diffs)
    variance = sum((d - mean) ** 2 for d in diffs) / (len(diffs) - 1)
    return mean, math.sqrt(variance / len(diffs))


async def run(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Every strategy at every budget, largest budget first so that the others come from memory."""
    tasks = list(prompts("test", arguments.prompt_seed, arguments.prompts))
    base = settings("bfs", 15, arguments.seed)
    engines = Engines(base)
    meter = engines.get(base.model)
    meter.engine = RememberingEngine(meter.engine)
    rows = []
    for strategy in arguments.strategies:
        for budget in arguments.budgets:
            start = time.perf_counter()
            config = settings(strategy, budget, arguments.seed)
            trees = await search_all(config, open_roles(config, engines), tasks)
            rows.append(row(strategy, budget, trees))
            shown = {key: value for key, value in rows[-1].items() if key != "truths"}
            print(json.dumps({**shown, "seconds": round(time.perf_counter() - start)}), flush=True)
    await engines.aclose()
    return rows


def table(rows: Sequence[dict[str, Any]], arguments: argparse.Namespace) -> str:
    """The report as Markdown."""
    greedy = next(r for r in rows if r["budget"] == 1)["truths"]
    lines = [
        "# Strategies on the embedded model",
        "",
        f"n = {arguments.prompts} nano-if test prompts (draw {arguments.prompt_seed}), seed {arguments.seed}, five full votes, branch 3, keep 2,",
        f"depth 3 (depth {DEEP} at budget 31). Shares in percent, plus or minus one standard error; the gain is",
        "the paired difference to the greedy draft by ground truth. A given number of nodes, calls and",
        "generated tokens is the mean of one prompt.",
        "",
        f"    {command(arguments)}",
        "",
        f"commit {commit()}, {os.cpu_count()} cores {platform.machine()}",
        "",
        "| strategy | budget | pass by judge | pass by ground truth | gain over greedy | nodes | calls | tokens |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for r in sorted(rows, key=lambda r: (STRATEGIES.index(r["strategy"]), r["budget"])):
        mean, error = gain(r["truths"], greedy)
        lines.append(
            f"| {r['strategy']} | {r['budget']} | {100 * r['judge']:.1f} +- {100 * r['judge_stderr']:.1f} "
            f"| {100 * r['truth']:.1f} +- {100 * r['truth_stderr']:.1f} | {mean:+.1f} +- {error:.1f} "
            f"| {r['nodes']:.1f} | {r['calls']:.1f} | {r['tokens']:,.0f} |"
        )
    return "\n".join(lines) + "\n"


def command(arguments: argparse.Namespace) -> str:
    """The command that made the report."""
    return f"python benchmarks/strategies.py --prompts {arguments.prompts} --prompt-seed {arguments.prompt_seed}"


def commit() -> str:
    """The commit the report was made from."""
    found = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    return found.stdout.strip() or "unknown"


def plot(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Ground truth against budget, one line a strategy (the shape of the paper's Figure 5)."""
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4), dpi=120)
    for strategy in dict.fromkeys(r["strategy"] for r in rows):
        points = sorted((r for r in rows if r["strategy"] == strategy), key=lambda r: r["budget"])
        axes.errorbar(
            [p["budget"] for p in points],
            [100 * p["truth"] for p in points],
            yerr=[100 * p["truth_stderr"] for p in points],
            marker="o",
            capsize=3,
            label=strategy,
        )
    axes.set_xscale("log", base=2)
    axes.set_xticks(sorted(BUDGETS), [str(b) for b in sorted(BUDGETS)])
    axes.set_xlabel("budget: responses a prompt")
    axes.set_ylabel("pass by ground truth, %")
    axes.legend()
    figure.tight_layout()
    figure.savefig(path)


def main() -> None:
    """Run and write the report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--prompt-seed", type=int, default=0, help="which draw of test prompts")
    parser.add_argument("--strategies", nargs="+", default=STRATEGIES, choices=STRATEGIES)
    parser.add_argument("--budgets", nargs="+", type=int, default=BUDGETS)
    parser.add_argument("--out", type=Path, default=Path("reports"))
    parser.add_argument("--name", default="strategies", help="stem of the report's files")
    parser.add_argument("--add", nargs="*", type=Path, default=[], help="reports to put beside")
    arguments = parser.parse_args()
    rows = asyncio.run(run(arguments))
    arguments.out.mkdir(exist_ok=True)
    stem = arguments.out / arguments.name
    rows += [row for path in arguments.add for row in json.loads(path.read_text())]
    stem.with_suffix(".json").write_text("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n")
    stem.with_suffix(".md").write_text(table(rows, arguments))
    plot(rows, stem.with_suffix(".png"))


if __name__ == "__main__":
    main()
