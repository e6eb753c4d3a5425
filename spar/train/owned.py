"""Folders that a training writes and later deletes, such as checkpoints: marked first, so that it deletes no others.

The mark is written before anything else in the folder and deleted after everything else, so a folder that a killed
process left half written or half deleted is still known to be the training's.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from spar.errors import UsageError
from spar.files import PART, replace_json
from spar.record.training import FAILURE
from spar.store import MANIFEST, read_manifest, refuse_other_kind

OWNED = "spar.json"
"""File in a folder that a training has created."""
COMPLETE = "complete.json"
"""File in a checkpoint that is complete; earlier versions of spar wrote no other mark."""
LOCK = "lock"
"""The lock of a training's folder."""
PAIRS = "pairs"
"""Folder of a training's pairs and precomputed log-probabilities; removed when it is done."""
CHECKPOINT = "checkpoint-"
"""Prefix of a checkpoint's name, which ends in the number of its step."""


def refuse_foreign(out: Path) -> None:
    """Raise `UsageError` unless `out` is absent, empty, or the folder of a training; touches nothing."""
    if not out.exists():
        return
    if not out.is_dir():
        raise UsageError(f"out {out} is a file; choose another out")
    if (out / MANIFEST).exists():
        refuse_other_kind(read_manifest(out), "training", out)
        return
    foreign = sorted(entry.name for entry in out.iterdir() if not _precedes_manifest(entry.name))
    if foreign:
        raise UsageError(
            f"{out} is not empty (it holds {foreign[0]!r}) and has no {MANIFEST}, so it is not the folder of a "
            "training; choose another out"
        )


def is_foreign(out: Path) -> bool:
    """Whether `refuse_foreign` refuses the folder."""
    try:
        refuse_foreign(out)
    except UsageError:
        return True
    return False


def mark_owned(folder: Path) -> None:
    """Create a folder that this training may delete."""
    folder.mkdir(parents=True, exist_ok=True)
    replace_json(folder / OWNED, {"written_by": "spar"})


def is_owned(folder: Path) -> bool:
    """Whether a training has created the folder."""
    return (folder / OWNED).is_file() or (folder / COMPLETE).is_file()


def remove_owned(folder: Path) -> None:
    """Delete a folder that a training has created; any other one, or none, is left alone."""
    if folder.is_symlink() or not is_owned(folder):
        return
    mark_owned(folder)  # a checkpoint of an earlier version has only the other mark
    (folder / COMPLETE).unlink(missing_ok=True)
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != OWNED:
            path.unlink()
    (folder / OWNED).unlink()
    folder.rmdir()


def checkpoints(folder: Path) -> Iterator[Path]:
    """Every folder that is named like a checkpoint, whoever wrote it."""
    for path in folder.glob(f"{CHECKPOINT}*"):
        if path.is_dir() and path.name.removeprefix(CHECKPOINT).isdecimal():
            yield path


def remove_leftovers(out: Path, *, keep_checkpoints: bool) -> None:
    """Delete what a training that is done has written and needs no more, also where an earlier deletion was killed."""
    for folder in (out / PAIRS, *(() if keep_checkpoints else checkpoints(out))):
        remove_owned(folder)


def refuse_foreign_checkpoints(out: Path) -> None:
    """Raise `UsageError` for a checkpoint that this training has not written."""
    foreign = sorted(path.name for path in checkpoints(out) if not is_owned(path))
    if foreign:
        raise UsageError(
            f"{out / foreign[0]} has no {OWNED}, so this training has not written it (or an earlier version of "
            "spar was killed while it did); move it away, or delete it, and rerun"
        )


def _precedes_manifest(name: str) -> bool:
    """Whether a training may have written a file of this name before its manifest."""
    torn = name.startswith((f"{MANIFEST}.", f"{FAILURE}.")) and name.endswith(PART)
    return torn or name in (LOCK, FAILURE)
