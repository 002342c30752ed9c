"""A line of cells as every figure has it: colour and marker, intervals, one seed, single seeds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.transforms import ScaledTranslation

from .theme import COLOURS, LABELS, MARKERS

MARGIN = {"color": COLOURS["dense"], "linewidth": 1, "linestyle": (0, (1, 2))}
"""How the line of a margin is drawn."""
BAND = {"color": COLOURS["dense"], "alpha": 0.15, "linewidth": 0}
"""How a grey band is drawn: about the dense network, or the margin and the errors about zero."""
SPREAD = "95 % interval of dense"
"""The entry of a key for the grey band of the dense network, about its mean or about zero."""
CELL = ["model", "ratio", "sparsity"]
"""The columns that tell one point of a figure from another."""


def one_seed_handle() -> Line2D:
    """The entry of a key that says what a hollow marker is."""
    look = {"marker": "o", "markersize": 5, "markerfacecolor": "white", "color": "#777777"}
    return Line2D([], [], linestyle="none", label="one seed", **look)


def ratio_handle(ratio: str) -> Line2D:
    """The entry of a ratio in a key."""
    return Line2D([], [], label=LABELS[ratio], **ratio_style(ratio, hollow=False))


def ratio_style(ratio: str, hollow: bool) -> dict:
    """How the line of a ratio is drawn, for `Axes.plot`; `hollow` for a published one."""
    style = {"color": COLOURS[ratio], "marker": MARKERS[ratio], "zorder": 3}
    if hollow:
        style |= {"markerfacecolor": "white", "markeredgecolor": COLOURS[ratio], "markersize": 4}
        return style | {"linestyle": (0, (3, 2)), "linewidth": 1}
    return style | {"markeredgecolor": "white", "markersize": 5}


def draw_line(
    axis: Axes,
    x: Sequence[float],
    y: pd.Series,
    cells: pd.DataFrame,
    style: dict,
    seeds: pd.DataFrame | None = None,
    by: Sequence[str] = CELL,
) -> None:
    """A line of cells with their intervals, hollow where a cell has none, and seeds as dots.

    `cells` has `low`, `high` and the columns of `by`, a row a point in the order of the line;
    `seeds` has `value` and the columns of `by`; `style` is `ratio_style`.
    """
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    known = cells.low.notna().to_numpy()
    axis.plot(x, y, markevery=np.flatnonzero(known).tolist(), **style)
    bare = {"linestyle": "none", "markerfacecolor": "white", "markeredgecolor": style["color"]}
    if not known.all():
        axis.plot(x[~known], y[~known], **style | bare)
    if known.any():
        reach = np.stack([y - cells.low, cells.high - y])[:, known]
        bars = {"ecolor": style["color"], "elinewidth": 1.2, "capsize": 2}
        axis.errorbar(x[known], y[known], yerr=reach, fmt="none", **bars)
    if seeds is not None:
        draw_seeds(axis, x, cells, style, seeds, by)


def draw_seeds(
    axis: Axes,
    x: Sequence[float],
    cells: pd.DataFrame,
    style: dict,
    seeds: pd.DataFrame,
    by: Sequence[str] = CELL,
) -> None:
    """The runs of each cell that has several as dots, right of their mean, under all lines."""
    beside = axis.transData + ScaledTranslation(5 / 72, 0, axis.figure.dpi_scale_trans)
    look = {"linestyle": "none", "marker": "o", "markersize": 2.5, "color": style["color"]}
    groups = dict(list(seeds.groupby(list(by)).value)) if len(seeds) else {}
    for place, cell in zip(x, cells[list(by)].itertuples(index=False, name=None), strict=True):
        values = groups.get(cell, ())
        if len(values) > 1:
            axis.update_datalim([(place, value) for value in values], updatex=False)
            axis.plot([place] * len(values), values, transform=beside, zorder=1.9, **look)
