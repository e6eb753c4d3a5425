"""IFEval's instructions in an evaluation: the verifiers with the data of this machine, rows, and records of verdicts.

The verdicts are `spar.ifeval_verifiers`'.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from spar.errors import UsageError
from spar.eval.datasets.local import open_data
from spar.ifeval_verifiers import checkers, is_loaded
from spar.instruction_checks import Checked
from spar.nltk_folders import TOKENIZER, VARIABLE, named_folders
from spar.plugins import check_name
from spar.record.evaluation import Verdict


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
    if is_loaded() or named_folders():
        return checkers()
    try:
        folder = open_data("nltk_data", data).root
    except UsageError as error:
        raise UsageError(f"{error}, or set {VARIABLE} to a folder with {TOKENIZER}") from error
    return checkers(str(folder))


def check_row(ids: Sequence[str], kwargs: Sequence[Any], where: str) -> None:
    """Raise `UsageError` where a type is unknown, or has not exactly one set of arguments."""
    for name in ids:
        check_name(checkers(), f"instruction type ({where})", name)
    if len(ids) != len(kwargs) or not all(isinstance(args, Mapping) for args in kwargs):
        raise UsageError(
            f"{where}: {len(ids)} instruction types and {len(kwargs)} sets of arguments; "
            "expected one object of arguments a type"
        )


def as_verdict(checked: Checked, *, loose: bool = False) -> Verdict:
    """The record of one of the two verdicts on an instruction."""
    name, passed = (
        (f"{checked.name} (loose)", checked.loose) if loose else (checked.name, checked.strict)
    )
    return Verdict(name=name, passed=passed, why=checked.reason)
