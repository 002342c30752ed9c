"""The figures of the gradient norm: curves during training, and predictors against the gap."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from ..analysis.cells import CELL
from ..presentation.plots import ratio_handle, ratio_style
from ..presentation.theme import COLOURS, LABELS, MARKERS, WIDTH, use_theme
from ..presentation.words import model_label, plus_minus
from .gradient_flow import PREDICTORS, comparable, correlations, within_networks

_WHICH = ("all", "within")  # the columns of `correlations` for the two rows of panels
EARLY = 5
"""The epochs that are recorded in tenths, and have panels of their own."""
GREY = "#777777"
_DASHES = {"color": GREY, "linewidth": 0.8, "linestyle": (0, (4, 3))}
_STROKE = {"marker": "|", "markersize": 12, "markeredgewidth": 2, "linestyle": "none"}


def plot_curves(
    curves: pd.DataFrame,
    flows: pd.DataFrame,
    steps: Sequence[int],
    sparsity: float | None,
    title: str = "",
) -> Figure:
    """A column a model: gradient norm against epoch, a line a ratio, at one sparsity and dense.

    `curves` is `gradient_flow.mean_curves`, `flows` `gradient_flow.flow_table` of the same runs,
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
    handles = [ratio_handle(ratio) for ratio in LABELS if ratio in set(curves.ratio)]
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
        offset = every * list(LABELS).index(ratio) // len(LABELS)  # markers beside each other
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


def plot_predictors(flows: pd.DataFrame, title: str = "") -> Figure:
    """The gap to dense against each predictor, a panel each, all runs above, ranks below.

    `flows` is `gradient_flow.flow_table`. In the lower row each value is the place of the run among
    those of its own network, from 0 to 1, so that differences between networks are not in it. A
    larger marker is a larger network.
    """
    use_theme()
    table = correlations(flows).set_index("predictor")
    flows = comparable(flows).sort_values("weights", kind="stable")
    ranked = flows[flows.groupby("model").model.transform("size") > 1]
    ranked = ranked.assign(**{c: within_networks(ranked, c) for c in (*PREDICTORS, "gap")})
    figure = plt.figure(figsize=(WIDTH, 5.4), layout="constrained")
    axes = figure.subplots(2, len(PREDICTORS), sharey="row")
    sizes = dict(zip(flows.model.unique(), _sizes(flows.model.nunique(), len(flows)), strict=True))
    for column, (name, label) in enumerate(PREDICTORS.items()):
        for axis, frame, which in zip(axes[:, column], (flows, ranked), _WHICH, strict=True):
            for (model, ratio), part in frame[::-1].groupby(["model", "ratio"], sort=False):
                axis.plot(part[name], part.gap, **_point(ratio, sizes[model]))
            value = table.loc[name, which]
            axis.set_title("" if np.isnan(value) else f"ρ = {plus_minus(value, digits=2)}")
        axes[0, column].margins(0.08)  # no marker is cut by the frame
        axes[0, column].set_xlabel(label[:1].upper() + label[1:])
        axes[1, column].set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
        axes[1, column].set_xlabel("Place in its network")
    axes[0, 0].set_ylabel("Gap to dense (points)")
    axes[1, 0].set_ylabel("Place of the gap")
    figure.suptitle(title or "no run is recorded", x=0.01, ha="left", weight="bold")
    ratios = [ratio for ratio in LABELS if ratio in set(flows.ratio)]
    handles = [Line2D([], [], label=LABELS[ratio], **_point(ratio, 6)) for ratio in ratios]
    dot = {"marker": "o", "linestyle": "none", "color": GREY, "markeredgecolor": "white"}
    models = [Line2D([], [], label=model_label(m), markersize=n, **dot) for m, n in sizes.items()]
    if handles:
        handles, columns = _rows_of_key(handles, models)
        close = {"columnspacing": 1.0, "handletextpad": 0.3, "frameon": False}
        figure.legend(handles=handles, loc="outside lower center", ncols=columns, **close)
    return figure


def _rows_of_key(*groups: Sequence[Line2D], most: int = 6) -> tuple[list[Line2D], int]:
    """Handles in the order that puts each group on rows of its own, and the number of columns."""
    columns = min(most, max(len(group) for group in groups))
    cells = []
    for group in groups:
        blanks = [Line2D([], [], label=" ", linestyle="none")] * (-len(group) % columns)
        cells += [*group, *blanks]
    return [
        cells[place] for c in range(columns) for place in range(c, len(cells), columns)
    ], columns


def _sizes(models: int, runs: int) -> np.ndarray:
    """Marker sizes in points, small to large network; smaller where there are very many runs."""
    sizes = np.linspace(4.5, 10, models) if models > 1 else np.full(models, 6.0)
    return sizes if runs < 100 else sizes / 2


def _point(ratio: str, size: float) -> dict:
    style = {"marker": MARKERS[ratio], "color": COLOURS[ratio], "markersize": size}
    return style | {"linestyle": "none", "markeredgecolor": "white", "markeredgewidth": size / 10}
