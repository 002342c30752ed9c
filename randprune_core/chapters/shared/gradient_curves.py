"""Gradient norm against epoch, as mean curves over seeds and as a figure of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from ...analysis.cells import CELL
from ...analysis.intervals import mean_interval
from ...presentation.plots import ratio_handle, ratio_style
from ...presentation.theme import COLOURS, LOOKS, WIDTH, in_order, place, use_theme
from ...presentation.words import model_label

PAPER_SPARSITY = 0.5
"""The sparsity of the upper half of the paper's Figure 6."""

EARLY = 5
"""The epochs that are recorded in tenths, and have panels of their own."""
GREY = "#777777"
_DASHES = {"color": GREY, "linewidth": 0.8, "linestyle": (0, (4, 3))}
_STROKE = {"marker": "|", "markersize": 12, "markeredgewidth": 2, "linestyle": "none"}
_CURVES = [*CELL, "epoch", "n", "norm", "low", "high"]


def mean_curves(found: Iterable[Mapping]) -> pd.DataFrame:
    """Gradient norm against epoch for each cell: mean over seeds with its Student-t interval.

    Columns `model, ratio, sparsity, epoch, n, norm, low, high`. Epoch 0 is initialisation; any
    other value is the mean over the part of training that ends at its epoch.
    """
    norms: dict[tuple, list[float]] = {}
    for record in found:
        cell = tuple(record["config"][name] for name in CELL)
        history = record["history"]
        norms.setdefault((*cell, 0.0), []).append(history["gradient_norm_at_init"])
        curve = history["gradient_norm"]
        for epoch, norm in zip(curve["epoch"], curve["norm"], strict=True):
            norms.setdefault((*cell, epoch), []).append(norm)
    rows = []
    for key, values in norms.items():
        mean = mean_interval(values)
        rows.append([*key, mean.n, mean.value, mean.low, mean.high])
    return pd.DataFrame(rows, columns=_CURVES)


def rate_steps(found: Sequence[Mapping]) -> list[int]:
    """After which epochs the learning rate of any of the runs falls."""
    steps = set()
    for record in found:
        rates = record["history"]["lr"]
        steps |= {epoch for epoch in range(1, len(rates)) if rates[epoch] < rates[epoch - 1]}
    return sorted(steps)


def shown_sparsity(flows: pd.DataFrame) -> float | None:
    """The one sparsity to draw: where most cells are recorded, then nearest to the paper's 50 %."""
    levels = flows[flows.ratio != "dense"].drop_duplicates(CELL).groupby("sparsity").size()
    if levels.empty:
        return None
    return min(levels.index, key=lambda level: (-levels[level], abs(level - PAPER_SPARSITY), level))


def plot_curves(
    curves: pd.DataFrame,
    flows: pd.DataFrame,
    steps: Sequence[int],
    sparsity: float | None,
    title: str = "",
) -> Figure:
    """A column a model: gradient norm against epoch, a line a ratio, at one sparsity and dense.

    `curves` is `mean_curves`, `flows` `gradient_flow.flow_table` of the same runs,
    `steps` the epochs after which the learning rate changes. The first epochs have a row of panels
    of their own where there are more than `EARLY`; the row below has one value an epoch. Bands are
    intervals over seeds; an upright stroke is where a flat phase begins (the mean over seeds).
    """
    use_theme()
    curves, flows = (f[(f.sparsity == sparsity) | (f.ratio == "dense")] for f in (curves, flows))
    models = list(curves.model.unique())
    last = curves.epoch.max() if len(curves) else 1
    rows = [(_early, EARLY), (_whole_epochs, last)] if last > EARLY else [(_early, last)]
    size = (WIDTH, 2.4 * len(rows) + 0.9)
    figure = plt.figure(figsize=size, layout="constrained")
    axes = figure.subplots(len(rows), max(len(models), 1), sharex="row", sharey=True, squeeze=False)
    for axis, model in zip(axes[0], models or ["no run is recorded"], strict=True):
        axis.set_title(model_label(model))
    for row, (part, end) in zip(axes, rows, strict=True):
        for axis, model in zip(row, models, strict=False):
            for step in (step for step in steps if step < end):
                axis.axvline(step, **_DASHES, zorder=1)
            _draw_curves(axis, part(curves[curves.model == model]))
            _draw_starts(axis, part(curves[curves.model == model]), flows[flows.model == model])
            axis.set_xlim(0, end * 1.01)
    _log_scale(axes, curves.norm)
    axes[-1, len(models) // 2].set_xlabel("Epoch")
    figure.suptitle(title, x=0.01, ha="left", weight="bold")
    figure.supylabel("Gradient norm", fontsize=9)
    handles = [ratio_handle(ratio) for ratio in in_order(curves.ratio)]
    handles.append(Line2D([], [], color=GREY, label="flat phase begins", **_STROKE))
    handles.append(Line2D([], [], label="learning rate ÷ 10", **_DASHES))
    figure.legend(handles=handles, loc="outside lower center", ncols=5, frameon=False)
    return figure


def _early(curves: pd.DataFrame) -> pd.DataFrame:
    """The curves over the epochs that are recorded in tenths."""
    return curves[curves.epoch <= EARLY + 1e-6]


def _whole_epochs(curves: pd.DataFrame) -> pd.DataFrame:
    """The curves with one mean an epoch, as the records have it after the first epochs."""
    whole = curves.assign(epoch=np.ceil(curves.epoch - 1e-6))
    names = ["norm", "low", "high"]
    return whole.groupby([*CELL, "epoch"], sort=False, as_index=False)[names].mean()


def _log_scale(axes: np.ndarray, norms: pd.Series) -> None:
    """A log scale with plain numbers, more of them to a decade where there is hardly one."""
    axis = axes[0, 0]
    axis.set_yscale("log")
    narrow = norms.max() < 8 * norms.min()
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7) if narrow else (1, 2, 5)))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda norm, _: f"{norm:g}"))
    axis.yaxis.set_minor_formatter(NullFormatter())
    if len(norms):
        axis.set_ylim(0.85 * norms.min(), 1.15 * norms.max())


def _draw_curves(axis: Axes, curves: pd.DataFrame) -> None:
    for ratio, line in curves.groupby("ratio", sort=False):
        style = ratio_style(ratio, hollow=False) | {"linewidth": 1.3, "markersize": 4.5}
        every = max(len(line) // 8, 1)
        offset = every * (place(ratio) % len(LOOKS)) // len(LOOKS)  # markers beside each other
        axis.plot(line.epoch, line.norm, markevery=(offset, every), **style)
        band = line[line.low.notna()]
        if len(band):
            colour = {"color": COLOURS[ratio], "alpha": 0.15, "linewidth": 0}
            axis.fill_between(band.epoch, band.low, band.high, **colour)


def _draw_starts(axis: Axes, curves: pd.DataFrame, flows: pd.DataFrame) -> None:
    """A stroke where the flat phase begins, in the panel that shows it most finely."""
    whole = (curves.epoch % 1 == 0).all()
    for ratio, line in curves.groupby("ratio", sort=False):
        start = flows[flows.ratio == ratio].start.mean()
        if start < line.epoch.max() and whole == (start > EARLY):
            height = np.interp(start, line.epoch, line.norm)
            axis.plot(start, height, color=COLOURS[ratio], zorder=4, **_STROKE)
