"""The figures of the chapter on when to prune: accuracy, its course, and how masks move."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..config import RunConfig, pruning_epoch, setting
from ..presentation import panels
from ..presentation.plots import ratio_handle, ratio_style
from ..presentation.theme import COLOURS, WIDTH, use_theme
from ..presentation.words import model_label
from .when_to_prune import label, ordered, shown_sparsity

_COLUMNS = 3  # panels side by side


def plot_scenarios(points: pd.DataFrame, title: str) -> Figure:
    """A panel a network and sparsity: a row a scenario, the dense network as an upright line too.

    `points` has `model, ratio` (the setting)`, sparsity, mean, low, high` (`cells.summarise`).
    """
    sparse = points[points.ratio != "dense"]
    shown = list(sparse[["model", "sparsity"]].drop_duplicates().itertuples(index=False))
    names = [f"{model_label(model)}, sparsity {sparsity:g}" for model, sparsity in shown]
    rows = ordered(points.ratio)
    height = 0.3 * max(len(rows), 3) + 0.55
    figure, axes = _panels(names, height, title, "Test accuracy (%)")
    for axis, (model, sparsity) in zip(axes, shown, strict=False):
        own = points[(points.model == model) & points.sparsity.isin([0.0, sparsity])]
        for cell in own.itertuples():
            _draw_scenario(axis, rows.index(cell.ratio), cell)
        axis.margins(x=0.16)
        axis.set_yticks(range(len(rows)), [label(name) for name in rows])
        axis.set_ylim(len(rows) - 0.4, -0.8)
    return figure


def _draw_scenario(axis: Axes, row: int, cell) -> None:
    colour, known = COLOURS[cell.ratio], np.isfinite(cell.low)
    style = ratio_style(cell.ratio, hollow=False) | {"markersize": 7}
    if cell.ratio == "dense":
        axis.axvline(cell.mean, color=colour, linewidth=1, zorder=1)
        style["marker"] = "o"
        if known:
            axis.axvspan(cell.low, cell.high, color=colour, alpha=0.15, linewidth=0)
    elif known:
        axis.plot([cell.low, cell.high], [row, row], color=colour, linewidth=1.2)
    axis.plot([cell.mean], [row], **style)
    place = {"xytext": (0, 5), "ha": "center"}
    if cell.ratio == "dense":  # not on its line
        place = {"xytext": (-6, 0), "ha": "right", "va": "center"}
    text, point = f"{cell.mean:.1f}", (cell.mean, row)
    axis.annotate(text, point, textcoords="offset points", fontsize=8, **place)


def plot_curves(lines: pd.DataFrame, configs: Sequence[RunConfig], title: str) -> Figure:
    """A panel a network: validation accuracy against epoch, a line a scenario.

    `lines` is as from `when_to_prune.curves`; the highest recorded sparsity is drawn, and dense. A
    dotted upright line marks where a network that was dense is pruned.
    """
    level = shown_sparsity(lines)
    shown = lines[lines.sparsity.isin([0.0, level])]
    models = list(shown.model.unique())
    names = [f"{model_label(model)}, sparsity {level or 0:g}" for model in models]
    figure, axes = _panels(names, 2.7, title, "Epoch")
    starts = {setting(config): pruning_epoch(config) for config in configs}
    for axis, model in zip(axes, models, strict=False):
        for name, line in shown[shown.model == model].groupby("ratio", sort=False):
            style = ratio_style(name, hollow=False) | {"linewidth": 1.2, "markeredgewidth": 0.4}
            axis.plot(line.epoch, line["mean"], markevery=max(len(line) // 8, 1), **style)
            if line.low.notna().any():
                axis.fill_between(
                    line.epoch, line.low, line.high, color=COLOURS[name], alpha=0.2, linewidth=0
                )
            if start := starts.get(name):
                axis.axvline(start, color=COLOURS[name], linestyle=(0, (1, 2)), linewidth=1.2)
        axis.set_xlim(left=0)
        axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    figure.supylabel("Validation accuracy (%)", fontsize=9)
    handles = [ratio_handle(name) for name in ordered(shown.ratio)]
    for handle, name in zip(handles, ordered(shown.ratio), strict=True):
        handle.set_label(label(name))
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)
    return figure


def plot_moves(moves: pd.DataFrame, title: str) -> Figure:
    """How masks move: what an update changes, and what has ever been kept.

    `moves` is as from `when_to_prune.watch_rules`.
    """
    names = {"changed": "Kept weights that changed (%)", "ever": "Weights ever kept (%)"}
    xlabel = "Full epochs before the update"
    figure, axes = _panels(list(names.values()), 2.2, title, xlabel, sharey=False)
    for axis, column in zip(axes, names, strict=True):
        for name, line in moves.groupby("ratio", sort=False):
            axis.plot(line.epoch, 100 * line[column], **ratio_style(name, hollow=False))
    fractions = moves.drop_duplicates("epoch")
    grey = {"color": COLOURS["dense"], "linestyle": (0, (3, 2)), "linewidth": 1}
    (dropped,) = axes[0].plot(
        fractions.epoch, 100 * fractions.dropped, label="dropped, and partly grown again", **grey
    )
    for axis in axes[:2]:
        axis.set_ylim(bottom=0)
        axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    handles = [*map(ratio_handle, moves.ratio.unique()), dropped]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)
    return figure


def _panels(
    names: Sequence[str], height: float, title: str, xlabel: str, sharey: bool = True
) -> tuple[Figure, np.ndarray]:
    """A figure with a panel a name, in lines of three with `xlabel` below the last."""
    use_theme()
    size = (WIDTH, height * panels.lines_of(len(names), _COLUMNS) + 0.6)
    figure = plt.figure(figsize=size, layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", weight="bold")
    axes = panels.panels(figure, names, _COLUMNS, sharey=sharey)
    count = max(len(names), 1)
    for axis in axes[max(count - _COLUMNS, 0) : count]:
        axis.set_xlabel(xlabel)
    if not names:
        axes[0].set(xticks=[], yticks=[])
    return figure, axes
