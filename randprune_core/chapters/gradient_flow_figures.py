"""The figures of gradient flow: the norm over that of the dense twin, and what predicts the gap."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ..analysis.cells import CELL, summarise
from ..analysis.gradient_flow import FLAT
from ..presentation.theme import COLOURS, LABELS, MARKERS, WIDTH, in_order, shade, use_theme
from ..presentation.words import model_label
from .gradient_flow import PREDICTORS, cell_means
from .shared.gradient_curves import GREY, START, epoch_panels, set_key


def plot_over_dense(shares: pd.DataFrame, steps: Sequence[int], title: str = "") -> Figure:
    """The norm over that of the dense twin against the epoch, with a panel for each network.

    `shares` is `gradient_flow.over_dense`. A line is the mean over seeds, the paler the fewer
    zeros; where a cell has more than one seed, a band is the interval.
    """
    label, ticks = "Gradient norm, dense\u00a0=\u00a01", (1, 1.2, 1.5, 2, 3, 5, 8)
    figure, axes = epoch_panels(shares, steps, title, label, ticks)
    found = shares.groupby("ratio").sparsity.unique()
    looks = {
        (r, s): {"color": shade(r, s, found[r]), "linestyle": "-" if s == max(found[r]) else "--"}
        for r in in_order(found.index)
        for s in sorted(found[r])
    }
    reach = [1.0]
    for (model, ratio, sparsity), runs in shares.groupby(CELL, sort=False):
        axis, look = axes[model], looks[ratio, sparsity]
        mean = pd.concat(summarise(p, "share", 1).assign(epoch=e) for e, p in runs.groupby("epoch"))
        x, y = mean.epoch.clip(lower=START), mean["mean"]
        axis.plot(x, y, linewidth=1.5, **look)
        axis.fill_between(x, mean.low, mean.high, color=look["color"], alpha=0.15, linewidth=0)
        reach += [*y, *mean.low.dropna(), *mean.high.dropna()]
    for axis in axes.values():
        axis.axhline(1, color=COLOURS["dense"], linewidth=1.2, zorder=1)
        axis.set_ylim(0.95 * min(reach), 1.05 * max(reach))
    others = [
        Line2D([], [], label=f"{LABELS[ratio]} {sparsity:g}", **look)
        for (ratio, sparsity), look in looks.items()
    ]
    if shares.groupby(CELL).seed.nunique().gt(1).any():
        others.append(Patch(color=GREY, alpha=0.35, linewidth=0, label="95 % interval"))
    set_key(figure, ["dense"], *others)
    return figure


def plot_predictors(flows: pd.DataFrame, title: str = "", width: float = WIDTH) -> Figure:
    """The gap to dense against the level of the flat phase, and smaller the other predictors.

    `flows` is `gradient_flow.flow_table`. A marker is a cell; a line joins the cells of one
    network, from its smallest gap to its largest. A narrow figure has its panels below each other.
    """
    use_theme()
    initial, to_flat, flat = PREDICTORS
    plan, shape = [[flat, initial], [flat, to_flat]], {"width_ratios": [5, 3]}
    if narrow := width < WIDTH:
        plan, shape = [[flat], [initial], [to_flat]], {"height_ratios": [7, 3, 3]}
    figure = plt.figure(figsize=(width, 8.8 if narrow else 4), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", weight="bold")
    axes, cells = figure.subplot_mosaic(plan, gridspec_kw=shape, sharey=True), cell_means(flows)
    highest = cells.sparsity.max()
    for name, axis in axes.items():
        for _, part in cells.sort_values("gap").groupby("model", sort=False):
            axis.plot(part[name], part.gap, zorder=1, **_NETWORK)
        for (ratio, sparsity), part in cells.groupby(["ratio", "sparsity"], sort=False):
            axis.plot(part[name], part.gap, **_point(ratio, sparsity == highest))
        axis.set_xlabel(PREDICTORS[name].capitalize())
        axis.margins(0.1)
        axis.tick_params(labelleft=True)
        axis.set_ylabel("Gap to dense (points)" if name == flat else "Gap (points)")
    axes[initial].set_xscale("log")  # it differs tenfold between networks
    axes[initial].xaxis.set_major_formatter("{x:g}")
    if len(cells):  # room for names
        low, high = cells[FLAT].min(), cells[FLAT].max()
        axes[flat].set_xlim(1.6 * low - 0.6 * high, high + (0.7 if narrow else 0.35) * (high - low))
    handles = [
        Line2D([], [], label=f"{LABELS[r]} {s:g}", **_point(r, s == highest))
        for r in in_order(cells.ratio)
        for s in sorted(cells.sparsity[cells.ratio == r].unique())
    ]
    if len(handles) > 1:
        handles.append(Line2D([], [], label="one network", **_NETWORK))
        key = {"loc": "outside lower center", "ncols": 2 if narrow else 4, "frameon": False}
        figure.legend(handles=handles, **key)
    _name_networks(axes[flat], cells)
    return figure


def _name_networks(axis: Axes, cells: pd.DataFrame) -> None:
    """Write the name of each network beside an end of its line, where it covers least."""
    axis.get_figure().draw_without_rendering()
    lines = [line for line in axis.lines if line.get_linestyle() == "-"]
    paths = [line.get_path().transformed(line.get_transform()) for line in lines]
    names, frame = [], axis.get_window_extent()
    points = axis.transData.transform(cells[[FLAT, "gap"]])
    for model, part in cells.sort_values("gap").groupby("model"):
        places = {}
        for (_, end), side, up in product([*part.iloc[[-1, 0]].iterrows()], (-1, 1), (0, -9, 9)):
            where = {"xytext": (7 * side, up), "textcoords": "offset points", "va": "center"}
            where |= {"ha": "right" if side < 0 else "left", "fontsize": 8}
            text = axis.annotate(model_label(model), (end[FLAT], end.gap), **where)
            box = text.get_window_extent().padded(3)
            places[text] = sum(path.intersects_bbox(box, filled=False) for path in paths)
            outside = not frame.x0 < box.x0 < box.x1 < frame.x1
            places[text] += box.count_contains(points)
            places[text] += len(paths) * (box.count_overlaps(names) + outside)
        best = min(places, key=places.get)
        names.append(best.get_window_extent())
        for text in places.keys() - {best}:
            text.remove()


_NETWORK = {"color": GREY, "linewidth": 0.8}


def _point(ratio: str, sparsest: bool) -> dict:
    style = {"marker": MARKERS[ratio], "color": COLOURS[ratio], "markersize": 6}
    half = {"fillstyle": "bottom", "markerfacecoloralt": "white", "markersize": 5}
    style |= {"markeredgecolor": "white"} if sparsest else half
    return style | {"linestyle": "none"}
