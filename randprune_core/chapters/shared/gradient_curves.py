"""Gradient norm against epoch as a figure (the curves are those of `analysis.gradient_flow`).

The epoch has a logarithmic axis, since the norm changes most in the first epochs. Initialisation,
epoch 0, stands left of the first tenth of an epoch, at `START`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from ...analysis.cells import CELL
from ...analysis.gradient_flow import smooth
from ...presentation import panels
from ...presentation.theme import COLOURS, LABELS, WIDTH, in_order, use_theme
from ...presentation.words import model_label

PAPER_SPARSITY = 0.5
"""The sparsity of the upper half of the paper's Figure 6."""
START = 0.03
"""Where the norm at initialisation is drawn on the axis of epochs."""
GREY = "#777777"
_DASHES = {"color": GREY, "linewidth": 0.8, "linestyle": (0, (4, 3))}
_STROKE = {"marker": "|", "markersize": 12, "markeredgewidth": 2, "linestyle": "none"}


def shown_sparsity(flows: pd.DataFrame) -> float | None:
    """The one sparsity to draw: where most cells are recorded, then nearest to the paper's 50 %."""
    levels = flows[flows.ratio != "dense"].drop_duplicates(CELL).groupby("sparsity").size()
    if levels.empty:
        return None
    return min(levels.index, key=lambda level: (-levels[level], abs(level - PAPER_SPARSITY), level))


def epoch_panels(
    curves: pd.DataFrame, steps: Iterable[float], title: str, label: str, ticks: Sequence[float]
) -> tuple[Figure, dict[str, Axes]]:
    """A figure with a panel for each model of the curves, both axes logarithmic; its axes by model.

    Dashed lines are the `steps` of the learning rate; norms have `ticks` at these leading digits.
    """
    use_theme()
    names, last = list(curves.model.unique()), curves.epoch.max()
    figure = plt.figure(figsize=(WIDTH, 2.4 * panels.lines_of(len(names), 3) + 0.6))
    figure.set_layout_engine("constrained")
    figure.suptitle(title, x=0.01, ha="left", weight="bold")
    axes = panels.panels(figure, [model_label(name) for name in names], 3)
    for axis in axes[: len(names)]:
        axis.set(xscale="log", yscale="log", xlabel="Epoch", xlim=(0.8 * START, 1.25 * last))
        places = (0.1, 1, 2, 3, 5) if last < 10 else (1, 10, 100)
        shown = [place for place in places if place < last]
        axis.set_xticks([START, *shown], ["start", *map(str, shown)])
        axis.yaxis.set_major_locator(LogLocator(subs=ticks))
        axis.yaxis.set_major_formatter(FuncFormatter(lambda norm, _: f"{norm:g}"))
        for each in (axis.xaxis, axis.yaxis):
            each.set_minor_formatter(NullFormatter())
        for step in (step for step in steps if step < last):
            axis.axvline(step, **_DASHES, zorder=1)
    axes[0].set_ylabel(label)
    return figure, dict(zip(names, axes, strict=False))


def set_key(figure: Figure, ratios: Iterable[str], *others: Artist) -> None:
    """Name the lines of ratios, others, and the steps of the learning rate below a figure."""
    handles = [Line2D([], [], color=COLOURS[each], label=LABELS[each]) for each in in_order(ratios)]
    handles += [*others, Line2D([], [], label="learning rate ÷ 10", **_DASHES)]
    columns = len(handles) if len(handles) < 6 else (len(handles) + 1) // 2
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False)


def plot_curves(
    curves: pd.DataFrame,
    flows: pd.DataFrame,
    steps: Sequence[int],
    sparsity: float | None,
    title: str = "",
) -> Figure:
    """Smoothed gradient norm against epoch at one sparsity and dense, with a panel for each model.

    `curves` is `mean_curves`, `flows` is `gradient_flow.flow_table` of the same runs, `steps` are
    the epochs after which the learning rate falls. An upright stroke is where a flat phase begins.
    """
    curves, flows = (f[(f.sparsity == sparsity) | (f.ratio == "dense")] for f in (curves, flows))
    figure, axes = epoch_panels(curves, steps, title, "Gradient norm", (1, 1.5, 2, 3, 5, 7))
    for (model, ratio), line in curves.groupby(["model", "ratio"], sort=False):
        norms, colour = smooth(line.epoch, line.norm), COLOURS[ratio]
        axes[model].plot(line.epoch.clip(lower=START), norms, color=colour, linewidth=1.4)
        start = flows[(flows.model == model) & (flows.ratio == ratio)].start.mean()
        if start == start:
            height = np.interp(start, line.epoch, norms)
            axes[model].plot(max(start, START), height, color=colour, zorder=4, **_STROKE)
    stroke = Line2D([], [], color=GREY, label="flat phase begins", **_STROKE)
    drawn = any(line.get_marker() == "|" for axis in axes.values() for line in axis.lines)
    set_key(figure, curves.ratio, *[stroke] * drawn)
    return figure
