"""Refined against independent pairs on real text (the paper's Figures 1 and 4): same prompts, same rejected side.

    spar evolve --checkable SEEDS --n 1200 --holdout 300 --out P
    python benchmarks/refined_pairs.py --prompts P/prompts.jsonl --holdout P/holdout.jsonl --reference TASKS.jsonl
    python benchmarks/refined_pairs.py --report reports/refined_pairs.md

The prompts' constraints can be checked by programs; the held-out ones are made of other instructions (without
`--holdout`, so many are drawn from the file, with all prompts of an instruction on one side). Each training
prompt gets `--samples` drafts. A prompt counts if it has a failing draft that the rewriter can make pass and
another draft that passes by itself, all of `--words` words. Its two pairs share the failing draft: the refined one
prefers its rewrite, the independent one the other draft (`--drafts` takes the drafts of runs, such as a loop's, in
place of new ones). A small model rarely passes by itself: with `--independent rewritten` the other draft is rewritten too
where it fails, so the chosen sides of both arms are the same program's. So both arms have the same prompts, rejected sides, number
and steps. Each arm is trained with each learning rate and seed by spar's DPO stage (TRL, `--sft-weight` 0.1), and each model
answers the held-out prompts and IFEval greedily and reads texts that nobody trained on (`--reference`, outputs
of seed tasks). At the end every model reads the start's failing held-out answers and their rewrites: by how much it has come to
prefer the rewrite. A cell is a process of its own, `--workers` at a time; what is on disk is not measured again.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ifeval_sample import ShuffledIFEval
from refined_pairs_page import (
    ARMS,
    CURVES,
    CUT,
    INDEPENDENT,
    INSTRUCTIONS,
    LOSS,
    MARGIN,
    PASSING,
    REFINED,
    REWRITTEN,
    START,
    STRICT,
    WORDS,
    page,
)
from reporting import (
    by_id,
    engine_settings,
    facts,
    parser,
    read_result,
    run_benchmark,
    write_result,
)

import spar
from spar.eval.ifeval import FOUR
from spar.eval.repetition import REPETITIVE
from spar.files import replace_json
from spar.ifeval_verifiers import check
from spar.infer.engine import Continuation, Likelihood
from spar.infer.engines.hf import HfEngine, HfSettings
from spar.prompts import read_prompts
from spar.record.evaluation import Share
from spar.record.training import read_metrics
from spar.record.training_data import Pair
from spar.repetition import is_repetitive
from spar.rewrite.search import rewrite
from spar.train.data.export import export
from spar.train.data.measure import measure_pairs
from spar.train.launch import launch
from spar.train.settings import LaunchSettings
from spar.types import Message, Node, Prompt, SearchTree

_POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Cell:
    """One model to measure."""

    arm: str
    rate: str = ""
    """Learning rate, as on the command line; "" for the start."""
    seed: int = 0

    @property
    def name(self) -> str:
        """The name of its folder."""
        return self.arm if self.arm == START else f"{self.arm}-{self.rate}-{self.seed}"


def main() -> None:
    """Measure what is missing, or write the page."""
    args = _parser().parse_args()
    if args.report:
        page(read_result(args.out), args.report)
        return
    cells = [Cell(START)] + [
        Cell(arm, rate, seed)
        for seed in map(int, args.seeds.split(","))
        for rate in args.rates.split(",")
        for arm in ARMS
    ]
    if args.cell:
        run_cell(args, next(cell for cell in cells if cell.name == args.cell))
        return
    train, held_out = split(args)
    counts = build(args, train)
    names = (
        *("samples", "words", "independent", "max_tokens"),
        *("epochs", "batch", "micro_batch", "sft_weight"),
    )
    result = {
        "facts": facts(args),
        "prompts": {"train": len(train), "held_out": len(held_out), **counts},
        "settings": {name: getattr(args, name) for name in names},
    }
    done: list[dict[str, Any]] = []
    for done in run_all(args, cells):
        write_result(
            args.out, {**result, "cells": done}
        )  # so far, for a machine that is taken away
    margins = [
        {**cell, MARGIN: _margins(args, each)} for cell, each in zip(done, cells, strict=True)
    ]
    write_result(args.out, {**result, "cells": margins})
    print(f"wrote {args.out}")


def _parser() -> argparse.ArgumentParser:
    made = parser(__doc__, "runs/refined-pairs", engines=True)
    made.add_argument("--prompts", type=Path, help="checkable prompts, JSON lines")
    made.add_argument(
        "--reference", type=Path, nargs="*", default=[], help="seed tasks with outputs"
    )
    made.add_argument(
        "--drafts", type=Path, nargs="*", help="runs with drafts, in place of --prompts"
    )
    made.add_argument(
        "--independent",
        choices=(PASSING, REWRITTEN),
        default=PASSING,
        help="the other draft passes by itself, or is rewritten where it fails",
    )
    made.add_argument("--holdout", type=Path, help="held-out prompts; else drawn from --prompts")
    made.add_argument("--held-out", type=int, default=300, help="prompts that are not trained on")
    made.add_argument("--samples", type=int, default=6, help="drafts of a training prompt")
    made.add_argument("--words", default="100,300", help="words of a response, from and to")
    made.add_argument("--max-tokens", type=int, default=512, help="new tokens of a draft")
    made.add_argument("--max-pairs", type=int, default=1000)
    made.add_argument("--rates", default="5e-6,2e-5", help="learning rates")
    made.add_argument("--seeds", default="0,1", help="of the trainings: order of the pairs")
    made.add_argument("--epochs", type=float, default=3)
    made.add_argument("--batch", type=int, default=32)
    made.add_argument("--micro-batch", type=int, default=8)
    made.add_argument(
        "--sft-weight", type=float, default=0.1, help="of the SFT loss on the chosen side"
    )
    made.add_argument("--ifeval-limit", type=int, help="only so many prompts of IFEval")
    made.add_argument("--ifeval-tokens", type=int, default=1280)
    made.add_argument("--split-seed", type=int, default=0, help="of the split and of the pairs")
    made.add_argument("--dtype", default="fp32", choices=("fp32", "bf16"), help="of the answers")
    made.add_argument("--workers", type=int, default=1, help="cells at a time")
    made.add_argument("--cell", default="", help="measure this one; used by the script itself")
    return made


def split(args: argparse.Namespace) -> tuple[list[Prompt], list[Prompt]]:
    """Training and held-out prompts; no instruction has prompts among both."""
    prompts = (
        [tree.prompt for tree in _stored_drafts(args)][: args.limit]
        if args.drafts
        else list(read_prompts(args.prompts, limit=args.limit))
    )
    random.Random(args.split_seed).shuffle(prompts)
    if args.holdout:
        return prompts, list(read_prompts(args.holdout, limit=args.held_out))
    groups: dict[str, list[Prompt]] = {}
    for prompt in prompts:
        groups.setdefault(prompt.meta.get("seed_prompt", prompt.id), []).append(prompt)
    train: list[Prompt] = []
    held_out: list[Prompt] = []
    for group in groups.values():
        (train if len(held_out) >= args.held_out else held_out).extend(group)
    return train, held_out


def build(args: argparse.Namespace, prompts: Sequence[Prompt]) -> dict[str, Any]:
    """Draft, rewrite, and write both arms' pairs; returns counts and measures."""
    counts_file = args.out / "pairs.json"
    if counts_file.is_file():
        counts: dict[str, Any] = json.loads(counts_file.read_text(encoding="utf-8"))
        return counts
    start = time.monotonic()
    trees = _drafts(args, prompts)
    pairs: dict[str, list[Pair]] = {arm: [] for arm in ARMS}
    seen = {"drafts": 0, "passing": 0, "rewritten": 0, "tried": 0}
    for tree in trees:
        made = _pairs(tree, args, seen)
        if made is not None and len(pairs[REFINED]) < args.max_pairs:
            for arm in ARMS:
                pairs[arm].append(made[arm])
    if not pairs[REFINED]:
        raise SystemExit(f"no prompt has both pairs ({seen}): more prompts, --samples, or --words")
    for arm in ARMS:
        (args.out / arm).mkdir(parents=True, exist_ok=True)
        export("trl", args.out / arm, pairs=pairs[arm], examples=[])
    counts = {
        **seen,
        "pairs": len(pairs[REFINED]),
        "draft_seconds": round(time.monotonic() - start, 1),
        "measures": {arm: measure_pairs(pairs[arm]).model_dump() for arm in ARMS},
        "words": {
            "rejected": statistics.fmean(_num_words(pair.rejected) for pair in pairs[REFINED]),
            **{
                arm: statistics.fmean(_num_words(pair.chosen) for pair in pairs[arm])
                for arm in ARMS
            },
        },
    }
    replace_json(counts_file, counts)
    return counts


def _drafts(args: argparse.Namespace, prompts: Sequence[Prompt]) -> Iterable[SearchTree]:
    """A tree of drafts for every training prompt: new ones, or those of the run that is named."""
    if args.drafts:
        ids = {prompt.id for prompt in prompts}
        return (tree for tree in _stored_drafts(args) if tree.prompt.id in ids)
    return spar.decode(
        prompts,
        out=args.out / "drafts",
        strategy="best-of-n",
        budget=args.samples,
        judge="verifier",
        greedy_first=False,
        seed=args.split_seed,
        draft={"temperature": 0.9, "top_p": 0.9, "max_tokens": args.max_tokens},
        **_engine(args, args.model),
    )


def _stored_drafts(args: argparse.Namespace) -> Iterator[SearchTree]:
    for run in args.drafts:
        yield from spar.read_trees(run)


def _pairs(
    tree: SearchTree, args: argparse.Namespace, seen: dict[str, int]
) -> dict[str, Pair] | None:
    """The two pairs of a prompt, which share their rejected side; None where it has not both."""
    low, high = map(int, args.words.split(","))
    drafts = tree.children(None)
    truths = {node.id: _passes(tree.prompt, node.response) for node in drafts}
    seen["drafts"] += len(truths)
    seen["passing"] += sum(truths.values())
    fitting = [node for node in drafts if low <= _num_words(node.response) <= high]
    rng = random.Random(f"{args.split_seed}|{tree.prompt.id}")
    rng.shuffle(fitting)
    rewritten: dict[int, str | None] = {}

    def passing_text(node: Node) -> str | None:
        """A draft's response if it passes, else its rewrite if that does and has as many words as are wanted."""
        if truths[node.id]:
            return node.response
        if node.id not in rewritten:
            seen["tried"] += 1
            text = rewrite(tree.prompt, node.response, seed=rng.getrandbits(32)).response
            fits = _passes(tree.prompt, text) and low <= _num_words(text) <= high
            seen["rewritten"] += fits
            rewritten[node.id] = text if fits else None
        return rewritten[node.id]

    others = [node for node in fitting if args.independent == REWRITTEN or truths[node.id]]
    for node in (node for node in fitting if others and not truths[node.id]):
        if (refined := passing_text(node)) is None:
            continue
        for other in (other for other in others if other is not node):
            if (independent := passing_text(other)) is not None:
                return {
                    REFINED: _pair(tree, node, refined, node.id),
                    INDEPENDENT: _pair(tree, node, independent, other.id),
                }
    return None


def _pair(tree: SearchTree, rejected: Node, chosen: str, chosen_id: int) -> Pair:
    return Pair(
        run="drafts",
        prompt_id=tree.prompt.id,
        chosen_node=chosen_id,
        rejected_node=rejected.id,
        prompt=tree.prompt.messages,
        chosen=chosen,
        rejected=rejected.response,
    )


def run_all(args: argparse.Namespace, cells: Sequence[Cell]) -> Iterator[list[dict[str, Any]]]:
    """Run every cell that is not done in a process of its own, some at a time; the done ones after each."""
    files = {cell: _folder(args, cell.name) / "cell.json" for cell in cells}
    waiting = [cell.name for cell in cells if not files[cell].is_file()]
    running: dict[str, subprocess.Popen[bytes]] = {}
    while True:
        yield [
            {
                "arm": cell.arm,
                "rate": cell.rate,
                "seed": cell.seed,
                **json.loads(path.read_text(encoding="utf-8")),
            }
            for cell, path in files.items()
            if path.is_file()
        ]
        if not waiting and not running:
            return
        while waiting and len(running) < args.workers:
            name = waiting.pop(0)
            _folder(args, name).mkdir(parents=True, exist_ok=True)
            with (_folder(args, name) / "log.txt").open("ab") as log:
                words = [sys.executable, *sys.argv, "--cell", name]
                running[name] = subprocess.Popen(words, stdout=log, stderr=log)
        while not (ended := [name for name in running if running[name].poll() is not None]):
            time.sleep(_POLL_SECONDS)
        for name in ended:
            if running.pop(name).returncode:
                for other in running.values():
                    other.terminate()
                raise SystemExit(f"{name} failed: see {_folder(args, name) / 'log.txt'}")
            print(f"{name} is done", flush=True)


def run_cell(args: argparse.Namespace, cell: Cell) -> None:
    """Train a model, unless it is the start, and measure it."""
    folder = _folder(args, cell.name)
    model = args.model
    result: dict[str, Any] = {}
    if cell.arm != START:
        model, result = _train(args, cell, folder)
    _, held_out = split(args)
    tree_list = spar.decode(
        held_out,
        out=folder / "held-out",
        strategy="greedy",
        draft={"temperature": 0.9, "top_p": 0.9, "max_tokens": args.max_tokens},
        **_engine(args, model),
    )
    evaluation = spar.evaluate(
        ShuffledIFEval,
        out=folder,
        limit=args.ifeval_limit,
        draft={"temperature": 0.9, "top_p": 0.9, "max_tokens": args.ifeval_tokens},
        offline=True,
        **_engine(args, model),
    )
    replace_json(
        folder / "cell.json",
        {
            **result,
            "held_out": {
                tree.prompt.id: _scores(tree.prompt, tree.answer or "", tree, args)
                for tree in tree_list
            },
            "ifeval": by_id(evaluation.examples, (*FOUR, REPETITIVE)),
            "reference": asyncio.run(_losses(args, model)),
        },
    )


def _train(args: argparse.Namespace, cell: Cell, folder: Path) -> tuple[str, dict[str, Any]]:
    order = {
        "model": args.model,
        "data": str(args.out / cell.arm / "dpo.jsonl"),
        "out": str(folder / "dpo"),
        "learning_rate": float(cell.rate),
        "epochs": args.epochs,
        "batch": args.batch,
        "micro_batch": args.micro_batch,
        "sft_weight": args.sft_weight,
        "seed": cell.seed,
        "device": "cpu" if args.device == "cpu" else "auto",
        "checkpoint_steps": 0,
    }
    report = folder / "dpo" / "report.json"
    if not report.is_file():
        replace_json(folder / "dpo.order.json", order)
        one = LaunchSettings(processes=1)
        launch("dpo", folder / "dpo.order.json", one, folder / "dpo.log")
    curve = [
        [row.step, {name: row.values.get(name) for name in ("loss", *CURVES)}]
        for row in read_metrics(folder / "dpo")
    ]
    trained = json.loads(report.read_text(encoding="utf-8"))
    return str(folder / "dpo" / "model"), {"curve": curve, "seconds": trained["seconds"]}


def _scores(
    prompt: Prompt, answer: str, tree: SearchTree, args: argparse.Namespace
) -> dict[str, Share]:
    """What is measured of one greedy answer."""
    met = _met(prompt, answer)
    return {
        STRICT: (float(all(met)), 1.0),
        INSTRUCTIONS: (float(sum(met)), float(len(met))),
        WORDS: (float(_num_words(answer)), 1.0),
        CUT: (float(tree.usage.completion_tokens >= args.max_tokens), 1.0),
        REPETITIVE: (float(is_repetitive(answer)), 1.0),
    }


def _margins(args: argparse.Namespace, cell: Cell) -> dict[str, dict[str, Share]]:
    """By how many nats a model prefers the rewrite of a failing held-out answer of the start to that answer, by prompt."""
    file = _folder(args, cell.name) / "margins.json"
    if not file.is_file():
        asks = []
        for tree in spar.read_trees(_folder(args, START) / "held-out"):
            answer = tree.answer or ""
            seed = random.Random(tree.prompt.id).getrandbits(32)
            text = rewrite(tree.prompt, answer, seed=seed).response
            if not _passes(tree.prompt, answer) and _passes(tree.prompt, text):
                asks.append((tree.prompt, text, answer))
        model = args.model if cell.arm == START else str(_folder(args, cell.name) / "dpo" / "model")
        found = asyncio.run(
            _likelihoods(args, model, [(p.messages, t) for p, *texts in asks for t in texts])
        )
        pairs = zip(asks, found[::2], found[1::2], strict=True)
        replace_json(
            file,
            {
                prompt.id: {MARGIN: (good.logprob - bad.logprob, 1.0)}
                for (prompt, _, _), good, bad in pairs
            },
        )
    margins: dict[str, dict[str, Share]] = json.loads(file.read_text(encoding="utf-8"))
    return margins


async def _losses(args: argparse.Namespace, model: str) -> dict[str, dict[str, Share]]:
    """Negative log-likelihood, in nats, and tokens of every reference text."""
    texts = list(_reference(args.reference))
    if not texts:
        return {}
    found = await _likelihoods(args, model, texts)
    return {
        str(number): {LOSS: (-each.logprob, float(each.tokens))}
        for number, each in enumerate(found)
    }


async def _likelihoods(
    args: argparse.Namespace, model: str, texts: Sequence[tuple[tuple[Message, ...], str]]
) -> Sequence[Likelihood]:
    engine = HfEngine(model, HfSettings(dtype=args.dtype, device=args.device))
    found = await engine.score([Continuation(turns, text) for turns, text in texts])
    await engine.aclose()
    return found


def _reference(paths: Iterable[Path]) -> Iterator[tuple[tuple[Message, ...], str]]:
    """Instruction and output of self-instruct's seed tasks, where the output has 20 words or more and both
    have at most 300."""
    for path in paths:
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            first = row["instances"][0]
            asked = "\n\n".join(filter(None, [row["instruction"], first["input"]]))
            words = _num_words(first["output"])
            if 20 <= words <= 300 and _num_words(asked) <= 300:
                yield (Message(role="user", content=asked),), first["output"]


def _met(prompt: Prompt, response: str) -> list[bool]:
    ids, kwargs = prompt.meta["instruction_id_list"], prompt.meta["kwargs"]
    text = prompt.messages[-1].content
    checked = check(response, ids, kwargs, seed=prompt.id, prompt=text, loosely=False)
    return [each.strict for each in checked]


def _passes(prompt: Prompt, response: str) -> bool:
    return all(_met(prompt, response))


def _engine(args: argparse.Namespace, model: str) -> dict[str, Any]:
    return {"model": model, **engine_settings(args)}


def _folder(args: argparse.Namespace, name: str) -> Path:
    out: Path = args.out
    return out / "cells" / name


def _num_words(text: str) -> int:
    return len(text.split())


if __name__ == "__main__":
    run_benchmark(main)
