"""From instructions to prompts with verification functions: what is asked of the writer, and what is made of its replies.

    instructions -> functions (a run) -> check -> back (a run) -> compare (a run) -> join -> prompts of the loop

Every function here is pure but for reading runs and writing the files of its stage.
"""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

from spar.errors import UsageError
from spar.files import replace_json, replace_lines
from spar.nano.constraints import CONSTRAINT_TYPES, sample_constraints
from spar.nano.function_teacher import CONSTRAINT, TASK
from spar.nano.tasks import OPENINGS, split_of
from spar.prompts import read_prompts
from spar.rows.read import read_texts
from spar.store import read_trees
from spar.templates import read_template, render
from spar.templates.verdicts import parse_verdict
from spar.train.data.seed_instructions import INSTRUCTIONS
from spar.train.functions import CheckSpec, FunctionSettings, JoinSpec
from spar.train.stage_runner import write_prompts
from spar.types import Message, Prompt
from spar.verification_functions import (
    FUNCTIONS,
    Rule,
    cross_check,
    parse_reply,
    require_permission,
)

SOURCE = "functions"
"""The source of prompts whose constraints are functions that a model wrote."""
INSTRUCTION = "instruction"
"""Field with an instruction: of a row, and of a prompt's meta."""
AGAIN = "again"
"""Field of a comparison's meta: the instruction that a function was described as."""


def instruction_prompts(settings: FunctionSettings) -> Iterator[Prompt]:
    """What the writer is asked for each instruction.

    Raises
    ------
    UsageError
        The file is missing, or a row has no instruction.
    """
    rows = islice(_instructions(settings), settings.num_instructions)
    # Ids of nano-if tell that its verifiers know the constraints, also where a prompt is read from a file.
    name = f"{'nano-' * (settings.writer == 'program')}instruction"
    for number, meta in enumerate(rows):
        text = render(_template("function"), instruction=meta[INSTRUCTION])
        yield _asking(f"{name}-{number}-0", text, {**meta, TASK: "function"})


def check_functions(spec: CheckSpec) -> str:
    """Cross-check the functions of every instruction; returns a line on what stayed.

    Raises
    ------
    UsageError
        Nobody permitted code to run, or no function stayed.
    """
    require_permission("the stage `check`")
    rule = Rule(spec.min_accuracy, spec.min_functions, spec.min_cases)
    rows: list[dict[str, Any]] = []
    counts = dict.fromkeys(("instructions", "replies", "unread", "functions", "stayed"), 0)
    for tree in sorted(read_trees(Path(spec.source)), key=lambda tree: _order(tree.prompt.id)):
        read = [parse_reply(node.response) for node in tree.nodes]
        replies = [reply for reply in read if reply is not None]
        checked = cross_check(replies, rule)
        counts["instructions"] += 1
        counts["replies"] += len(read)
        counts["unread"] += len(read) - len(replies)
        counts["functions"] += checked.num_functions
        counts["stayed"] += len(checked.functions)
        if checked.functions:
            meta = {name: value for name, value in tree.prompt.meta.items() if name != TASK}
            rows.append({"id": _parent(tree.prompt.id), **meta, FUNCTIONS: list(checked.functions)})
    if not rows:
        raise UsageError(
            f"no instruction has {spec.min_functions} functions that are right on {spec.min_accuracy:.0%} of {spec.min_cases} or more cases "
            f"({counts['unread']} of {counts['replies']} replies could not be read); use a stronger --model, more functions.samples, or "
            "lower functions.min_accuracy, min_functions or min_cases"
        )
    spec.folder.mkdir(parents=True, exist_ok=True)
    replace_lines(spec.functions, (json.dumps(row, separators=(",", ":")) for row in rows))
    replace_json(spec.output, {**counts, "instructions_left": len(rows)})
    return (
        f"{len(rows)} of {counts['instructions']} instructions left, with {counts['stayed']} of {counts['functions']} functions; "
        f"{counts['unread']} of {counts['replies']} replies could not be read"
    )


def back_prompts(spec: CheckSpec) -> Iterator[Prompt]:
    """A request to describe each of the first functions of every instruction."""
    for row in _read(spec.functions):
        for number, source in enumerate(row[FUNCTIONS][: spec.back_translations]):
            text = render(_template("back"), function=source)
            yield _asking(f"{row['id']}-{number}", text, {**_meta(row), TASK: "instruction"})


def comparison_prompts(run: Path) -> Iterator[Prompt]:
    """A request to compare each description with the instruction that its function was written for."""
    for tree in sorted(read_trees(run), key=lambda tree: tree.prompt.id):
        again = (tree.answer or "").strip()
        meta = tree.prompt.meta
        text = render(_template("same"), first=meta[INSTRUCTION], second=again)
        yield _asking(tree.prompt.id, text, {**meta, TASK: "comparison", AGAIN: again})


def join_queries(spec: JoinSpec) -> str:
    """Write the loop's prompts: each query with an instruction; returns a line on how many instructions stayed.

    An instruction is dropped once one of its functions is described as something else.

    Raises
    ------
    UsageError
        No instruction stayed.
    """
    said: defaultdict[str, list[bool | None]] = defaultdict(list)
    for tree in read_trees(Path(spec.compare)):
        said[_parent(tree.prompt.id)].append(parse_verdict(tree.answer or ""))
    rows = _read(Path(spec.functions))
    left = [row for row in rows if False not in said[row["id"]]]
    if not left:
        raise UsageError(
            f"each of {len(rows)} instructions has a function that was described as something else; use a stronger --model, or fewer "
            "functions.back_translations"
        )
    prompts = list(_joined(left, spec))
    random.Random(f"join/{spec.seed}").shuffle(prompts)
    spec.folder.mkdir(parents=True, exist_ok=True)
    write_prompts(spec.prompts, prompts)
    replace_json(
        spec.output,
        {"instructions": len(rows), "instructions_left": len(left), "prompts": len(prompts)},
    )
    return f"{len(left)} of {len(rows)} instructions left, {len(prompts):,} prompts"


def _joined(rows: Iterable[Mapping[str, Any]], spec: JoinSpec) -> Iterator[Prompt]:
    """Each instruction with its queries, drawn by the seed."""
    queries = (
        [
            tuple(prompt.messages)
            for prompt in read_prompts(spec.queries_file, prompt_field=spec.prompt_field)
        ]
        if spec.queries_file
        else [(Message(role="user", content=opening),) for opening in OPENINGS]
    )
    for row in rows:
        rng = random.Random(f"join/{spec.seed}/{row['id']}")
        drawn = rng.sample(queries, min(spec.queries, len(queries)))
        for number, (*before, last) in enumerate(drawn):
            text = Message(role="user", content=f"{last.content} {row[INSTRUCTION]}")
            meta = {INSTRUCTION: row[INSTRUCTION], FUNCTIONS: row[FUNCTIONS], **_checkable(row)}
            yield Prompt(
                id=f"{row['id']}-{number}", messages=(*before, text), source=SOURCE, meta=meta
            )


def _instructions(settings: FunctionSettings) -> Iterator[dict[str, Any]]:
    """The fields of each instruction, the text among them."""
    if settings.writer == "program":
        yield from _nano_instructions(settings.num_instructions)
        return
    if not settings.instructions:
        yield from ({INSTRUCTION: text} for text in INSTRUCTIONS)
        return
    yield from ({INSTRUCTION: text} for text in read_texts(settings.instructions, INSTRUCTION))


def _nano_instructions(number: int) -> Iterator[dict[str, Any]]:
    """Different constraints of nano-if's training split, each in words and as its verifiers know it."""
    rng, seen = random.Random("functions/instructions"), set[str]()
    while len(seen) < number:
        (constraint,) = sample_constraints(rng, 1)
        key = json.dumps([constraint.id, constraint.kwargs], sort_keys=True)
        if key not in seen and split_of([constraint]) == "train":
            seen.add(key)
            wordings = CONSTRAINT_TYPES[constraint.id].wordings(constraint.kwargs)
            of = {"id": constraint.id, "kwargs": constraint.kwargs}
            yield {INSTRUCTION: rng.choice(wordings), CONSTRAINT: of}


def _asking(name: str, text: str, meta: dict[str, Any]) -> Prompt:
    message = Message(role="user", content=text)
    return Prompt(id=name, messages=(message,), source=SOURCE, meta=meta)


def _checkable(row: Mapping[str, Any]) -> dict[str, Any]:
    """The fields by which nano-if's verifiers know an instruction; {} where they do not."""
    constraint = row.get(CONSTRAINT)
    if constraint is None:
        return {}
    return {"instruction_id_list": [constraint["id"]], "kwargs": [constraint["kwargs"]]}


def _parent(prompt_id: str) -> str:
    """The id of the instruction that a prompt is about."""
    return prompt_id.rpartition("-")[0]


def _meta(row: Mapping[str, Any]) -> dict[str, Any]:
    """What a row says of its instruction."""
    return {name: value for name, value in row.items() if name not in ("id", FUNCTIONS)}


def _read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="ascii").splitlines()]


def _order(prompt_id: str) -> tuple[int, str]:
    """Instructions by their number."""
    return len(prompt_id), prompt_id


@cache
def _template(name: str) -> str:
    fields = {"function": (INSTRUCTION,), "back": ("function",), "same": ("first", "second")}
    return read_template(name, fields[name])
