"""Verifiers: whether a response meets a constraint, by ground truth.

    unverifiable(prompt)             "" if programs can check every constraint of the prompt, else why not
    passes(response, prompt)         whether a response meets them all

nano-if's prompts are checked by the functions below, which are pure and need no package. Those with IFEval's ids
take IFEval's keyword arguments and agree with the verifiers of lm-eval 0.4.13 on everything that nano-if can
produce, with two differences:

- lm-eval also uses langdetect to check that an all-capitals or lower-case text is English. On a sentence
  of eight words its answer is chance, so it is left out here.
- Sentences are counted by a closing `.`, `!` or `?` followed by white space; lm-eval uses NLTK's Punkt,
  which also knows abbreviations. nano-if writes none.

Any other prompt gets lm-eval's verdicts: from these functions where they are equal on every text (`EQUAL`), and from
lm-eval's own (`spar.ifeval_verifiers`) where a constraint of the prompt needs them. The types with ids `nano:...` are
nano-if's own and have no counterpart in IFEval. IFBench's types are checked by a package of its own
(`spar.ifbench_verifiers`); a prompt may mix the types of all three.

A verdict comes with what was found in the response (`spar.observations`).
"""

from __future__ import annotations

import difflib
import inspect
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from spar.errors import SparError
from spar.findings import finding
from spar.ifbench_verifiers import IFBENCH_TYPES, unverifiable_types
from spar.ifbench_verifiers import check as check_ifbench
from spar.ifbench_verifiers import checkers as ifbench_checkers
from spar.ifeval_verifiers import IFEVAL_TYPES, check, checkers, count
from spar.instruction_checks import (
    LIMIT_SECONDS,
    Checked,
    TooLong,
    argument_error,
    count_words,
    limited,
    shown,
)
from spar.observations import COUNTED, observe
from spar.repetition import NO_REPETITION, is_repetitive
from spar.types import Finding, Prompt

Check = Callable[..., bool]
"""A verifier: the response, then the constraint's keyword arguments."""

Constraint = tuple[str, dict[str, Any]]
"""A constraint's type and its arguments."""

CONSTRAINTS = "instruction_id_list"
"""Field of a prompt's meta with the types of its constraints."""

_SENTENCE_BREAK = re.compile(r"[.!?][\"')\]]*\s+")
_WORD = re.compile(r"\w+")
_WHOLE = re.compile(r"(\d)\.0\b")
"""A whole number as IFBench's data have it: 5.0."""
_NANO_ID = re.compile(r"nano(-[a-z]+)+(-\d+){2,3}")
_BAD_ARGUMENTS = (
    *(TypeError, ValueError, AttributeError, re.error),
    *(MemoryError, OverflowError, RecursionError),
)
"""What a verifier raises that gets arguments of another type, or a size without bound."""
_LISTED = 3
"""Reasons that a message names."""


def verify(response: str, instruction_id: str, kwargs: Mapping[str, Any]) -> bool:
    """Whether `response` meets one constraint of nano-if; a blank response meets none.

    Raises
    ------
    KeyError
        There is no verifier for `instruction_id`; see `VERIFIERS`.
    """
    check_response = VERIFIERS[instruction_id]
    return bool(response.strip()) and check_response(response, **kwargs)


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
        counted: int | None = None
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
    return _wrong_arguments(json.dumps(constraints, default=str), is_nano=is_nano)


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


def count_sentences(text: str) -> int:
    """The number of sentences: pieces between sentence breaks."""
    stripped = text.strip()
    return len(_SENTENCE_BREAK.findall(stripped)) + 1 if stripped else 0


def first_word(text: str) -> str:
    """The first word in lower case, "" if there is none."""
    match = _WORD.search(text)
    return match.group().lower() if match else ""


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
def _wrong_arguments(constraints: str, *, is_nano: bool) -> str:
    """Which constraint's verifier refuses its arguments, tried on a short text; "" if none does."""
    parsed = [(name, arguments) for name, arguments in json.loads(constraints)]
    for name, arguments in parsed:
        if objection := argument_error(_argument_names(name), arguments):
            return f"{name} does not take the arguments {shown(arguments)}: {objection}"
    checked = _verdicts("x", parsed, is_nano=is_nano)
    for (name, arguments), verdict in zip(parsed, checked, strict=True):
        # Some of IFBench's fail on a short text, after they have taken their arguments.
        if verdict.error and not (name in IFBENCH_TYPES and verdict.why):
            return f"{name} does not take the arguments {shown(arguments)} ({verdict.error})"
    return ""


def _argument_names(name: str) -> Sequence[str]:
    """The arguments that a constraint type takes, all of them required."""
    if name in VERIFIERS:
        parameters = inspect.signature(VERIFIERS[name]).parameters.values()
        return [each.name for each in parameters if each.kind is each.KEYWORD_ONLY]
    classes = ifbench_checkers() if name in IFBENCH_TYPES else checkers()
    return classes[name](name).get_instruction_args_keys() or ()


def _compare(count: int, relation: str, threshold: int) -> bool:
    return count < threshold if relation == "less than" else count >= threshold


def _number_words(text: str, *, relation: str, num_words: int) -> bool:
    return _compare(count_words(text), relation, num_words)


def _number_sentences(text: str, *, relation: str, num_sentences: int) -> bool:
    return _compare(count_sentences(text), relation, num_sentences)


def _existence(text: str, *, keywords: Sequence[str]) -> bool:
    # lm-eval takes a keyword as a regular expression that may match inside a word.
    return all(re.search(keyword, text, re.IGNORECASE) for keyword in keywords)


def _forbidden(text: str, *, forbidden_words: Sequence[str]) -> bool:
    return not any(re.search(rf"\b{word}\b", text, re.IGNORECASE) for word in forbidden_words)


def _frequency(text: str, *, keyword: str, frequency: int, relation: str) -> bool:
    return _compare(len(re.findall(keyword.strip(), text, re.IGNORECASE)), relation, frequency)


def _ends_with(text: str, *, end_phrase: str) -> bool:
    return text.strip().strip('"').lower().endswith(end_phrase.strip().lower())


def _quoted(text: str) -> bool:
    text = text.strip()
    return len(text) > 1 and text[0] == '"' and text[-1] == '"'


def _exact_words(text: str, *, num_words: int) -> bool:
    return count_words(text) == num_words


def _first_word(text: str, *, first_word: str) -> bool:
    match = _WORD.search(text)
    return match is not None and match.group().lower() == first_word.lower()


def _character_sequence(text: str, *, character: str, length: int) -> bool:
    body, unit = text.strip().lower(), character.lower()
    return (
        len(body) == len(unit) * length and body == unit * length
    )  # no text of any length is made


def _story(text: str, *, first_sentence: str, last_sentence: str) -> bool:
    body = text.strip()
    middle = body.removeprefix(first_sentence).removesuffix(last_sentence).strip()
    framed = body.startswith(first_sentence) and body.endswith(last_sentence)
    return framed and bool(middle) and len(body) > len(first_sentence) + len(last_sentence)


VERIFIERS: Mapping[str, Check] = {
    "length_constraints:number_words": _number_words,
    "length_constraints:number_sentences": _number_sentences,
    "keywords:existence": _existence,
    "keywords:forbidden_words": _forbidden,
    "keywords:frequency": _frequency,
    "startend:end_checker": _ends_with,
    "startend:quotation": _quoted,
    "change_case:english_capital": str.isupper,
    "change_case:english_lowercase": str.islower,
    "punctuation:no_comma": lambda text: "," not in text,
    "nano:exact_words": _exact_words,
    "nano:first_word": _first_word,
    "nano:character_sequence": _character_sequence,
    "nano:story": _story,
    NO_REPETITION: lambda text: not is_repetitive(text),
}
"""Constraint type to its verifier: IFEval's ids first, then nano-if's own, and one that no benchmark has."""

EQUAL = frozenset(
    {
        *("length_constraints:number_words", "keywords:existence", "keywords:forbidden_words"),
        *("keywords:frequency", "startend:end_checker", "startend:quotation"),
        "punctuation:no_comma",
    }
)
"""IFEval's types whose verifier here gives lm-eval's verdict on every text."""

KNOWN_TYPES = (*VERIFIERS, *sorted(IFEVAL_TYPES - VERIFIERS.keys()), *sorted(IFBENCH_TYPES))
"""Constraint types that programs know, whether or not their packages are here."""
