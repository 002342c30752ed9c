"""The figures of the book, one function a kind, in the colours and markers of `theme`.

Functions take data frames or arrays and return a matplotlib `Figure`; they read no record and no
file. A filled marker is the mean of several seeds with its interval, and the seeds stand beside it
as dots. A hollow marker has no spread over seeds: it is one seed, or, on a dashed line, a published
number. What is not recorded is not drawn. `README.md` beside this file says the rest.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from . import panels
from .lines import (
    BAND,
    MARGIN,
    SPREAD,
    draw_line,
    draw_seeds,
    one_seed_handle,
    ratio_handle,
    ratio_style,
)
from .theme import COLOURS, LABELS, WIDTH, in_order, use_theme
from .words import model_label


def plot_by_sparsity(
    points: pd.DataFrame,
    published: pd.DataFrame | None = None,
    *,
    seeds: pd.DataFrame | None = None,
    overlay: bool = False,
    title: str = "",
    published_title: str = "",
    label: str = "Test accuracy (%)",
) -> Figure:
    """A panel a model: a value against sparsity, a line a ratio, the dense network across.

    `points` has `model, ratio, sparsity, mean, low, high` (see `cells.summarise`), `seeds` the
    values of the single runs, `model, ratio, sparsity, value`. `published` has the columns of
    `points` and `dense_band` (see `published.figure1`) and is drawn hollow and dashed, in a row of
    panels of its own, or with `overlay` in the panels of the same models.
    """
    rows, titles = _rows(points, published, overlay, (title, published_title))
    shown = [_distinct(row, "model") for row in rows]
    names = [[model_label(model) for model in row] for row in shown]
    figure, axes = _figure(rows, titles, names, height=2.6, label=label, xlabel="Sparsity")
    for row, models, row_axes in zip(rows, shown, axes, strict=True):
        for axis, model in zip(row_axes, models, strict=False):
            _sparsity_ticks(axis, [value for value in _distinct(row, "sparsity") if value])
            for frame, hollow in row:
                dots = None if hollow else seeds
                _draw_values(axis, frame[frame.model == model], hollow, dots)
    return figure


def plot_gap_to_dense(
    gaps: pd.DataFrame,
    published: pd.DataFrame | None = None,
    *,
    seeds: pd.DataFrame | None = None,
    overlay: bool = False,
    title: str = "",
    published_title: str = "",
    sparsities: Sequence[float] | None = None,
    label: str = "Dense − sparse (points)",
    xlabel: str = "Depth of the ResNet",
    sizes: Mapping[str, int] | None = None,
    margin: float | None = None,
    band: str = SPREAD,
) -> Figure:
    """A panel a sparsity: dense minus sparse against the models, a line a ratio.

    `gaps` has `model, ratio, sparsity, gap, low, high` (see `cells.gap_to_dense`), smallest
    model first. `seeds` and `published` are as in `plot_by_sparsity`. Where either table has the
    column `dense_band`, a grey bar reaches so far to both sides of zero, and `band` names it.
    `sparsities` limits the panels, and a dotted line is drawn at `margin`, the loss that still
    counts as no loss. Models stand at equal distances; with `sizes`, the depth or the width of
    each, all panels have one logarithmic axis of these. All have one vertical scale.
    """
    if sparsities is not None:
        gaps = gaps[gaps.sparsity.isin(sparsities)]
        published = None if published is None else published[published.sparsity.isin(sparsities)]
    rows, titles = _rows(gaps, published, overlay, (title, published_title))
    shown = [sorted(_distinct(row, "sparsity")) for row in rows]
    titled = [[f"sparsity {sparsity:g}" for sparsity in row] for row in shown]
    figure, axes = _figure(rows, titles, titled, band=band, height=2.4, label=label, xlabel=xlabel)
    drawn = dict.fromkeys(model for row in rows for frame, _ in row for model in frame.model)
    for row, levels, row_axes in zip(rows, shown, axes, strict=True):
        places = _places(drawn if sizes else _distinct(row, "model"), sizes)
        for axis, level in zip(row_axes, levels, strict=False):
            axis.axhline(0, color=COLOURS["dense"], linewidth=1)
            if margin is not None:
                axis.axhline(margin, **MARGIN)
            for frame, hollow in row:
                dots = None if hollow else seeds
                _draw_gap(axis, frame[frame.sparsity == level], places, hollow, dots)
            names = [sizes[m] if sizes else model_label(m).removeprefix("ResNet-") for m in places]
            axis.set_xticks([*places.values()], names)
            axis.set_xlim(*_ends(places))
            axis.tick_params(axis="x", rotation=60 if len(places) > 6 and not sizes else 0)
    if margin is not None and rows:
        entry = Line2D([], [], label=f"margin {margin:g}", **MARGIN)
        panels.set_key(figure, [*_key(rows, band), entry])
    limits = [axis.get_ylim() for axis in figure.get_axes()]
    for axis in figure.get_axes():
        axis.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))
    return figure


def plot_layer_sparsities(layers: pd.DataFrame, sparsity: float | None = None) -> Figure:
    """A panel a model, below each other: what each layer keeps as steps, a line a ratio.

    `layers` has `model, ratio, position, sparsity`, positions in module order from 1. With a column
    `layer`, its name, the 1 × 1 convolutions of shortcuts are shaded. The titles name
    `sparsity`, the global one.
    """
    use_theme()
    models = list(layers.model.unique())
    size = (WIDTH, 1.9 * len(models) + 0.5)
    figure, axes = plt.subplots(
        len(models), 1, figsize=size, sharey=True, squeeze=False, layout="constrained"
    )
    styles = {ratio: _step_style(ratio) for ratio in layers.ratio.unique()}
    handles = [Line2D([], [], label=LABELS[ratio], **style) for ratio, style in styles.items()]
    grey = {"color": "#BBBBBB", "alpha": 0.45, "linewidth": 0}
    for axis, model in zip(axes[:, 0], models, strict=True):
        part = layers[layers.model == model]
        for ratio, line in part.groupby("ratio", sort=False):
            kept = 100 * (1 - line.sparsity)
            axis.plot(line.position, kept, drawstyle="steps-mid", **styles[ratio])
        short = part[part.get("layer", pd.Series("", part.index)).str.contains(_SHORTCUT)]
        for place in short.position.unique():
            axis.axvspan(place - 0.5, place + 0.5, zorder=0, **grey)
        if len(short) and len(handles) == len(styles):
            handles.append(Patch(label="shortcut", **grey))
        axis.set(yscale="log", xlim=(0.3, part.position.max() + 0.7))
        axis.set_yticks([1, 2, 5, 10, 20, 50, 100], ["1", "2", "5", "10", "20", "50", "100"])
        axis.minorticks_off()
        axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        level = "" if sparsity is None else f", sparsity {sparsity:g}"
        axis.set_title(model_label(model) + level, loc="left")
    axes[0, 0].set_ylim(80 * (1 - layers.sparsity.max()), 130)
    axes[-1, 0].set_xlabel("Layer, from the image to the classes")
    figure.supylabel("Weights kept (%)", fontsize=9)
    figure.legend(handles=handles, loc="outside upper right", ncols=len(handles), frameon=False)
    return figure


_SHORTCUT = r"\b(?:shortcut|downsample)\b"
"""What the names of the layers of a shortcut hold, in our networks and in torchvision's."""


def _step_style(ratio: str) -> dict:
    """Steps without markers; a ratio with a plus is dashed above the wider line of its twin."""
    plus = ratio.endswith("_plus")
    line = {"linestyle": (0, (2, 1.5)) if plus else "-", "linewidth": 1.6 if plus else 2.4}
    return {"color": COLOURS[ratio], "zorder": 3 if plus else 2, **line}


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


def _rows(
    ours: pd.DataFrame, published: pd.DataFrame | None, overlay: bool, titles: Sequence[str]
) -> tuple[list[Layers], list[str]]:
    """The rows of panels that have anything to draw, and their titles."""
    if published is not None and overlay and len(ours):
        return [[(published[published.model.isin(ours.model)], True), (ours, False)]], titles[:1]
    rows = [[(ours, False)], [(ours[:0] if published is None else published, True)]]
    kept = [(row, title) for row, title in zip(rows, titles, strict=True) if len(row[0][0])]
    return [row for row, _ in kept], [title for _, title in kept]


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
    band: str = SPREAD,
) -> tuple[Figure, list[np.ndarray]]:
    """A figure with titled rows of panels below their common key; four or more wrap in overlays."""
    use_theme()
    widest = 3 if rows and len(rows[0]) > 1 else 5
    heights = [height * panels.lines_of(len(row), widest) for row in names]
    figure, parts = panels.below_key(heights, _key(rows, band))
    axes = []
    for part, title, row in zip(parts, titles, names, strict=False):
        panels.name_part(part, title, xlabel, label)
        axes.append(panels.panels(part, row, widest))
    return figure, axes


def _key(rows: list[Layers], band: str) -> list[Artist]:
    layers = [layer for row in rows for layer in row]
    found = {ratio for frame, _ in layers for ratio in frame.ratio}
    handles = [ratio_handle(ratio) for ratio in in_order(found)]
    if any(
        frame.low[frame.ratio != "dense"].isna().any() for frame, hollow in layers if not hollow
    ):
        handles.append(one_seed_handle())
    if any(hollow for _, hollow in layers):
        grey = {"color": "#777777", "markeredgecolor": "#777777"}
        handles.append(Line2D([], [], label="the paper", **ratio_style("erk", hollow=True) | grey))
    bands = [hollow for frame, hollow in layers if _has_band(frame)]
    if bands:
        names = [band] * (not all(bands)) + ["the paper's own band"] * any(bands)
        handles.append(Patch(label=";\n".join(names), **BAND))
    return handles


def _has_band(frame: pd.DataFrame) -> bool:
    return "dense_band" in frame or frame.high[frame.ratio == "dense"].notna().any()


def _draw_values(axis: Axes, cells: pd.DataFrame, hollow: bool, seeds: pd.DataFrame | None) -> None:
    sparse = cells[cells.ratio != "dense"]
    ratios = in_order(sparse.ratio)
    low, high = axis.get_xlim()
    step = np.diff(np.unique(sparse.sparsity)).min(initial=1)
    apart = 0 if hollow else min(0.15 * step, 0.085 * (high - low))  # side by side
    for ratio, line in cells.groupby("ratio", sort=False):
        style = ratio_style(ratio, hollow)
        if ratio != "dense":
            x = line.sparsity + apart * (ratios.index(ratio) - (len(ratios) - 1) / 2)
            draw_line(axis, x, line["mean"], line, style, seeds)
            continue
        value = line["mean"].iloc[0]
        axis.axhline(value, **style)
        reach = line.dense_band.iloc[0] if hollow else line.high.iloc[0] - value
        if np.isfinite(reach):
            axis.axhspan(
                value - reach, value + reach, color=style["color"], alpha=0.15, linewidth=0
            )
        if seeds is not None:  # at the left edge, where no sparse network stands
            draw_seeds(axis, [axis.get_xlim()[0]], line, style, seeds)


def _draw_gap(
    axis: Axes,
    cells: pd.DataFrame,
    places: Mapping[str, float],
    hollow: bool,
    seeds: pd.DataFrame | None,
) -> None:
    axis.use_sticky_edges = False  # a margin below the bars too
    if "dense_band" in cells:
        band = cells.drop_duplicates("model").set_index("model").dense_band.reindex(places)
        axis.bar([*places.values()], 2 * band, 0.8 * _step(places), bottom=-band, zorder=1, **BAND)
    ratios = in_order(cells.ratio)
    drawn = {model: place for model, place in places.items() if model in set(cells.model)}
    low, high = _ends(places)
    apart = min(0.25 * _step(drawn), (0.02 if hollow else 0.035) * (high - low))  # side by side
    for ratio, line in cells.groupby("ratio", sort=False):
        aside = apart * (ratios.index(ratio) - (len(ratios) - 1) / 2)
        x = [places[model] + aside for model in line.model]
        draw_line(axis, x, line.gap, line, ratio_style(ratio, hollow), seeds)


def _places(models: Iterable[str], sizes: Mapping[str, int] | None) -> dict[str, float]:
    """Where models stand on the axis: in their order, or at the logarithms of their sizes."""
    if sizes:
        return {model: math.log2(sizes[model]) for model in sorted(models, key=sizes.get)}
    return {model: float(rank) for rank, model in enumerate(models)}


def _ends(places: Mapping[str, float]) -> tuple[float, float]:
    """Where the axis of the models begins and ends, with room for intervals side by side."""
    low, high = min(places.values()), max(places.values())
    room = max(_step(places) / 2, 0.1 * (high - low))
    return low - room, high + room


def _step(places: Mapping[str, float]) -> float:
    """The least distance of two models on the axis."""
    return min((b - a for a, b in pairwise(places.values())), default=1.0)


def _sparsity_ticks(axis: Axes, sparsities: list[float]) -> None:
    if sparsities:
        room = 0.16 if len(sparsities) < 5 else 0.12
        axis.set_xlim(min(sparsities) - room, max(sparsities) + room)
        axis.set_xticks(sorted(sparsities)[:: 1 if len(sparsities) < 5 else 4])
