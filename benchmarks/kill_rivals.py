"""Kills the loops of the paper's rivals with SIGKILL in every stage, and says whether the resumed ones end the same.

    python benchmarks/kill_rivals.py --out runs/kill-rivals --report reports/killed_rivals.md

Two iterations of each recipe on the embedded model, of the smallest size that goes through all of its stages, evaluations
included. Each stage is killed up to four times: before its first write, before the middle one, within a line of its trees
or metrics (which is left torn), and before it counts as done. The files of the resumed loop (drafts, judgements,
training data, losses, weights, scores, manifests) are compared with those of a loop that was left alone, without
times. A recipe that is measured already is not measured again.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from reporting import facts, run_benchmark, table, write_page

from spar.files import replace_json
from tests.train.killing import Place, kill_stages, load
from tests.train.test_rivals import RECIPES

ANSWERS = "{name: greedy, benchmark: nano-if-answers, show: [pass]}"
JUDGE = "{name: judge, benchmark: nano-if, actor: first, settings: {greedy_first: false}, show: [judge_vote_acc]}"
PLACES: Mapping[Place, str] = {
    "first": "before its first write",
    "line": "within a line",
    "write": "before a middle write",
    "last": "before its end",
}


def main() -> None:
    """Measure what is not measured yet, and print or write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--out", type=Path, default=Path("runs/kill-rivals"))
    parser.add_argument("--report", type=Path, help="write this page")
    parser.add_argument("--device", default="cpu", choices=["cpu"])
    parser.add_argument("--commit", default="", help="the commit, where there is no git")
    args = parser.parse_args()
    home = args.out.resolve()
    missing = [recipe for recipe in RECIPES if not _file(home, recipe).exists()]
    if missing:
        load()
    for recipe in missing:
        # A judge that runs functions has none to run on a benchmark's prompts.
        items = ANSWERS if recipe == "autoif" else f"{ANSWERS}, {JUDGE}"
        changes = ("iterations=2", "eval.limit=4", f"benchmarks=[{items}]")
        start, rows = time.monotonic(), []
        for row in kill_stages(home / recipe, recipe, get_args(Place), *changes):
            print(json.dumps(row), flush=True)
            rows.append(row)
        seconds = round(time.monotonic() - start)
        replace_json(_file(home, recipe), {"rows": rows, "seconds": seconds, "facts": facts(args)})
    results = [json.loads(_file(home, recipe).read_bytes()) for recipe in RECIPES]
    if args.report:
        write_page(args.report, "Rivals killed in every stage", results[-1]["facts"], page(results))


def page(results: list[dict[str, Any]]) -> list[str]:
    """What was done, and the table of all recipes."""
    rows = [row for result in results for row in result["rows"]]
    num_kills = sum(len(row["killed"]) for row in rows)
    num_equal = sum(not row["differs"] for row in rows)
    minutes = sum(result["seconds"] for result in results) / 60
    summary = (
        f"{num_kills} kills with SIGKILL in {len(rows)} stages of {len(results)} recipes, two iterations each, in {minutes:.0f} "
        f"minutes. The files of {num_equal} of {len(rows)} stages equal those of a loop that was left alone: prompts, "
        "drafts, judgements, training data, losses, weights, scores and manifests, without times. A cell counts the kills of a "
        "stage; a stage that appends no lines is not killed within one."
    )
    cells = (
        (
            row["recipe"],
            row["stage"],
            *(str(row["killed"].count(place)) for place in PLACES),
            "no: " + ", ".join(row["differs"]) if row["differs"] else "yes",
        )
        for row in rows
    )
    return [summary, table(("recipe", "stage", *PLACES.values(), "ends equal"), cells)]


def _file(home: Path, recipe: str) -> Path:
    return home / f"{recipe}.json"


if __name__ == "__main__":
    run_benchmark(main)
