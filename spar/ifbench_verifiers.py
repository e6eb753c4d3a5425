"""IFBench's verifiers as a package has them, called and not rewritten.

    check("a, b", ["format:no_whitespace"], [{}], seed="296")

The package is upstream's `ifbench` where it is installed, else `if-verifiable`. They do not agree on every text, nor
do versions of one of them, so a score names `used_package()`; `reports/ifbench_verifiers.md` compares them.

What makes a verdict repeatable is in `spar.instruction_checks`. NLTK's data are read from this machine, never from
the network, though the packages try to download them when they are imported. Its tokenizer is required. Where the
list of stop words or the tagger is absent, the types that need them are in `unverifiable_types` with the reason, as
is a type that the package lacks: they get no verdict, rather than a failed one.

It knows no prompts and no data sets.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

from spar import hardware
from spar.data_folder import data_root
from spar.errors import MissingExtra, UsageError
from spar.instruction_checks import Checked, PublishedDraw, VerifierSet, check_instructions
from spar.nltk_folders import (
    STOP_WORDS,
    TAGGER,
    VARIABLE,
    add_folder,
    require_tokenizer,
    without_downloads,
)

IFBENCH_TYPES = frozenset(
    {
        *("count:conjunctions", "count:keywords_multiple", "count:numbers", "count:person_names"),
        *("count:pronouns", "count:punctuation", "count:unique_word_count"),
        *("count:word_count_range", "count:words_japanese", "custom:character_reverse"),
        *("custom:csv_city", "custom:csv_quotes", "custom:csv_special_character"),
        *("custom:date_format_list", "custom:european_capitals_sort", "custom:mcq_count_length"),
        *("custom:multiples", "custom:reverse_newline", "custom:sentence_alphabet"),
        *("custom:word_reverse", "format:emoji", "format:line_indent", "format:list"),
        *("format:newline", "format:no_bullets_bullets", "format:no_whitespace", "format:options"),
        *("format:output_template", "format:parentheses", "format:quote_unquote", "format:quotes"),
        *("format:sub-bullets", "format:thesis", "format:title_case", "ratio:overlap"),
        *("ratio:sentence_balance", "ratio:sentence_type", "ratio:sentence_words"),
        *("ratio:stop_words", "repeat:repeat_change", "repeat:repeat_simple"),
        *("repeat:repeat_span", "sentence:alliteration_increment", "sentence:increment"),
        *("sentence:keyword", "words:alphabet", "words:consonants"),
        *("words:keywords_specific_position", "words:last_first", "words:no_consecutive"),
        *("words:odd_even_syllables", "words:palindrome", "words:paragraph_last_first"),
        *("words:prime_lengths", "words:repeats", "words:start_verb", "words:vowel"),
        "words:words_position",
    }
)
"""The 58 instruction types of IFBench's test set, known without a package."""
WORDS_FOLDER = "nltk_words"
"""The data set with NLTK's stop words and tagger."""
NEEDS: Mapping[str, tuple[str, str]] = {
    "ratio:stop_words": (STOP_WORDS, "list of stop words"),
    "words:start_verb": (TAGGER, "tagger"),
}
"""Type to the resource of NLTK, beyond its tokenizer, without which its verifier fails; and what that is."""
UPSTREAM = "ifbench"
"""Name of upstream's package."""
_REGISTRIES = (
    (UPSTREAM, "ifbench.instructions_registry"),
    ("if-verifiable", "if_verifiable.ifbench.instructions_registry"),
)
"""Packages with the verifiers, the preferred one first, and the module that lists their classes."""
_CALLED = ("emoji", "nltk", "syllapy")
"""Packages that the verifiers call."""
PUBLISHED_DRAWS: Mapping[str, PublishedDraw] = {
    "286": PublishedDraw("repeat:repeat_span", "n_start", 0),
}
"""Key of a row of IFBench to the index that the packages take for none."""
EXTRA, PURPOSE = "ifbench", "checking IFBench's instructions"
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
    """The verdicts on each instruction, in order; parameters as of `spar.ifeval_verifiers.check`.

    Raises
    ------
    MissingExtra
        The verifiers' package is not installed.
    UsageError
        NLTK's tokenizer is not on this machine, or a type is one of `unverifiable_types`.
    """
    classes, missing = checkers(), unverifiable_types()
    if unverifiable := [name for name in instruction_ids if name in missing]:
        raise UsageError(f"{unverifiable[0]} cannot be checked: {missing[unverifiable[0]]}")
    return check_instructions(
        VerifierSet(classes),
        response,
        zip(instruction_ids, kwargs, strict=True),
        seed=seed,
        prompt=prompt,
        loosely=loosely,
    )


def checkers(data: str = "") -> Mapping[str, Any]:
    """Instruction type to its verifier, for every type that can be checked on this machine.

    The first call imports them; its folder is used from then on.

    Parameters
    ----------
    data:
        The data folder, in which NLTK's data are looked for where `NLTK_DATA` has none; "" for the default.

    Raises
    ------
    MissingExtra
        The verifiers' package, or one that it needs, is not installed.
    UsageError
        NLTK's tokenizer is not on this machine, or the package cannot be loaded.
    """
    if not is_loaded():
        root = data_root(data)
        classes, name = _registry()
        require_tokenizer(str(root / "nltk_data"))
        present = {
            resource: add_folder(str(root / WORDS_FOLDER), resource)
            for resource, _ in NEEDS.values()
        }
        loaded = _Loaded(classes, name, _unverifiable(classes, name, present))
        _warm_up(loaded)
        _LOADED.append(loaded)
    return _LOADED[0].verifiable


def unverifiable_types(data: str = "") -> Mapping[str, str]:
    """IFBench's types that cannot be checked on this machine, and why; parameter and errors as of `checkers`."""
    checkers(data)
    return _LOADED[0].unverifiable


def used_package() -> str:
    """Name and version of the package with the verifiers, such as `if-verifiable 0.1.2`.

    Raises
    ------
    MissingExtra
        There is none.
    """
    name = _LOADED[0].package if is_loaded() else _found()[0]
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:  # a checkout on the path
        return f"{name} of an unknown version"


def packages() -> tuple[str, ...]:
    """Distributions whose versions a verdict can depend on: the package that is used, and what it calls."""
    try:
        name = _found()[0]
    except MissingExtra:
        name = _REGISTRIES[-1][0]
    return name, *_CALLED


def require_packages() -> None:
    """Raise `MissingExtra` where the verifiers' package, or one that it calls, is not installed; none is imported."""
    if not is_loaded():
        _found()
        hardware.require_packages(_CALLED, EXTRA, PURPOSE)


def is_loaded() -> bool:
    """Whether `checkers` has imported the verifiers."""
    return bool(_LOADED)


@dataclass(frozen=True, slots=True)
class _Loaded:
    classes: Mapping[str, Any]
    package: str
    unverifiable: Mapping[str, str]

    @property
    def verifiable(self) -> Mapping[str, Any]:
        return {name: self.classes[name] for name in IFBENCH_TYPES if name not in self.unverifiable}


_LOADED: list[_Loaded] = []


def _found() -> tuple[str, str]:
    """The preferred package that is installed: its name, and the module of its classes."""
    for name, module in _REGISTRIES:
        spec = find_spec(module.partition(".")[0])
        if (
            spec and spec.origin
        ):  # a plain folder of that name, as a data folder has one, has no origin
            return name, module
    raise MissingExtra("if_verifiable", EXTRA, PURPOSE)


def _registry() -> tuple[Mapping[str, Any], str]:
    """The classes of the package, and its name."""
    name, module = _found()
    try:
        with without_downloads():
            return importlib.import_module(module).INSTRUCTION_DICT, name
    except ImportError as error:
        raise MissingExtra(error.name or module, EXTRA, PURPOSE) from error
    except OSError as error:  # upstream's makes a folder beside its modules
        raise UsageError(
            f"the package {name} cannot be loaded: {error}; let this account write there, or "
            "uninstall it and install if-verifiable"
        ) from error


def _unverifiable(
    classes: Mapping[str, Any], package: str, present: Mapping[str, bool]
) -> dict[str, str]:
    reasons = dict.fromkeys(
        sorted(IFBENCH_TYPES - classes.keys()), f"the package {package} has no verifier for it"
    )
    for name, (resource, what) in NEEDS.items():
        if not present[resource] and name in classes:
            reasons[name] = (
                f"NLTK's {what} is not on this machine; get it with `spar data fetch {WORDS_FOLDER}`, "
                f"or add a folder with {resource} to {VARIABLE}"
            )
    return reasons


def _warm_up(loaded: _Loaded) -> None:
    """Have what reads its data when it is first used do so now, outside the verifiers' time limit."""
    for name in ("words:words_position", "words:odd_even_syllables", *NEEDS):
        if name in loaded.verifiable:
            verifier = loaded.verifiable[name](name)
            verifier.build_description()
            verifier.check_following("Walk on. So they did.")
