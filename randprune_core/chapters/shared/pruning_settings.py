"""Networks that are made sparse in different ways, side by side: differences, and a dot plot.

A setting is a ratio and what else is not the default (`config.setting`): `erk`, `snip:own`,
`uniform:2:4`. The data frames here have it in the column `ratio`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...presentation.plots import ratio_style
from ...presentation.theme import COLOURS, EDGE_ONLY, LABELS, MARKERS, WIDTH, in_order, use_theme
from ...presentation.words import model_label
from .records import Records


def settings_of(records: Records) -> list[str]:
    """The sparse settings of a grid, in the order of the theme, whether recorded or not."""
    return [name for name in in_order(records.cells().ratio) if name != "dense"]


def spreads(points: pd.DataFrame) -> pd.DataFrame:
    """How far apart the settings are: highest minus lowest mean of a model, by sparsity.

    Only settings that all models with sparse runs at that sparsity have. Columns `sparsity, model,
    settings, spread, best, worst, n` (fewest runs of a cell). Rows where two settings are left.
    """
    rows = []
    sparse = points[points.ratio != "dense"]
    for sparsity, part in sparse.groupby("sparsity"):
        models = part.groupby("ratio").model.nunique()
        shared = part[part.ratio.map(models) == part.model.nunique()]
        for model, cells in shared.groupby("model", sort=False):
            if len(cells) > 1:
                ends = [
                    cells.ratio[place()] for place in (cells["mean"].idxmax, cells["mean"].idxmin)
                ]
                spread = cells["mean"].max() - cells["mean"].min()
                names = tuple(in_order(cells.ratio))
                rows.append([sparsity, model, names, spread, *ends, cells.n.min()])
    return pd.DataFrame(
        rows, columns=["sparsity", "model", "settings", "spread", "best", "worst", "n"]
    )


def plot_settings(
    cells: pd.DataFrame,
    value: str,
    settings: Sequence[str],
    *,
    title: str,
    label: str,
    margin: float | None = None,
    named: Mapping[str, str] = LABELS,
) -> Figure:
    """A dot a setting, a panel a model (across) and a sparsity (down).

    `cells` has `model, ratio, sparsity`, the column `value`, `low` and `high`; the dense network,
    where there is one, is a line across with its interval as a band. `margin` shades what is no
    worse than it, about a line at zero, and gives all panels one scale.
    """
    use_theme()
    sparse = cells[cells.ratio != "dense"]
    models, levels = list(sparse.model.unique()), sorted(sparse.sparsity.unique())
    shape = (max(len(levels), 1), max(len(models), 1))
    figure, axes = plt.subplots(
        *shape,
        figsize=(WIDTH, 0.8 + shape[0] * (0.55 + 0.2 * len(settings))),
        sharex="col" if margin is None else "all",
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    figure.suptitle(title, x=0.01, ha="left", weight="bold")
    figure.supxlabel(label, fontsize=9)
    if not models:
        axes[0, 0].set(title="nothing to compare is recorded", xticks=[])
    for row, sparsity in zip(axes, levels, strict=False):
        for axis, model in zip(row, models, strict=True):
            mine = cells[cells.model == model]
            axis.set_title(f"{model_label(model)}, {sparsity:g}")
            _reference(axis, mine[mine.ratio == "dense"], value, margin)
            _dots(axis, mine[mine.sparsity == sparsity], value, settings)
    axes[0, 0].set_yticks(range(len(settings)), [named[name] for name in settings])
    axes[0, 0].set_ylim(len(settings) - 0.4, -0.6)
    return figure


def _reference(axis: Axes, dense: pd.DataFrame, value: str, margin: float | None) -> None:
    grey = {"color": COLOURS["dense"], "alpha": 0.15, "linewidth": 0}
    if margin is not None:
        axis.axvline(0, color=COLOURS["dense"], linewidth=1)
        axis.axvspan(-margin, margin, **grey)
    for row in dense.to_dict("records"):
        axis.axvline(row[value], color=COLOURS["dense"], linewidth=1.6)
        if np.isfinite(row["low"]):
            axis.axvspan(row["low"], row["high"], **grey)


def _dots(axis: Axes, cells: pd.DataFrame, value: str, settings: Sequence[str]) -> None:
    for row in cells[cells.ratio.isin(settings)].to_dict("records"):
        name, place = row["ratio"], settings.index(row["ratio"])
        size = {"markersize": 7}
        if MARKERS[name] in EDGE_ONLY:
            size = {"markersize": 9, "markeredgewidth": 1.8}
        style = ratio_style(name, hollow=False) | size | {"linestyle": ""}
        axis.plot(row[value], place, **style)
        if np.isfinite(row["low"]):
            axis.plot([row["low"], row["high"]], [place] * 2, color=COLOURS[name], linewidth=1.4)
