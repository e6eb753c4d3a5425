"""The page of ifeval_against_lm_eval.py: scores, differences and what they do not show, from its `result.json`.

Not a command.
"""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from reporting import change, flips, paired, percent, shares, table, write_page

from spar.eval.ifeval import AVERAGE, FOUR, LOOSE, PROMPT_LOOSE, PROMPT_STRICT, STRICT

SPAR, CONTROL, LM_EVAL = "spar", "control", "lm-eval"
CARD = 29.9
"""IFEval of SmolLM2-135M-Instruct by its model card: the mean of prompt and instruction level, in percent."""
MEANS = {AVERAGE: FOUR, "strict_mean": (PROMPT_STRICT, STRICT), "loose_mean": (PROMPT_LOOSE, LOOSE)}
TITLES = {
    PROMPT_STRICT: "prompt level, strict",
    STRICT: "instruction level, strict",
    PROMPT_LOOSE: "prompt level, loose",
    LOOSE: "instruction level, loose",
    AVERAGE: "mean of the four",
    "strict_mean": "mean of the two strict",
    "loose_mean": "mean of the two loose",
}
ENDS, TIE, OPEN = "white space at the ends", "near tie", "not explained"
LISTED = 12
"""Differences that the page lists one by one."""


def page(result: Mapping[str, Any], path: Path) -> None:
    """Write the report."""
    write_page(
        path,
        "IFEval, greedy: spar's hf engine against lm-eval's hf model",
        result["facts"],
        [*_summary(result), _scores(result), *_differences(result), *_caveats(result)],
    )


def _summary(result: Mapping[str, Any]) -> Iterable[str]:
    n, rows = result["n"], result["differences"]
    counted = Counter(_kind(row, result["near_tie"]) for row in rows)
    kinds = {kind: counted[kind] for kind in (ENDS, TIE, OPEN)}
    control, parted = result["control_differs"], kinds[TIE] + kinds[OPEN]
    yield (
        f"The same float32 weights, chat template and limit of {result['max_tokens']:,} new tokens; {n} prompts"
        f"{_drawn(result)}. "
        f"{n - parted} of {n} replies are the same: {n - len(rows)} to the last character, {kinds[ENDS]} but for "
        f"white space at the ends, which spar strips from a draft. Of the {parted} that differ, {kinds[TIE]} part "
        f"at a near tie (the two most likely tokens, less than {result['near_tie']:g} nats apart) and {kinds[OPEN]} are "
        "not explained."
    )
    if control is not None:
        yield (
            f"Control: spar against itself, with {result['rows'] or 'as many rows as fit'} and with "
            f"{result['control_rows']} rows in its batch: {control} of {n} replies differ, by the batch alone."
        )


def _drawn(result: Mapping[str, Any]) -> str:
    """What to say of a sample."""
    answered, drawn, n = result["answered"], result["drawn"], result["n"]
    if drawn == answered:
        return "" if n == drawn else f", the longest of {answered}"
    which = "" if n == drawn else f" the longest of {drawn},"
    return f",{which} drawn at random from the {answered} that spar answered"


def _kind(row: Mapping[str, Any], near_tie: float) -> str:
    """What explains a difference."""
    if "gap" not in row:
        return ENDS
    return TIE if row["are_top"] and row["gap"] < near_tie else OPEN


def _scores(result: Mapping[str, Any]) -> str:
    rows = result["shares"]
    every, ours, theirs = (
        shares(found, MEANS) for found in (result["all_shares"], rows[SPAR], rows[LM_EVAL])
    )
    own = shares(result["lm_eval_own"], MEANS)
    changed = paired(rows[LM_EVAL], rows[SPAR], MEANS)
    lines = [
        (
            title,
            f"{percent(every[name])} ({every[name].n})",
            f"{ours[name].n}",
            percent(ours[name]),
            percent(theirs[name]),
            f"{100 * own[name].value:.1f}",
            change(changed[name]),
        )
        for name, title in TITLES.items()
    ]
    gained, lost, p = flips(rows[LM_EVAL], rows[SPAR], PROMPT_STRICT)
    heads = (
        "%",
        "spar hf, all (n)",
        "n compared",
        "spar hf",
        "lm-eval hf",
        "scored by lm-eval itself",
        "spar - lm-eval",
    )
    return (
        table(heads, lines)
        + "\n\nPlus or minus one standard error over prompts; differences are paired, with a 95 % bootstrap "
        f"interval over prompts. Prompts that only one passes, strictly: spar {gained}, lm-eval {lost} "
        f"(McNemar p = {p:.2f}). The model card gives {CARD} as the mean of prompt and instruction level, for the "
        "unquantised weights, and does not say whether strictly or loosely."
    )


def _differences(result: Mapping[str, Any]) -> Iterable[str]:
    parted = sorted(
        (row for row in result["differences"] if "gap" in row), key=lambda row: -row["gap"]
    )
    if not parted:
        return
    gaps = [row["gap"] for row in parted]
    usual = [row["median_gap"] for row in parted if row["median_gap"] is not None]
    yield (
        f"Where replies part, the two tokens are {statistics.median(gaps):.1g} nats apart in the median and "
        f"{max(gaps):.1g} at most; at the tokens before, the best is "
        f"{statistics.median(usual) if usual else float('nan'):.1f} nats ahead of the second in the median. "
        f"The {min(LISTED, len(parted))} largest gaps:"
    )
    yield table(
        ("key", "token", "spar", "lm-eval", "gap, nats", "the two most likely", "explained as"),
        [
            (
                row["id"],
                f"{row['position']:,}",
                *(f"`{json.dumps(token, ensure_ascii=False)}`" for token in row["tokens"]),
                f"{row['gap']:.2g}",
                "yes" if row["are_top"] else "no",
                _kind(row, result["near_tie"]),
            )
            for row in parted[:LISTED]
        ],
    )


def _caveats(result: Mapping[str, Any]) -> Iterable[str]:
    seconds, tokens = result["seconds"], result["tokens"]
    times = "; ".join(f"{name} {value:,.0f} s" for name, value in seconds.items())
    yield (
        f"spar generated {tokens:,} tokens in {result['answered']} replies, of which {result['at_limit']} reach the "
        f"limit. Seconds with the model's loading: {times} (lm-eval {result['n']} replies in batches of "
        f"{result['batch']}). One run each, "
        "so these show the order of magnitude. The column of lm-eval itself lets langdetect and the two "
        "prompts with a random letter draw as they like; the others fix the draws. Positions are those of the "
        "text tokenized again, which need not be the tokens as they were generated."
    )
