"""FollowBench's numbers as shares and means: HSR, SSR, CSL, and the ways of averaging them.

    hsr/content/3            rows of a file and level of which every constraint is satisfied
    ssr/content/3            share of the constraints satisfied, averaged over those rows
    csl/content              levels satisfied in a row from the first on, averaged over groups (0 to 5)
    ssr_weighted/content     the file's mean in which level l weighs l
    ssr/content              plain mean of a file's levels
    ssr_level_3              plain mean over the six files
    ssr_avg                  plain mean over files and levels
    ssr_weighted             plain mean of the files' weighted means
    .../without_example      the same mean over the other five files

The same names with `hsr` are the hard rates. The example file has one number a level, which serves
as both, and no part in `ssr_weighted`, as in the benchmark's own scripts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from spar.record.evaluation import Share

FILES = ("content", "situation", "style", "format", "example", "mixed")
"""Files of the data, in order."""
WITHOUT_EXAMPLE = tuple(file for file in FILES if file != "example")
LEVELS = (1, 2, 3, 4, 5)
RATES = ("ssr", "hsr")
UNITS = dict.fromkeys(("csl", "csl/without_example", *(f"csl/{file}" for file in FILES)), "levels")
"""Metrics that are no fractions."""


def shares(file: str, level: int, *, hard: float, soft: float) -> dict[str, Share]:
    """What a row adds to its file's and level's rates."""
    return {f"ssr/{file}/{level}": (soft, 1), f"hsr/{file}/{level}": (hard, 1)}


def weighted_shares(file: str, level: int, *, hard: float, soft: float) -> dict[str, Share]:
    """What a row of a complete group adds to its file's weighted means."""
    if file not in WITHOUT_EXAMPLE:
        return {}
    return {
        f"ssr_weighted/{file}": (level * soft, level),
        f"hsr_weighted/{file}": (level * hard, level),
    }


def csl_share(file: str, hard: Sequence[float]) -> dict[str, Share]:
    """What a complete group adds to its file's CSL; `hard` has levels 1 to 5 in order."""
    length = next((index for index, value in enumerate(hard) if value != 1), len(hard))
    return {f"csl/{file}": (length, 1)}


def means() -> Mapping[str, tuple[str, ...]]:
    """Every mean and what it is the mean of, the paper's number first."""
    parts = {f"{rate}_avg": _cells(rate, FILES) for rate in RATES}
    parts["csl"] = tuple(f"csl/{file}" for file in FILES)
    for rate in RATES:
        parts |= {f"{rate}_level_{level}": _cells(rate, FILES, (level,)) for level in LEVELS}
    for rate in RATES:
        parts |= {f"{rate}/{file}": _cells(rate, (file,)) for file in FILES}
    parts |= {f"{rate}_avg/without_example": _cells(rate, WITHOUT_EXAMPLE) for rate in RATES}
    parts["csl/without_example"] = tuple(f"csl/{file}" for file in WITHOUT_EXAMPLE)
    for rate in RATES:
        parts |= {
            f"{rate}_level_{level}/without_example": _cells(rate, WITHOUT_EXAMPLE, (level,))
            for level in LEVELS
        }
    for rate in RATES:
        parts[f"{rate}_weighted"] = tuple(f"{rate}_weighted/{file}" for file in WITHOUT_EXAMPLE)
    return parts


def _cells(rate: str, files: Sequence[str], levels: Sequence[int] = LEVELS) -> tuple[str, ...]:
    return tuple(f"{rate}/{file}/{level}" for level in levels for file in files)
