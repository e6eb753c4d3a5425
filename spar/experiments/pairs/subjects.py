"""What Figure 1 is measured on: the embedded model on long texts, or a model of one's own on prompts that programs can check.

A `Subject` says which model all kinds of pairs start from, which prompts train and test it, where drafts come from, how a failing one is
refined, and what of a text was not asked for. The embedded model ends after one or two sentences whatever is asked; it first learns to
write 10 to 20, from a program's drafts whose style varies and that miss some of what is asked. The pairs are made of other drafts
of that program: those of the model, after so short a training, often do not end in time. A model of one's own starts as it is and drafts itself.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from spar.conversations import REPLY
from spar.data_folder import data_root
from spar.embedded import CHECKPOINT
from spar.experiments.experiment import Plan
from spar.experiments.loops.loops import OWN
from spar.experiments.pairs.trainings import run_training
from spar.files import file_digest
from spar.nano.constraint_type import Constraint
from spar.nano.long_texts import (
    Style,
    adjectives_share,
    broken_once,
    half_rewritten,
    in_two_styles,
    long_tasks,
    openings_share,
    repaired,
    write_long,
    write_long_draft,
)
from spar.own_verifiers import count_sentences
from spar.prompts import read_prompts
from spar.record.evaluation import Share
from spar.repetition import is_repetitive
from spar.rewrite.search import rewrite
from spar.train.recipe import load_train
from spar.types import Prompt
from spar.verifiers import constraints_of, passes

TRAIN_FILE, TEST_FILE = "prompts.jsonl", "holdout.jsonl"
"""Files of `spar evolve --checkable --holdout N`, in the folder `figure1` of the data folder."""
RIGHT, WRONG, PLAIN, ADORNED = "right", "wrong", "plain", "adorned"
"""Texts of a test prompt: one that meets it and the same with one constraint violated; two that meet it, in two styles."""
_BATCH = 16
"""Pairs of an optimizer step, at most."""
_EXAMPLES, _QUICK_EXAMPLES = 1920, 384
"""Texts from which the embedded model learns to write long ones. After half as many it does not end them (reports/LOG.md)."""
_START_SEED = 1_000_000
"""Draw of the prompts that the start learns from; the seeds' own are others."""
_SFT: Mapping[str, Any] = {
    "learning_rate": 5e-4,
    "epochs": 1,
    "batch": 32,
    "micro_batch": 32,
    "schedule": "cosine",
    "cutoff": 512,
    "save_dtype": "fp32",
}

Edit = Callable[[Prompt, str, random.Random], str | None]
"""A prompt and a response to another response; None where there is none."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A model, its prompts, and the programs that know its language."""

    recipe: str
    """Recipe whose settings of DPO are used."""
    answering: str | None
    """Recipe of its evaluations, before `settings`; None for none."""
    settings: Mapping[str, Any]
    """Settings of its evaluations."""
    start: Callable[[Plan], Awaitable[str]]
    """Makes the model that all trainings start from."""
    training_prompts: Callable[[Plan, int, int], list[Prompt]]
    """The first prompts of a seed, so many."""
    test_prompts: Callable[[Plan, int], list[Prompt]]
    written_drafts: Callable[[Prompt, int, random.Random], list[str]] | None
    """So many drafts of a prompt by a program; None where the model drafts."""
    refine: Edit
    """A failing response to one that passes, changed as little as needed."""
    rewrite_half: Edit | None
    """A passing response to another one that shares its style and half of its sentences; None where no program can."""
    traits: Mapping[str, Callable[[str], Share]]
    """What of a text was not asked for, by its name on the page."""
    texts: Callable[[Sequence[Prompt]], Iterator[Prompt]]
    """Texts whose likelihood is measured after every training, as replies of prompts with ids such as `ID/right`."""


def subject_of(plan: Plan) -> Subject:
    """What a plan measures."""
    return EMBEDDED if plan.embedded else _real(plan)


def dpo_settings(subject: Subject) -> dict[str, Any]:
    """The recipe's settings of DPO, with batches for long texts; the reference's log-probabilities are computed once."""
    settings = load_train(subject.recipe, {}).dpo
    batch = min(_BATCH, settings["batch"])
    sizes = {"batch": batch, "micro_batch": min(batch, settings["micro_batch"])}
    return {**settings, **sizes, "precompute_reference": True}


def start_examples(plan: Plan) -> int:
    """Texts from which the embedded model learns to write long ones; 0 for a model that starts as it is."""
    if not plan.embedded:
        return 0
    return _QUICK_EXAMPLES if plan.quick else _EXAMPLES


def lacks_prompts(plan: Plan) -> str:
    """Why a model of one's own cannot be measured yet; "" if it can, and for the embedded model."""
    folder = _folder(plan)
    if plan.embedded or all((folder / name).is_file() for name in (TRAIN_FILE, TEST_FILE)):
        return ""
    return (
        f"it needs prompts that programs can check, {TRAIN_FILE} and {TEST_FILE} in {folder}: "
        f"spar evolve --checkable SEEDS --n 600 --holdout 200 --out {folder}"
    )


def prompt_digests(plan: Plan) -> dict[str, str]:
    """File to digest of the prompts of a model of one's own; {} for the embedded model, whose prompts are generated."""
    if plan.embedded:
        return {}
    files = {name: _folder(plan) / name for name in (TRAIN_FILE, TEST_FILE)}
    return {
        f"figure1/{name}": file_digest(file)[:16] for name, file in files.items() if file.is_file()
    }


async def _writer(plan: Plan) -> str:
    """The embedded model after it has learnt to write long texts; the same for all seeds."""
    settings = {**_SFT, "model": str(CHECKPOINT), "seed": 0}
    return await run_training(
        plan.folder("figure1") / "start", "sft", _examples(start_examples(plan)), settings
    )


def _examples(number: int) -> Iterator[dict[str, Any]]:
    rng = random.Random("figure1/start")
    for _, task in islice(long_tasks("train", _START_SEED), number):
        turns = (task.text, write_long_draft(task.constraints, rng))
        roles = zip(("user", "assistant"), turns, strict=True)
        yield {"messages": [{"role": role, "content": text} for role, text in roles]}


def _long_prompts(split: Any, seed: int, number: int) -> list[Prompt]:
    return [task.prompt(name) for name, task in islice(long_tasks(split, seed), number)]


def _constraints(prompt: Prompt) -> tuple[Constraint, ...]:
    return tuple(Constraint(name, arguments) for name, arguments in constraints_of(prompt))


def _long_texts(prompts: Sequence[Prompt]) -> Iterator[Prompt]:
    """Of each prompt a text that meets it and the same broken once, and two texts that differ in style alone."""
    for prompt in prompts:
        constraints, rng = _constraints(prompt), random.Random(f"figure1/{prompt.id}")
        right = write_long(constraints, Style.draw(rng), rng)
        wrong = right and broken_once(right, constraints, rng)
        styles = in_two_styles(constraints, rng)
        if right and wrong and styles:
            texts = {RIGHT: right, WRONG: wrong, PLAIN: styles[0], ADORNED: styles[1]}
            for name, text in texts.items():
                yield Prompt(id=f"{prompt.id}/{name}", messages=prompt.messages, meta={REPLY: text})


EMBEDDED = Subject(
    recipe=OWN,
    answering=OWN,
    settings={"draft": {"temperature": 0.9, "top_p": 0.9, "max_tokens": 320}},
    start=_writer,
    training_prompts=lambda plan, seed, number: _long_prompts("train", seed, number),
    test_prompts=lambda plan, number: _long_prompts("test", 0, number),
    written_drafts=lambda prompt, number, rng: [
        write_long_draft(_constraints(prompt), rng) for _ in range(number)
    ],
    refine=lambda prompt, text, rng: repaired(text, _constraints(prompt), rng),
    rewrite_half=lambda prompt, text, rng: half_rewritten(text, _constraints(prompt), rng),
    traits={
        "adjectives, %": adjectives_share,
        "openings, %": openings_share,
        "sentences": lambda text: (float(count_sentences(text)), 1.0),
    },
    texts=_long_texts,
)


def _real(plan: Plan) -> Subject:
    async def start(_: Plan) -> str:
        return plan.model

    return Subject(
        recipe="smollm2",
        answering=None,
        settings={
            "model": plan.model,
            "draft": {"temperature": 0.9, "top_p": 0.9, "max_tokens": 384},
        },
        start=start,
        training_prompts=lambda plan, seed, number: _drawn(plan, TRAIN_FILE, seed, number),
        test_prompts=lambda plan, number: _drawn(plan, TEST_FILE, 0, number),
        written_drafts=None,
        refine=_rewritten,
        rewrite_half=None,
        traits={
            "words": lambda text: (float(len(text.split())), 1.0),
            "repetitive, %": lambda text: (float(is_repetitive(text)), 1.0),
        },
        texts=lambda prompts: iter(()),
    )


def _drawn(plan: Plan, file: str, seed: int, number: int) -> list[Prompt]:
    prompts = list(read_prompts(_folder(plan) / file))
    random.Random(f"figure1/{seed}").shuffle(prompts)
    return prompts[:number]


def _rewritten(prompt: Prompt, text: str, rng: random.Random) -> str | None:
    refined = rewrite(prompt, text, seed=rng.getrandbits(32)).response
    return refined if passes(refined, prompt) else None


def _folder(plan: Plan) -> Path:
    return data_root(plan.data) / "figure1"
