"""IFEval: instructions that a program can check.

Dataset: 541 prompts that carry 834 instructions of 25 types (`ifeval/input_data.jsonl`).
Metric:  share of the prompts with every instruction followed, share of the instructions followed; both
         strict (the response as it is) and loose (any of its variants). `average` is the plain mean of
         the four, the paper's "Avg."; after them each family of instructions and each type.
Pattern: one answer a prompt, no judge.

The names are lm-eval's, and so is every metric: all 541 prompts count, as published. The verifiers, and what a
verdict rests on, are in `spar.ifeval_verifiers`. Five published items are faulty (`FAULTY`); a note names those in
the run, and `average_sound` is the mean of the four without them. Key 1174 checks the opposite of its instruction.
"""

from __future__ import annotations

import string
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any

from spar import ifeval_verifiers
from spar.errors import UsageError
from spar.eval import paper
from spar.eval.datasets.local import open_data
from spar.eval.instructions import (
    AVERAGE,
    FOUR,
    LOOSE,
    PROMPT_LOOSE,
    PROMPT_STRICT,
    SOUND,
    STRICT,
    InstructionBenchmark,
    InstructionVerifiers,
    named_doubts,
)
from spar.nltk_folders import TOKENIZER, VARIABLE, named_folders
from spar.types import Prompt

__all__ = [
    "AVERAGE",
    "FAULTY",
    "FOUR",
    "LOOSE",
    "PROMPT_LOOSE",
    "PROMPT_STRICT",
    "SOUND",
    "STRICT",
    "IFEval",
    "load_verifiers",
]

FAULTY: Mapping[str, str] = {
    "30": "checks the quotation marks twice and never the lower case",
    "337": "asks for 400 words and checks 336",
    "1122": "counts '#', in whose place lm-eval puts a random letter",
    "1129": "counts '!', in whose place lm-eval puts a random letter",
    "2078": "asks for one bullet point and for a few, and checks one",
}
"""Key of an item whose verdict does not say whether the instruction is followed, and why."""
LETTER = "keywords:letter_frequency"


def load_verifiers(data: str = "") -> Mapping[str, Any]:
    """Instruction type to lm-eval's verifier, so that what is missing is reported before anything is generated.

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
    if ifeval_verifiers.is_loaded() or named_folders():
        return ifeval_verifiers.checkers()
    try:
        folder = open_data("nltk_data", data).root
    except UsageError as error:
        raise UsageError(f"{error}, or set {VARIABLE} to a folder with {TOKENIZER}") from error
    return ifeval_verifiers.checkers(str(folder))


def lm_eval() -> str:
    """The package of the verifiers, with its version."""
    return f"lm-eval {version('lm_eval')}"


class IFEval(InstructionBenchmark):
    """The benchmark; see the module's docstring."""

    data = ("ifeval", "nltk_data")
    packages = ifeval_verifiers.PACKAGES
    file = "input_data.jsonl"
    verifiers = InstructionVerifiers(
        load_verifiers,
        ifeval_verifiers.check,
        lm_eval,
        require_packages=ifeval_verifiers.require_packages,
    )
    headline = AVERAGE
    paper = paper.IFEVAL

    def doubtful(self) -> Mapping[str, str]:
        """The faulty items."""
        return FAULTY

    def notes(self, examples: Sequence[Prompt]) -> Iterator[str]:
        """Which items draw a letter, and which are faulty."""
        if drawn := [prompt.id for prompt in examples if _draws_letter(prompt)]:
            yield (
                f"{', '.join(drawn)}: lm-eval puts a random letter in place of a character that is none; "
                "the prompt's id is its seed here"
            )
        if faulty := named_doubts(examples, FAULTY):
            reasons = "; ".join(f"{id_} {FAULTY[id_]}" for id_ in faulty)
            yield f"published items that are faulty, left out of {AVERAGE}_{SOUND}: {reasons}"


def _draws_letter(prompt: Prompt) -> bool:
    pairs = zip(prompt.meta["instruction_id_list"], prompt.meta["kwargs"], strict=True)
    letters = set(string.ascii_letters)
    return any(name == LETTER and args.get("letter") not in letters for name, args in pairs)
