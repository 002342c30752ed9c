"""The figure of the predictors: gradient norms of cells against their gap to dense."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..presentation.theme import COLOURS, LABELS, MARKERS, WIDTH, in_order, use_theme
from ..presentation.words import number
from .gradient_flow import PREDICTORS, cell_means, correlation, correlations
from .shared.gradient_curves import GREY


def plot_predictors(flows: pd.DataFrame, title: str = "") -> Figure:
    """The gap to dense against each predictor, a panel each, a marker a cell.

    `flows` is `gradient_flow.flow_table`. A line joins the cells of one network, from its smallest
    gap to its largest, with its depth (and the filters of its first convolution) at the end: what
    happens along lines is within networks, what happens from line to line is across them.
    """
    use_theme()
    table, cells = correlations(flows), cell_means(flows)
    size = {"figsize": (WIDTH, 3.6), "sharey": True, "layout": "constrained"}
    figure, axes = plt.subplots(1, len(PREDICTORS), **size)
    for axis, (name, label) in zip(axes, PREDICTORS.items(), strict=True):
        for model, part in cells.sort_values("gap").groupby("model", sort=False):
            axis.plot(part[name], part.gap, color=GREY, linewidth=0.8, zorder=1)
            last, offset = part.iloc[-1], {"xytext": (5, 3), "textcoords": "offset points"}
            axis.annotate(
                model.removeprefix("resnet-"), (last[name], last.gap), fontsize=8, **offset
            )
        for ratio, part in cells.groupby("ratio", sort=False):
            axis.plot(part[name], part.gap, **_point(ratio))
        found = [correlation(table, name, view).value for view in ("across", "within")]
        known = [f"{number(value, 2)}" if value == value else "–" for value in found]
        axis.set_title(f"ρ across {known[0]}\nρ within {known[1]}", fontsize=9)
        axis.set_xlabel(f"{label[:1].upper()}{label[1:]}".replace(" up to", "\nup to"))
        axis.margins(0.18)
    axes[0].set_ylabel("Gap to dense (points)")
    figure.suptitle(title or "no run is recorded", x=0.01, ha="left", weight="bold")
    handles = [Line2D([], [], label=LABELS[r], **_point(r)) for r in in_order(cells.ratio)]
    if handles:
        key = {"loc": "outside lower center", "ncols": len(handles), "frameon": False}
        figure.legend(handles=handles, **key)
    return figure


def _point(ratio: str) -> dict:
    style = {"marker": MARKERS[ratio], "color": COLOURS[ratio], "markersize": 6}
    return style | {"linestyle": "none", "markeredgecolor": "white"}
