"""Scaling of a run: 1 to 10,000 prompts on the simulated engine, each size in a process of its own.

    python benchmarks/scale.py --json

BFS, budget 15, five votes, 256 slots, lengths of 20 tokens in the mean, in real time. Prints for each
size the wall time of a prompt, trees a second, peak memory, and the ratio of each to the size before.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time

from reporting import run_benchmark
from searching import parser, plain_prompts, print_json, print_machine, run, search
from simulated import SimulatedEngine, SimulatedHardware

from spar.config import load_decode

SIZES = (1, 10, 100, 1_000, 10_000)
HARDWARE = SimulatedHardware(slots=256, mean_tokens=20)


async def measure(num_prompts: int) -> dict[str, float]:
    """Wall seconds, own processor seconds and peak memory of one size."""
    engine, config = SimulatedEngine(HARDWARE), load_decode("nano", {"engine": "fake"})
    busy = time.process_time()
    searched = await search(config, plain_prompts(num_prompts), engine, keep=False)
    busy = time.process_time() - busy
    await engine.aclose()
    return {
        "prompts": num_prompts,
        "seconds": searched.seconds,
        "seconds_per_prompt": searched.seconds / num_prompts,
        "trees_per_second": num_prompts / searched.seconds,
        "processor_seconds": busy,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "calls": searched.summary.usage.calls,
        "mean_batch": engine.mean_batch,
    }


def main() -> None:
    """Measure and print."""
    made = parser(__doc__)
    made.add_argument("--sizes", type=int, nargs="*", default=SIZES)
    made.add_argument("--clock", choices=("real", "virtual"), default="real")
    made.add_argument("--only", type=int, help="measure one size in this process")
    args = made.parse_args()
    if args.only:
        print(json.dumps(run(lambda: measure(args.only), virtual=args.clock == "virtual")))
        return
    print_machine()
    rows = []
    for size in args.sizes:
        command = [sys.executable, __file__, "--only", str(size), "--clock", args.clock]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        rows.append({"engine": "simulated", "clock": args.clock, **json.loads(output)})
        row, before = rows[-1], rows[-2] if len(rows) > 1 else rows[-1]
        slower = row["seconds_per_prompt"] / before["seconds_per_prompt"]
        larger = row["peak_mb"] / before["peak_mb"]
        print(
            f"{size:>6} prompts: {1e3 * row['seconds_per_prompt']:.1f} ms a prompt "
            f"(ratio {slower:.2f}), {row['trees_per_second']:.1f} trees/s, "
            f"{row['peak_mb']:.0f} MB (ratio {larger:.2f})",
            flush=True,
        )
    if args.json:
        print_json(rows)


if __name__ == "__main__":
    run_benchmark(main)
