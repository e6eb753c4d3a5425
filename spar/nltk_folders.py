"""NLTK's data on this machine: found in `NLTK_DATA` or in a data folder, and never downloaded.

    add_folder("data/nltk_data", TOKENIZER)     NLTK reads its tokenizer from there from now on

Verifiers of IFEval and IFBench split texts with NLTK's tokenizer; two types of IFBench also need its list of
stop words or its tagger. A folder has NLTK's own layout.
"""

from __future__ import annotations

import importlib
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from spar.errors import MissingExtra, UsageError

VARIABLE = "NLTK_DATA"
"""Environment variable with the folders of NLTK's data."""
TOKENIZER = "tokenizers/punkt_tab/english/"
STOP_WORDS = "corpora/stopwords/english"
TAGGER = "taggers/averaged_perceptron_tagger_eng/"
DATA_SETS = {"nltk_data": (TOKENIZER,), "nltk_words": (STOP_WORDS, TAGGER)}
"""Data set to what it holds of NLTK: parts of verifiers, not of examples."""


def is_named(data_set: str) -> bool:
    """Whether `NLTK_DATA` has all that a data set holds."""
    return all(named_folders(resource) for resource in DATA_SETS[data_set])


def named_folders(resource: str = TOKENIZER) -> list[str]:
    """The folders of `NLTK_DATA`, [] where none of them holds the resource."""
    named = [folder for folder in os.environ.get(VARIABLE, "").split(os.pathsep) if folder]
    return named if any(holds(folder, resource) for folder in named) else []


def add_folder(folder: str, resource: str) -> bool:
    """Put the folder with a resource first in NLTK's path: those of `NLTK_DATA`, else the one given.

    Returns
    -------
    Whether one of them holds it; if not, the path stays as it is.
    """
    folders = named_folders(resource) or [folder]
    is_there = any(holds(one, resource) for one in folders)
    if is_there:
        path = _imported("nltk.data").path
        path[:0] = [one for one in folders if one not in path[: len(folders)]]
    return is_there


def require_tokenizer(folder: str) -> None:
    """Put the folder with the tokenizer first in NLTK's path.

    Raises
    ------
    UsageError
        Neither `NLTK_DATA` nor the folder holds it.
    """
    if add_folder(folder, TOKENIZER):
        return
    if os.path.isdir(os.path.join(folder, TOKENIZER)):  # noqa: PTH112, PTH118  a text, as NLTK's paths are
        raise UsageError(
            f"NLTK does not read {folder}/{TOKENIZER}; it refuses files that another account could "
            f"change: run chmod -R go-w {folder}"
        )
    raise UsageError(
        f"NLTK's tokenizer, which the verifiers of instructions need, is not in {folder}; get it with "
        f"`spar data fetch nltk_data`, or set {VARIABLE} to a folder with {TOKENIZER}"
    )


def holds(folder: str, resource: str) -> bool:
    """Whether NLTK finds and accepts a resource in a folder."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _imported("nltk.data").find(resource, paths=[folder])
    except (LookupError, ValueError, OSError):
        return False
    return True


@contextmanager
def without_downloads() -> Iterator[None]:
    """In here `nltk.download`, which some packages call when they are imported, does nothing.

    What they change of NLTK's path and of the environment is undone.
    """
    nltk, data = _imported("nltk"), _imported("nltk.data")
    download, path, variable = nltk.download, list(data.path), os.environ.get(VARIABLE)
    nltk.download = lambda *_, **__: False
    try:
        yield
    finally:
        nltk.download, data.path[:] = download, path
        if variable is None:
            os.environ.pop(VARIABLE, None)
        else:
            os.environ[VARIABLE] = variable


def _imported(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtra(error.name or module, "eval", "checking instructions") from error
