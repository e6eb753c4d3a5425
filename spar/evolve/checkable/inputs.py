"""The seed prompts of checkable prompts: which take constraints, in which order, and which are held out.

Left out are those that are in a benchmark, that demand a form of their own, and near duplicates. The order depends on
their texts and the random seed, not on the file's.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

from spar.errors import UsageError
from spar.evolve.checkable.draw import SEED_PROMPT, Instruction
from spar.evolve.checkable.seeds import use_of
from spar.evolve.checkable.settings import CheckableConfig
from spar.evolve.contamination import BenchmarkIndex
from spar.evolve.near_duplicates import NearDuplicateIndex
from spar.evolve.normalize import words
from spar.evolve.select import source_of, split_seeds
from spar.prompts import read_prompts
from spar.record.checkable import RejectedSeed
from spar.templates import transcript
from spar.types import Prompt


@dataclass(slots=True)
class SeedPrompts:
    """The seed prompts, sorted out."""

    num_read: int
    rejected: list[RejectedSeed] = field(default_factory=list)
    """Those that take no constraints."""
    instructions: list[Instruction] = field(default_factory=list)
    """The others."""
    restricted: Counter[str] = field(default_factory=Counter)
    """What instructions ask for themselves, so that they do not take every type."""
    digest: str = ""
    """A digest of all that were read, in any order."""


def read_seeds(config: CheckableConfig, benchmarks: BenchmarkIndex) -> SeedPrompts:
    """The seed prompts that take constraints, in an order of their own, and why the others do not."""
    prompts = sorted(
        read_prompts(config.prompts, config.limit, prompt_field=config.prompt_field),
        key=lambda p: _order(config, p),
    )
    clean, contaminated = split_seeds(prompts, benchmarks)
    digests = sorted(prompt.digest for prompt in prompts)
    seeds = SeedPrompts(
        len(prompts), digest=blake2b("".join(digests).encode(), digest_size=8).hexdigest()
    )
    whys = {each.id: each.why for each in contaminated}
    seeds.rejected += [
        _rejected(each, "contaminated", whys[each.id]) for each in prompts if each.id in whys
    ]
    texts = [words(transcript(seed.messages)) for seed in clean]
    near, names = NearDuplicateIndex(texts), list[str]()
    weights = config.mix.weights
    for seed, text in zip(clean, texts, strict=True):
        use = use_of(seed)
        if use.skipped:
            seeds.rejected.append(_rejected(seed, use.skipped))
            continue
        match = next(near.matches(text), None)
        if match is not None:
            why = f"similarity {match.similarity:.2f} to {names[match.number]}"
            seeds.rejected.append(_rejected(seed, "near duplicate", why))
            continue
        near.add(text)
        names.append(seed.id)
        seeds.restricted.update(use.restricted)
        types = tuple(each for each in use.types if weights.get(each))
        seeds.instructions.append(Instruction(seed, types, source_of(seed)))
    return seeds


def split(
    instructions: Sequence[Instruction], config: CheckableConfig
) -> tuple[list[Instruction], list[Instruction]]:
    """The instructions for training and those held out; variants of one instruction stay together."""
    groups: dict[str, list[Instruction]] = {}
    for instruction in instructions:
        groups.setdefault(_group(instruction.seed), []).append(instruction)
    share = config.holdout / (config.n + config.holdout)
    count = math.ceil(share * len(groups))
    if count and count == len(groups):
        raise UsageError(
            f"--holdout {config.holdout} leaves no seed prompt for training: only {len(groups)} take constraints"
        )
    parts = list(groups.values())
    flat = ([one for part in half for one in part] for half in (parts[count:], parts[:count]))
    training, held_back = flat
    return training, held_back


def _group(seed: Prompt) -> str:
    """What seed prompts of one instruction have in common: what a teacher evolved them from, else the text."""
    origin = seed.meta.get(SEED_PROMPT)
    if isinstance(origin, str) and origin:
        return origin
    return " ".join(words(seed.messages[-1].content.strip().partition("\n")[0]))


def _order(config: CheckableConfig, prompt: Prompt) -> str:
    turns = [[message.role, message.content] for message in prompt.messages]
    return hashlib.sha256(json.dumps([config.seed, turns]).encode()).hexdigest()


def _rejected(seed: Prompt, reason: str, why: str = "") -> RejectedSeed:
    return RejectedSeed(id=seed.id, reason=reason, why=why, text=seed.messages[-1].content)
