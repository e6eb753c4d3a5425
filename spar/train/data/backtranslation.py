"""Seed conversations both ways round, unlabelled texts, and the pairs that a backward model makes of them.

A text of `texts.jsonl` is a prompt whose conversation asks for the instruction that the text answers, and which holds the text
itself in the field `output` of its meta; what the backward model replies is that instruction.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import islice
from pathlib import Path

from spar.conversations import REPLY
from spar.errors import UsageError
from spar.nano.tasks import prompts as nano_prompts
from spar.prompts import read_prompts
from spar.record.training_data import Answer, is_encodable
from spar.rows.read import read_texts
from spar.store import read_trees
from spar.templates import read_template, render, transcript
from spar.train.backtranslation import BacktranslationSettings, TextsSpec
from spar.train.data.export import write_lines
from spar.train.references import with_references
from spar.train.stage_runner import write_prompts
from spar.types import Message, Prompt

SOURCE = "backtranslation"
"""The source of prompts whose instruction a model wrote."""
TEXT = "text"
"""The field of a row with a text."""
SEEDS_SEED, TEXTS_SEED = 2, 3
"""Seeds of nano-if's prompts that the program's conversations and texts belong to: `spar train` uses 0, a bootstrap 1."""


def write_texts(spec: TextsSpec) -> tuple[int, int]:
    """Write the files of a stage; returns the number of texts and of seed conversations.

    Raises
    ------
    UsageError
        A file is missing, a row has no text, or a seed conversation no reply.
    """
    spec.folder.mkdir(parents=True, exist_ok=True)
    texts = list(islice(_texts(spec), spec.num_texts))
    if not texts:
        raise UsageError(f"backtranslation.texts={spec.texts}: the file holds no text")
    write_prompts(spec.prompts, (_asking(text, number) for number, text in enumerate(texts)))
    seeds = [
        each for each in map(_seed, islice(_seeds(spec), spec.num_seeds)) if is_encodable(each)
    ]
    if not seeds:
        raise UsageError(f"backtranslation.seeds={spec.seeds}: the file holds no conversation")
    write_lines(spec.backward, (_turned_round(seed).model_dump() for seed in seeds))
    write_lines(spec.answers, (seed.model_dump() for seed in seeds))
    return len(texts), len(seeds)


def labelled_prompts(run: Path) -> Iterator[Prompt]:
    """The instruction that the backward model wrote for each text, with the text as the prompt's own reply."""
    for tree in sorted(read_trees(run), key=lambda tree: tree.prompt.id):
        instruction = (tree.answer or "").strip()
        if instruction:
            yield Prompt(
                id=tree.prompt.id,
                messages=(Message(role="user", content=instruction),),
                source=SOURCE,
                meta={REPLY: tree.prompt.meta[REPLY]},
            )


def read_input(settings: BacktranslationSettings) -> Iterator[object]:
    """The texts and seed conversations of the files; raises `UsageError` where one is missing or malformed."""
    if settings.texts:
        yield from read_texts(settings.texts, TEXT)
    if settings.seeds:
        yield from with_references(read_prompts(settings.seeds))


def _texts(spec: TextsSpec) -> Iterator[str]:
    if not spec.texts:
        for prompt in with_references(nano_prompts("train", TEXTS_SEED, spec.num_texts)):
            yield prompt.meta[REPLY]
        return
    yield from read_texts(spec.texts, TEXT)


def _seeds(spec: TextsSpec) -> Iterator[Prompt]:
    if spec.seeds:
        return with_references(read_prompts(spec.seeds))
    return with_references(nano_prompts("train", SEEDS_SEED, spec.num_seeds))


def _seed(prompt: Prompt) -> Answer:
    reply = Message(role="assistant", content=prompt.meta[REPLY])
    return Answer(run="seeds", prompt_id=prompt.id, node=0, messages=(*prompt.messages, reply))


def _turned_round(seed: Answer) -> Answer:
    *prompt, reply = seed.messages
    instruction = Message(role="assistant", content=transcript(prompt))
    return seed.model_copy(update={"messages": (_request(reply.content), instruction)})


def _asking(text: str, number: int) -> Prompt:
    return Prompt(
        id=f"text-{number}", messages=(_request(text),), source=SOURCE, meta={REPLY: text}
    )


def _request(text: str) -> Message:
    """What the backward model is asked about a text."""
    return Message(role="user", content=render(_template(), response=text))


@cache
def _template() -> str:
    return read_template("backward", ("response",))
