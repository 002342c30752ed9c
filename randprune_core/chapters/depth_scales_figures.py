"""The figure of the scales: the gap to dense against the weights for each training image."""

from __future__ import annotations

from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from ..analysis.scales import HIGH, SPARSITIES
from ..presentation import stacked
from ..presentation.lines import draw_line
from ..presentation.theme import COLOURS, WIDTH, use_theme


class Look(NamedTuple):
    """How a scale is named and drawn, and on which side of its points their names stand."""

    label: str
    colour: str
    marker: str
    side: str
    line: object = "-"


LOOKS = {
    "mini": Look("mini: 5,000 images of 16 × 16, 160 epochs", COLOURS["erk"], "o", "above right"),
    "control": Look("its control: 10,000 or 2,500 images", COLOURS["erk"], "D", "right"),
    "cpu": Look("cpu: 10,000 images of 32 × 32, 16 epochs", "#666666", "X", "right"),
    "full": Look("ours at the paper's size", "#A50F15", "^", "above right"),
    "paper": Look("the paper's own points [D]", COLOURS["dense"], "s", "below left", (0, (4, 3))),
}
_SIDES = {
    "below left": ((-5, -5), "right", "top"),
    "above right": ((5, 5), "left", "bottom"),
    "below right": ((5, -5), "left", "top"),
    "right": ((7, 0), "left", "center"),
    "left": ((-7, 0), "right", "center"),
    "above": ((6, 2), "right", "bottom"),
}


def plot(points: pd.DataFrame, *, phone: bool = False) -> Figure:
    """The gap of ERK to dense against weights per training image, a panel a sparsity.

    A marker is hollow where it has no spread over seeds: one seed here, and all of the paper, whose
    line is dashed. A number beside a point of the first panel is the depth of its ResNet, with the
    filters of its first convolution where these are not 16. Thin lines are fitted to the points of
    a scale. A last panel has the control, where one is recorded: the lines join the points of a
    network. For a `phone` only the ends of `mini`, of the paper and of the control have names,
    where there is room.
    """
    use_theme()
    shown = points[points.ratio == "erk"]
    own = shown[shown.scale == "control"]
    names = [f"sparsity {s:g}" for s in SPARSITIES if (shown.sparsity == s).any()]
    names += [f"the control of mini: sparsity {HIGH:g}"] * (len(own) > 0)
    size = (stacked.WIDTH if phone else WIDTH, 2.7 * len(names) + 0.7)
    figure, axes = plt.subplots(len(names), 1, figsize=size, sharex=True, layout="constrained")
    for axis, name in zip(axes, names, strict=True):
        axis.axhline(0, color=COLOURS["dense"], linewidth=1)
        axis.set_title(name, loc="left")
        axis.set_ylabel("Dense minus ERK (points)")
        axis.margins(y=0.16)
    for axis, sparsity in zip(axes, SPARSITIES, strict=False):
        for scale in ("mini", "cpu", "paper", "full"):
            part = shown[(shown.sparsity == sparsity) & (shown.scale == scale)]
            _draw(axis, part, LOOKS[scale])
            _fit(axis, part, LOOKS[scale])
            named = part[part.model.str.count("-").lt(2) | (part.weights > 100)] if phone else part
            named = named.iloc[[0, -1]] if phone and len(named) > 1 else named
            if scale == "full":  # the others stand above the paper's, which have names
                named = named[named.model.str.count("-") == 2]
            left_out = phone and scale in ("cpu", "full")
            named = named[:0] if sparsity != HIGH or left_out else named
            for point in named.itertuples():
                _name(axis, point, LOOKS[scale])
    if len(own):
        usual = shown[(shown.scale == "mini") & shown.model.isin(own.model)]
        _draw_control(axes[-1], pd.concat([own, usual[usual.sparsity == HIGH]]), phone)
    axes[0].set_xscale("log")
    axes[0].set_xlim((1.3, 600) if phone else (1.1, 400))  # room for names
    ticks = (2, 10, 50, 200) if phone else (2, 5, 10, 20, 50, 100, 200)
    axes[-1].set_xticks(ticks, [str(tick) for tick in ticks])
    axes[-1].minorticks_off()
    axes[-1].set_xlabel("Weights for each training image")
    handles = []
    for scale, part in ((name, shown[shown.scale == name]) for name in LOOKS):
        look, single = LOOKS[scale], part.low.isna()
        if len(part) and (scale == "paper" or not single.all()):
            handles.append(_entry(look))
        if scale != "paper" and single.any():
            name = look.label if single.all() else look.label.partition(":")[0]
            line = _style(look) | {"markerfacecolor": "white"}
            handles.append(Line2D([], [], label=f"{name}, one seed", **line))
    key = {"loc": "outside upper left", "ncols": 1 if phone else 2, "frameon": False}
    figure.legend(handles=handles, **key)
    return figure


def _style(look: Look) -> dict:
    inside = "white" if look == LOOKS["paper"] else look.colour
    style = {"color": look.colour, "marker": look.marker, "linestyle": "none", "markersize": 6}
    return style | {"markeredgecolor": look.colour, "markerfacecolor": inside, "zorder": 3}


def _entry(look: Look) -> Line2D:
    line = {"linestyle": look.line, "linewidth": 0.8, "label": look.label}
    return Line2D([], [], **_style(look) | line)


def _draw(axis: Axes, points: pd.DataFrame, look: Look) -> None:
    """Points with their intervals, hollow without."""
    if len(points):
        draw_line(axis, points.weights, points.value, points, _style(look))


def _fit(axis: Axes, points: pd.DataFrame, look: Look) -> None:
    """The line of least squares whose slope `falls` gives."""
    if points.model.nunique() > 1:
        logs = np.log2(points.weights)
        line = np.polyval(np.polyfit(logs, points.value, 1), logs)
        style = {"color": look.colour, "linewidth": 0.8, "zorder": 1, "linestyle": look.line}
        axis.plot(points.weights, line, **style)


def _name(axis: Axes, point: tuple, look: Look, name: str = "", side: str = "") -> None:
    """Write the name of a point beside it, by default its depth."""
    depth = point.model.removeprefix("resnet-")
    if "-" in depth and not side:  # beside a network with 16 filters, whose name is on the right
        sides = {"cpu": "below left", "full": "above right"}
        side = "left" if point.weights < 100 else ""
        side = sides.get(point.scale, side)
    offset, across, up = _SIDES[side or look.side]
    place = {"xytext": offset, "textcoords": "offset points", "ha": across, "va": up}
    place |= {"path_effects": [withStroke(linewidth=2.5, foreground="white")], "zorder": 4}
    text = name or depth
    axis.annotate(text, (point.weights, point.value), color=look.colour, fontsize=8, **place)


def _draw_control(axis: Axes, points: pd.DataFrame, phone: bool) -> None:
    """The control with its twins of `mini`; inner points have their images alone for a name."""
    most, least = points.images.max(), points.images.min()
    named = {("resnet-8", most): "8 on ", ("resnet-20", least): "20 on "}
    sides = {("resnet-20", least): "below right", ("resnet-20", most): "above"}
    usual = {"resnet-8": "below left", "resnet-20": "above right"}
    for scale, part in points.groupby("scale"):
        _draw(axis, part, LOOKS[scale])
        for point in part.itertuples():
            place = point.model, point.images
            side = sides.get(place, usual[point.model])
            if side == "above":  # of its bar: beside it is that of ResNet-8
                point = point._replace(value=np.fmax(point.value, point.high))
            if place in named or not phone:  # which has no room
                name = f"{named.get(place, '')}{point.images:,}"
                _name(axis, point, LOOKS[scale], name, side)
    for _, line in points.sort_values("weights").groupby("model"):
        axis.plot(line.weights, line.value, color=LOOKS["control"].colour, linewidth=1, zorder=2)
