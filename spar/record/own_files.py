"""The files that spar itself keeps in the directories of runs: what a fresh start deletes, and what no export may replace."""

from __future__ import annotations

import os
from pathlib import Path

from spar.errors import UsageError
from spar.record import evolution
from spar.record.evaluation import EXAMPLES, LIKELIHOODS, RESULTS
from spar.record.layout import EXAMPLE_FILES
from spar.record.marks import MARKS
from spar.record.training import BUILD_REPORT
from spar.store import LOCK, MANIFEST, RUN_FILES, TREES, read_trees

EVALUATION_FILES = (*RUN_FILES[1:], EXAMPLES, RESULTS, LIKELIHOODS, MANIFEST)
"""Those that an evaluation starts anew; the manifest comes last, so that a deletion that is cut short can be repeated."""
_OWN_FILES = frozenset(
    {*EVALUATION_FILES, LOCK, MARKS, *evolution.FILES, *EXAMPLE_FILES, BUILD_REPORT}
)


def own_file(path: Path) -> Path | None:
    """The file of a run that writing to a path would replace, wherever links lead; None if it is none."""
    target = Path(os.path.realpath(path))
    if target.name not in _OWN_FILES:
        return None
    return target if _is_of_run(target.parent) else None


def _is_of_run(folder: Path) -> bool:
    if (folder / MANIFEST).is_file() or (folder / BUILD_REPORT).is_file():
        return True
    try:
        return next(read_trees(folder / TREES), None) is not None
    except UsageError:  # no such file, or a table that was exported under its name
        return False
