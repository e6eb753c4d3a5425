"""The report pages of the benchmarks of a real model, from results written by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import answer_rules
import ifeval_against_lm_eval_page
import pytest
import real_speed
import real_strategies
import refined_pairs_page

from spar.eval.ifeval import FOUR
from spar.record.evaluation import read_examples
from tests.requires import requires

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
        "| prompt level, strict | 33.3 ± 21.1 (6) | 4 | 50.0 ± 28.9 | 0.0 ± 0.0 | 0.0 | +50.0"
        in text
    )


def test_rules_are_compared_on_the_same_documents(tmp_path: Path) -> None:
    """Right answers of each rule among the first replies, paired with greedy decoding and with one sample."""
    first: dict[str, int | None] = {"1": 0, "3": 0}
    second: dict[str, int | None] = {"1": 0, "3": 1}
    nothing: dict[str, int | None] = {"1": None, "3": None}
    result = {
        "mmlu": {
            "facts": FACTS,
            "temperature": 0.7,
            "metric": "exact_match",
            "without": 1,
            "greedy": {"a": True, "b": True, "c": False},
            "right": {"a": [True, False, False], "b": [False, True, True], "c": []},
            "chosen": {
                "a": {"best": first, "majority": second, "weighted": first},
                "b": {"best": first, "majority": second, "weighted": second},
                "c": {"best": nothing, "majority": nothing, "weighted": nothing},
            },
        }
    }
    answer_rules.page(result, tmp_path / "page.md")
    text = (tmp_path / "page.md").read_text()
    assert "3 documents, 3 replies to each" in text
    assert "no answer in 1 of 6 replies" in text
    assert "| greedy | 1 | 66.7 ± 33.3 | - | +33.3" in text
    assert "| one sample | 1 | 33.3 ± 33.3 | -33.3" in text
    assert "| majority | 3 | 33.3 ± 33.3 | -33.3 " in text
    assert "| weighted | 3 | 66.7 ± 33.3 | +0.0 (+0.0 to +0.0) |" in text
    assert "| any of them is right | 3 | 66.7 ± 33.3 |" in text


@pytest.mark.evalharness
@requires("lm_eval")
def test_the_task_of_verdicts_is_answered_and_scored(tmp_path: Path) -> None:
    """Each rule chooses among the same replies, which lm-eval scores; the largest number is that of an evaluation."""
    settings = {
        "engine": "fake",
        "limit": 6,
        "seed": 0,
        "max_gen_toks": 64,
        "chat_template": True,
    }
    measured = answer_rules.measure(answer_rules.VERDICTS, tmp_path, [1, 3], settings)
    assert measured["metric"] == "exact_match,verdict"
    assert measured["without"] == 0
    assert [*measured["chosen"]] == [f"verdicts/{n}" for n in range(6)]
    right = {
        id_: marks[measured["chosen"][id_]["majority"]["3"]]
        for id_, marks in measured["right"].items()
    }
    (folder,) = (tmp_path / "sampled").iterdir()
    assert right == {one.id: bool(one.passed) for one in read_examples(folder)}
    assert any(sum(marks) in (1, 2) for marks in measured["right"].values())
    assert any(rules["majority"] != rules["best"] for rules in measured["chosen"].values())


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
    assert "| refined | 1e-5 | 1 | 100.0 ± 0.0 |" in text
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
