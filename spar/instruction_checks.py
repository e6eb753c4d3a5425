"""Instructions held against a response by other packages' verifiers, with verdicts that anyone can repeat.

    check_instructions(verifiers, "Two words.", [("length_constraints:number_words", {...})], seed="1")

A verifier is a class of IFEval's shape: `build_description(**arguments)`, then `check_following(text)`. It is
called and not rewritten. This module adds what makes a verdict the same on every machine and in every order:

- A verifier draws what its arguments do not say: the row's id seeds the draw, and Python's `random` is left as
  it was.
- Types that ask langdetect for the language get its chance where a text is too short to tell. Here `SEEDS`
  draws decide by majority, and a verdict on which they differ is marked `undecided`.
- A verifier that fails, or that a response keeps busy past `LIMIT_SECONDS`, counts as not followed and says so.

Which verifiers there are is in `spar.ifeval_verifiers` and `spar.ifbench_verifiers`.
"""

from __future__ import annotations

import importlib
import logging
import random
import re
import signal
import threading
import time
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

SEEDS = range(5)
"""langdetect's seeds; most of them decide. An odd number, so that there is no tie."""
LIMIT_SECONDS = 5.0
"""Processor time of its thread that one instruction of one response may take; honest ones take a hundredth of it."""
_LEAST_SECONDS = 0.01
"""The shortest time after which the clock is looked at again."""
SHOWN_CHARACTERS = 160
"""A longer description of an instruction is cut."""
RELATIONS = ("at least", "less than")
"""How a number relates to its limit."""

_WORD = re.compile(r"\w+")
_JOINERS = "\u200c\u200d"
_ENCLOSED = re.compile(
    "[\u24b6-\u24e9\U0001f130-\U0001f149\U0001f150-\U0001f169\U0001f170-\U0001f189]"
)
"""Letters in circles and squares."""
_RELATION_KEYS = frozenset({"relation", "let_relation", "capital_relation"})
_LIST_KEYS = frozenset({"keywords", "forbidden_words"})


@dataclass(frozen=True, slots=True)
class VerifierSet:
    """Verifiers of one package."""

    classes: Mapping[str, Any]
    """Instruction type to the verifier's class."""
    language_types: frozenset[str] = frozenset()
    """Types whose verdict rests on langdetect."""
    logger: str = ""
    """The logger to which the verifiers write whole responses, silenced meanwhile; "" for none."""


@dataclass(frozen=True, slots=True)
class Checked:
    """One instruction held against one response."""

    name: str
    """Type of the instruction."""
    why: str
    """The instruction in words."""
    strict: bool
    """Whether the response as it is follows it."""
    loose: bool
    """Whether one of its variants does."""
    error: str = ""
    """What the verifier failed with, "" where it did not."""
    undecided: bool = False
    """Whether langdetect's draws disagree about the language, so that the verdict is that of most of them."""
    drawn: str = ""
    """The argument in whose place the verifier drew one of its own, "" where it drew none."""

    @property
    def reason(self) -> str:
        """The instruction in words, and what qualifies the verdict."""
        if self.error:
            return f"{self.why} [the verifier failed: {self.error}]"
        if self.undecided:
            return f"{self.why} [too short to tell its language: most of {len(SEEDS)} draws decide]"
        return self.why


@dataclass(frozen=True, slots=True)
class PublishedDraw:
    """An argument of a benchmark's row in whose place the verifiers draw one, as its published scores do."""

    type: str
    """Type of the instruction."""
    argument: str
    value: Any

    def is_of(self, name: str, arguments: Mapping[str, Any]) -> bool:
        """Whether an instruction is the row's."""
        return name == self.type and arguments.get(self.argument) == self.value


def check_instructions(
    verifiers: VerifierSet,
    response: str,
    instructions: Iterable[tuple[str, Mapping[str, Any]]],
    *,
    seed: str | int,
    prompt: str = "",
    loosely: bool = True,
) -> list[Checked]:
    """The verdicts on each instruction, in order.

    Parameters
    ----------
    response:
        The text to check; a blank one follows nothing.
    instructions:
        Type and arguments of each; arguments that are None are left out.
    seed:
        The row's id: what a verifier draws follows from it alone.
    prompt:
        The prompt's text, for verifiers that ask for it.
    loosely:
        Whether the response's variants are checked too; without, `loose` is `strict`.
    """
    texts = variants(response) if loosely else (response,)
    with _DRAWING, _seeded(str(seed), verifiers):
        return [
            _checked(verifiers, verifiers.classes[name](name), arguments, texts, prompt)
            for name, arguments in instructions
        ]


def variants(response: str) -> tuple[str, ...]:
    """The texts of which one must pass in loose scoring, the response itself first.

    They are the whole, without its first line, without its last line and without both, each as it is
    and without asterisks. A text that comes up twice is listed once.
    """
    lines = response.split("\n")
    parts = (lines[1:], lines[:-1], lines[1:-1])
    texts = (response, *("\n".join(part).strip() for part in parts))
    return tuple(dict.fromkeys((*texts, *(text.replace("*", "") for text in texts))))


def count_words(text: str) -> int:
    """The number of words, counted as IFEval counts them: runs of word characters.

    Of what a word is made, the package `regex` decides, by which NLTK splits texts since 3.10: vowel signs and accents
    are part of it, as in Hindi, and superscripts and fractions are not. `re` has it the other way round.
    """
    if not text.isascii():
        text = "".join("a" if _is_of_word(character) else " " for character in text)
    return len(_WORD.findall(text))


def _is_of_word(character: str) -> bool:
    category = unicodedata.category(character)
    if category[0] in "LM" or category in ("Nd", "Nl", "Pc"):
        return True
    return character in _JOINERS or _ENCLOSED.match(character) is not None


class TooLong(Exception):
    """A verifier used up its time."""


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise `TooLong` in here after so much processor time of this thread.

    Only the main thread can be interrupted, and not on Windows: elsewhere there is no limit.
    """
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or not hasattr(signal, "setitimer"):
        yield
        return

    end = time.thread_time() + seconds

    def stop(*_: object) -> None:
        # The timer runs with every thread of the process: a model that generates beside this one is not counted.
        remaining = end - time.thread_time()
        if remaining > 0:
            signal.setitimer(signal.ITIMER_VIRTUAL, max(remaining, _LEAST_SECONDS))
            return
        raise TooLong(f"more than {seconds:g} s")

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def argument_error(names: Iterable[str], arguments: Mapping[str, Any]) -> str:
    """What is wrong with a constraint's arguments where its verifier would not refuse them, "" if nothing is.

    The packages' verifiers draw an argument that is missing, negative or empty, so that the verdict would be chance;
    what else they replace is in `Checked.drawn`.

    Parameters
    ----------
    names:
        The arguments that its type takes, all of them required.
    """
    for key in names:
        if key not in arguments:
            return f"{key} is missing"
    for key, value in arguments.items():
        if key in _RELATION_KEYS and value not in RELATIONS:
            return f"{key} is {shown(value)}, accepted: {' or '.join(RELATIONS)}"
        if key in _LIST_KEYS and not (
            isinstance(value, list) and value and all(isinstance(word, str) for word in value)
        ):
            return f"{key} is {shown(value)}, expected a list of words"
        if isinstance(value, bool):
            return f"{key} is {shown(value)}, expected a number or a text"
        if isinstance(value, int | float) and not value >= 0:
            return f"{key} is {shown(value)}, expected 0 or more"
        if any(isinstance(text, str) and not text.strip() for text in (value, *_items(value))):
            return f"{key} is {shown(value)}, expected a text that is not empty"
    return ""


def _items(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else ()


def shown(value: Any) -> str:
    """A value as a message shows it, cut where it is long."""
    text = ascii(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


def _checked(
    verifiers: VerifierSet,
    instruction: Any,
    arguments: Mapping[str, Any],
    texts: Sequence[str],
    prompt: str,
) -> Checked:
    why, strict, loose, error, undecided, drawn = "", False, False, "", False, ""
    try:
        with limited(LIMIT_SECONDS):
            why, drawn = _built(instruction, arguments, prompt)
            for number, text in enumerate(texts):
                votes = _votes(verifiers, instruction, text)
                loose = 2 * sum(votes) > len(votes)
                strict = strict or (loose and not number)
                undecided = undecided or len(set(votes)) > 1
                if loose:
                    break
    except Exception as failure:  # a verifier's failure is data, as an attempt's is
        error = str(failure) if isinstance(failure, TooLong) else _kind(failure)
    return Checked(instruction.id, why, strict, loose, error, undecided, drawn)


def _votes(verifiers: VerifierSet, instruction: Any, text: str) -> tuple[bool, ...]:
    """One verdict on a text, or one a seed where langdetect samples."""
    if not text.strip():
        return (False,)
    if instruction.id not in verifiers.language_types:
        return (bool(instruction.check_following(text)),)
    detector, votes = _language_detector(), []
    for seed in SEEDS:
        detector.seed = seed
        votes.append(bool(instruction.check_following(text)))
    return tuple(votes)


def _built(instruction: Any, arguments: Mapping[str, Any], prompt: str) -> tuple[str, str]:
    """Give the verifier its arguments; the instruction in its words, and which argument it drew."""
    passed = {key: value for key, value in arguments.items() if value is not None}
    before = random.getstate()
    description = instruction.build_description(**passed)
    used = instruction.get_instruction_args() or {}
    drawn = _replaced(passed, used) if random.getstate() != before else ""
    if "prompt" in used:
        description = instruction.build_description(prompt=prompt)
    line = " ".join(description.split())
    return line if len(line) <= SHOWN_CHARACTERS else f"{line[:SHOWN_CHARACTERS]}...", drawn


def _replaced(passed: Mapping[str, Any], used: Mapping[str, Any]) -> str:
    """The first argument that a verifier which drew uses in another form than it was passed."""
    for name, value in passed.items():
        if name in used and _normalized(used[name]) != _normalized(value):
            return name
    return "one of them"  # what it drew is, by chance, what was passed


def _normalized(value: Any) -> Any:
    # Verifiers strip texts, write them in small letters and sort lists.
    if isinstance(value, list):
        return sorted({str(item).strip().lower() for item in value})
    return value.strip().lower() if isinstance(value, str) else value


def _kind(failure: Exception) -> str:
    """Name of its type; its text may be a whole response."""
    kind = type(failure)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"


_DRAWING = threading.RLock()
"""Packages' verifiers draw from the generator of the process, which no other thread may change meanwhile."""


@contextmanager
def _seeded(seed: str, verifiers: VerifierSet) -> Iterator[None]:
    """Draws follow from the seed, and what a verifier logs goes nowhere."""
    detector = _language_detector() if verifiers.language_types else None
    logger = logging.getLogger(verifiers.logger) if verifiers.logger else None
    state = random.getstate()
    before = detector and detector.seed, logger and logger.disabled
    random.seed(seed)
    if logger:
        logger.disabled = True
    try:
        yield
    finally:
        random.setstate(state)
        if detector:
            detector.seed = before[0]
        if logger:
            logger.disabled = bool(before[1])


def _language_detector() -> Any:
    return importlib.import_module("langdetect").DetectorFactory
