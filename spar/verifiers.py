"""Verifiers: whether a response meets a constraint, by ground truth.

    unverifiable(prompt)             "" if programs can check every constraint of the prompt, else why not
    passes(response, prompt)         whether a response meets them all

nano-if's prompts are checked by functions of spar's own (`spar.own_verifiers`), which need no package. Any other prompt
gets lm-eval's verdicts: from these functions where they are equal on every text (`EQUAL`), and from lm-eval's own
(`spar.ifeval_verifiers`) where a constraint of the prompt needs them. IFBench's types are checked by a package of its
own (`spar.ifbench_verifiers`); a prompt may mix the types of all three.

A verdict comes with what was found in the response (`spar.observations`).
"""

from __future__ import annotations

import difflib
import inspect
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any

from spar import ifbench_verifiers, ifeval_verifiers
from spar.errors import SparError
from spar.findings import finding
from spar.ifbench_verifiers import IFBENCH_TYPES, unverifiable_types
from spar.ifbench_verifiers import check as check_ifbench
from spar.ifbench_verifiers import checkers as ifbench_checkers
from spar.ifeval_verifiers import IFEVAL_TYPES, check, checkers, count
from spar.instruction_checks import (
    LIMIT_SECONDS,
    Checked,
    PublishedDraw,
    TooLong,
    argument_error,
    limited,
    shown,
)
from spar.keyword_observations import KEYWORDS, pattern_of, plain_text
from spar.observations import COUNTED, observe
from spar.own_verifiers import EQUAL, VERIFIERS, count_sentences, verify
from spar.types import Finding, Prompt

Constraint = tuple[str, dict[str, Any]]
"""A constraint's type and its arguments."""

CONSTRAINTS = "instruction_id_list"
"""Field of a prompt's meta with the types of its constraints."""

_WHOLE = re.compile(r"(\d)\.0\b")
"""A whole number as IFBench's data have it: 5.0."""
_NANO_ID = re.compile(r"nano(-[a-z]+)+(-\d+){2,3}")
_BAD_ARGUMENTS = (
    *(TypeError, ValueError, AttributeError, re.error),
    *(MemoryError, OverflowError, RecursionError),
)
"""What a verifier raises that gets arguments of another type, or a size without bound."""
_PUBLISHED_DRAWS = {**ifeval_verifiers.PUBLISHED_DRAWS, **ifbench_verifiers.PUBLISHED_DRAWS}
_LISTED = 3
"""Reasons that a message names."""


def passes(response: str, prompt: Prompt) -> bool | None:
    """Whether a response meets every constraint of a prompt; None if they cannot be checked."""
    findings = verify_prompt(response, prompt)
    return all(finding.met for finding in findings) if findings else None


def verify_prompt(response: str, prompt: Prompt) -> tuple[Finding, ...]:
    """Each constraint of a prompt in words, whether it is met, and what was found.

    Empty if the prompt has no constraints, or some that cannot be checked (`unverifiable`).
    """
    if unverifiable(prompt):
        return ()
    constraints = constraints_of(prompt)
    text = prompt.messages[-1].content
    is_nano = _is_nano(prompt)
    checked = _verdicts(response, constraints, is_nano=is_nano, prompt_id=prompt.id, text=text)
    by_lm_eval = _needs_lm_eval(constraints, is_nano=is_nano)
    findings = []
    for (name, arguments), verdict in zip(constraints, checked, strict=True):
        counted: int | tuple[str, ...] | None = None
        if name in COUNTED:
            counted = count(name, response) if by_lm_eval else count_sentences(response)
        findings.append(
            finding(
                name,
                verdict.strict,
                observe(response, name, arguments, counted),
                words=_WHOLE.sub(r"\1", verdict.why) or f"{name} {arguments or ''}".strip(),
                error=verdict.error,
            )
        )
    return tuple(findings)


def num_sentences(text: str, prompt: Prompt) -> int:
    """How many sentences a text has, as the verifier of a prompt's constraints counts them.

    Raises
    ------
    MissingExtra, UsageError
        lm-eval counts them, and it or NLTK's tokenizer is not on this machine.
    """
    name = "length_constraints:number_sentences"
    if _needs_lm_eval([(name, {}), *constraints_of(prompt)], is_nano=_is_nano(prompt)):
        counted = count(name, text)
        return counted if isinstance(counted, int) else len(counted)
    return count_sentences(text)


def unverifiable(prompt: Prompt) -> str:
    """Why programs cannot check the constraints of a prompt, in one line; "" if they can."""
    try:
        constraints = constraints_of(prompt)
    except ValueError as error:
        return str(error)
    if not constraints:
        return f"it has no constraints ({CONSTRAINTS})"
    names = [name for name, _ in constraints]
    if unknown := [name for name in names if name not in KNOWN_TYPES]:
        close = difflib.get_close_matches(unknown[0], KNOWN_TYPES, n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        return f"no verifier knows the constraint type {unknown[0]!r}{hint}"
    is_nano = _is_nano(prompt)
    try:
        if _needs_lm_eval(constraints, is_nano=is_nano):
            checkers()
        missing = unverifiable_types() if any(name in IFBENCH_TYPES for name in names) else {}
    except SparError as error:
        return str(error)
    if absent := [name for name in names if name in missing]:
        return f"{absent[0]} cannot be checked: {missing[absent[0]]}"
    published = _PUBLISHED_DRAWS.get(prompt.id)
    listed = json.dumps(constraints, default=str)
    return _wrong_arguments(listed, is_nano=is_nano, published=published)


def unverifiable_prompts(prompts: Iterable[Prompt]) -> tuple[int, str]:
    """How many prompts cannot be checked, and the first reasons, each with the first prompt that has it."""
    first: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for row, prompt in enumerate(prompts, start=1):
        if reason := unverifiable(prompt):
            first.setdefault(reason, f"row {row}, prompt {prompt.id!r}")
            counts[reason] += 1
    listed = [
        f"{place}{f' and {counts[reason] - 1:,} more' * (counts[reason] > 1)}: {reason}"
        for reason, place in [*first.items()][:_LISTED]
    ]
    more = [f"and {len(first) - _LISTED} more reasons"] if len(first) > _LISTED else []
    return counts.total(), "; ".join([*listed, *more])


def keyword_note(prompt: Prompt) -> str:
    """Which keyword of a prompt is a pattern that matches other texts than its own, and how to write it; "" for none."""
    with suppress(ValueError):
        for name, arguments in constraints_of(prompt):
            value = arguments.get(KEYWORDS.get(name, ""))
            as_word = name == "keywords:forbidden_words"
            for word in value if isinstance(value, list) else [value]:
                if isinstance(word, str) and plain_text(word.strip(), as_word=as_word) is None:
                    escaped = pattern_of(word.strip(), as_word=as_word)
                    return (
                        f"{name} takes {shown(word)} as a regular expression, which matches other texts than this; to "
                        f"mean the text, write {json.dumps(escaped, ensure_ascii=False)} in JSON"
                    )
    return ""


def constraints_of(prompt: Prompt) -> list[Constraint]:
    """The constraints of a prompt: type and arguments, [] if it has none.

    Raises
    ------
    ValueError
        They are malformed; the text says how.
    """
    ids, kwargs = _parsed(prompt.meta.get(CONSTRAINTS)), _parsed(prompt.meta.get("kwargs"))
    if ids in (None, []):
        return []
    if not isinstance(ids, list) or not all(isinstance(name, str) for name in ids):
        raise ValueError(f"{CONSTRAINTS} is {shown(ids)}, expected a list of constraint types")
    arguments = [{} for _ in ids] if kwargs in (None, []) else kwargs
    if not isinstance(arguments, list) or not all(isinstance(a, dict | None) for a in arguments):
        raise ValueError(f"kwargs is {shown(kwargs)}, expected a list of one object a constraint")
    if len(arguments) != len(ids):
        raise ValueError(
            f"{len(ids)} constraint types and {len(arguments)} sets of arguments (kwargs)"
        )
    return [(name, _without_nulls(a or {})) for name, a in zip(ids, arguments, strict=True)]


def _parsed(value: Any) -> Any:
    """A field, which some exports of the data hold as JSON in a text."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _without_nulls(arguments: Mapping[str, Any]) -> dict[str, Any]:
    # The hub's copy of IFEval pads every row's kwargs with nulls for all other instructions.
    return {name: value for name, value in arguments.items() if value is not None}


def _is_nano(prompt: Prompt) -> bool:
    """Whether a prompt is one of nano-if's, from this process or read from a file of them."""
    return prompt.source == "nano-if" or _NANO_ID.fullmatch(prompt.id) is not None


def _needs_lm_eval(constraints: Sequence[Constraint], *, is_nano: bool) -> bool:
    return any(
        name in IFEVAL_TYPES and (name not in VERIFIERS or (name not in EQUAL and not is_nano))
        for name, _ in constraints
    )


def _verdicts(
    response: str,
    constraints: Sequence[Constraint],
    *,
    is_nano: bool,
    prompt_id: str = "",
    text: str = "",
) -> list[Checked]:
    """Each constraint's verdict, and what its verifier failed with ("" where it did not)."""
    families: list[tuple[frozenset[str], Callable[..., list[Checked]]]] = []
    if _needs_lm_eval(constraints, is_nano=is_nano):
        families.append((IFEVAL_TYPES, check))
    families.append((IFBENCH_TYPES, check_ifbench))
    verdicts: dict[int, Checked] = {}
    # All of a family together, as in its benchmark: what they draw follows from the order.
    for types, check_family in families:
        theirs = [(at, *each) for at, each in enumerate(constraints) if each[0] in types]
        if theirs:
            places, ids, kwargs = zip(*theirs, strict=True)
            checked = check_family(
                response, ids, kwargs, seed=prompt_id, prompt=text, loosely=False
            )
            verdicts |= zip(places, checked, strict=True)
    return [
        verdicts[at] if at in verdicts else _own_verdict(response, *each)
        for at, each in enumerate(constraints)
    ]


def _own_verdict(response: str, name: str, arguments: Mapping[str, Any]) -> Checked:
    met, error = False, ""
    try:
        with limited(LIMIT_SECONDS):
            met = verify(response, name, arguments)
    except (
        TooLong
    ) as failure:  # it may be a pattern that backtracks: not met, as in lm-eval's verifiers
        error = str(failure)
    except _BAD_ARGUMENTS as failure:
        error = type(failure).__name__
    return Checked(name, "", met, met, error)


@lru_cache(maxsize=4096)
def _wrong_arguments(constraints: str, *, is_nano: bool, published: PublishedDraw | None) -> str:
    """Which constraint's verifier refuses or replaces its arguments, tried on a short text; "" if none does.

    Parameters
    ----------
    published:
        The argument that is replaced in the benchmark too, and stays.
    """
    parsed = [(name, arguments) for name, arguments in json.loads(constraints)]
    for name, arguments in parsed:
        if objection := argument_error(_argument_names(name), arguments):
            return f"{name} does not take the arguments {shown(arguments)}: {objection}"
    checked = _verdicts("x", parsed, is_nano=is_nano)
    for (name, arguments), verdict in zip(parsed, checked, strict=True):
        # Some of IFBench's fail on a short text, after they have taken their arguments.
        if verdict.error and not (name in IFBENCH_TYPES and verdict.why):
            return f"{name} does not take the arguments {shown(arguments)} ({verdict.error})"
        if verdict.drawn and not (published and published.is_of(name, arguments)):
            value = shown(arguments[verdict.drawn]) if verdict.drawn in arguments else ""
            return (
                f"{name} does not take the arguments {shown(arguments)}: its verifier puts a random value in place of "
                f"{verdict.drawn} {value}".rstrip()
            )
    return ""


def _argument_names(name: str) -> Sequence[str]:
    """The arguments that a constraint type takes, all of them required."""
    if name in VERIFIERS:
        parameters = inspect.signature(VERIFIERS[name]).parameters.values()
        return [each.name for each in parameters if each.kind is each.KEYWORD_ONLY]
    classes = ifbench_checkers() if name in IFBENCH_TYPES else checkers()
    return classes[name](name).get_instruction_args_keys() or ()


KNOWN_TYPES = (*VERIFIERS, *sorted(IFEVAL_TYPES - VERIFIERS.keys()), *sorted(IFBENCH_TYPES))
"""Constraint types that programs know, whether or not their packages are here."""
