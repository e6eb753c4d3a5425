"""FollowBench's judge: its conversation, how its output is read, and further attempts.

The judge sees how an instruction grew, constraint by constraint, and the answer to the last of its
forms; its last line is a Python list with YES or NO for each constraint. The shape of the conversation
and the strict reading follow the benchmark's scripts (YJiangcm/FollowBench,
`gpt4_based_evaluation.py`); the words are spar's own. Model text is parsed as a literal, never run.
"""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from spar.config import EvalConfig
from spar.eval.benchmark import GRADES
from spar.eval.followbench.rules import read_list
from spar.infer.roles import Roles, Seeds
from spar.infer.strategy import Expand, Plan, SearchConfig
from spar.run.job import Job
from spar.thinking import read_answer
from spar.types import Judgement, Message, Node, Prompt, Usage

ATTEMPTS = 3
"""Outputs that a judge may give about one answer until one can be read."""
AGAIN = 0.7
"""Temperature of further attempts of a greedy judge."""
YES = "YES"
_NOT_YES = ("NO", "PARTIAL", "MAYBE", "UNKNOWN", "N/A")
"""What else an element may say; each counts as not satisfied."""

_KINDS = {
    "content": "content constraint",
    "situation": "situation constraint (information to describe a specific situation/background)",
    "style": "style constraint",
    "format": "format constraint",
    "mixed": "constraint",
}
"""File to what its constraints are called."""
_HEADING = re.compile(
    r"#(?=[ \t]{0,3}(?:System|(?:Answer of )?Initial Instruction[^#\n]{0,40})[ \t]{0,3}#)",
    re.IGNORECASE,
)
"""The heading that starts a block of the conversation."""
_GRADED = re.compile(r"\n\n#Answer of Initial Instruction \+ (?P<level>[1-5]) constraints?#\n")
_ODDMENTS = string.whitespace + "'\"`*.‘’“”"
"""Characters removed around a word in a list that is not quite Python."""


def conversation(file: str, path: Sequence[str], answer: str) -> tuple[Message, ...]:
    """The turn that has the judge decide on an answer to the last instruction of `path`, which is I0 to IL."""
    blocks = [_opening(file, len(path) - 1)]
    blocks += [f"#{_instruction(level)}#\n{text}" for level, text in enumerate(path)]
    blocks += [f"#{_answer(len(path) - 1)}#\n{_shielded(answer)}", _request(len(path) - 1)]
    return (Message(role="user", content="\n\n".join(blocks)),)


def read(output: str, level: int, *, strict: bool = False) -> tuple[str, ...] | None:
    """What a judge's last line says of each of `level` constraints, None where that cannot be read.

    Parameters
    ----------
    strict:
        Read what the benchmark's own scripts read and no more. Otherwise lower case, odd quotes and
        missing quotes are understood as well.
    """
    line = last_line(output)
    words = _strictly(line, level)
    return words if words is not None or strict else _leniently(line, level)


@dataclass(frozen=True, slots=True)
class GradedAnswer:
    """What a conversation with a judge is about."""

    level: int
    instruction: str
    """The last form of the instruction."""
    answer: str


def graded_answer(text: str) -> GradedAnswer | None:
    """What the judge's turn is about, in the published words or in spar's; None if it is no such turn."""
    match = _GRADED.search(text)
    end = text.rfind("\n\n#System#")
    if match is None or end < match.end():
        return None
    level = int(match["level"])
    heading = f"#{_instruction(level)}#\n"
    start = text.rfind(heading, 0, match.start())
    if start < 0:
        return None
    instruction = text[start + len(heading) : match.start()]
    return GradedAnswer(level, instruction, comparable(text[match.end() : end]))


def comparable(answer: str) -> str:
    """An answer without what differs between a file of answers and a judge's turn: thinking, shields, space around."""
    return read_answer(answer.replace("\u2060", "")).text.strip()


def last_line(output: str) -> str:
    """The last line of an output, without the backticks and spaces around the whole of it."""
    return output.strip(string.whitespace + "`").split("\n")[-1]


def job(prompts: Sequence[Prompt], config: EvalConfig, *, strict: bool) -> Job:
    """The job that calls the grader on each prompt until its output can be read.

    A greedy grader is sampled from the second attempt on, since it would repeat itself.
    """
    greedy = config.grade.temperature == 0
    later = config.grade.model_copy(update={"temperature": AGAIN}) if greedy else config.grade
    return Job(
        name=GRADES,
        prompts=prompts,
        settings={
            "strategy": "greedy",
            "draft": later,
            "greedy_first": greedy,
            "budget": ATTEMPTS,
            "max_calls": None,
            "max_tree_tokens": None,
            "max_seconds": None,
        },
        roles=("actor",),
        grader=True,
        change=lambda roles: Roles(roles.actor, Readable(strict), roles.refiner),
        limits={"actor": "grade.max_tokens"},
        strategy=until_read,
        strategy_name="until-read",
    )


def until_read(roots: tuple[Node, ...], config: SearchConfig) -> Plan:
    """Draft once more as long as no draft passes."""
    for _ in range(ATTEMPTS - len(roots)):
        yield [Expand(None, 1)]


@dataclass(frozen=True, slots=True)
class Readable:
    """Passes a judge's output exactly when it can be read; costs no call."""

    strict: bool = False

    async def judge(self, prompt: Prompt, response: str, seeds: Seeds) -> tuple[Judgement, Usage]:
        """Read the output; the prompt's meta says how many constraints there are."""
        level = int(prompt.meta["level"])
        words = read(response, level, strict=self.strict)
        critique = (
            f"The last line lacks a list of {level} YES or NO." if words is None else str(words)
        )
        return Judgement(verdicts=(words is not None,), critique=critique), Usage()


def _opening(file: str, level: int) -> str:
    each = "" if level == 1 else " per time"
    return (
        f"We took an initial instruction, gave it one {_KINDS[file]}{each} and so obtained the final "
        f"instruction with {_constraints(level, 'additional ')}."
    )


def _request(level: int) -> str:
    which = "the 1 added constraint" if level == 1 else f"each of the {level} added constraints"
    each = "it" if level == 1 else "each of them"
    elements = "1 element" if level == 1 else f"{level} elements, in the order of the constraints"
    return (
        f"#System#\n1) Say what {which} is.\n"
        f"2) Decide whether the #{_answer(level)}# satisfies {each}.\n"
        f"3) In the final line, output nothing but a Python LIST with {elements} ('YES' or 'NO'): "
        f"whether the answer satisfies {each}."
    )


def _instruction(level: int) -> str:
    return "Initial Instruction" + (f" + {_constraints(level)}" if level else "")


def _answer(level: int) -> str:
    return f"Answer of {_instruction(level)}"


def _constraints(level: int, what: str = "") -> str:
    return f"{level} {what}constraint{'' if level == 1 else 's'}"


def _shielded(answer: str) -> str:
    # An answer must not be able to close its own block and speak for the user.
    return _HEADING.sub("#\u2060", answer)


def _strictly(line: str, level: int) -> tuple[str, ...] | None:
    if level == 1:
        return next(((word,) for word in (YES, "NO") if word in line), None)
    start, end = line.find("["), line.rfind("]")
    elements = read_list(line[start : end + 1]) if 0 <= start < end else None
    return _validated(elements, level)


def _leniently(line: str, level: int) -> tuple[str, ...] | None:
    start = line.rfind("[")
    end = line.find("]", start) if start >= 0 else -1
    pieces = line[start + 1 : end].split(",", maxsplit=level) if end >= 0 else []
    elements = _validated([piece.strip(_ODDMENTS).upper() for piece in pieces], level)
    if elements is None and level == 1:
        words = {word.upper() for word in re.findall(r"\b(?:yes|no)\b", line, re.IGNORECASE)}
        return tuple(words) if len(words) == 1 else None
    return elements


def _validated(elements: list[Any] | None, level: int) -> tuple[str, ...] | None:
    if elements is None or len(elements) != level:
        return None
    is_valid = all(isinstance(element, str) and element in (YES, *_NOT_YES) for element in elements)
    return tuple(elements) if is_valid else None
