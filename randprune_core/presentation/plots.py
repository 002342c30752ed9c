"""The figures of the book, one function a kind, in the colours and markers of `theme`.

Functions take data frames or arrays and return a matplotlib `Figure`; they read no record and no
file. A filled marker is a run of this book, a hollow one a published number. Intervals are drawn
where there are any: one seed is a bare point.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from . import panels
from .theme import COLOURS, EDGE_ONLY, LABELS, MARKERS, ON_CELLS, WIDTH, in_order, place, use_theme
from .words import model_label


def plot_by_sparsity(
    points: pd.DataFrame,
    published: pd.DataFrame | None = None,
    *,
    overlay: bool = False,
    title: str = "",
    published_title: str = "",
    label: str = "Test accuracy (%)",
) -> Figure:
    """A panel a model: a value against sparsity, a line a ratio, the dense network across.

    `points` has `model, ratio, sparsity, mean, low, high` (see `cells.summarise`). `published`
    has `model, ratio, sparsity, mean, low, high, dense_band` (see `published.figure1`) and is
    drawn hollow, in a row of panels of its own, or with `overlay` in the panels of the same models.
    """
    rows = _rows(points, published, overlay)
    shown = [_distinct(row, "model") for row in rows]
    names = [[model_label(model) for model in row] for row in shown]
    titles = [title, published_title]
    figure, axes = _figure(rows, titles, names, height=2.6, label=label, xlabel="Sparsity")
    for row, models, row_axes in zip(rows, shown, axes, strict=True):
        for axis, model in zip(row_axes, models, strict=False):
            for frame, hollow in row:
                _draw_accuracy(axis, frame[frame.model == model], hollow)
            _sparsity_ticks(axis, [value for value in _distinct(row, "sparsity") if value])
    return figure


def plot_gap_to_dense(
    gaps: pd.DataFrame,
    published: pd.DataFrame | None = None,
    *,
    overlay: bool = False,
    title: str = "",
    published_title: str = "",
    sparsities: Sequence[float] | None = None,
    label: str = "Dense − sparse (points)",
    xlabel: str = "Depth of the ResNet",
) -> Figure:
    """A panel a sparsity: dense minus sparse against the models, a line a ratio.

    `gaps` has `model, ratio, sparsity, gap, low, high` (see `cells.gap_to_dense`), smallest
    model first. `published` has these columns and `dense_band`, and is drawn as in
    `plot_by_sparsity`; the spread of its dense line over seeds is a band about zero.
    `sparsities` limits the panels.
    """
    if sparsities is not None:
        gaps = gaps[gaps.sparsity.isin(sparsities)]
        published = None if published is None else published[published.sparsity.isin(sparsities)]
    rows = _rows(gaps, published, overlay)
    shown = [sorted(_distinct(row, "sparsity")) for row in rows]
    names = [[f"sparsity {sparsity:g}" for sparsity in row] for row in shown]
    titles = [title, published_title]
    figure, axes = _figure(rows, titles, names, height=2.4, label=label, xlabel=xlabel)
    for row, levels, row_axes in zip(rows, shown, axes, strict=True):
        models = _distinct(row, "model")
        for axis, level in zip(row_axes, levels, strict=False):
            axis.axhline(0, color=COLOURS["dense"], linewidth=1)
            for frame, hollow in row:
                _draw_gap(axis, frame[frame.sparsity == level], models, hollow)
            axis.set_xticks(range(len(models)), [name.removeprefix("resnet-") for name in models])
            axis.set_xlim(-0.4, len(models) - 0.6)
    return figure


def plot_layer_sparsities(layers: pd.DataFrame) -> Figure:
    """A panel a model, below each other: the sparsity of each layer, a line a ratio.

    `layers` has `model, ratio, position, sparsity`, positions in module order from 1.
    """
    use_theme()
    models = list(layers.model.unique())
    size = (WIDTH, 1.9 * len(models) + 0.5)
    figure, axes = plt.subplots(
        len(models), 1, figsize=size, sharey=True, squeeze=False, layout="constrained"
    )
    for axis, model in zip(axes[:, 0], models, strict=True):
        part = layers[layers.model == model]
        size = 4 if part.position.max() < 60 else 2.5
        for ratio, line in part.groupby("ratio", sort=False):
            # Dashed, so that ERK shows below an ERK+ that is the same.
            style = ratio_style(ratio, hollow=False) | {"markersize": size, "linewidth": 1}
            style["linestyle"] = (0, (2, 2)) if ratio.endswith("_plus") else "-"
            axis.plot(line.position, line.sparsity, **style | {"markeredgewidth": 0.3})
        axis.set_xlim(0, part.position.max() + 1)
        axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axis.set_ylim(-0.05, 1.05)
        axis.set_title(model_label(model), loc="left")
    axes[-1, 0].set_xlabel("Layer, in module order")
    figure.supylabel("Sparsity of the layer", fontsize=9)
    handles = [ratio_handle(ratio) for ratio in layers.ratio.unique()]
    figure.legend(handles=handles, loc="outside upper right", ncols=len(handles), frameon=False)
    return figure


def plot_heatmap(
    table: pd.DataFrame, label: str, *, format: str = ".2f", high: float = 1.0
) -> Figure:
    """An annotated heat map: the names of index and columns become the axis labels.

    An empty (NaN) cell is left grey; what it stands for belongs into the caption.
    """
    use_theme()
    size = (WIDTH, 0.9 + 0.42 * len(table))
    figure, axis = plt.subplots(figsize=size, layout="constrained")
    axis.set_facecolor("#CCCCCC")
    axis.grid(False)
    bar = {"label": label, "pad": 0.02}
    scale = {"vmin": 0, "vmax": high, "cmap": "viridis", "cbar_kws": bar}
    sns.heatmap(table, annot=True, fmt=format, linewidths=1, ax=axis, **scale)
    for text in axis.texts:
        text.set_color(ON_CELLS[min(to_rgb(text.get_color())) < 0.5])
    axis.tick_params(axis="y", rotation=0)
    return figure


def plot_mask(masks: Mapping[str, np.ndarray]) -> Figure:
    """Masks side by side under their titles, kept weights dark.

    A mask is a bool array, (outputs, inputs) or a convolution's (out, in, kh, kw); the latter is
    laid out with one kernel a cell, output filters downwards and input channels to the right.
    """
    use_theme()
    size = (WIDTH, WIDTH / len(masks) + 0.4)
    figure, axes = plt.subplots(1, len(masks), figsize=size, squeeze=False, layout="constrained")
    for axis, (title, mask) in zip(axes[0], masks.items(), strict=True):
        mask = np.asarray(mask)
        height, width = mask.shape[2:] if mask.ndim == 4 else (1, 1)
        if mask.ndim == 4:
            mask = mask.transpose(0, 2, 1, 3).reshape(len(mask) * height, -1)
        axis.imshow(mask, cmap="Greys", vmin=0, vmax=1.15, interpolation="nearest")
        axis.set(xticks=[], yticks=[], title=title, xlabel="input channels")
        axis.set_xticks(np.arange(width, mask.shape[1], width) - 0.5, minor=True)
        axis.set_yticks(np.arange(height, mask.shape[0], height) - 0.5, minor=True)
        axis.tick_params(which="minor", length=0)
        axis.grid(which="minor", color="#AAAAAA", linewidth=0.4)
    axes[0, 0].set_ylabel("output filters")
    return figure


def digest(figure: Figure) -> str:
    """What a figure draws, in a few characters: the number of panels and points, and their hash.

    The numbers are read back from the axes, to five digits, so that a figure that draws something
    else has another digest, on every machine.
    """
    drawn, points = hashlib.sha256(), 0
    for axis in figure.get_axes():
        arrays = [line.get_xydata() for line in axis.lines]
        arrays += [image.get_array() for image in axis.images]
        for collection in axis.collections:
            values = collection.get_array()
            paths = [path.vertices for path in collection.get_paths()]
            arrays += paths if values is None else [np.ma.filled(values, np.nan)]
        for patch in axis.patches:
            arrays.append(patch.get_patch_transform().transform(patch.get_path().vertices))
        for array in arrays:
            numbers = np.round(np.asarray(array, dtype=float).ravel(), 6) + 0.0
            points += len(numbers)
            drawn.update(" ".join(f"{number:.5g}" for number in numbers).encode())
        drawn.update(axis.get_title("left").encode() + axis.get_title().encode() + b"\n")
    panels = len(figure.get_axes())
    return f"{panels} panel{'s' * (panels != 1)}, {points} numbers, digest {drawn.hexdigest()[:12]}"


def is_empty(figure: Figure) -> bool:
    """Whether nothing is drawn in any panel."""
    return not any(
        [*axis.lines, *axis.images, *axis.collections, *axis.patches] for axis in figure.get_axes()
    )


Layers = list[tuple[pd.DataFrame, bool]]
"""What one row of panels draws, bottom layer first: frames, and whether they are hollow."""


def _rows(ours: pd.DataFrame, published: pd.DataFrame | None, overlay: bool) -> list[Layers]:
    if published is None:
        return [[(ours, False)]]
    if overlay and len(ours):
        return [[(published[published.model.isin(ours.model)], True), (ours, False)]]
    return [[(ours, False)], [(published, True)]]


def _distinct(row: Layers, column: str) -> list:
    """Values of a column in the order of the topmost layer."""
    return list(row[-1][0][column].unique())


def _figure(
    rows: list[Layers],
    titles: Sequence[str],
    names: list[list[str]],
    *,
    height: float,
    label: str,
    xlabel: str,
) -> tuple[Figure, list[np.ndarray]]:
    """A figure with titled rows of panels below their common key; four or more wrap in overlays."""
    use_theme()
    widest = 3 if len(rows[0]) > 1 else 5
    heights = [height * panels.lines_of(len(row), widest) for row in names]
    figure, parts = panels.below_key(heights, _key(rows))
    axes = []
    for part, title, row in zip(parts, titles, names, strict=False):
        panels.name_part(part, title, xlabel, label)
        axes.append(panels.panels(part, row, widest))
    return figure, axes


def _key(rows: list[Layers]) -> list[Artist]:
    frames = [frame for row in rows for frame, _ in row]
    found = {ratio for frame in frames for ratio in frame.ratio}
    handles = [ratio_handle(ratio) for ratio in in_order(found)]
    if any(hollow for row in rows for _, hollow in row):
        grey = {"color": "#777777", "markeredgecolor": "#777777"}
        handles.append(Line2D([], [], label="the paper", **ratio_style("erk", hollow=True) | grey))
        handles.append(Patch(color=COLOURS["dense"], alpha=0.15, label="seeds of dense"))
    return handles


def ratio_handle(ratio: str) -> Line2D:
    """The entry of a ratio in a key."""
    return Line2D([], [], label=LABELS[ratio], **ratio_style(ratio, hollow=False))


def ratio_style(ratio: str, hollow: bool) -> dict:
    """How the line of a ratio is drawn, for `Axes.plot`; `hollow` for a published one."""
    style = {"color": COLOURS[ratio], "marker": MARKERS[ratio], "zorder": 3}
    if hollow:
        style |= {"markerfacecolor": "white", "markeredgecolor": COLOURS[ratio], "markersize": 4}
        return style | {"linestyle": (0, (3, 2)), "linewidth": 1}
    edge = COLOURS[ratio] if MARKERS[ratio] in EDGE_ONLY else "white"
    return style | {"markeredgecolor": edge, "markersize": 5}


def _draw_accuracy(axis: Axes, cells: pd.DataFrame, hollow: bool) -> None:
    for ratio, line in cells.groupby("ratio", sort=False):
        style = ratio_style(ratio, hollow)
        if ratio != "dense":
            _draw_line(axis, line.sparsity, line["mean"], line, style)
            continue
        value = line["mean"].iloc[0]
        axis.axhline(value, **style)
        reach = line.dense_band.iloc[0] if hollow else line.high.iloc[0] - value
        if np.isfinite(reach):
            axis.axhspan(
                value - reach, value + reach, color=style["color"], alpha=0.15, linewidth=0
            )


def _draw_gap(axis: Axes, cells: pd.DataFrame, models: list[str], hollow: bool) -> None:
    if hollow:
        band = cells.drop_duplicates("model").set_index("model").dense_band.reindex(models)
        grey = {"color": COLOURS["dense"], "alpha": 0.15, "linewidth": 0, "zorder": 1}
        axis.bar(range(len(models)), 2 * band, 0.8, bottom=-band, **grey)
    for ratio, line in cells.groupby("ratio", sort=False):
        aside = 0.04 * (place(ratio) - 3)  # so that intervals do not cover each other
        x = [models.index(model) + aside for model in line.model]
        _draw_line(axis, x, line.gap, line, ratio_style(ratio, hollow))


def _draw_line(axis: Axes, x, y: pd.Series, cells: pd.DataFrame, style: dict) -> None:
    x = np.asarray(x, dtype=float)
    sns.lineplot(x=x, y=y.to_numpy(), errorbar=None, legend=False, ax=axis, **style)
    known = cells.low.notna().to_numpy()
    reach = np.stack([y - cells.low, cells.high - y])[:, known]
    bars = {"ecolor": style["color"], "elinewidth": 1.2, "capsize": 2}
    if known.any():
        axis.errorbar(x[known], y[known], yerr=reach, fmt="none", **bars)


def _sparsity_ticks(axis: Axes, sparsities: list[float]) -> None:
    if sparsities:
        room = 0.05 if len(sparsities) < 5 else 0.12
        axis.set_xlim(min(sparsities) - room, max(sparsities) + room)
        axis.set_xticks(sorted(sparsities)[:: 1 if len(sparsities) < 5 else 4])
