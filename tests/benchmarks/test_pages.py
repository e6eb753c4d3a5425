"""The report pages of the benchmarks of a real model, from results written by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ifeval_against_lm_eval_page
import real_speed
import real_strategies
import refined_pairs_page

from spar.eval.ifeval import FOUR

FACTS = {"command": "python x.py", "commit": "abc", "hardware": "one GPU", "versions": "Python 3"}


def ifeval(*passed: bool) -> dict[str, dict[str, tuple[float, float]]]:
    """Shares of prompts that follow everything or nothing."""
    return {str(i): {name: (float(p), 1.0) for name in FOUR} for i, p in enumerate(passed)}


def test_differing_replies_are_counted_by_what_explains_them(tmp_path: Path) -> None:
    """White space at the ends counts as the same reply; a near tie and an open difference do not."""
    part = {"position": 3, "are_top": True, "tokens": ["a", "b"], "median_gap": 1.5}
    result = {
        "facts": FACTS,
        "answered": 6,
        "drawn": 5,
        "n": 4,
        "max_tokens": 1280,
        "batch": 2,
        "rows": 0,
        "control_rows": 64,
        "near_tie": 0.001,
        "control_differs": 1,
        "seconds": {"spar": 1.0},
        "tokens": 9,
        "at_limit": 0,
        "all_shares": ifeval(True, False, False, True, False, False),
        "shares": {"spar": ifeval(True, False, False, True), "lm-eval": ifeval(*[False] * 4)},
        "lm_eval_own": ifeval(*[False] * 4),
        "differences": [
            {"id": "0"},
            {"id": "1", "gap": 1e-5, **part},
            {"id": "2", "gap": 2.0, **part},
        ],
    }
    ifeval_against_lm_eval_page.page(result, tmp_path / "page.md")
    text = (tmp_path / "page.md").read_text()
    assert "4 prompts, the longest of 5, drawn at random from the 6 that spar answered. 2" in text
    assert "2 of 4 replies are the same: 1 to the last character, 1 but for" in text
    assert "1 part at a near tie (the two" in text
    assert "apart) and 1 are not explained" in text
    assert (
        "| prompt level, strict | 33.3 +- 21.1 (6) | 4 | 50.0 +- 28.9 | 0.0 +- 0.0 | 0.0 | +50.0"
        in text
    )


def test_votes_are_held_against_the_truth() -> None:
    """Accuracy, precision and recall count read verdicts alone; a tie decides nothing."""
    judged = {
        "a": [{"truth": True, "verdicts": [True, True, False]}],
        "b": [{"truth": False, "verdicts": [True, None, None]}],
        "c": [{"truth": False, "verdicts": [False, True, None]}],
    }
    one = real_strategies._vote_metrics(judged, list)
    assert (one["decided"].value, one["decided"].n) == (6 / 9, 3)
    assert one["accuracy"].value == 3 / 6
    assert one["precision"].value == 2 / 4
    assert one["recall"].value == 2 / 3
    assert one["yes on failing"].value == 2 / 3
    majority = real_strategies._vote_metrics(judged, real_strategies._majority)
    assert (majority["decided"].value, majority["precision"].value) == (2 / 3, 1 / 2)


def test_a_cut_run_compares_what_both_arms_have(tmp_path: Path) -> None:
    """A model whose counterpart was not trained stays out of the tables."""
    curve = [[1, dict.fromkeys(("loss", *refined_pairs_page.CURVES), 0.5)]]

    def cell(arm: str, rate: str, *passed: bool) -> dict[str, Any]:
        held = {
            str(i): {
                "strict": (float(p), 1),
                "instructions": (1, 2),
                "words": (9, 1),
                "cut": (0, 1),
                "repetitive": (0, 1),
            }
            for i, p in enumerate(passed)
        }
        measured = {"held_out": held, "ifeval": ifeval(*passed), "reference": {}}
        return {"arm": arm, "rate": rate, "seed": 0, "curve": curve, "seconds": 1.0, **measured}

    spread = {"mean": 0.9, "median": 0.9}
    result = {
        "facts": FACTS,
        "prompts": {
            "train": 5,
            "drafts": 20,
            "passing": 5,
            "tried": 9,
            "pairs": 4,
            "words": {"rejected": 9, "refined": 9, "independent": 9},
            "measures": {
                key: {"words_more": spread, "edit_similarity": spread}
                for key in refined_pairs_page.ARMS
            },
        },
        "settings": {
            "samples": 4,
            "words": "1,9",
            "epochs": 1.0,
            "batch": 2,
            "sft_weight": 0.1,
        },
        "cells": [
            cell("start", "", False, False),
            cell("refined", "1e-5", True, True),
            cell("independent", "1e-5", True, False),
            cell("refined", "9e-5", True, True),
        ],
    }
    refined_pairs_page.page(result, tmp_path / "page.md")
    text = (tmp_path / "page.md").read_text()
    assert "| refined | 1e-5 | 1 | 100.0 +- 0.0 |" in text
    assert "| 1e-5 | +50.0 (+0.0 to +100.0) |" in text
    assert "9e-5" not in text
    assert (tmp_path / "page.png").stat().st_size


def test_engines_are_compared_at_the_most_rows(tmp_path: Path) -> None:
    """The median of the rounds, the ratio to generate, and pairs over the hours of all stages."""
    cells = [
        {"engine": engine, "dtype": "bf16", "rows": 8, "rate": rate}
        for engine, rates in (("hf", (90, 100, 300)), (real_speed.GENERATE, (50, 50, 60)))
        for rate in rates
    ]
    loops = [{"run": "loop-0", "seconds": {"draft": 1800.0, "dpo": 1800.0}, "pairs": 240}]
    result = {"facts": FACTS, "tokens": 256, "cells": cells, "loops": loops}
    real_speed.page(result, tmp_path / "page.md")
    text = (tmp_path / "page.md").read_text()
    assert "| hf | bf16 | 100 (90, 300) |" in text
    assert "hf is 2.00 times as fast" in text
    assert "| loop-0 | 30.0 | 30.0 | 60.0 | 240 | 240 |" in text
