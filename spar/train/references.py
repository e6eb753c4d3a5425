"""Replies that came with the prompts, which pairs of SPIN prefer to the model's own (arXiv 2401.01335).

A prompt whose row ends with the assistant's turn, or has a field `output`, has one (`spar.conversations`). For others it
is in a second file, by the prompt's id: the texts of `spar evolve --checkable --witnesses`, or a teacher's. nano-if's
prompts get a text from the program that knows their language (`spar.nano.writer.solve`).
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping

from spar.conversations import REPLY
from spar.errors import UsageError
from spar.nano.constraint_type import Constraint
from spar.nano.tasks import SOURCE
from spar.nano.writer import solve
from spar.rows.read import read_rows
from spar.types import Prompt

_TRIES = 100
"""Texts of nano-if that are tried; most prompts need one."""


def with_references(prompts: Iterable[Prompt], file: str = "") -> Iterator[Prompt]:
    """The prompts, each with its reply in the field `output` of its meta.

    Parameters
    ----------
    file:
        A file of replies with the fields `id` and `response`, for prompts without one; "" for none.

    Raises
    ------
    UsageError
        A prompt has no reply, or a row of the file is not one.
    """
    replies = _read(file) if file else {}
    for prompt in prompts:
        reply = reply_of(prompt) or replies.get(prompt.id, "") or _solution(prompt)
        if not reply.strip():
            raise UsageError(
                f"prompt {prompt.id!r} has no reply of its own, which pairs=reference prefers to the model's; accepted: rows "
                "whose last turn is the assistant's or with a field 'output', or --set references=FILE with the fields 'id' "
                f"and 'response'{f' ({file} has none for it)' if file else ''}"
            )
        yield prompt.model_copy(update={"meta": {**prompt.meta, REPLY: reply}})


def reply_of(prompt: Prompt) -> str:
    """The reply that a prompt has of its own; "" where it has none."""
    own = prompt.meta.get(REPLY)
    return own if isinstance(own, str) and own.strip() else ""


def _read(file: str) -> Mapping[str, str]:
    replies = {}
    for row in read_rows(file):
        name, reply = row.values.get("id"), row.values.get("response")
        if not isinstance(name, str | int) or not isinstance(reply, str):
            raise UsageError(f"{row.where}: expected the fields 'id' and 'response', a text")
        replies[str(name)] = reply
    return replies


def _solution(prompt: Prompt) -> str:
    """A text that meets the constraints of a prompt of nano-if; "" for other prompts."""
    if prompt.source != SOURCE:
        return ""
    pairs = zip(prompt.meta["instruction_id_list"], prompt.meta["kwargs"], strict=True)
    constraints = tuple(Constraint(name, kwargs) for name, kwargs in pairs)
    rng = random.Random(f"reference/{prompt.id}")
    return next(filter(None, (solve(constraints, rng) for _ in range(_TRIES))), "") or ""
