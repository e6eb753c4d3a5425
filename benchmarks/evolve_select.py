"""Time to remove duplicates and benchmark prompts from evolved prompts, and how it grows.

    python benchmarks/evolve_select.py --prompts 40000 --data DIR

Made-up replies: seed prompts of 8 to 60 words, constraints out of common phrases and a few drawn words, one in
twenty a near copy of another. Half of them first, for the growth: comparing all with all would take four times as
long for all, a pass over the texts twice.
"""

from __future__ import annotations

import argparse
import random
import resource
import time
from itertools import accumulate

from reporting import run_benchmark

from spar.evolve.benchmarks import load_benchmark_prompts
from spar.evolve.contamination import BenchmarkIndex
from spar.evolve.reply import TeacherReply
from spar.evolve.select import RequestOutcome, select
from spar.evolve.teacher import requests
from spar.types import Message, Prompt

PHRASES = (
    "Please make sure that the response is written in",
    "Do not use the word",
    "Include the word at least twice:",
    "in no more than forty words and end with the sentence",
    "as if you were speaking to a",
    "Write the whole answer in lower case letters and mention",
)
VOCABULARY = [f"word{number}" for number in range(20_000)]
WEIGHTS = list(accumulate(1 / rank for rank in range(1, len(VOCABULARY) + 1)))
"""Words are drawn as often as in a language: by one over their rank."""


def main() -> None:
    """Make replies, select among half of them and among all, print both times."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--prompts", type=int, default=40_000)
    parser.add_argument(
        "--data", default="", help="the benchmarks' data; else SPAR_DATA or the cache"
    )
    flags = parser.parse_args()
    prompts, absent = load_benchmark_prompts(flags.data)
    began = time.process_time()
    benchmarks = BenchmarkIndex(prompts)
    size = sum(len(one.texts) for one in prompts)
    print(
        f"{size:,} benchmark prompts indexed in {time.process_time() - began:.1f} s; absent: {absent}"
    )
    dice = random.Random(0)
    seeds = [_seed(number, dice) for number in range(flags.prompts)]
    outcomes = _outcomes(seeds, dice)
    taken = {n: _timed(outcomes[:n], seeds[:n], benchmarks) for n in (len(seeds) // 2, len(seeds))}
    half, whole = taken.values()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"all / half: {whole / half:.2f}; {memory:,} MB at most")


def _timed(
    outcomes: list[RequestOutcome], seeds: list[Prompt], benchmarks: BenchmarkIndex
) -> float:
    began = time.process_time()
    selection = select(outcomes, seeds, benchmarks)
    seconds = time.process_time() - began
    print(
        f"{len(outcomes):,} replies and as many seeds: {seconds:.1f} s of one core, {len(selection.selected):,} selected"
    )
    return seconds


def _seed(number: int, dice: random.Random) -> Prompt:
    text = _words(dice.randint(8, 60), dice)
    return Prompt(id=str(number), messages=(Message(role="user", content=text),))


def _outcomes(seeds: list[Prompt], dice: random.Random) -> list[RequestOutcome]:
    texts = [_harder(seed.messages[0].content, dice) for seed in seeds]
    for copy in range(0, len(texts), 20):
        words = texts[dice.randrange(len(texts))].split()
        words[dice.randrange(len(words))] = "other"
        texts[copy] = " ".join(words)
    seed_requests = requests(seeds, 1, 0)
    return [
        RequestOutcome(request, TeacherReply(text, (request.meta["main_constraint"],)))
        for request, text in zip(seed_requests, texts, strict=True)
    ]


def _harder(text: str, dice: random.Random) -> str:
    asks = (
        f"{dice.choice(PHRASES)} {_words(dice.randint(1, 5), dice)}."
        for _ in range(dice.randint(2, 4))
    )
    return f"{text}. {' '.join(asks)}"


def _words(count: int, dice: random.Random) -> str:
    return " ".join(dice.choices(VOCABULARY, cum_weights=WEIGHTS, k=count))


if __name__ == "__main__":
    run_benchmark(main)
