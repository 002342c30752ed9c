"""The figures of the chapter on robustness: curves by strength of the attack, attacked images."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import ScaledTranslation

from ..analysis.intervals import NORMAL_95
from ..presentation import panels
from ..presentation.theme import COLOURS, LABELS, WIDTH, use_theme
from ..presentation.words import model_label
from .robustness import KINDS, UNITS, floor_levels, shown_sparsities
from .robustness_live import Attacked

_LINES = ((0, (1, 1.2)), (0, (4, 1.5)), "-")
_COLUMNS = 4  # panels side by side
_ASIDE = 3.5  # points between two lines of differences, whose bars would lie on each other


def accuracy_figure(
    curves: pd.DataFrame, kinds: Sequence[str], ratio: str, classes: int, title: str = ""
) -> Figure:
    """A panel a model: accuracy against the level for dense and `ratio`, rows of panels a kind.

    Grey levels stand where all networks are on the floor, the dotted line is chance. Bars as in
    `difference_figure`.
    """
    sunk = floor_levels(curves, classes)
    shown = curves[curves.kind.isin(list(kinds)) & curves.ratio.isin(["dense", ratio])]
    reach = shown.high.fillna(shown["mean"] + NORMAL_95 * shown.se)
    top = 1.05 * max(reach.max(), 100 / classes) if len(shown) else None

    def draw(axis: Axes, part: pd.DataFrame, kind: str) -> None:
        axis.axhline(100 / classes, color="#777777", linestyle=":", linewidth=1)
        _shade(axis, curves.level[curves.kind == kind], sunk[kind])
        _draw_lines(axis, part, "mean", ratio)
        axis.set_ylim(0, top)

    handles = [Line2D([], [], color="#777777", linestyle=":", label="chance")]
    return _panels(curves, kinds, ratio, draw, "Test accuracy (%)", title, handles)


def difference_figure(
    differences: pd.DataFrame,
    kinds: Sequence[str],
    ratio: str,
    sunk: dict[str, list[float]],
    title: str = "",
) -> Figure:
    """A panel a model: sparse minus dense in points against the level, rows of panels a kind.

    Bars with caps are intervals over seeds, thin ones 1.96 binomial errors of the images. Lines
    stand a little beside each other.
    """
    shown = differences[differences.ratio == ratio]
    shown = shown[shown.sparsity.isin(shown_sparsities(shown, ratio))]

    def draw(axis: Axes, part: pd.DataFrame, kind: str) -> None:
        axis.axhline(0, color=COLOURS["dense"], linewidth=1)
        _shade(axis, differences.level[differences.kind == kind], sunk[kind])
        _draw_lines(axis, part, "difference", ratio, _ASIDE)
        axis.set_ylim(*_reach(shown[shown.kind == kind]))

    label = "Sparse − dense (points)"
    return _panels(differences, kinds, ratio, draw, label, title, [])


def _panels(table, kinds, ratio, draw, label: str, title: str, handles: list) -> Figure:
    use_theme()
    table = table[table.ratio.isin(["dense", ratio])]
    kinds = [kind for kind in kinds if kind in set(table.kind)] or list(kinds[:1])
    models = list(table.model.unique())
    names = [model_label(model) for model in models]
    heights = [0.55, *(0.5 + 2.0 * panels.lines_of(len(models), _COLUMNS) for _ in kinds)]
    figure = plt.figure(figsize=(WIDTH, sum(heights)), layout="constrained")
    key, *parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    for part, kind in zip(parts, kinds, strict=True):
        panels.name_part(part, KINDS[kind], UNITS[kind], label)
        for axis, model in zip(panels.panels(part, names, _COLUMNS), models, strict=False):
            draw(axis, table[(table.model == model) & (table.kind == kind)], kind)
            _level_axis(axis, kind, sorted(table.level[table.kind == kind].unique()))
    if "dense" in set(table.ratio):
        handles = [Line2D([], [], label="dense", **_look("dense", "-")), *handles]
    for sparsity, line in _line_styles(table, ratio):
        name = f"{LABELS[ratio]} {sparsity:g}"
        handles.append(Line2D([], [], label=name, **_look(ratio, line)))
    key.suptitle(title, x=0.01, ha="left", weight="bold")
    key.legend(handles=handles, loc="lower center", ncols=max(len(handles), 1), frameon=False)
    return figure


def _level_axis(axis: Axes, kind: str, values: list[float]) -> None:
    """A square-root scale for attacks: small levels, where networks differ, get room."""
    if len(values) < 2:
        return
    right = 1.08 * max(values)
    left = -0.04 * right
    if kind != "noise":
        scale = (lambda x: np.sign(x) * np.sqrt(np.abs(x)), lambda x: x * np.abs(x))
        axis.set_xscale("function", functions=scale)
        left = -0.0016 * right
    axis.set_xlim(left, right)
    axis.set_xticks(values, [f"{value:g}".removeprefix("0") or "0" for value in values])
    axis.minorticks_off()


def _shade(axis: Axes, known: Iterable[float], sunk: Sequence[float]) -> None:
    """Grey from between the last level off the floor and the first on it to the right edge."""
    known = sorted(set(known))
    if sunk:
        before = max((level for level in known if level < min(sunk)), default=0.0)
        start = ((math.sqrt(before) + math.sqrt(min(sunk))) / 2) ** 2  # the middle, as drawn
        axis.axvspan(start, 1.08 * max(known), color="#BBBBBB", alpha=0.35, linewidth=0)


def _line_styles(table: pd.DataFrame, ratio: str) -> list[tuple[float, object]]:
    """The shown sparsities with their line styles, solid the highest."""
    sparsities = shown_sparsities(table, ratio)
    return list(zip(sparsities, _LINES[len(_LINES) - len(sparsities) :], strict=True))


def _look(ratio: str, line: object) -> dict:
    look = {"color": _colour(ratio, line), "linestyle": line, "linewidth": 1.4}
    marker = "o" if ratio == "dense" or line == "-" else {_LINES[0]: "^", _LINES[1]: "s"}[line]
    return look | {"marker": marker, "markersize": 4, "markeredgecolor": "white"}


def _colour(ratio: str, line: object) -> object:
    """The colour of a ratio, paler for a line that is not solid, that is for less sparsity."""
    red, green, blue = to_rgb(COLOURS[ratio])
    pale = {_LINES[0]: 0.6, _LINES[1]: 0.4}.get(line, 0.0)
    return tuple(part + pale * (1 - part) for part in (red, green, blue))


def _reach(table: pd.DataFrame) -> tuple[float, float]:
    """Limits that hold zero and every bar of differences."""
    error = NORMAL_95 * table.se
    low = min(0, table.low.min(), (table.difference - error).min())
    high = max(0, table.high.max(), (table.difference + error).max())
    room = 0.05 * (high - low) or 1.0
    return low - room, high + room


def _draw_lines(axis: Axes, part: pd.DataFrame, value: str, ratio: str, apart: float = 0.0) -> None:
    lines = [("dense", 0.0, "-")] + [(ratio, *style) for style in _line_styles(part, ratio)]
    for place, (name, sparsity, line) in enumerate(lines):
        cells = part[(part.ratio == name) & (part.sparsity == sparsity)].sort_values("level")
        if cells.empty:
            continue
        x, y = cells.level.to_numpy(dtype=float), cells[value].to_numpy(dtype=float)
        aside = (place - len(lines) / 2) * apart / 72  # dense, the first, has no differences
        moved = axis.transData
        if apart:
            moved += ScaledTranslation(aside, 0, axis.figure.dpi_scale_trans)
        bars = {"fmt": "none", "ecolor": _colour(name, line), "transform": moved}
        axis.errorbar(x, y, NORMAL_95 * cells.se, elinewidth=0.7, **bars)
        known = cells.low.notna().to_numpy()
        if known.any():
            reach = np.stack([y - cells.low, cells.high - y])[:, known]
            axis.errorbar(x[known], y[known], reach, elinewidth=1.6, capsize=2, **bars)
        axis.plot(x, y, transform=moved, **_look(name, line))


def example_figure(examples: Sequence[Attacked], places: Sequence[int]) -> Figure:
    """A row a test image: as it is, then for each network its perturbation and what it then says.

    Perturbations are amplified: black is −ε, white +ε, mid-grey no change. Wrong answers are bold.
    """
    use_theme()
    columns = 1 + 2 * len(examples)
    size = (WIDTH, 1.55 * len(places) + 0.4)
    figure, axes = plt.subplots(
        len(places), columns, figsize=size, squeeze=False, layout="constrained"
    )
    for axis in axes.ravel():
        axis.set(xticks=[], yticks=[])
    for row, place in zip(axes, places, strict=True):
        first = examples[0]
        _show(row[0], first.images[place], "\n".join(e.says(place, clean=True) for e in examples))
        for position, example in enumerate(examples):
            change = example.perturbed[place] - example.images[place]
            _show(row[1 + 2 * position], 0.5 + change / (2 * example.epsilon), "")
            weight = "normal" if example.is_right(place) else "bold"
            _show(row[2 + 2 * position], example.perturbed[place], example.says(place), weight)
    axes[0, 0].set_title("test image")
    for position, example in enumerate(examples):
        axes[0, 1 + 2 * position].set_title(f"{example.name}:\nchange")
        axes[0, 2 + 2 * position].set_title(f"{example.name}:\nattacked")
    return figure


def _show(axis: Axes, pixels: np.ndarray, text: str, weight: str = "normal") -> None:
    axis.imshow(np.clip(pixels.transpose(1, 2, 0), 0, 1), interpolation="nearest")
    axis.set_xlabel(text, fontsize=8, weight=weight)
