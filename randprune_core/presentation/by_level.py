"""The figure of a value against the strength of an attack or of noise."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from . import panels
from .lines import BAND, CELL, MARGIN, SPREAD, draw_line, one_seed_handle, ratio_style
from .theme import COLOURS, LABELS, place, shade, use_theme

_KEYS = ["kind", "level", *CELL]
_WIDEST = 5  # panels side by side
_FLOOR = {
    "facecolor": "none",
    "edgecolor": "#777777",
    "linestyle": ":",
    "linewidth": 1.5,
    "zorder": 1,
}
_MARKERS = "os^vD"  # of a ratio's sparsities, the highest first


def plot_by_level(
    points: pd.DataFrame,
    seeds: pd.DataFrame | None = None,
    *,
    title: str = "",
    label: str,
    xlabel: str | Mapping[str, str],
    guides: Mapping[str, float] | None = None,
    floor: Mapping[str, list[float]] | None = None,
) -> Figure:
    """Panels side by side: a value against levels at equal distances, a line a ratio and sparsity.

    `points` has `kind, level, model, ratio, sparsity, value, low, high`, and the name of its
    `panel`; with a column `dense_band`, a grey bar reaches so far to both sides of a line at zero.
    The dense network is a line without markers in a grey band. `seeds` has `value` of the single
    runs, and the first five of these columns. `xlabel` is one for all panels, or one for each name
    of a panel. `guides` are the heights of dotted lines by name, `floor` the levels by name of a
    panel that stand in a frame: those at which every network only guesses.
    """
    use_theme()
    looks = _looks(points)
    handles = [Line2D([], [], label=_name(*key), **look) for key, look in looks.items()]
    names, floor = list(points.panel.unique()), floor or {}
    handles += [one_seed_handle()] * bool(points.low.isna().any())
    if "dense_band" in points:
        handles.append(Patch(label="sampling error", **BAND))
    if points.low[points.ratio == "dense"].notna().any():
        handles.append(Patch(label=SPREAD, **BAND))
    handles += [Line2D([], [], label=name, **MARGIN) for name in guides or {}]
    if any(map(floor.get, names)):
        handles.append(Patch(label="on the floor", **_FLOOR))
    figure, (part, *_) = panels.below_key([2.4 * panels.lines_of(len(names), _WIDEST)], handles)
    shared = xlabel if isinstance(xlabel, str) else ""
    panels.name_part(part, title, shared, label)
    for axis, name in zip(panels.panels(part, names, _WIDEST, sharex=False), names, strict=False):
        mine = points[points.panel == name]
        _draw(axis, mine, looks, seeds)
        for height in (guides or {}).values():
            axis.axhline(height, **MARGIN)
        steps = sorted(mine.level.unique())
        for level in floor.get(name, ()):
            axis.axvspan(steps.index(level) - 0.5, steps.index(level) + 0.5, **_FLOOR)
        axis.set_xlabel("" if shared else xlabel[name])
    return figure


def _name(ratio: str, sparsity: float) -> str:
    return f"{LABELS[ratio]} {sparsity:g}" if sparsity else LABELS[ratio]


def _looks(points: pd.DataFrame) -> dict[tuple[str, float], dict]:
    """How the line of each ratio and sparsity is drawn: the fewer zeros, the paler."""
    looks = {}
    for ratio in sorted(points.ratio.unique(), key=place):
        sparsities = sorted(points.sparsity[points.ratio == ratio].unique())
        for rank, sparsity in enumerate(sparsities):
            above = len(sparsities) - 1 - rank
            colour = shade(ratio, sparsity, sparsities)
            look = ratio_style(ratio, hollow=False) | {"color": colour}
            marker = "" if ratio == "dense" else _MARKERS[above % len(_MARKERS)]
            looks[ratio, sparsity] = look | {"marker": marker}
    return looks


def _draw(axis: Axes, points: pd.DataFrame, looks: Mapping, seeds: pd.DataFrame | None) -> None:
    """The lines of a panel, their points a little beside each other."""
    steps = sorted(points.level.unique())
    axis.use_sticky_edges = False  # a margin below the bars too
    if "dense_band" in points:
        reach = points.groupby("level").dense_band.max().reindex(steps)
        axis.bar(range(len(steps)), 2 * reach, 0.8, bottom=-reach, zorder=1, **BAND)
        axis.axhline(0, color=COLOURS["dense"], linewidth=1)
    marked = [key for key in looks if key[0] != "dense"]
    for (ratio, sparsity), look in looks.items():
        line = points[(points.ratio == ratio) & (points.sparsity == sparsity)].sort_values("level")
        x = np.array([steps.index(level) for level in line.level])
        if ratio == "dense":
            axis.plot(x, line.value, **look)
            axis.fill_between(x, line.low, line.high, zorder=1, **BAND)
        elif len(line):
            aside = 0.1 * (marked.index((ratio, sparsity)) - (len(marked) - 1) / 2)
            draw_line(axis, x + aside, line.value, line, look, seeds, by=_KEYS)
    axis.set_xticks(range(len(steps)), [f"{step:g}" for step in steps])
    axis.set_xlim(-0.5, len(steps) - 0.5)
