"""Seeds from positions, so that no result depends on which reply comes first.

A draft's or refinement's seed comes from (run seed, prompt id, parent, child index, role, attempt).
A vote's comes from the response's text in place of its position, since identical responses in one
tree share one judgement. The votes of one round have seeds in a row, as an engine gives them to the
samples of one request, so they may be requested together or one by one with the same result.
"""

from __future__ import annotations

import hashlib
import json


def derive(run_seed: int | None, *position: str | int | None) -> int | None:
    """A 63-bit seed for a position in a run; None where the run is unseeded."""
    if run_seed is None:
        return None
    key = json.dumps([run_seed, *position]).encode()
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big") >> 1


def child_indexes(
    run_seed: int, prompt_id: str, parent: int | None, most: int, *, attempts: int = 1
) -> dict[int | None, int]:
    """Seed to child index, for every seed that the first `most` children of `parent` may have been given.

    Parameters
    ----------
    parent:
        Id of the node that is refined; None for drafts.
    attempts:
        How often a child may be tried, each time with another seed.
    """
    role = "draft" if parent is None else "refine"
    return {
        derive(run_seed, prompt_id, parent, index, role, attempt): index
        for index in range(most)
        for attempt in range(attempts)
    }


def run_of_seeds(first: int | None, n: int) -> list[int | None]:
    """`n` seeds in a row out of one derived seed; all None where the run is unseeded."""
    if first is None:
        return [None] * n
    return [first // 2 + index for index in range(n)]  # halved, so that none leaves 63 bits
