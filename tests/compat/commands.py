"""The commands whose run directories are stored in `data/`, as the last version was given them.

Every path is relative: the data was made in a directory of its own, and a test resumes it in a copy.
"""

from __future__ import annotations

from collections.abc import Mapping

FAKE = ("--engine", "fake", "--display", "none")

DECODE: Mapping[str, tuple[str, ...]] = {
    **{
        f"{strategy}-4-votes": ("--strategy", strategy, "--budget", "4")
        for strategy in ("greedy", "best-of-n", "iterative", "bfs", "dfs")
    },
    "bfs-4-logprob": ("--judge", "logprob", "--budget", "4"),
    "bfs-4-verifier": ("--judge", "verifier", "--budget", "4", "--limit", "4"),
    "bfs-5-majority": ("--vote-rule", "majority", "--budget", "5"),
    "bfs-7-race": ("--vote-rule", "race", "--budget", "7"),
    "bfs-15-defaults": (),
    "bfs-15-early-stop": ("--stop", "first", "--gate", "0.6", "--max-calls", "30", "--seed", "7"),
}
"""Name to the flags of a decode run of the fake engine over `prompts.jsonl`."""

EMBEDDED = ("decode", "--limit", "3", "--display", "none")
"""A run of the embedded model over built-in prompts."""

TRAIN_SETTINGS = (
    *("prompts_per_iteration=8", "min_pairs=1", "eval.limit=4"),
    *(
        f"{trainer}.{setting}"
        for trainer in ("dpo", "rft")
        for setting in ("batch=4", "micro_batch=4", "epochs=1", "cutoff=256")
    ),
)
"""The recipe's settings that make a loop of the tiny model small."""

TRAIN = (
    *("train", "--engine", "fake", "--model", "tiny", "--iterations", "1", "--display", "plain"),
    *(part for setting in TRAIN_SETTINGS for part in ("--set", setting)),
)
BOOTSTRAP = (
    *("bootstrap", "--engine", "fake", "--teacher-engine", "fake", "--stop-after", "build"),
    *("--set", "num_actor_prompts=4", "--set", "num_refiner_prompts=4", "--display", "plain"),
)
SWEEP = (
    *("sweep", "nano-if", "--limit", "4", "--strategies", "greedy,bfs", "--budgets", "1,3", *FAKE),
)
EVAL: Mapping[str, tuple[str, ...]] = {
    "greedy": ("nano-if", "--limit", "6", *FAKE),
    "bfs": ("nano-if", "--limit", "6", "--strategy", "bfs", "--budget", "3", *FAKE),
    "embedded": (
        "nano-if",
        "--limit",
        "6",
        "--strategy",
        "bfs",
        "--budget",
        "3",
        "--display",
        "none",
    ),
    "responses": ("nano-if-answers", "--limit", "6", "--responses", "responses.jsonl", *FAKE),
    "refinement": (
        *("refinement", "--responses", "failing.jsonl", "--strategy", "iterative", "--budget", "3"),
        *("--grader-model", "grader", "--grader-engine", "fake", *FAKE),
    ),
}
"""Name to the arguments of `spar eval`."""
COMPARE = ("eval", "compare", "--json")
"""Compares the evaluations `greedy` and `embedded`, whose directories follow."""
EXPORTED = "bfs-5-majority"
"""The run of which one tree, and the whole as tables, were exported."""
EVOLVE = ("evolve", "seeds.txt", "--data", "benchmarks", "--display", "none")
"""Without the server's address, which the test gives."""
TWO_PHASE = (
    *("decode", "prompts.jsonl", "--actor-model", "tiny", "--engine", "hf", "--device", "cpu"),
    *("--recipe", "nano", "--budget", "3", "--votes", "3", "--display", "none"),
)
"""Run where two models do not fit side by side: drafts first."""


def decode(name: str, *more: str) -> tuple[str, ...]:
    """The command of a run in `DECODE`."""
    return ("decode", "prompts.jsonl", *DECODE[name], *FAKE, *more)


def evaluate(name: str, *more: str) -> tuple[str, ...]:
    """The command of an evaluation in `EVAL`."""
    return ("eval", *EVAL[name], *more)
