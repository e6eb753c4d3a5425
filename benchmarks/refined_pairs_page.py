"""The page of refined_pairs.py: tables, curves and what they do not show, from its `result.json`.

Not a command.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from reporting import Rows, change, paired, percent, shares, table, write_page

from spar.eval.ifeval import LOOSE, PROMPT_LOOSE, PROMPT_STRICT
from spar.eval.repetition import REPETITIVE, WITHOUT

START, REFINED, INDEPENDENT = "start", "refined", "independent"
ARMS = (REFINED, INDEPENDENT)
PASSING, REWRITTEN = "passing", "rewritten"
"""The chosen side of an independent pair: another draft that passes by itself, or one that is rewritten where it fails."""
STRICT, INSTRUCTIONS = "strict", "instructions"
WORDS, CUT, LOSS, MARGIN = "words", "cut", "loss", "margin"
CURVES = {
    "rewards/accuracies": "accuracy of the rewards",
    "rewards/margins": "margin of the rewards",
    "logps/chosen": "log-probability, chosen",
    "logps/rejected": "log-probability, rejected",
}
"""TRL's metrics that are drawn over the steps."""


def page(result: Mapping[str, Any], path: Path) -> None:
    """Write the report, and its curves beside it."""
    picture = path.with_suffix(".png")
    draw(result, picture)
    result = {**result, "cells": [_with_passes(cell) for cell in result["cells"]]}
    parts = [*_setting(result), *_tables(result), *_margins(result), *_curves(result, picture)]
    parts.append(_caveats(result["settings"]))
    write_page(path, "Refined against independent pairs on real text", result["facts"], parts)


def _with_passes(cell: Mapping[str, Any]) -> Mapping[str, Any]:
    """A model's measures, with the held-out answers that pass and do not repeat themselves."""
    held = {
        id_: {**of, WITHOUT: (0.0 if of[REPETITIVE][0] else of[STRICT][0], of[STRICT][1])}
        for id_, of in cell["held_out"].items()
    }
    return {**cell, "held_out": held}


def _setting(result: Mapping[str, Any]) -> Iterable[str]:
    prompts, settings, words = result["prompts"], result["settings"], result["prompts"]["words"]
    other = "another draft that passes"
    if settings.get("independent") == REWRITTEN:
        other += " by itself or after a rewrite of its own"
    yield (
        f"{prompts['train']} training prompts with {prompts['drafts'] / prompts['train']:.1f} drafts each: "
        f"{prompts['passing']:,} of {prompts['drafts']:,} drafts pass ({100 * prompts['passing'] / prompts['drafts']:.1f} %). {prompts['pairs']} "
        f"prompts have a failing draft that the rewriter makes pass and {other}, all of "
        f"{settings['words'].replace(',', ' to ')} words; {prompts['tried']} failing drafts were tried for them. "
        f"Each arm: {prompts['pairs']} pairs, the same rejected sides, {settings['epochs']:g} epochs of batches of "
        f"{settings['batch']}, DPO with {settings['sft_weight']:g} SFT."
    )
    lines = []
    for arm in ARMS:
        measures = prompts["measures"][arm]
        lines.append(
            [
                arm,
                f"{prompts['pairs']}",
                f"{words['rejected']:.0f}",
                f"{words[arm]:.0f}",
                f"{measures['words_more']['mean']:+.1f}",
                f"{measures['edit_similarity']['mean']:.3f}",
                f"{measures['edit_similarity']['median']:.3f}",
            ]
        )
    heads = (
        "pairs",
        "n",
        "words, rejected",
        "words, chosen",
        "words more",
        "edit similarity",
        "median",
    )
    yield table(heads, lines)


def _tables(result: Mapping[str, Any]) -> Iterable[str]:
    start = next(cell for cell in result["cells"] if cell["arm"] == START)
    cells = _in_both_arms(result["cells"])
    rates = list(dict.fromkeys(cell["rate"] for cell in cells))
    rows = [_row("start", "-", [start], start)]
    differences, gains = [], []
    for rate in rates:
        arms = {
            arm: [cell for cell in cells if (cell["arm"], cell["rate"]) == (arm, rate)]
            for arm in ARMS
        }
        rows += [_row(arm, rate, of, start) for arm, of in arms.items()]
        differences.append(_difference(rate, arms))
        gains += [_gain(arm, rate, of, start) for arm, of in arms.items()]
    n, tested = len(start["held_out"]), len(start["ifeval"])
    yield (
        f"Greedy answers to {n} held-out prompts of the same kind and to {tested} prompts of IFEval; means over "
        "the seeds of the training, plus or minus one standard error over prompts. Loss is the mean negative "
        f"log-likelihood of a token, in nats, of {len(start['reference'])} texts of others (its exponential is the "
        "perplexity); words, the share cut at the token limit and the share that is repetitive (`spar.eval.repetition`) are of the held-out answers."
    )
    heads = (
        "pairs",
        "rate",
        "seeds",
        "held-out, strict %",
        "and without repetition, %",
        "IFEval instructions, loose %",
        "IFEval prompts, loose %",
    )
    yield table((*heads, "words", "cut, %", "repetitive, %", "loss"), rows)
    yield "Refined less independent, paired over prompts, with 95 % bootstrap intervals (points; words; nats):"
    last = ("IFEval prompts, strict %", "words", "repetitive, %", "loss")
    yield table(("rate", *heads[3:], *last), differences)
    yield "Each arm less the start, held-out prompts, in points:"
    yield table(("pairs", "rate", *heads[3:5], "repetitive, %"), gains)


def _margins(result: Mapping[str, Any]) -> Iterable[str]:
    """What every model has come to prefer, where that was measured."""
    start = next(cell for cell in result["cells"] if cell["arm"] == START)
    if MARGIN not in start:
        return
    cells = _in_both_arms(result["cells"])
    lines = []
    for rate in dict.fromkeys(cell["rate"] for cell in cells):
        sums = {
            arm: _summed([c for c in cells if (c["arm"], c["rate"]) == (arm, rate)], MARGIN)
            for arm in ARMS
        }
        first = _summed([start], MARGIN)
        gains = [paired(first, sums[arm])[MARGIN] for arm in ARMS]
        between = paired(sums[INDEPENDENT], sums[REFINED])[MARGIN]
        lines.append([rate, *(_plain(each, 2) for each in (*gains, between))])
    yield (
        f"{len(start[MARGIN])} of the start's greedy answers to held-out prompts fail and pass after a rewrite. By how many nats a model prefers the rewrite to the "
        "answer, more than the start does (95 % bootstrap intervals over prompts):"
    )
    yield table(("rate", *(f"{arm} pairs" for arm in ARMS), "refined less independent"), lines)


def _in_both_arms(cells: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The trained models whose rate and seed both arms have: a run that was cut short has fewer."""
    done = {(cell["arm"], cell["rate"], cell["seed"]) for cell in cells}
    return [
        cell for cell in cells if all((arm, cell["rate"], cell["seed"]) in done for arm in ARMS)
    ]


def _row(
    arm: str, rate: str, cells: Sequence[Mapping[str, Any]], start: Mapping[str, Any]
) -> list[str]:
    held, ifeval = (shares(_summed(cells, name)) for name in ("held_out", "ifeval"))
    reference = shares(_summed(cells, "reference")) if start["reference"] else {}
    loss = reference.get(LOSS)
    return [
        arm,
        rate,
        f"{len(cells)}",
        percent(held[STRICT]),
        percent(held[WITHOUT]),
        percent(ifeval[LOOSE]),
        percent(ifeval[PROMPT_LOOSE]),
        f"{held[WORDS].value:.0f} ± {held[WORDS].stderr or math.nan:.0f}",
        f"{100 * held[CUT].value:.1f}",
        percent(held[REPETITIVE]),
        "-" if loss is None else f"{loss.value:.3f} ({math.exp(loss.value):.1f})",
    ]


def _difference(rate: str, arms: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    held, ifeval, reference = (
        paired(_summed(arms[INDEPENDENT], name), _summed(arms[REFINED], name))
        for name in ("held_out", "ifeval", "reference")
    )
    return [
        rate,
        change(held[STRICT]),
        change(held[WITHOUT]),
        change(ifeval[LOOSE]),
        change(ifeval[PROMPT_LOOSE]),
        change(ifeval[PROMPT_STRICT]),
        _plain(held[WORDS], 1),
        change(held[REPETITIVE]),
        _plain(reference[LOSS], 3) if LOSS in reference else "-",
    ]


def _gain(
    arm: str, rate: str, cells: Sequence[Mapping[str, Any]], start: Mapping[str, Any]
) -> list[str]:
    gains = paired(_summed([start], "held_out"), _summed(cells, "held_out"))
    return [arm, rate, *(change(gains[name]) for name in (STRICT, WITHOUT, REPETITIVE))]


def _plain(difference: Any, digits: int) -> str:
    text = f"{difference.value:+.{digits}f}"
    if difference.low is None:
        return text
    return f"{text} ({difference.low:+.{digits}f} to {difference.high:+.{digits}f})"


def _summed(cells: Sequence[Mapping[str, Any]], name: str) -> Rows:
    """The shares of a prompt over the seeds, so that a prompt stays one group."""
    return {
        id_: {
            metric: (
                sum(cell[name][id_][metric][0] for cell in cells),
                sum(cell[name][id_][metric][1] for cell in cells),
            )
            for metric in cells[0][name][id_]
        }
        for id_ in cells[0][name]
    }


def _curves(result: Mapping[str, Any], picture: Path) -> Iterable[str]:
    trained = _in_both_arms(result["cells"])
    heads = ("pairs", "rate", "seed", "steps", *CURVES.values(), "seconds")
    rows = []
    for cell in trained:
        last = cell["curve"][-max(1, len(cell["curve"]) // 4) :]
        values = [
            statistics.fmean(step[1][name] for step in last if step[1][name] is not None)
            for name in CURVES
        ]
        rows.append(
            [
                cell["arm"],
                cell["rate"],
                f"{cell['seed']}",
                f"{len(cell['curve'])}",
                *(f"{value:.2f}" for value in values),
                f"{cell['seconds']:.0f}",
            ]
        )
    yield f"TRL's training metrics, means over the last quarter of the steps:\n\n{table(heads, rows)}"
    yield f"![training metrics over the steps]({picture.name})"


def _caveats(settings: Mapping[str, Any]) -> str:
    edits = "A rewrite is a program's edit, so its side of a pair can read less like the model than an independent draft does; "
    if settings.get("independent") == REWRITTEN:
        edits = "The chosen sides of both arms are mostly a program's edits of a draft, so both can read less like the model than its drafts do; "
    return edits + (
        "what is tested is whether sides that differ in little teach more than sides that differ in much. "
        "Accuracies and margins of the rewards are on the pairs trained on and depend on how unlike the sides are, so they do not "
        "compare between the arms. "
        "The constraints' types are IFEval's, the wordings and prompts are not."
    )


def draw(result: Mapping[str, Any], path: Path) -> None:
    """The training metrics over the steps, one panel a metric, a line a cell."""
    from matplotlib.figure import Figure

    trained = _in_both_arms(result["cells"])
    rates = list(dict.fromkeys(cell["rate"] for cell in trained))
    figure = Figure(figsize=(3.4 * len(CURVES), 3.2 * len(rates)), dpi=110, layout="constrained")
    axes = figure.subplots(len(rates), len(CURVES), squeeze=False)
    for line, rate in zip(axes, rates, strict=True):
        for panel, (name, title) in zip(line, CURVES.items(), strict=True):
            for cell in trained:
                if cell["rate"] != rate:
                    continue
                points = [(step, row[name]) for step, row in cell["curve"] if row[name] is not None]
                colour = "C0" if cell["arm"] == REFINED else "C1"
                label = cell["arm"] if not cell["seed"] else None
                panel.plot(*zip(*points, strict=True), color=colour, label=label, linewidth=1.1)
            panel.set(xlabel="step", title=f"{title}, {rate}")
            panel.grid(alpha=0.3)
        line[0].legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
