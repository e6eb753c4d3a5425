"""IFEval's verifiers as lm-eval has them, called and not rewritten, with verdicts that anyone can repeat.

    check("Two words.", ["length_constraints:number_words"], [{"relation": "at least", "num_words": 2}], seed="1")

This module adds what makes a verdict the same on every machine and in every order:

- A verifier draws a random letter where the one it is given is no letter: the row's id seeds the draw, and
  Python's `random` is left as it was.
- Three types ask langdetect for the language, which samples: on a text that is too short to tell, its answer is
  chance. lm-eval leaves it unseeded. Here `SEEDS` draws decide by majority, which is lm-eval's most likely
  verdict, and a verdict on which they differ is marked `undecided`.
- A verifier that fails, or that a response keeps busy past `LIMIT_SECONDS`, counts as not followed and says so.
- NLTK's tokenizer is read from this machine, never from the network.

It knows no prompts and no data sets; `spar.verifiers` decides which prompts it checks.
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

from spar.data_folder import data_root
from spar.errors import MissingExtra, UsageError

IFEVAL_TYPES = frozenset(
    {
        *("keywords:existence", "keywords:frequency", "keywords:forbidden_words"),
        *("keywords:letter_frequency", "language:response_language"),
        *("length_constraints:number_sentences", "length_constraints:number_paragraphs"),
        *("length_constraints:number_words", "length_constraints:nth_paragraph_first_word"),
        *("detectable_content:number_placeholders", "detectable_content:postscript"),
        *("detectable_format:number_bullet_lists", "detectable_format:constrained_response"),
        *("detectable_format:number_highlighted_sections", "detectable_format:multiple_sections"),
        *("detectable_format:json_format", "detectable_format:title"),
        *("combination:two_responses", "combination:repeat_prompt", "startend:end_checker"),
        *("change_case:capital_word_frequency", "change_case:english_capital"),
        *("change_case:english_lowercase", "punctuation:no_comma", "startend:quotation"),
    }
)
"""The 25 instruction types that lm-eval checks, known without it."""
LANGUAGE_TYPES = frozenset(
    {
        *("language:response_language", "change_case:english_capital"),
        "change_case:english_lowercase",
    }
)
"""Types whose verdict rests on langdetect."""
SEEDS = range(5)
"""langdetect's seeds; most of them decide. An odd number, so that there is no tie."""
LIMIT_SECONDS = 5.0
"""Processor time that one instruction of one response may take; honest ones take a hundredth of it."""
SHOWN_CHARACTERS = 160
"""A longer description of an instruction is cut."""
NLTK_VARIABLE = "NLTK_DATA"
"""Environment variable with the folders of NLTK's data."""
TOKENIZER = "tokenizers/punkt_tab/english/"
"""What the verifiers need of it."""
PACKAGES = ("lm_eval", "langdetect", "nltk")
"""Distributions whose versions a verdict can depend on."""


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

    @property
    def reason(self) -> str:
        """The instruction in words, and what qualifies the verdict."""
        if self.error:
            return f"{self.why} [the verifier failed: {self.error}]"
        if self.undecided:
            return f"{self.why} [too short to tell its language: most of {len(SEEDS)} draws decide]"
        return self.why


def check(
    response: str,
    instruction_ids: Sequence[str],
    kwargs: Sequence[Mapping[str, Any]],
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
    instruction_ids:
        Types of the instructions, of `IFEVAL_TYPES`.
    kwargs:
        Arguments of each; those that are None are left out.
    seed:
        The row's id: the letter that a verifier draws follows from it alone.
    prompt:
        The prompt's text, for verifiers that ask for it.
    loosely:
        Whether the response's variants are checked too; without, `loose` is `strict`.

    Raises
    ------
    MissingExtra, UsageError
        lm-eval or NLTK's tokenizer is not on this machine.
    """
    verifiers = checkers()
    texts = variants(response) if loosely else (response,)
    with _seeded(str(seed)):
        return [
            _checked(verifiers[name](name), arguments, texts, prompt)
            for name, arguments in zip(instruction_ids, kwargs, strict=True)
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


def checkers(folder: str = "") -> Mapping[str, Any]:
    """Instruction type to lm-eval's verifier. Imported by the first call, whose folder is used from then on.

    Parameters
    ----------
    folder:
        A folder of NLTK's data, used where `NLTK_DATA` has no tokenizer; "" for `nltk_data` in the data folder.

    Raises
    ------
    MissingExtra
        lm-eval, or a package that its verifiers need, is not installed.
    UsageError
        NLTK's tokenizer is not on this machine.
    """
    if not is_loaded():
        find_tokenizer(folder or str(data_root() / "nltk_data"))
        registry = _imported("lm_eval.tasks.ifeval.instructions_registry")
        # Both read their data when first used: do it here, outside the verifiers' time limit.
        _imported("lm_eval.tasks.ifeval.instructions_util").count_sentences("One. Two.")
        _imported("langdetect").detect("one and two")
        _LOADED.update(registry.INSTRUCTION_DICT)
    return _LOADED


_LOADED: dict[str, Any] = {}


def is_loaded() -> bool:
    """Whether `checkers` has imported the verifiers, with the tokenizer that it found."""
    return bool(_LOADED)


def named_folders() -> list[str]:
    """The folders of `NLTK_DATA`, [] where none of them holds the tokenizer."""
    named = [folder for folder in os.environ.get(NLTK_VARIABLE, "").split(os.pathsep) if folder]
    return named if any(map(_holds_tokenizer, named)) else []


def find_tokenizer(folder: str) -> None:
    """Put the folder with the tokenizer first in NLTK's path; lm-eval downloads it where it is not there.

    Raises
    ------
    UsageError
        Neither `NLTK_DATA` nor the folder holds it.
    """
    folders = named_folders() or [folder]
    if not _holds_tokenizer(folders[0]) and len(folders) == 1:
        if os.path.isdir(os.path.join(folder, TOKENIZER)):  # noqa: PTH112, PTH118  a text, as NLTK's paths are
            raise UsageError(
                f"NLTK does not read {folder}/{TOKENIZER}; it refuses files that another account could "
                f"change: run chmod -R go-w {folder}"
            )
        raise UsageError(
            f"NLTK's tokenizer, which IFEval's verifiers need, is not in {folder}; get it with "
            f"`spar data fetch nltk_data`, or set {NLTK_VARIABLE} to a folder with {TOKENIZER}"
        )
    _imported("nltk.data").path[:0] = folders


def _checked(
    instruction: Any, arguments: Mapping[str, Any], texts: Sequence[str], prompt: str
) -> Checked:
    why, strict, loose, error, undecided = "", False, False, "", False
    try:
        with limited(LIMIT_SECONDS):
            why = _built(instruction, arguments, prompt)
            for number, text in enumerate(texts):
                votes = _votes(instruction, text)
                loose = 2 * sum(votes) > len(votes)
                strict = strict or (loose and not number)
                undecided = undecided or len(set(votes)) > 1
                if loose:
                    break
    except Exception as failure:  # a verifier's failure is data, as an attempt's is
        error = str(failure) if isinstance(failure, TooLong) else _kind(failure)
    return Checked(instruction.id, why, strict, loose, error, undecided)


def _votes(instruction: Any, text: str) -> tuple[bool, ...]:
    """One verdict on a text, or one a seed where langdetect samples."""
    if not text.strip():
        return (False,)
    if instruction.id not in LANGUAGE_TYPES:
        return (bool(instruction.check_following(text)),)
    detector, votes = _imported("langdetect").DetectorFactory, []
    for seed in SEEDS:
        detector.seed = seed
        votes.append(bool(instruction.check_following(text)))
    return tuple(votes)


def _built(instruction: Any, arguments: Mapping[str, Any], prompt: str) -> str:
    """Give the verifier its arguments; the instruction in its words, with what it drew."""
    passed = {key: value for key, value in arguments.items() if value is not None}
    description = instruction.build_description(**passed)
    if "prompt" in (instruction.get_instruction_args() or ()):
        description = instruction.build_description(prompt=prompt)
    line = " ".join(description.split())
    return line if len(line) <= SHOWN_CHARACTERS else f"{line[:SHOWN_CHARACTERS]}..."


def _kind(failure: Exception) -> str:
    """Name of its type; its text may be a whole response."""
    kind = type(failure)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"


@contextmanager
def _seeded(seed: str) -> Iterator[None]:
    """Draws follow from the seed, and what a verifier logs (whole responses) goes nowhere."""
    detector = _imported("langdetect").DetectorFactory
    logger = logging.getLogger("lm_eval.tasks.ifeval.instructions")
    before = random.getstate(), detector.seed, logger.disabled
    random.seed(seed)
    logger.disabled = True
    try:
        yield
    finally:
        random.setstate(before[0])
        detector.seed, logger.disabled = before[1:]


class TooLong(Exception):
    """A verifier used up its time."""


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise `TooLong` in here after so much processor time of this process.

    Only the main thread can be interrupted, and not on Windows: elsewhere there is no limit.
    """
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or not hasattr(signal, "setitimer"):
        yield
        return

    def stop(*_: object) -> None:
        raise TooLong(f"more than {seconds:g} s")

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
        raise MissingExtra(
            error.name or module, "eval", "checking IFEval's instructions"
        ) from error


def _holds_tokenizer(folder: str) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _imported("nltk.data").find(TOKENIZER, paths=[folder])
    except (LookupError, ValueError, OSError):
        return False
    return True
