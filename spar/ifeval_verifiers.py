"""IFEval's verifiers as lm-eval has them, called and not rewritten.

    check("Two words.", ["length_constraints:number_words"], [{"relation": "at least", "num_words": 2}], seed="1")

What makes a verdict repeatable is in `spar.instruction_checks`: a letter that a verifier draws follows from the
row's id, and the majority of langdetect's draws decides about a language, which is lm-eval's most likely verdict
(lm-eval leaves langdetect unseeded). NLTK's tokenizer is read from this machine, never from the network.

It knows no prompts and no data sets; `spar.verifiers` decides which prompts it checks.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

from spar import hardware
from spar.data_folder import data_root
from spar.errors import MissingExtra
from spar.instruction_checks import Checked, PublishedDraw, VerifierSet, check_instructions
from spar.nltk_folders import require_tokenizer

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
PUBLISHED_DRAWS: Mapping[str, PublishedDraw] = {
    "1122": PublishedDraw("keywords:letter_frequency", "letter", "#"),
    "1129": PublishedDraw("keywords:letter_frequency", "letter", "!"),
}
"""Key of a row of IFEval to the argument that is no letter."""
LOGGER = "lm_eval.tasks.ifeval.instructions"
"""Where the verifiers write texts in which langdetect finds no language."""
PACKAGES = ("lm_eval", "langdetect", "nltk")
"""Distributions whose versions a verdict can depend on."""
EXTRA, PURPOSE = "eval", "checking IFEval's instructions"
"""Of the errors about a package that is missing."""


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
    return check_instructions(
        VerifierSet(checkers(), LANGUAGE_TYPES, LOGGER),
        response,
        zip(instruction_ids, kwargs, strict=True),
        seed=seed,
        prompt=prompt,
        loosely=loosely,
    )


def require_packages() -> None:
    """Raise `MissingExtra` where lm-eval, or a package that its verifiers need, is not installed; none is imported."""
    if not is_loaded():
        hardware.require_packages((*PACKAGES, "immutabledict"), EXTRA, PURPOSE)


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
        require_tokenizer(folder or str(data_root() / "nltk_data"))
        registry = _imported("lm_eval.tasks.ifeval.instructions_registry")
        # Both read their data when first used: do it here, outside the verifiers' time limit.
        _imported("lm_eval.tasks.ifeval.instructions_util").count_sentences("One. Two.")
        _imported("langdetect").detect("one and two")
        _LOADED.update(registry.INSTRUCTION_DICT)
    return _LOADED


def count(name: str, text: str) -> int | tuple[str, ...]:
    """What lm-eval counts for a type whose verifier uses a tokenizer: how many sentences, or the words in capital letters.

    Raises
    ------
    MissingExtra, UsageError
        As `checkers`.
    """
    checkers()
    util = _imported("lm_eval.tasks.ifeval.instructions_util")
    if name == "length_constraints:number_sentences":
        return int(util.count_sentences(text))
    return tuple(word for word in util.nltk.word_tokenize(text) if word.isupper())


_LOADED: dict[str, Any] = {}


def is_loaded() -> bool:
    """Whether `checkers` has imported the verifiers, with the tokenizer that it found."""
    return bool(_LOADED)


def _imported(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtra(error.name or module, EXTRA, PURPOSE) from error
