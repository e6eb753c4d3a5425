"""The data set `seed_prompts`: plain prompts of people, most of them with the reply that a person wrote.

    {"instruction": "Shorten this.", "instances": [{"input": "It rains.", "output": "Rain."}], ...}   self-instruct
    {"question_id": 81, "turns": ["Compose a travel blog post ...", "Rewrite your ..."]}              MT-bench

A task of self-instruct is its instruction and its first input, joined by a blank line; a question of MT-bench is its
first turn. Prompts carry a reply as `output`, as every row with one does (`spar.conversations`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from spar.conversations import REPLY
from spar.eval.datasets.local import open_data
from spar.types import Message, Prompt

NAME = "seed_prompts"


def seed_prompts(data: str = "") -> Iterator[Prompt]:
    """The prompts, with ids such as `seed_task_0`.

    Parameters
    ----------
    data:
        As `spar.eval.datasets.local.open_data` takes it.

    Raises
    ------
    UsageError
        The data set is missing or damaged.
    """
    folder = open_data(NAME, data)
    for name, prompt_of in _FILES.items():
        for row in folder.jsonl(name):
            yield prompt_of(row)


def _task(row: Mapping[str, Any]) -> Prompt:
    first = row["instances"][0]
    text = "\n\n".join(filter(None, (row["instruction"], first["input"])))
    return _prompt(str(row["id"]), text, "self-instruct", {REPLY: first["output"]})


def _question(row: Mapping[str, Any]) -> Prompt:
    return _prompt(f"mt-bench-{row['question_id']}", row["turns"][0], "mt-bench", {})


def _prompt(id_: str, text: str, source: str, meta: dict[str, Any]) -> Prompt:
    message = Message(role="user", content=text)
    return Prompt(id=id_, messages=(message,), source=source, meta=meta)


_FILES: Mapping[str, Callable[[Mapping[str, Any]], Prompt]] = {
    "self_instruct_seed_tasks.jsonl": _task,
    "self_instruct_user_oriented.jsonl": _task,
    "mt_bench_question.jsonl": _question,
}
"""File to what makes a prompt of a row of it."""
