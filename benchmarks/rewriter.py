"""How many of IFEval's failing constraints the refiner `rewrite` fixes, by type.

    python benchmarks/rewriter.py --data DATA --seeds 3
    python benchmarks/rewriter.py --data DATA --run runs/ifeval-greedy/ifeval

Without `--run` every IFEval prompt is given texts that were written for other prompts: the outputs of at least 60 words in
`seed_prompts`, `--texts` (2) of them drawn for each prompt. With `--run` the texts are the first responses of a run
over IFEval. A constraint that its text does not meet counts; it is fixed if it is met after rewriting for all constraints of the
prompt. Printed: failing constraints and fixed ones by type, prompts that pass before and after, the words changed (by difflib)
and the time of a rewriting; with `--seeds N`, how many different texts N seeds give where the first one improved something.
"""

from __future__ import annotations

import argparse
import difflib
import json
import random
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from reporting import run_benchmark

from spar.config import EvalConfig
from spar.eval.ifeval import IFEval
from spar.ifeval_verifiers import checkers
from spar.record.run_outcomes import share_stderr
from spar.rewrite.search import rewrite
from spar.tree_file import read_trees
from spar.types import Prompt
from spar.verifiers import constraints_of

LEAST_WORDS = 60
"""Shorter outputs are no texts to edit."""


def main() -> None:
    """Rewrite and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with ifeval and nltk_data")
    parser.add_argument(
        "--run", type=Path, help="a run over IFEval whose first responses are taken"
    )
    parser.add_argument("--texts", type=int, default=2, help="texts for each prompt, without --run")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=1, help="rewritings of a text, each its seed")
    args = parser.parse_args()
    checkers(str(args.data / "nltk_data"))
    pairs = answered(args.run) if args.run else drawn(args.data, args.texts, args.seed)
    failing, fixed, tried = Counter[str](), Counter[str](), Counter[str]()
    before = after = count = partly = 0
    changed: list[float] = []
    seconds: list[float] = []
    variants = Counter[int]()
    for prompt, response in pairs:
        start = time.perf_counter()
        result = rewrite(prompt, response, seed=args.seed)
        seconds.append(time.perf_counter() - start)
        count += 1
        before += all(result.before)
        after += all(result.after)
        partly += result.improved and not all(result.after)
        if result.improved:
            changed.append(words_changed(response, result.response))
            seeds = range(args.seed + 1, args.seed + args.seeds)
            others = (rewrite(prompt, response, seed=seed).response for seed in seeds)
            variants[len({result.response, *others})] += 1
        for (name, arguments), was, now in zip(
            constraints_of(prompt), result.before, result.after, strict=True
        ):
            relation = next((str(v) for k, v in arguments.items() if k.endswith("relation")), "")
            label = f"`{name}`{f' ({relation})' if relation else ''}"
            tried[label] += 1
            failing[label] += not was
            fixed[label] += now and not was
    print("| constraint | checked | failing | fixed |\n|---|---|---|---|")
    for label in sorted(tried):
        print(
            f"| {label} | {tried[label]} | {failing[label]} | {_share(fixed[label], failing[label])} |"
        )
    total, won = failing.total(), fixed.total()
    print(f"| all | {tried.total()} | {total} | {_share(won, total)} |\n")
    print(
        f"texts: {count}; they pass before: {_share(before, count)}, after: {_share(after, count)}; improved in part: {partly}"
    )
    print(
        f"words changed where something was: median {statistics.median(changed):.0f}, mean {statistics.mean(changed):.0f}"
    )
    print(
        f"seconds for a text: median {statistics.median(seconds):.3f}, longest {max(seconds):.2f}"
    )
    if args.seeds > 1:
        for size in range(1, args.seeds + 1):
            print(
                f"different texts of {args.seeds} seeds: {size}: {_share(variants[size], len(changed))}"
            )


def answered(run: Path) -> Iterator[tuple[Prompt, str]]:
    """Prompts of a run with their first responses."""
    for tree in read_trees(run / "trees.jsonl"):
        if tree.nodes and tree.nodes[0].response.strip():
            yield tree.prompt, tree.nodes[0].response


def drawn(data: Path, texts: int, seed: int) -> Iterator[tuple[Prompt, str]]:
    """IFEval's prompts with texts that were written for other prompts."""
    outputs = []
    for name in ("self_instruct_user_oriented", "self_instruct_seed_tasks"):
        path = data / "seed_prompts" / f"{name}.jsonl"
        for line in path.read_text(encoding="utf-8").splitlines():
            outputs += [instance["output"] for instance in json.loads(line)["instances"]]
    long = [text for text in outputs if len(text.split()) >= LEAST_WORDS]
    rng = random.Random(seed)
    for prompt in IFEval().load(EvalConfig(data=str(data))):
        for text in rng.sample(long, texts):
            yield prompt, text


def words_changed(before: str, after: str) -> int:
    """Words replaced, added or removed."""
    matcher = difflib.SequenceMatcher(None, before.split(), after.split(), autojunk=False)
    codes = matcher.get_opcodes()
    return sum(max(b - a, d - c) for tag, a, b, c, d in codes if tag != "equal")


def _share(hits: int, n: int) -> str:
    if not n:
        return "-"
    share = hits / n
    stderr = share_stderr(share, n)
    error = "" if stderr is None else f" ± {100 * stderr:.0f}"
    return f"{hits} of {n} ({100 * share:.0f} %{error})"


if __name__ == "__main__":
    run_benchmark(main)
