"""Verification functions in Python, as a model writes them: reading, running and cross-checking them.

    source = "def evaluate(response):\n    return ',' not in response"
    run_functions([source], ["The fox, it sees."])       [[False]]

A function is called `evaluate` and says of a text whether it follows an instruction (AutoIF, arXiv 2406.13542). It runs in the
sandbox (`spar.sandbox`) and only with permission; what it raises, or a limit that it hits, is None: it does not count.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spar.errors import UsageError
from spar.sandbox.sandbox import Limits, Program, run_program, run_programs
from spar.types import Prompt

FUNCTIONS = "verification_functions"
"""Field of a prompt's meta with the sources of its functions."""
PERMISSION = "SPAR_ALLOW_CODE_EXECUTION"
"""Environment variable that is set where code that a model wrote may run; it is inherited by stages, and stored nowhere."""
LIMITS = Limits(cpu_seconds=5, wall_seconds=15.0)
"""Of all calls of a function together (code of the source: 5 s a call)."""
_FORBIDDEN = re.compile(r"\b(download|requests|urllib|socket|subprocess)\b")
"""What the lines of a function may not name (code of the source: download and requests)."""
_OBJECT = re.compile(r"\{.*\}", re.DOTALL)
_RUN = """
results = []
for text in {texts!a}:
    try:
        value = evaluate(text)
        results.append(bool(value))
    except Exception:
        results.append(None)
"""
Outcomes = list[bool | None]
"""What a function says of each text."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A function and its test cases, as a model wrote them."""

    function: str
    cases: tuple[tuple[str, bool], ...]
    """Texts, and whether they follow the instruction."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What stays in a cross-check."""

    min_accuracy: float = 0.8
    """A function stays that is right on this share of the cases."""
    min_functions: int = 3
    """Fewer functions, and nothing stays."""
    min_cases: int = 10
    """Fewer cases, and nothing stays."""


@dataclass(frozen=True, slots=True)
class Checked:
    """The functions that stay, and what became of the others."""

    functions: tuple[str, ...]
    num_functions: int
    """Different functions that were checked."""
    num_cases: int
    """Different cases that some function agrees with."""
    dropped_cases: int
    """Those that none agrees with."""


def allow_code_execution() -> None:
    """Permit functions that a model wrote to run, in this process and its children."""
    os.environ[PERMISSION] = "1"


def is_code_allowed() -> bool:
    """Whether code that a model wrote may run."""
    return os.environ.get(PERMISSION) == "1"


def require_permission(what: str) -> None:
    """Raise `UsageError` unless code that a model wrote may run.

    Parameters
    ----------
    what:
        What runs it, for the message.
    """
    if not is_code_allowed():
        raise UsageError(
            f"{what} runs functions that a model wrote, on this machine; allow it with {PERMISSION}=1 in the environment, "
            "or --allow-code-execution of spar eval, sweep and train (a child process with limits runs them, but for a model that you do not trust use a container as well)"
        )


def parse_reply(text: str) -> Reply | None:
    """The function and the cases in a model's reply; None where it is not of this form.

    Lines that name what a function may not use are removed, as in the source's code.
    """
    match = _OBJECT.search(text)
    try:
        value = json.loads(match[0]) if match else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, Mapping):
        return None
    source = value.get("function")
    if not isinstance(source, str) or "def evaluate(" not in source:
        return None
    lines = [line for line in source.split("\n") if not _FORBIDDEN.search(line)]
    return Reply("\n".join(lines).strip(), tuple(_cases(value.get("cases"))))


def run_functions(functions: Sequence[str], texts: Sequence[str]) -> list[Outcomes]:
    """What each function says of each text; a process a function, so that one that never ends costs no other its results."""
    test = _RUN.format(texts=list(texts))
    programs = [Program((source,), test, result="results") for source in functions]
    outcomes = run_programs(programs, LIMITS)
    return [_outcomes(outcome.value, len(texts)) for outcome in outcomes]


def verdicts(functions: Sequence[str], texts: Sequence[str]) -> list[Outcomes]:
    """What the functions say of each text.

    All run in one process, since starting it takes longer than they do: each function is defined anew for each text. Where
    that fails, each text has a process of its own, and where that fails each function.
    """
    test = "\n".join(
        [
            "results = []",
            f"for text in {list(texts)!a}:",
            "    results.append([])",
            f"    for source in {list(functions)!a}:",
            "        space = {}",
            "        try:",
            "            exec(source, space)",
            "            results[-1].append(bool(space['evaluate'](text)))",
            "        except Exception:",
            "            results[-1].append(None)",
        ]
    )
    outcome = run_program(Program(("",), test, result="results"), LIMITS)
    if outcome.passed and isinstance(outcome.value, list) and len(outcome.value) == len(texts):
        return [_outcomes(each, len(functions)) for each in outcome.value]
    if len(texts) > 1:
        return [verdicts(functions, [text])[0] for text in texts]
    return [[each[0] for each in run_functions(functions, texts)]]


def cross_check(replies: Sequence[Reply], rule: Rule = Rule()) -> Checked:
    """Check functions against cases and cases against functions.

    A case stays that some function agrees with; a function that is right on `min_accuracy` of these (code of the source; its
    paper asks for more than half of either).
    """
    functions = list(dict.fromkeys(reply.function for reply in replies))
    cases = list(dict.fromkeys(case for reply in replies for case in reply.cases))
    found = run_functions(functions, [text for text, _ in cases])
    agreed = [
        index
        for index, (_, expected) in enumerate(cases)
        if any(outcomes[index] is expected for outcomes in found)
    ]
    right = [
        source
        for source, outcomes in zip(functions, found, strict=True)
        if _accuracy(outcomes, cases, agreed) >= rule.min_accuracy
    ]
    enough = len(right) >= rule.min_functions and len(agreed) >= rule.min_cases
    return Checked(
        tuple(right) if enough else (), len(functions), len(agreed), len(cases) - len(agreed)
    )


def functions_of(prompt: Prompt) -> tuple[str, ...]:
    """The functions that check a prompt's responses; () where it has none."""
    value = prompt.meta.get(FUNCTIONS)
    is_list = isinstance(value, list | tuple) and all(isinstance(each, str) for each in value)
    return tuple(value) if is_list and value else ()


def _cases(value: Any) -> list[tuple[str, bool]]:
    """The cases that have a text and an expected result."""
    listed = value if isinstance(value, list) else []
    pairs = [(each.get("input"), each.get("output")) for each in listed if isinstance(each, dict)]
    return [
        (text, output)
        for text, output in pairs
        if isinstance(text, str) and isinstance(output, bool)
    ]


def _accuracy(
    outcomes: Outcomes, cases: Sequence[tuple[str, bool]], agreed: Sequence[int]
) -> float:
    right = sum(outcomes[index] is cases[index][1] for index in agreed)
    return right / len(agreed) if agreed else 0.0


def _outcomes(value: Any, number: int) -> Outcomes:
    """The reported results; None for each where the report is not one of them."""
    is_valid = isinstance(value, list) and len(value) == number
    if not is_valid or not all(each is None or isinstance(each, bool) for each in value):
        return [None] * number
    return list(value)
