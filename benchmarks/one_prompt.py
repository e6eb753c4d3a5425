"""One prompt on an engine that is all latency: the search takes as long as its longest chain of calls.

    python benchmarks/one_prompt.py --json

BFS, budget 15, five votes, and a judge that never passes: a draft and its votes, then three waves of
refinements and theirs, 8 calls one after the other. The same calls without any concurrency, each
response's votes still together, are 30. Both are printed as ratios to the latency of one call.
"""

from __future__ import annotations

import asyncio

from searching import parser, plain_prompts, print_json, print_machine, run, search

from spar.config import load_decode
from spar.infer.engine import Request
from spar.infer.engines.fake import FakeEngine, scripted_reply

STEPS = 8
"""Draft, votes, and three times refinements, votes."""


def never_passing(request: Request) -> str:
    """The scripted reply with every verdict turned to No."""
    return scripted_reply(request).replace("Judgement: Yes", "Judgement: No")


async def measure(latency: float) -> tuple[float, float, int]:
    """Seconds of the search, seconds of its calls one by one, and how many calls these are."""
    engine = FakeEngine(never_passing, latency=latency)
    config = load_decode("nano", {"engine": "fake"})
    searched = await search(config, plain_prompts(1), engine)
    clock = asyncio.get_running_loop().time
    start = clock()
    for requests in searched.calls:
        await engine.generate(requests)
    return searched.seconds, clock() - start, len(searched.calls)


def main() -> None:
    """Measure and print."""
    made = parser(__doc__)
    made.add_argument("--latency", type=float, default=0.5, help="seconds of one call")
    made.add_argument("--clock", choices=("real", "virtual"), default="real")
    args = made.parse_args()
    seconds, alone, calls = run(lambda: measure(args.latency), virtual=args.clock == "virtual")
    steps, sequential = seconds / args.latency, alone / args.latency
    print_machine()
    print(f"search: {steps:.2f} steps of {args.latency} s; longest chain: {STEPS}")
    print(f"ratio to the longest chain: {steps / STEPS:.3f}")
    print(
        f"its {calls} calls one by one: {sequential:.2f} steps; {sequential / steps:.2f} times as long"
    )
    if args.json:
        row = {"engine": "fake", "latency": args.latency, "steps": steps, "ratio": steps / STEPS}
        print_json([{**row, "sequential_steps": sequential, "clock": args.clock}])


if __name__ == "__main__":
    main()
