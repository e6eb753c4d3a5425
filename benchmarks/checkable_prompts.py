"""How hard prompts of `spar evolve --checkable` are by their form alone, and whether lm-eval's own scorer passes their witnesses.

    spar evolve --checkable seeds.jsonl --n 2000 --holdout 200 --witnesses --data DATA --out runs/checkable
    python benchmarks/checkable_prompts.py runs/checkable --data DATA

One fixed sentence answers every prompt of the run, and every prompt of IFEval: the share that it passes is what asks for no more
than a short text. The witnesses are scored by `lm_eval.tasks.ifeval`, strictly.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from reporting import run_benchmark

from spar.config import EvalConfig
from spar.eval.ifeval import IFEval
from spar.ifeval_verifiers import checkers
from spar.prompts import read_prompts
from spar.record.run_outcomes import share_stderr
from spar.types import Prompt
from spar.verifiers import passes

SENTENCE = "The answer is that it depends on many things."
FILES = ("prompts.jsonl", "holdout.jsonl")


def main() -> None:
    """Score and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("run", type=Path, help="a run of `spar evolve --checkable --witnesses`")
    parser.add_argument("--data", type=Path, required=True, help="folder with ifeval and nltk_data")
    args = parser.parse_args()
    checkers(str(args.data / "nltk_data"))
    prompts = [prompt for name in FILES for prompt in read_prompts(str(args.run / name))]
    print(f"checkable prompts that the sentence passes: {_passed(prompts)}")
    print(f"IFEval's: {_passed(IFEval().load(EvalConfig(data=str(args.data))))}")
    rows = (args.run / "witnesses.jsonl").read_text(encoding="utf-8").splitlines()
    texts = {row["id"]: row["response"] for row in map(json.loads, rows)}
    won = sum(lm_eval_passes(prompt, texts[prompt.id]) for prompt in prompts)
    print(f"witnesses that lm-eval passes: {won} of {len(prompts)}")


def lm_eval_passes(prompt: Prompt, response: str) -> bool:
    """Whether lm-eval's task scores a response as following every instruction strictly."""
    from lm_eval.tasks.ifeval.utils import process_results

    row = {
        "key": 0,
        "prompt": prompt.messages[-1].content,
        "instruction_id_list": prompt.meta["instruction_id_list"],
        "kwargs": prompt.meta["kwargs"],
    }
    return bool(process_results(row, [response])["prompt_level_strict_acc"])


def _passed(prompts: Sequence[Prompt]) -> str:
    hits = sum(bool(passes(SENTENCE, prompt)) for prompt in prompts)
    share = hits / len(prompts)
    stderr = share_stderr(share, len(prompts))
    error = "" if stderr is None else f" ± {100 * stderr:.1f}"
    return f"{hits} of {len(prompts)} ({100 * share:.1f} %{error})"


if __name__ == "__main__":
    run_benchmark(main)
