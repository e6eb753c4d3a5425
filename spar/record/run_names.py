"""Names of runs that tell them apart: many evaluations are called after their benchmark alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from spar.record.layout import absolute_path
from spar.store import TREES


def path_labels(paths: Sequence[Path], *, least: int = 1) -> dict[Path, str]:
    """Path to as many of its last parts, `least` or more, as tell the paths apart; "" where there is a single one.

    Of several paths of one folder, the last is in the result.
    """
    places = {_folder_parts(path): path for path in paths}
    if len(places) == 1:
        return dict.fromkeys(places.values(), "")
    labels: dict[Path, str] = {}
    for number in range(least, max(map(len, places), default=0) + 1):
        labels = {path: "/".join(parts[-number:]) for parts, path in places.items()}
        if len(set(labels.values())) == len(places):
            break
    return labels


def _folder_parts(path: Path) -> tuple[str, ...]:
    """The parts of a path; those of its folder for a file of trees."""
    place = absolute_path(path)
    return (place.parent if path.is_file() and path.name == TREES else place).parts[1:]
