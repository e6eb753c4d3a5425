"""Answers to learn by imitation: a model's own that pass, and those that were there before the loop."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from spar.errors import UsageError
from spar.record.training_data import Answer, is_encodable
from spar.train.data.pairs import passing_draft, solution
from spar.train.data.selection import sort_key
from spar.types import Message

if TYPE_CHECKING:
    from spar.train.data.scan import BuildSettings, Source


def own_answers(sources: Iterable[Source], settings: BuildSettings) -> list[Answer]:
    """An answer of each prompt that passes, in a seeded order: with `own_answers` its refinement, where there is one; else a draft."""
    answers: dict[str, Answer] = {}
    seed, least, cut = settings.seed, settings.answer_score, settings.cut_drafts
    for source in sources:
        if source.run == "judgements" or (source.run == "search" and not settings.own_answers):
            continue
        for tree in source.trees():
            is_search = source.run == "search"
            node = solution(tree) if is_search else passing_draft(tree, seed, least, cut_drafts=cut)
            if node is None or (tree.prompt.id in answers and not is_search):
                continue
            reply = Message(role="assistant", content=node.response)
            answer = Answer(
                run=source.run,
                prompt_id=tree.prompt.id,
                node=node.id,
                messages=(*tree.prompt.messages, reply),
            )
            if is_encodable(answer):
                answers[tree.prompt.id] = answer
    return mixed(list(answers.values()), settings.seed)


def mixed(answers: Sequence[Answer], seed: int) -> list[Answer]:
    """The answers in an order that depends on the seed and their prompts alone."""
    return sorted(answers, key=lambda answer: sort_key(seed, "answer", answer.prompt_id))


def read_answers(path: Path) -> list[Answer]:
    """The answers in a file of them.

    Raises
    ------
    UsageError
        It cannot be read, or a line is no answer.
    """
    try:
        return [Answer.model_validate_json(line) for line in path.read_bytes().splitlines()]
    except (OSError, ValidationError) as error:
        raise UsageError(
            f"{path} is not a file of answers; rerun the stage that writes it with --rerun-from"
        ) from error
