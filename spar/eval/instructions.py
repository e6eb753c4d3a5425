"""Whether a response follows IFEval's instructions, by lm-eval's own verifiers.

    verify("Two words.", ["length_constraints:number_words"], [{"relation": "at least", "num_words": 2}], seed="1")

The verifiers are `lm_eval.tasks.ifeval`, called and not rewritten; this module adds what makes a verdict
the same on every machine and in every order. A verifier draws a random letter where the one it is given
is no letter, and langdetect samples: each row seeds both from its own id, and leaves Python's `random` as
it was. A verifier that fails, or that a response keeps busy past `LIMIT_SECONDS`, counts as not followed
and says so. NLTK's tokenizer is read from this machine, never from the network.
"""

from __future__ import annotations

import importlib
import logging
import os
import random
import signal
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from spar.errors import MissingExtra, UsageError
from spar.eval.datasets.local import open_data
from spar.plugins import check_name
from spar.record.evaluation import Verdict

LIMIT_SECONDS = 5.0
"""Processor time that one instruction of one response may take; honest ones take a hundredth of it."""
SHOWN_CHARACTERS = 160
"""A longer description of an instruction is cut."""
NLTK_VARIABLE = "NLTK_DATA"
"""Environment variable with the folders of NLTK's data."""
TOKENIZER = "tokenizers/punkt_tab/english/"
"""What the verifiers need of it."""


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

    def verdict(self, passed: bool, suffix: str = "") -> Verdict:
        """The record of one of the two."""
        failed = f" [the verifier failed: {self.error}]" if self.error else ""
        return Verdict(name=self.name + suffix, passed=passed, why=self.why + failed)


def verify(
    response: str,
    instruction_id_list: Sequence[str],
    kwargs: Sequence[Mapping[str, Any]],
    *,
    seed: str | int,
    prompt: str = "",
) -> list[Verdict]:
    """Strict verdicts on a response, one an instruction.

    Parameters
    ----------
    response:
        The text to check; a blank one follows nothing.
    instruction_id_list:
        Types of the instructions, such as `keywords:existence`.
    kwargs:
        Arguments of each; those that are None are left out.
    seed:
        The row's id: whatever a verifier draws follows from it alone.
    prompt:
        The prompt's text, for verifiers that ask for it.

    Raises
    ------
    UsageError
        An unknown type, more or fewer sets of arguments than types, or no verifiers on this machine.
    """
    checked = check(response, instruction_id_list, kwargs, seed=seed, prompt=prompt)
    return [one.verdict(one.strict) for one in checked]


def check(
    response: str,
    instruction_id_list: Sequence[str],
    kwargs: Sequence[Mapping[str, Any]],
    *,
    seed: str | int,
    prompt: str = "",
) -> list[Checked]:
    """Both verdicts of each instruction; parameters and errors as `verify`'s."""
    verifiers = checkers()
    check_row(instruction_id_list, kwargs, f"row {seed}")
    with _seeded(str(seed)):
        return [
            _checked(verifiers[name](name), args, response, prompt)
            for name, args in zip(instruction_id_list, kwargs, strict=True)
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


def check_row(ids: Sequence[str], kwargs: Sequence[Any], where: str) -> None:
    """Raise `UsageError` where a type is unknown, or has not exactly one set of arguments."""
    for name in ids:
        check_name(checkers(), f"instruction type ({where})", name)
    if len(ids) != len(kwargs) or not all(isinstance(args, Mapping) for args in kwargs):
        raise UsageError(
            f"{where}: {len(ids)} instruction types and {len(kwargs)} sets of arguments; "
            "expected one object of arguments a type"
        )


def checkers(data: str = "") -> Mapping[str, Any]:
    """Instruction type to lm-eval's verifier. Imported by the first call, whose folder is used from then on.

    Parameters
    ----------
    data:
        The benchmarks' data folder, in which NLTK's data is looked for where `NLTK_DATA` has none.

    Raises
    ------
    MissingExtra
        lm-eval, or a package that its verifiers need, is not installed.
    UsageError
        NLTK's tokenizer is not on this machine.
    """
    if not _LOADED:
        _find_tokenizer(data)
        registry = _imported("lm_eval.tasks.ifeval.instructions_registry")
        # Both read their data when first used: do it here, outside the verifiers' time limit.
        _imported("lm_eval.tasks.ifeval.instructions_util").count_sentences("One. Two.")
        _imported("langdetect").detect("one and two")
        _LOADED.update(registry.INSTRUCTION_DICT)
    return _LOADED


_LOADED: dict[str, Any] = {}


def _checked(instruction: Any, args: Mapping[str, Any], response: str, prompt: str) -> Checked:
    why, strict, loose, error = "", False, False, ""
    try:
        with _limited(LIMIT_SECONDS):
            why = _built(instruction, args, prompt)
            strict = _follows(instruction, response)
            loose = strict or any(_follows(instruction, text) for text in variants(response)[1:])
    except Exception as failure:  # a verifier's failure is data, as an attempt's is
        error = str(failure) if isinstance(failure, _TooLong) else _kind(failure)
    return Checked(instruction.id, why, strict, loose, error)


def _built(instruction: Any, args: Mapping[str, Any], prompt: str) -> str:
    """Give the verifier its arguments; the instruction in its words, with what it drew."""
    arguments = {key: value for key, value in args.items() if value is not None}
    description = instruction.build_description(**arguments)
    if "prompt" in (instruction.get_instruction_args() or ()):
        description = instruction.build_description(prompt=prompt)
    line = " ".join(description.split())
    return line if len(line) <= SHOWN_CHARACTERS else f"{line[:SHOWN_CHARACTERS]}..."


def _kind(failure: Exception) -> str:
    """Name of its type; its text may be a whole response."""
    kind = type(failure)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"


def _follows(instruction: Any, text: str) -> bool:
    return bool(text.strip()) and bool(instruction.check_following(text))


@contextmanager
def _seeded(seed: str) -> Iterator[None]:
    """Draws follow from the seed, and what a verifier logs (whole responses) goes nowhere."""
    detector = _imported("langdetect").DetectorFactory
    logger = logging.getLogger("lm_eval.tasks.ifeval.instructions")
    before = random.getstate(), detector.seed, logger.disabled
    random.seed(seed)
    detector.seed, logger.disabled = seed, True
    try:
        yield
    finally:
        random.setstate(before[0])
        detector.seed, logger.disabled = before[1:]


class _TooLong(Exception):
    """A verifier used up its time."""


@contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """Raise `_TooLong` in here after so much processor time of this process.

    Only the main thread can be interrupted, and not on Windows: elsewhere there is no limit.
    """
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or not hasattr(signal, "setitimer"):
        yield
        return

    def stop(*_: object) -> None:
        raise _TooLong(f"more than {seconds:g} s")

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def _imported(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtra(error.name or module, "eval", "scoring IFEval's instructions") from error


def _find_tokenizer(data: str) -> None:
    """Put the folder with the tokenizer first in NLTK's path; lm-eval downloads it where it is not there."""
    nltk_data = _imported("nltk.data")
    named = [folder for folder in os.environ.get(NLTK_VARIABLE, "").split(os.pathsep) if folder]
    if not any(_holds_tokenizer(nltk_data, folder) for folder in named):
        named = [_data_folder(nltk_data, data)]
    nltk_data.path[:0] = named


def _data_folder(nltk_data: Any, data: str) -> str:
    try:
        folder = open_data("nltk_data", data).root
    except UsageError as error:
        raise UsageError(f"{error}, or set {NLTK_VARIABLE} to a folder with {TOKENIZER}") from error
    if not _holds_tokenizer(nltk_data, str(folder)):
        raise UsageError(
            f"NLTK does not read {folder / TOKENIZER}; it refuses files that another account could "
            f"change: run chmod -R go-w {folder}"
        )
    return str(folder)


def _holds_tokenizer(nltk_data: Any, folder: str) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            nltk_data.find(TOKENIZER, paths=[folder])
    except (LookupError, ValueError, OSError):
        return False
    return True
