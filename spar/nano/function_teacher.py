"""A program in place of a strong model: writes verification functions for nano-if's constraints, with planned flaws.

    >>> write_reply(prompt, index=0)  # doctest: +SKIP
    '{"function": "import re\\ndef evaluate(response):\\n    return ...", "cases": [{"input": "The fox ...", "output": true}, ...]}'

AutoIF (arXiv 2406.13542) lets a strong model write, for each instruction, functions and test cases, and describe functions in words
again; models of the embedded one's size write no code. What this teacher gets wrong now and then (`FlawRates`) is what the cross-check and
the back-translation are there to find.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from spar.nano.constraint_type import Constraint
from spar.nano.constraints import CONSTRAINT_TYPES
from spar.nano.writer import break_constraints, solve
from spar.own_verifiers import verify
from spar.types import Prompt

CASES = 3
"""Test cases of a reply (source: 3)."""
TASK = "task"
"""Field of a prompt's meta with what is asked for: `function`, `instruction` or `comparison`."""
CONSTRAINT = "constraint"
"""Field with the nano-if constraint that it is about: `id` and `kwargs`."""
_WORDS = 'len(re.findall(r"\\w+", response))'
_SENTENCES = 'len(re.findall(r"[.!?]", response))'


@dataclass(frozen=True, slots=True)
class FlawRates:
    """Rates of the planned flaws, all in [0, 1]."""

    wrong_function: float = 0.2
    """How often a function checks something else."""
    wrong_case: float = 0.1
    """How often a case states the opposite."""
    unreadable: float = 0.05
    """How often a reply is no JSON."""
    wrong_instruction: float = 0.05
    """How often a function is described as another one."""


FUNCTIONS: Mapping[str, tuple[str, str]] = {
    "length_constraints:number_words": (
        _WORDS + ' < {num_words} if {relation} == "less than" else ' + _WORDS + " >= {num_words}",
        "len(response) >= {num_words}",
    ),
    "length_constraints:number_sentences": (
        _SENTENCES
        + ' < {num_sentences} if {relation} == "less than" else '
        + _SENTENCES
        + " >= {num_sentences}",
        'len(response.split("\\n")) >= {num_sentences}',
    ),
    "keywords:existence": (
        "all(word in response.lower() for word in {keywords})",
        "not any(word in response.lower() for word in {keywords})",
    ),
    "keywords:forbidden_words": (
        "not any(word in response.lower() for word in {forbidden_words})",
        "all(word in response.lower() for word in {forbidden_words})",
    ),
    "keywords:frequency": (
        'response.lower().count({keyword}) < {frequency} if {relation} == "less than" else '
        "response.lower().count({keyword}) >= {frequency}",
        "response.count({keyword}) == {frequency} + 3",
    ),
    "startend:end_checker": (
        "response.strip().strip('\"').lower().endswith({end_phrase}.lower())",
        "response.strip().lower().startswith({end_phrase}.lower())",
    ),
    "startend:quotation": (
        "len(response) > 1 and response[0] == response[-1] == '\"'",
        "'\"' not in response",
    ),
    "change_case:english_capital": ("response.isupper()", "response.islower()"),
    "change_case:english_lowercase": ("response.islower()", "response.isupper()"),
    "punctuation:no_comma": ('"," not in response', '"," in response'),
    "nano:exact_words": (_WORDS + " == {num_words}", "len(response) == {num_words}"),
    "nano:first_word": (
        'response.lower().lstrip("\\"").startswith({first_word})',
        "response.lower().endswith({first_word})",
    ),
}
"""Constraint type to the expression that checks it, and one that does not."""
FORMS = (
    "    return EXPRESSION\n",
    "    is_met = EXPRESSION\n    return bool(is_met)\n",
    "    if EXPRESSION:\n        return True\n    return False\n",
    "    response = response.strip()\n    return EXPRESSION\n",
    "    try:\n        return bool(EXPRESSION)\n    except ValueError:\n        return False\n",
)
"""Bodies of a function, since no two functions of a model read alike."""


def write_reply(prompt: Prompt, index: int, rates: FlawRates = FlawRates()) -> str:
    """The teacher's reply to a prompt about the constraint in its meta; a function of the prompt's id and the index alone.

    Parameters
    ----------
    index:
        Position of the reply among those to this prompt.
    """
    rng = random.Random(f"function-teacher/{prompt.id}/{index}")
    constraint = Constraint(**prompt.meta[CONSTRAINT])
    match prompt.meta[TASK]:
        case "function":
            return _function_and_cases(constraint, rates, rng)
        case "instruction":
            return _instruction(constraint, rates, rng)
    wordings = CONSTRAINT_TYPES[constraint.id].wordings(constraint.kwargs)
    same = prompt.meta["again"] in wordings
    return f"Final Judgement: {'Yes' if same else 'No'}"


def source_of(expression: str, kwargs: Mapping[str, Any], form: int = 0) -> str:
    """A function `evaluate` with the constraint's arguments in it.

    Parameters
    ----------
    form:
        Position in `FORMS`: how it is written.
    """
    for name, value in kwargs.items():
        expression = expression.replace("{" + name + "}", repr(value))
    return "import re\n\n\ndef evaluate(response):\n" + FORMS[form].replace(
        "EXPRESSION", expression
    )


def _function_and_cases(constraint: Constraint, rates: FlawRates, rng: random.Random) -> str:
    right, wrong = FUNCTIONS[constraint.id]
    expression = wrong if rng.random() < rates.wrong_function else right
    cases = []
    for number in range(CASES):
        text = _text(constraint, rng, passing=number % 2 == 0)
        truth = verify(text, constraint.id, constraint.kwargs)
        stated = truth != (rng.random() < rates.wrong_case)
        cases.append({"input": text, "output": stated})
    reply = json.dumps(
        {
            "function": source_of(expression, constraint.kwargs, rng.randrange(len(FORMS))),
            "cases": cases,
        }
    )
    return reply[: len(reply) // 2] if rng.random() < rates.unreadable else reply


def _text(constraint: Constraint, rng: random.Random, *, passing: bool) -> str:
    text = None
    while text is None:
        text = solve((constraint,), rng)
    return text if passing else break_constraints(text, (constraint,), (constraint,), rng)


def _instruction(constraint: Constraint, rates: FlawRates, rng: random.Random) -> str:
    if rng.random() < rates.wrong_instruction:
        others = [each for name, each in CONSTRAINT_TYPES.items() if name != constraint.id]
        other = rng.choice(others)
        kwargs = other.sample(rng, ["fox", "owl", "boat"])
        return rng.choice(other.wordings(kwargs))
    return rng.choice(CONSTRAINT_TYPES[constraint.id].wordings(constraint.kwargs))
