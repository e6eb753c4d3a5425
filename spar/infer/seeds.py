"""Seeds from positions, so that no result depends on which reply comes first.

A draft's or refinement's seed comes from (run seed, prompt id, parent, child index, role, attempt).
A vote's comes from the response's text in place of its position, since identical responses in one
tree share one judgement.
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
