"""The figures of gradient flow: the norm over that of the dense twin, and what predicts the gap."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ..analysis.cells import CELL, summarise
from ..analysis.gradient_flow import FLAT
from ..presentation.theme import COLOURS, LABELS, WIDTH, in_order, use_theme
from ..presentation.words import model_label
from .gradient_flow import PREDICTORS, cell_means
from .shared.gradient_curves import GREY, START, epoch_panels, set_key


def plot_over_dense(shares: pd.DataFrame, steps: Sequence[int], title: str = "") -> Figure:
    """The norm over that of the dense twin against the epoch, with a panel for each network.

    `shares` is `gradient_flow.over_dense`. A line is the mean over seeds, named by its sparsity;
    where a cell has more than one seed each is a thin line, and the band is the interval.
    """
    label, ticks = "Gradient norm, dense\u00a0=\u00a01", (1, 1.2, 1.5, 2, 3, 5, 8)
    figure, axes = epoch_panels(shares, steps, title, label, ticks)
    ends = {model: [] for model in axes}
    for (model, ratio, sparsity), runs in shares.groupby(CELL, sort=False):
        axis, colour = axes[model], COLOURS[ratio]
        parts = [summarise(part, "share", 1).assign(epoch=e) for e, part in runs.groupby("epoch")]
        mean = pd.concat(parts)
        x, y = mean.epoch.clip(lower=START), mean["mean"]
        dashes = "-" if sparsity == shares.sparsity.max() else (0, (3, 1.5))
        axis.plot(x, y, color=colour, linewidth=1.5, linestyle=dashes)
        axis.fill_between(x, mean.low, mean.high, color=colour, alpha=0.15, linewidth=0)
        for _, run in runs.groupby("seed") if runs.seed.nunique() > 1 else ():
            axis.plot(run.epoch.clip(lower=START), run.share, color=colour, linewidth=0.5)
        ends[model].append((y.iloc[-1], f"{sparsity:g}", colour))
    low, high, last = 0.9 * shares.share.min(), 1.1 * shares.share.max(), shares.epoch.max()
    for model, axis in axes.items():
        axis.axhline(1, color=COLOURS["dense"], linewidth=1.2, zorder=1)
        axis.set(xlim=(0.8 * START, 4 * last), ylim=(low, high))
        height = low  # names of lines, each above the last
        for end, text, colour in sorted(ends[model]):
            height = max(end, height * (high / low) ** 0.08)
            axis.annotate(text, (1.2 * last, height), color=colour, va="center")
    others = [
        Line2D([], [], color=GREY, linewidth=0.5, label="each seed"),
        Patch(color=GREY, alpha=0.15, linewidth=0, label="95 % interval"),
    ]
    several = shares.groupby(CELL).seed.nunique().gt(1).any()
    set_key(figure, {"dense", *shares.ratio}, *(others if several else []))
    return figure


def plot_predictors(flows: pd.DataFrame, title: str = "", width: float = WIDTH) -> Figure:
    """The gap to dense against the level of the flat phase, and smaller the other predictors.

    `flows` is `gradient_flow.flow_table`. A marker is a cell; a line joins the cells of one
    network, from its smallest gap to its largest. A narrow figure has its panels below each other.
    """
    use_theme()
    initial, to_flat, flat = PREDICTORS
    plan, shape = [[flat, initial], [flat, to_flat]], {"width_ratios": [2, 1]}
    if narrow := width < WIDTH:
        plan, shape = [[flat], [initial], [to_flat]], {"height_ratios": [5, 3, 3]}
    figure = plt.figure(figsize=(width, 7.5 if narrow else 4), layout="constrained")
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
    axes[flat].set_ylabel("Gap to dense (points)")
    if len(cells):  # room for names
        low, high = cells[FLAT].min(), cells[FLAT].max()
        axes[flat].set_xlim(1.6 * low - 0.6 * high, 1.35 * high - 0.35 * low)
    handles = [
        Line2D([], [], label=f"{LABELS[r]} {s:g}", **_point(r, s == highest))
        for r in in_order(cells.ratio)
        for s in sorted(cells.sparsity[cells.ratio == r].unique())
    ]
    if len(handles) > 1:
        handles.append(Line2D([], [], label="one network", **_NETWORK))
        key = {"loc": "outside lower center", "ncols": len(handles), "frameon": False}
        figure.legend(handles=handles, **key)
    tops = cells.sort_values("gap").groupby("model").last()
    for model, top in tops.iterrows():
        left = top[FLAT] < tops[FLAT].mean()  # names stand outside of the lines
        where = {"xytext": (-7 if left else 7, 0), "textcoords": "offset points", "va": "center"}
        where |= {"ha": "right" if left else "left", "fontsize": 8}
        axes[flat].annotate(model_label(model), (top[FLAT], top.gap), **where)
    return figure


_NETWORK = {"color": GREY, "linewidth": 0.8}


def _point(ratio: str, sparsest: bool) -> dict:
    style = {"marker": "o" if sparsest else "s", "color": COLOURS[ratio], "markersize": 6}
    return style | {"linestyle": "none", "markeredgecolor": "white"}
