"""Cost of the search's dependencies: its wall time over that of the same requests as one flat batch.

    python benchmarks/schedule_ratio.py --engine simulated --json
    python benchmarks/schedule_ratio.py --engine vllm --prompts 256 --repeats 3 --json

BFS, budget 15, five votes. The search runs by `decode`; its requests with five
full votes are then sent again as one call to the same engine, with an empty prefix cache each time. A
ratio of 1 means that no slot was idle because of the search. `majority` and `race` are compared with the
flat batch of full votes. With `--engine simulated`, 541 prompts at 256 and at 1,024 slots: a decoding
step takes 7.5 ms and 18 microseconds a running request, lengths are log-normal with mean 100; in real
time unless `--clock virtual`. `--early-refine off auto` measures each rule without and with early refining. `--repeats` takes the median of so many pairs, each in one process.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import Any

from reporting import run_benchmark
from searching import (
    Searched,
    parser,
    plain_prompts,
    print_json,
    print_machine,
    replay,
    run,
    search,
)
from simulated import SimulatedEngine, SimulatedHardware

from spar.config import DecodeConfig, load_decode
from spar.infer.engine import Engine
from spar.nano.tasks import prompts as nano_prompts
from spar.plugins import ENGINES
from spar.run.resolve import deployments
from spar.types import Prompt

Rule = tuple[str, str]
"""`--vote-rule` and `--early-refine`."""
Rules = list[Rule]
SIMULATED_PROMPTS, REAL_PROMPTS = 541, 256
SLOTS = (256, 1024)


def configuration(engine: str, rule: str, early_refine: str = "off") -> DecodeConfig:
    """BFS, budget 15, five votes, by the embedded model's recipe."""
    settings = {"vote_rule": rule, "early_refine": early_refine, "speculative_decoding": "off"}
    return load_decode("nano", {"engine": engine, **settings})


async def pairs(
    engine: Engine, name: str, prompts: Iterable[Prompt], rules: Rules, repeats: int
) -> list[tuple[Rule, float, float, Searched]]:
    """Rule, search seconds, flat seconds and the search, `repeats` times each rule."""
    chosen, runs = list(prompts), []
    for _ in range(repeats):
        await reset_cache(engine)
        full = await search(configuration(name, "full"), chosen, engine)
        requests = [replace(request, tree=0) for call in full.calls for request in call]
        await reset_cache(engine)
        flat = await replay(engine, requests)
        for rule in rules:
            searched = full
            if rule != ("full", "off"):
                await reset_cache(engine)
                searched = await search(configuration(name, *rule), chosen, engine)
            runs.append((rule, searched.seconds, flat, searched))
            print(f"  {' '.join(rule)}: {searched.seconds:.1f} s, flat {flat:.1f} s", flush=True)
    return runs


async def reset_cache(engine: Engine) -> None:
    """Empty the engine's prefix cache, if it has one."""
    reset = getattr(engine, "reset_prefix_cache", None)
    if reset is not None:
        await reset()


def rows(runs: list[tuple[Rule, float, float, Searched]], **facts: Any) -> list[dict[str, Any]]:
    """One row a vote rule, with and without early refining: the median of its ratios, and all of them."""
    table = []
    for rule in dict.fromkeys(rule for rule, *_ in runs):
        times = [(seconds, flat) for r, seconds, flat, _ in runs if r == rule]
        usage = next(searched.summary.usage for r, _, _, searched in runs if r == rule)
        ratios = [seconds / flat for seconds, flat in times]
        table.append(
            {
                **facts,
                "vote_rule": rule[0],
                "early_refine": rule[1],
                "ratio": round(statistics.median(ratios), 4),
                "ratios": [round(ratio, 4) for ratio in ratios],
                "seconds": [round(seconds, 2) for seconds, _ in times],
                "flat_seconds": [round(flat, 2) for _, flat in times],
                "calls": usage.calls,
                "skipped_calls": usage.skipped_calls,
                "aborted_calls": usage.aborted_calls,
            }
        )
    return table


async def simulated(slots: int, num_prompts: int, rules: Rules, repeats: int) -> Any:
    """Pairs on a simulated engine."""
    engine = SimulatedEngine(SimulatedHardware(slots=slots))
    try:
        return await pairs(engine, "fake", plain_prompts(num_prompts), rules, repeats)
    finally:
        await engine.aclose()


async def real(name: str, num_prompts: int, rules: Rules, repeats: int) -> tuple[int, Any]:
    """Slots and pairs on the embedded model, after a few prompts to warm it up."""
    config = configuration(name, "full")
    opener = ENGINES.spec(name).open
    engine: Engine = await asyncio.to_thread(
        opener, deployments(config)["actor"], config, lambda line: print(line, flush=True)
    )
    try:
        await search(config, nano_prompts("validation", limit=8), engine)
        prompts = nano_prompts("test", limit=num_prompts)
        return engine.capacity, await pairs(engine, name, prompts, rules, repeats)
    finally:
        await engine.aclose()


def main() -> None:
    """Measure and print."""
    flags = parser(__doc__)
    flags.add_argument("--engine", choices=("simulated", "vllm", "hf"), default="simulated")
    flags.add_argument("--prompts", type=int)
    flags.add_argument(
        "--slots", type=int, nargs="*", default=SLOTS, help="of the simulated engine"
    )
    flags.add_argument("--rules", nargs="*", default=["full", "majority"])
    flags.add_argument("--early-refine", nargs="*", choices=("off", "auto"), default=["off"])
    flags.add_argument("--repeats", type=int, default=1)
    flags.add_argument("--clock", choices=("real", "virtual"), default="real")
    args = flags.parse_args()
    rules = [(rule, early) for rule in args.rules for early in args.early_refine]
    print_machine()
    table: list[dict[str, Any]] = []
    if args.engine == "simulated":
        num_prompts = args.prompts or SIMULATED_PROMPTS
        for slots in args.slots:
            virtual = args.clock == "virtual"
            measured = run(
                partial(simulated, slots, num_prompts, rules, args.repeats), virtual=virtual
            )
            facts = {"engine": "simulated", "slots": slots, "prompts": num_prompts}
            table += rows(measured, **facts, clock=args.clock)
    else:
        num_prompts = args.prompts or REAL_PROMPTS
        slots, measured = run(
            lambda: real(args.engine, num_prompts, rules, args.repeats), virtual=False
        )
        table = rows(measured, engine=args.engine, slots=slots, prompts=num_prompts)
    for row in table:
        shown = ", ".join(
            f"{key} {row[key]}"
            for key in ("engine", "slots", "prompts", "vote_rule", "early_refine")
        )
        print(
            f"{shown}: ratio {row['ratio']:.3f} (of {len(row['ratios'])}), {row['calls']:,} calls"
        )
    if args.json:
        print_json(table)


if __name__ == "__main__":
    run_benchmark(main)
