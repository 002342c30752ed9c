"""The figures of the gradient norm: curves during training, and predictors against the gap."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..presentation.theme import COLOURS, LABELS, MARKERS, WIDTH, in_order, use_theme
from ..presentation.words import model_label, plus_minus
from .gradient_flow import PREDICTORS, comparable, correlations, within_networks
from .shared.gradient_curves import GREY

_WHICH = ("all", "within")  # the columns of `correlations` for the two rows of panels


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
    ratios = in_order(flows.ratio)
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
