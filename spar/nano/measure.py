"""Measure the embedded model in its three roles by ground truth.

    python -m spar.nano.measure spar/nano/checkpoint --split validation --prompts 200

Drafts: share that meets every constraint, greedy and sampled. Judge: agreement with the verifiers on
those drafts, one vote and the majority of five. Refiner: share of failing, rejected drafts whose
single sampled refinement passes. Each with its standard error.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from spar.infer.engine import Engine, Sampling
from spar.infer.engines.hf import HfEngine
from spar.infer.judges import JudgeSettings, VotesJudge
from spar.infer.roles import Actor, AttemptFailed, Refiner
from spar.infer.seeds import derive
from spar.nano.tasks import Split, prompts
from spar.record.run_outcomes import share_stderr
from spar.templates import load
from spar.types import Judgement, Node, Prompt
from spar.verifiers import passes

DRAFT = Sampling(temperature=0.9, top_p=0.9, max_tokens=128)
VOTE = Sampling(temperature=0.7, max_tokens=256)
REFINE = Sampling(temperature=0.7, max_tokens=256)


@dataclass(frozen=True, slots=True)
class Share:
    """A share of successes with its standard error."""

    hits: float
    n: int

    def __str__(self) -> str:
        if not self.n:
            return "none measured"
        share = self.hits / self.n
        error = share_stderr(share, self.n)
        shown = "" if error is None else f" ± {100 * error:.1f}"
        return f"{100 * share:.1f} %{shown} (n={self.n})"


async def measure(
    engine: Engine, split: Split, num_prompts: int, seed: int = 0
) -> dict[str, Share]:
    """All measurements on the first prompts of a split."""
    tasks = list(prompts(split, seed, num_prompts))
    greedy = await _drafts(engine, tasks, seed, greedy=True)
    sampled = await _drafts(engine, tasks, seed, greedy=False)
    drafts = [*zip(tasks, greedy, strict=True), *zip(tasks, sampled, strict=True)]
    judgements = await asyncio.gather(*(_judge(engine, p, text, seed) for p, text in drafts))
    truths = [bool(passes(text, prompt)) for prompt, text in drafts]
    return {
        "greedy drafts pass": _share(truths[: len(tasks)]),
        "sampled drafts pass (0.9)": _share(truths[len(tasks) :]),
        **_judge_facts(judgements, truths),
        **await _refine_facts(engine, drafts, judgements, truths, seed),
    }


async def _drafts(engine: Engine, tasks: Sequence[Prompt], seed: int, *, greedy: bool) -> list[str]:
    actor = Actor(engine, DRAFT, greedy_first=greedy)

    async def draft(prompt: Prompt) -> str:
        try:
            return (
                await actor.draft(prompt, 0, partial(derive, seed, prompt.id, "measure"))
            ).response
        except AttemptFailed as error:
            return error.text

    return list(await asyncio.gather(*map(draft, tasks)))


async def _judge(engine: Engine, prompt: Prompt, text: str, seed: int) -> Judgement | None:
    judge = VotesJudge(JudgeSettings(engine, VOTE, load()))
    try:
        return (await judge.judge(prompt, text, partial(derive, seed, prompt.id, text)))[0]
    except AttemptFailed:
        return None


def _judge_facts(
    judgements: Sequence[Judgement | None], truths: Sequence[bool]
) -> dict[str, Share]:
    pairs = [(j, truth) for j, truth in zip(judgements, truths, strict=True) if j]
    votes = [(v, truth) for j, truth in pairs for v in j.verdicts]
    return {
        "one vote right": _share([vote is truth for vote, truth in votes]),
        "majority of five right": _share([j.passed(0.5) is truth for j, truth in pairs]),
        "majority right on passing": _share([j.passed(0.5) for j, truth in pairs if truth]),
        "majority right on failing": _share([not j.passed(0.5) for j, truth in pairs if not truth]),
        "votes parsed": _share([vote is not None for vote, _ in votes]),
    }


async def _refine_facts(
    engine: Engine,
    drafts: Sequence[tuple[Prompt, str]],
    judgements: Sequence[Judgement | None],
    truths: Sequence[bool],
    seed: int,
) -> dict[str, Share]:
    refiner = Refiner(engine, REFINE, load())

    async def refined(prompt: Prompt, text: str, judgement: Judgement) -> bool:
        node = Node(id=0, parent=None, depth=0, response=text, judgement=judgement)
        seeds = partial(derive, seed, prompt.id, text, "refine")
        try:
            refinement = await refiner.refine(prompt, node, seeds)
        except AttemptFailed:
            return False
        return bool(passes(refinement.response, prompt))

    failing = [
        refined(prompt, text, j)
        for (prompt, text), j, truth in zip(drafts, judgements, truths, strict=True)
        if j and not truth and not j.passed(0.5)
    ]
    return {"refinements of failing drafts pass": _share(await asyncio.gather(*failing))}


def _share(flags: Sequence[bool]) -> Share:
    return Share(sum(flags), len(flags))


async def _main(arguments: argparse.Namespace) -> None:
    engine = HfEngine(arguments.model)
    facts = await measure(engine, arguments.split, arguments.prompts, arguments.seed)
    await engine.aclose()
    for name, share in facts.items():
        print(f"{name}: {share}")
    print(json.dumps({name: share.hits / share.n for name, share in facts.items() if share.n}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("model")
    parser.add_argument("--split", choices=("validation", "test"), default="validation")
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    asyncio.run(_main(parser.parse_args()))
