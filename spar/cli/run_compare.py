"""What `spar eval compare` does."""

from __future__ import annotations

import json
from pathlib import Path

from spar.cli.compare_report import print_comparison
from spar.eval.compare import as_dict, compare


def run(first: Path, second: Path, *, allow_missing: bool, flips: int, json_results: bool) -> None:
    """Compare every benchmark that both directories have, and print what differs."""
    found = compare(first, second, allow_missing=allow_missing)
    if json_results:
        print(json.dumps({one.benchmark: as_dict(one) for one in found}))
        return
    for one in found:
        print_comparison(one, flips=flips)
