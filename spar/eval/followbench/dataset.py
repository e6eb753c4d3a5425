"""FollowBench's rows as prompts: 820 instructions, 470 of them for a judge."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from spar.errors import UsageError
from spar.eval.datasets.local import DataFolder
from spar.eval.followbench.metrics import FILES, LEVELS
from spar.eval.followbench.rules import EXAMPLE, JUDGE, read_list, rule_of
from spar.types import Message, Prompt

Row = Mapping[str, Any]
"""A row of the data: example_id, level, instruction, target, source, category."""


def prompts(folder: DataFolder) -> list[Prompt]:
    """Every scored row of the six files, in order.

    Raises
    ------
    UsageError
        A file lacks a level of a group, or has one twice.
    """
    return [prompt for file in FILES for prompt in _of_file(file, folder)]


def _of_file(file: str, folder: DataFolder) -> list[Prompt]:
    name = f"{file}_constraints.json"
    rows: Sequence[Row] = folder.json(name)
    where = f"data set followbench: {folder.path(name)}"
    groups: dict[int, dict[int, Row]] = defaultdict(dict)
    for row in rows:
        levels = groups[row["example_id"]]
        if row["level"] in levels:
            _refuse(where, row["example_id"], f"has level {row['level']} twice")
        levels[row["level"]] = row
    for number, levels in groups.items():
        _check(where, number, levels, LEVELS if file == EXAMPLE else (0, *LEVELS))
    return [_prompt(file, groups[row["example_id"]], row) for row in rows if row["level"] > 0]


def _check(where: str, number: int, levels: Mapping[int, Row], expected: Sequence[int]) -> None:
    if sorted(levels) != list(expected):
        _refuse(
            where, number, f"has the levels {sorted(levels)}, not {expected[0]} to {expected[-1]}"
        )
    for level, row in levels.items():
        if level and not row["instruction"].strip():
            _refuse(where, number, f"has no instruction at level {level}")
        if level and row["source"] == "CONLL2003" and read_list(row["target"]) is None:
            _refuse(where, number, f"has a target at level {level} that is no list")


def _refuse(where: str, number: int, problem: str) -> None:
    raise UsageError(
        f"{where}: the group {number} {problem}; get the file with `spar data fetch followbench`"
    )


def _prompt(file: str, levels: Mapping[int, Row], row: Row) -> Prompt:
    rule, level = rule_of(file, row), row["level"]
    judged = range(level + 1) if rule == JUDGE else ()
    return Prompt(
        id=f"{file}/{row['example_id']}/{level}",
        messages=(Message(role="user", content=row["instruction"]),),
        source="followbench",
        meta={
            "file": file,
            "group": row["example_id"],
            "level": level,
            "rule": rule,
            "path": [levels[number]["instruction"] for number in judged],
            "target": row["target"],
            "source": row["source"],
            "category": row["category"],
        },
    )
