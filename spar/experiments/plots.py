"""The plots of a page as PNG and SVG: the same bytes for the same numbers."""

from __future__ import annotations

from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

from spar.eval.plots import literal_text, require_matplotlib
from spar.record.experiments import Panel, Plot

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#56b4e9", "#e69f00", "#cc79a7", "#000000", "#999999")
"""Okabe and Ito's palette, which colour-blind readers can tell apart."""
_MARKS = "osD^vP*X"
_WIDTH, _HEIGHT = 4.6, 3.4
"""Inches of a panel."""
_APART, _LETTERS = 0.12, 18
"""Where things are named: how far apart the points of one are, and letters of a line of its name."""


def draw(plot: Plot, folder: Path) -> None:
    """Write `NAME.png` and `NAME.svg`.

    Raises
    ------
    MissingExtra
        matplotlib is not installed.
    """
    require_matplotlib()
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = 2 if len(plot.panels) > 1 else 1
    rows = -(-len(plot.panels) // columns)
    with rc_context({"svg.hashsalt": "spar", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(
            figsize=(max(6.4, _WIDTH * columns), _HEIGHT * rows + 0.9),
            dpi=150,
            layout="constrained",
        )
        FigureCanvasAgg(figure)
        axes = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel()
        for index, (panel, place) in enumerate(zip(plot.panels, axes, strict=False)):
            _panel(place, panel)
            if index % columns == 0:
                place.set_ylabel(literal_text(plot.y))
        for place in axes[len(plot.panels) :]:
            place.set_visible(False)
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2 * columns, frameon=False)
        figure.suptitle(literal_text(plot.title), fontsize=11)
        figure.savefig(folder / f"{plot.name}.png", metadata={"Software": None})
        figure.savefig(folder / f"{plot.name}.svg", metadata={"Date": None})


def _panel(place: Axes, panel: Panel) -> None:
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

    own = [series.label for series in panel.series if not series.reference_of]
    apart = _APART if panel.names else 0.0
    for series in panel.series:
        index = own.index(series.reference_of or series.label)
        style: dict[str, Any] = {
            "color": _COLOURS[index % len(_COLOURS)],
            "linewidth": 1.3,
            "label": literal_text(series.label),
        }
        if series.reference_of:
            place.plot(series.x, series.y, linestyle="--", **style)
            continue
        if index >= len(_COLOURS):  # the colours and marks begin again
            style |= {"linestyle": ":", "markerfacecolor": "white"}
        if panel.names:
            style["linestyle"] = "none"
        place.errorbar(
            [x + apart * (index - (len(own) - 1) / 2) for x in series.x],
            series.y,
            yerr=[error or 0.0 for error in series.error],
            marker=_MARKS[index % len(_MARKS)],
            markersize=4.5,
            capsize=2,
            elinewidth=1.3,
            **style,
        )
    places = [x for series in panel.series for x in series.x]
    if panel.names:
        place.axhline(0, color="#666666", linewidth=0.8, zorder=1)
        wrapped = [fill(literal_text(name), _LETTERS) for name in panel.names]
        place.set_xticks(range(len(wrapped)), wrapped)
        place.set_xlim(-0.5, len(wrapped) - 0.5)
    elif panel.log and all(x > 0 for x in places):
        place.set_xscale("log")
        place.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        place.xaxis.set_major_formatter("{x:g}")
        place.xaxis.set_minor_formatter(NullFormatter())
    elif all(x == int(x) for x in places):
        place.xaxis.set_major_locator(MaxNLocator(integer=True))
    place.set_xlabel(literal_text(panel.x))
    place.grid(alpha=0.25, linewidth=0.6)
    place.spines[["top", "right"]].set_visible(False)
