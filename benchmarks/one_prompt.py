"""One prompt on an engine that is all latency: the search takes as long as its longest chain of calls.

    python benchmarks/one_prompt.py --json

BFS, budget 15, five votes, and a judge that never passes: a draft and its votes, then three waves of
refinements and theirs, 8 calls one after the other. The same calls without any concurrency, each
response's votes still together, are 30. Both are printed as ratios to the latency of one call. `--depth 2 --branching 5` is
a tree of as many responses whose chain has 6.

    python benchmarks/one_prompt.py --varied 60

Replies of varied length (log-normal, mean 1, as in schedule_ratio.py), so many prompts one after the other, each alone
on the engine, in virtual time: for each vote rule without and with early refining, the mean length of the chain in
mean replies, with the standard error over prompts, and the calls.
"""

from __future__ import annotations

import asyncio
import math
import statistics
from functools import partial
from typing import Any, get_args

from reporting import run_benchmark
from schedule_ratio import configuration
from searching import parser, plain_prompts, print_json, print_machine, run, search
from simulated import SimulatedEngine, SimulatedHardware

from spar.config import load_decode
from spar.infer.early import EarlyRefine
from spar.infer.engine import Request
from spar.infer.engines.fake import FakeEngine, scripted_reply
from spar.infer.votes import VOTE_RULES
from spar.types import Usage


def never_passing(request: Request) -> str:
    """The scripted reply with every verdict turned to No."""
    return scripted_reply(request).replace("Judgement: Yes", "Judgement: No")


async def measure(latency: float, depth: int, branching: int) -> tuple[float, float, int, int]:
    """Seconds of the search, seconds of its calls one by one, how many calls these are, and the tree's responses."""
    engine = FakeEngine(never_passing, latency=latency)
    config = load_decode("nano", {"engine": "fake", "depth": depth, "branching": branching})
    searched = await search(config, plain_prompts(1), engine)
    clock = asyncio.get_running_loop().time
    start = clock()
    for requests in searched.calls:
        await engine.generate(requests)
    return searched.seconds, clock() - start, len(searched.calls), searched.summary.nodes


async def measure_varied(rule: str, early_refine: str, num_prompts: int) -> dict[str, Any]:
    """The chain of calls of a prompt in mean replies, and what a prompt costs; a token takes a hundredth."""
    hardware = SimulatedHardware(base_seconds=0.01, row_seconds=0.0)
    chains, spent = [], Usage()
    for prompt in plain_prompts(num_prompts):
        engine = SimulatedEngine(hardware, reply=never_passing)
        searched = await search(configuration("fake", rule, early_refine), [prompt], engine)
        await engine.aclose()
        chains.append(searched.seconds)
        spent += searched.summary.usage
    return {
        "vote_rule": rule,
        "early_refine": early_refine,
        "prompts": num_prompts,
        "steps": round(statistics.mean(chains), 2),
        "stderr": round(statistics.stdev(chains) / math.sqrt(num_prompts), 2),
        "calls": spent.calls / num_prompts,
        "aborted_calls": spent.aborted_calls / num_prompts,
        "tokens": spent.completion_tokens / num_prompts,
    }


def print_varied(num_prompts: int) -> None:
    """Measure every vote rule and print a line for each."""
    for rule in VOTE_RULES:
        for early in get_args(EarlyRefine):
            row = run(partial(measure_varied, rule, early, num_prompts), virtual=True)
            print(
                f"{rule}, early refining {early}: {row['steps']} ± {row['stderr']} steps, {row['calls']:.1f} calls, "
                f"{row['aborted_calls']:.1f} aborted, {row['tokens']:,.0f} tokens",
                flush=True,
            )


def main() -> None:
    """Measure and print."""
    made = parser(__doc__)
    made.add_argument("--latency", type=float, default=0.5, help="seconds of one call")
    made.add_argument("--clock", choices=("real", "virtual"), default="real")
    made.add_argument(
        "--varied", type=int, metavar="N", help="measure N prompts with replies of varied length"
    )
    made.add_argument("--depth", type=int, default=3)
    made.add_argument("--branching", type=int, default=3)
    args = made.parse_args()
    if args.varied:
        print_varied(args.varied)
        return
    seconds, alone, calls, nodes = run(
        lambda: measure(args.latency, args.depth, args.branching), virtual=args.clock == "virtual"
    )
    steps, sequential = seconds / args.latency, alone / args.latency
    chain = 2 * (args.depth + 1)  # a draft and its votes, then refinements and theirs at each depth
    print_machine()
    print(
        f"search: {steps:.2f} steps of {args.latency} s, {nodes} responses; longest chain: {chain}"
    )
    print(f"ratio to the longest chain: {steps / chain:.3f}")
    print(
        f"its {calls} calls one by one: {sequential:.2f} steps; {sequential / steps:.2f} times as long"
    )
    if args.json:
        row = {"engine": "fake", "latency": args.latency, "steps": steps, "ratio": steps / chain}
        print_json([{**row, "sequential_steps": sequential, "clock": args.clock}])


if __name__ == "__main__":
    run_benchmark(main)
