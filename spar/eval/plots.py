"""Plots of a sweep (the shape of the paper's Figure 5): accuracy against what it costs."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from spar.errors import MissingExtra
from spar.eval.sweep_table import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COSTS = ("nodes", "calls", "tokens", "seconds", "steps")
"""Fields of a row, one panel each: the first four that every row has."""
_PANELS = 4
_MARKS = "osD^vP*X"
_COLOURS = 10
"""Colours of matplotlib's cycle; strategies beyond them are dashed."""
_LEGEND_COLUMNS = 4


def plot(path: Path, title: str, rows: Sequence[Row], unit: str = "") -> None:
    """Write a PNG of four panels, a line a strategy, with bars of one standard error.

    Raises
    ------
    MissingExtra
        matplotlib is not installed.
    """
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    strategies = len({row.strategy for row in rows})
    legend_rows = -(-strategies // _LEGEND_COLUMNS)
    figure = Figure(figsize=(10, 7.5 + 0.2 * legend_rows), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 2, sharey=True).ravel()
    known = [cost for cost in COSTS if all(getattr(row, cost) is not None for row in rows)]
    for cost, panel in zip(known[:_PANELS], axes, strict=False):
        _draw(panel, cost, rows, unit)
    for panel in axes[len(known) :]:
        panel.set_axis_off()
    axes[0].set_ylabel(_axis(rows[0].metric, unit))
    axes[2].set_ylabel(_axis(rows[0].metric, unit))
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=_LEGEND_COLUMNS,
        fontsize=8,
        frameon=False,
    )
    figure.suptitle(literal_text(title), fontsize=11)
    figure.savefig(path)


def require_matplotlib() -> None:
    """Raise `MissingExtra` unless plots can be drawn."""
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingExtra("matplotlib", "eval", "the plot of a sweep")


def _draw(panel: Axes, cost: str, rows: Sequence[Row], unit: str) -> None:
    scale = 1.0 if unit else 100.0
    for mark, strategy in enumerate(dict.fromkeys(row.strategy for row in rows)):
        line = sorted((row for row in rows if row.strategy == strategy), key=lambda row: row.budget)
        panel.errorbar(
            [getattr(row, cost) for row in line],
            [scale * row.value for row in line],
            yerr=[scale * (row.stderr or 0.0) for row in line],
            marker=_MARKS[mark % len(_MARKS)],
            linestyle="-" if mark < _COLOURS else "--",
            markersize=4,
            linewidth=1,
            capsize=2,
            label=literal_text(strategy),
        )
    if all(getattr(row, cost) > 0 for row in rows):
        panel.set_xscale("log", base=2 if cost == "nodes" else 10)
    panel.set_xlabel(f"{cost} a prompt, mean")
    panel.grid(alpha=0.3)


def _axis(metric: str, unit: str) -> str:
    return literal_text(f"{metric}, {unit or '%'}")


def literal_text(text: str) -> str:
    """The text as matplotlib shows it unchanged: a dollar sign would start a formula."""
    return text.replace("$", r"\$")
