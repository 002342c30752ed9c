"""The figure of the scales: the gap to dense against the weights for each training image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..presentation import stacked
from ..presentation.theme import COLOURS, WIDTH, use_theme
from .depth_scales import HIGH, SPARSITIES


class Look(NamedTuple):
    """How a scale is named and drawn: the paper hollow, ours filled."""

    label: str
    colour: str
    marker: str
    side: str
    filled: bool = True


LOOKS = {
    "mini": Look("mini: 5,000 images of 16 pixels, 160 epochs", COLOURS["erk"], "o", "above right"),
    "control": Look("its control: 10,000 or 2,500 images", COLOURS["grasp"], "D", "right"),
    "cpu": Look("cpu: 10,000 images of 32 pixels, 16 epochs", "#666666", "X", "right"),
    "paper": Look("the paper: 45,000 images, 160 epochs", COLOURS["erk"], "o", "below left", False),
}


def plot(points: pd.DataFrame, *, phone: bool = False) -> Figure:
    """The gap of ERK to dense against weights per training image, a panel a sparsity.

    Ours are filled, the paper's hollow; a number beside a point of the first panel is the depth of
    its ResNet, with the filters of its first convolution where these are not 16. Thin lines are
    fitted to the points of a scale. A last panel has the control, where one is recorded: the lines
    join the points of a network. For a `phone` the largest network of a scale has its name, and the
    paper's smallest.
    """
    use_theme()
    shown = points[points.ratio == "erk"]
    names = [f"sparsity {sparsity:g}" for sparsity in SPARSITIES]
    if (shown.scale == "control").any():
        names.append(f"the control of mini: sparsity {HIGH:g}")
    size = (stacked.WIDTH if phone else WIDTH, 2.7 * len(names) + 0.7)
    figure, axes = plt.subplots(len(names), 1, figsize=size, sharex=True, layout="constrained")
    for axis, name in zip(axes, names, strict=True):
        axis.axhline(0, color=COLOURS["dense"], linewidth=1)
        axis.set_title(name, loc="left")
        axis.set_ylabel("Dense minus ERK (points)")
        axis.margins(y=0.16)
    for axis, sparsity in zip(axes, SPARSITIES, strict=False):
        for scale in ("mini", "cpu", "paper"):
            part = shown[(shown.sparsity == sparsity) & (shown.scale == scale)]
            ends = [part.weights.max(), part.weights.min()][: 1 + (scale == "paper")]
            named = part[part.weights.isin(ends) & (scale != "cpu")] if phone else part
            named = named[: len(named) if sparsity == HIGH else 0]  # they lie above each other
            _draw(axis, part, LOOKS[scale], named)
            _fit(axis, part, LOOKS[scale])
    if len(names) > len(SPARSITIES):
        _draw_control(axes[-1], shown[shown.sparsity == HIGH])
    axes[0].set_xscale("log")
    axes[0].set_xlim(1.1, 300)
    ticks = (2, 10, 50, 200) if phone else (2, 5, 10, 20, 50, 100, 200)
    axes[-1].set_xticks(ticks, [str(tick) for tick in ticks])
    axes[-1].minorticks_off()
    axes[-1].set_xlabel("Weights for each training image")
    found = {label: handle for axis in axes for handle, label in _key(axis)}
    key = {"loc": "outside upper left", "ncols": 1 if phone else 2, "frameon": False}
    figure.legend(found.values(), found.keys(), **key)
    return figure


def _key(axis: Axes) -> Iterable[tuple]:
    return zip(*axis.get_legend_handles_labels(), strict=True)


def _draw(
    axis: Axes,
    points: pd.DataFrame,
    look: Look,
    named: pd.DataFrame,
    sides: Mapping | None = None,
) -> None:
    """Points with their intervals, and names of the `named`; with `sides`, their images too."""
    if points.empty:
        return
    inside = look.colour if look.filled else "white"
    style = {"color": look.colour, "markerfacecolor": inside, "markersize": 7, "zorder": 3}
    style |= {"markeredgecolor": "white" if look.filled else look.colour, "linestyle": "none"}
    axis.plot(points.weights, points.value, marker=look.marker, label=look.label, **style)
    known = points[points.low.notna()]
    reach = [known.value - known.low, known.high - known.value]
    axis.errorbar(known.weights, known.value, yerr=reach, fmt="none", ecolor=look.colour, capsize=2)
    for point in named.itertuples():
        name = point.model.removeprefix("resnet-")
        side = look.side
        if "-" in name:
            side = "below right" if look == LOOKS["mini"] and point.weights < 100 else "left"
        if sides:
            name, side = f"{name} on {point.images:,}", sides[point.model]
        offset, across, up = _SIDES[side]
        place = {"xytext": offset, "textcoords": "offset points", "ha": across, "va": up}
        axis.annotate(name, (point.weights, point.value), color=look.colour, fontsize=8, **place)


_SIDES = {
    "below left": ((-5, -5), "right", "top"),
    "above right": ((5, 5), "left", "bottom"),
    "below right": ((5, -5), "left", "top"),
    "right": ((7, 0), "left", "center"),
    "left": ((-7, 0), "right", "center"),
}
"""Where the name of a point stands, so that those of neighbours do not meet."""


def _fit(axis: Axes, points: pd.DataFrame, look: Look) -> None:
    """The line of least squares whose slope `falls` gives."""
    if points.model.nunique() > 1:
        logs = np.log2(points.weights)
        line = np.polyval(np.polyfit(logs, points.value, 1), logs)
        style = {"color": look.colour, "linewidth": 0.8, "zorder": 1}
        axis.plot(points.weights, line, linestyle="-" if look.filled else (0, (4, 3)), **style)


def _draw_control(axis: Axes, points: pd.DataFrame) -> None:
    """The networks of the control at each number of images, those of `mini` among them."""
    own = points[points.scale == "control"]
    usual = points[(points.scale == "mini") & points.model.isin(own.model)]
    sides = {"resnet-8": "above right", "resnet-20": "below left"}
    _draw(axis, own, LOOKS["control"], own, sides)
    _draw(axis, usual, LOOKS["mini"], usual, sides)
    for _, line in pd.concat([own, usual]).sort_values("weights").groupby("model"):
        axis.plot(line.weights, line.value, color=LOOKS["control"].colour, linewidth=1, zorder=2)
