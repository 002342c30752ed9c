"""Chapter 14: what the benchmarks measured. Everything is read from `results/benchmarks/`."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..presentation import foreign
from ..presentation.theme import WIDTH, use_theme
from ..presentation.words import model_label

CASES = {
    "plain": "plain loop",
    "torch_prune": "torch.nn.utils.prune",
    "engine": "engine, one run",
    "engine_dense": "engine, one dense run",
    "sweep": "engine, a sweep",
}
_GREY = "#8A8A8A"
_BOUND = {"color": "#222222", "linestyle": (0, (3, 2)), "linewidth": 1}
_GROWTH = {"depth": ("#222222", "o", "depth"), "width": (_GREY, "s", "width, 20 layers")}
_LINES = ("-", (0, (3, 2)), (0, (6, 1.5, 1, 1.5)))
"""How the lines of processors differ, in the order in which they were measured."""
_PROPORTION = {"color": "#777777", "linewidth": 1, "linestyle": (0, (1, 2))}


def speed_figure(speed: pd.DataFrame) -> Figure:
    """Bars of images per second, one panel for each processor and size of image.

    A dashed line is where the processor's rate in a large matrix product would be. Right of
    the axes stands the rate of each bar, and its ratio to the plain loop's.
    """
    use_theme()
    panels = list(speed.groupby(["processor", "side"], sort=False))
    if not panels:
        return plt.figure()
    size = (WIDTH, 0.8 + 1.8 * len(panels))
    figure, axes = plt.subplots(len(panels), 1, figsize=size, squeeze=False, layout="constrained")
    for axis, ((processor, side), part) in zip(axes[:, 0], panels, strict=True):
        network, precision = model_label(part.model.iloc[0]), part.precision.iloc[-1]
        names = [
            CASES[row.case] if row.precision == precision else f"{CASES[row.case]}, {row.precision}"
            for row in part.itertuples()
        ]
        axis.barh(names, part.images_per_second, color=_GREY)
        bound = float((part.images_per_second / part.share_of_matmul).iloc[1:].median())
        axis.axvline(bound, **_BOUND)
        for place, row in enumerate(part.itertuples()):
            text = f"{row.images_per_second:,.0f} ({row.ratio_to_plain:.1f} ×)"
            look = {"xycoords": axis.get_yaxis_transform(), "textcoords": "offset points"}
            axis.annotate(text, (1, place), (5, 0), va="center", **look)
        axis.set_xlim(0, 1.05 * max(bound, part.images_per_second.max()))
        axis.xaxis.set_major_formatter("{x:,.0f}")
        axis.invert_yaxis()
        axis.grid(axis="y", visible=False)
        pixels = f"{side} × {side} pixels".replace(" ", "\u00a0")
        title = f"{processor}: {network}, {pixels}, {precision}"
        axis.set_title(foreign.plain(title), loc="left")
    axes[-1, 0].set_xlabel("Training images per second (times the plain loop)")
    handles = [Line2D([], [], label="at the rate of a large matrix product", **_BOUND)]
    figure.legend(handles=handles, loc="outside lower center", frameon=False)
    return figure


def scaling_figure(scaling: pd.DataFrame) -> Figure:
    """Time of a step against the network's size, and of runs at once; a line a processor."""
    use_theme()
    if scaling.empty:
        return plt.figure()
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(WIDTH, 3.2), layout="constrained", width_ratios=(3, 2)
    )
    handles = [
        Line2D([], [], color=colour, marker=marker, markersize=5, linestyle="none", label=label)
        for colour, marker, label in _GROWTH.values()
    ]
    for (processor, part), line in zip(
        scaling.groupby("processor", sort=False), _LINES, strict=False
    ):
        handles.append(
            Line2D([], [], color="#222222", linestyle=line, label=foreign.plain(processor))
        )
        for grows, (colour, marker, _) in _GROWTH.items():
            step = part[part.grows == grows]
            style = {"color": colour, "marker": marker, "markersize": 5, "linestyle": line}
            left.plot(step.macs / 1e6, 1e3 * step.seconds_per_step, **style)
            if line == _LINES[0]:
                _name_points(left, step, below=grows == "depth")
        step = part[part.grows == "runs_at_once"]
        rate = step.runs_at_once / step.seconds_per_step
        right.plot(step.runs_at_once, rate / rate.iloc[0], color="#222222", linestyle=line)
    left.set(xscale="log", yscale="log", ylabel="Milliseconds per training step")
    left.set_title("Size of the network")
    right.set_title("Number of runs")
    left.set_xlabel("Million multiply-accumulates per image")
    left.yaxis.set_major_formatter("{x:,g}")
    left.margins(x=0.2, y=0.14)
    handles.append(Line2D([], [], label="in proportion", **_PROPORTION))
    key = {"loc": "outside upper left", "ncols": len(handles), "frameon": False}
    figure.legend(handles=handles, columnspacing=1.2, **key)
    at_once = sorted(scaling[scaling.grows == "runs_at_once"].runs_at_once.unique())
    right.plot(at_once, at_once, **_PROPORTION)
    right.set_xticks(at_once)
    right.set(xlabel="Runs at once", ylabel="Steps in the same time")
    return figure


def _name_points(axis: Axes, steps: pd.DataFrame, below: bool) -> None:
    shift, side = ((5, -9), "left") if below else ((-5, 4), "right")
    for row in steps[below | (steps.model.str.count("-") == 2)].itertuples():
        where = (row.macs / 1e6, 1e3 * row.seconds_per_step)
        name = foreign.plain(row.model.removeprefix("resnet-"))
        axis.annotate(name, where, shift, textcoords="offset points", ha=side, fontsize=8)
