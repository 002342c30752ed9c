"""The figure of a value against the strength of an attack or of noise."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from . import panels
from .lines import CELL, MARGIN, draw_line, one_seed_handle, ratio_style
from .theme import COLOURS, LABELS, place, use_theme

_KEYS = ["kind", "level", *CELL]
_WIDEST = 5  # panels side by side
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
    """Rows of panels: a value against levels at equal distances, a line a ratio and sparsity.

    `points` has `kind, level, model, ratio, sparsity, value, low, high`, and `row` and `panel`, the
    names of its place; with a column `dense_band`, a grey bar reaches so far to both sides of a
    line at zero. `seeds` has `value` of the single runs, and the first five of these columns.
    `title` stands above the first row. `xlabel` is one for all panels, or one for each name of a
    panel. `guides` are the heights of dotted lines by name, `floor` the levels by name of a panel
    that are grey.
    """
    use_theme()
    looks = _looks(points)
    handles = [Line2D([], [], label=_name(*key), **look) for key, look in looks.items()]
    handles += [one_seed_handle()] * bool(points.low.isna().any())
    if "dense_band" in points:
        handles.append(Patch(color=COLOURS["dense"], alpha=0.15, label="sampling error"))
    handles += [Line2D([], [], label=name, **MARGIN) for name in guides or {}]
    rows, names = list(points.row.unique()), list(points.panel.unique())
    heights = [2.4 * panels.lines_of(len(names), _WIDEST)] * len(rows)
    figure, parts = panels.below_key(heights, handles)
    shared = xlabel if isinstance(xlabel, str) else ""
    for part, row in zip(parts, rows, strict=False):
        heading = "\n".join(filter(None, (title if row == rows[0] else "", row)))
        panels.name_part(part, heading, shared, label)
        shape = panels.lines_of(len(names), _WIDEST), min(len(names), _WIDEST)
        axes = part.subplots(*shape, sharey=True, squeeze=False).ravel()
        for axis in axes[len(names) :]:
            axis.remove()
        for axis, name in zip(axes, names, strict=False):
            _draw(axis, points[(points.row == row) & (points.panel == name)], looks, seeds)
            for height in (guides or {}).values():
                axis.axhline(height, **MARGIN)
            steps = sorted(points.level[points.panel == name].unique())
            for level in (floor or {}).get(name, ()):
                at = steps.index(level)
                axis.axvspan(at - 0.5, at + 0.5, color="#BBBBBB", alpha=0.35, linewidth=0)
            axis.set_title(name)
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
            pale = 0.7 * above / len(sparsities)
            colour = tuple(part + pale * (1 - part) for part in to_rgb(COLOURS[ratio]))
            look = ratio_style(ratio, hollow=False) | {"color": colour}
            marker = "D" if ratio == "dense" else _MARKERS[above % len(_MARKERS)]
            looks[ratio, sparsity] = look | {"marker": marker}
    return looks


def _draw(axis: Axes, points: pd.DataFrame, looks: Mapping, seeds: pd.DataFrame | None) -> None:
    """The lines of a panel, their points a little beside each other."""
    steps = sorted(points.level.unique())
    if "dense_band" in points:
        reach = points.groupby("level").dense_band.max().reindex(steps)
        grey = {"color": COLOURS["dense"], "alpha": 0.15, "linewidth": 0, "zorder": 1}
        axis.bar(range(len(steps)), 2 * reach, 0.8, bottom=-reach, **grey)
        axis.axhline(0, color=COLOURS["dense"], linewidth=1)
    for rank, ((ratio, sparsity), look) in enumerate(looks.items()):
        line = points[(points.ratio == ratio) & (points.sparsity == sparsity)].sort_values("level")
        aside = 0.1 * (rank - (len(looks) - 1) / 2)
        if len(line):
            x = [steps.index(level) + aside for level in line.level]
            draw_line(axis, x, line.value, line, look, seeds, by=_KEYS)
    names = [f"{step:g}".removeprefix("0") or "0" for step in steps]
    axis.set_xticks(range(len(steps)), names)
    axis.set_xlim(-0.5, len(steps) - 0.5)
