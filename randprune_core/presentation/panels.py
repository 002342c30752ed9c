"""How a figure is divided: rows of titled panels below their common key."""

from __future__ import annotations

import math
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.artist import Artist
from matplotlib.figure import Figure, SubFigure

from .theme import WIDTH

EMPTY = "no run is recorded"


def lines_of(count: int, widest: int) -> int:
    """How many lines `count` panels take with `widest` in a line; an empty row takes one."""
    return math.ceil(max(count, 1) / widest)


def panels(
    part: Figure | SubFigure, names: Sequence[str], widest: int, *, sharex: bool = True
) -> np.ndarray:
    """The axes of a row of panels under their names, in lines of at most `widest`, evenly filled.

    The vertical axis is shared, and with `sharex` the other one. Where there is no name, one panel
    says that nothing is recorded.
    """
    count, lines = len(names), lines_of(len(names), widest)
    columns = math.ceil(max(count, 1) / lines)
    shared = {"sharex": sharex, "sharey": True, "squeeze": False}
    axes = part.subplots(lines, columns, **shared).ravel()
    for axis, name in zip(axes, names or [EMPTY], strict=False):
        axis.set_title(name)
    for axis in axes[max(count, 1) :]:
        axis.remove()
    for axis in axes[max(count - columns, 0) : count]:  # the last one of its column
        axis.tick_params(labelbottom=True)
    return axes


def below_key(
    heights: Sequence[float], handles: Sequence[Artist]
) -> tuple[Figure, list[SubFigure]]:
    """A figure with a key on top and a part of each height (inches) below it.

    Call `theme.use_theme` before the handles are made: they take their sizes from it.
    """
    columns = max(len(handles) if len(handles) < 6 else math.ceil(len(handles) / 2), 1)
    heights = [0.35 if columns >= len(handles) else 0.55, *heights]
    figure = plt.figure(figsize=(WIDTH, sum(heights)), layout="constrained")
    key, *parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    key.legend(handles=handles, loc="center", ncols=columns, frameon=False)
    return figure, parts


def set_key(figure: Figure, handles: Sequence[Artist], **options) -> None:
    """Replace the key of a figure of `below_key`; `options` are those of `legend`."""
    key = figure.subfigs[0]
    key.legends[0].remove()
    key.legend(handles=handles, loc="center", ncols=len(handles), frameon=False, **options)


def name_part(part: Figure | SubFigure, title: str, xlabel: str, ylabel: str) -> None:
    """Title and common axis labels of a row of panels."""
    part.suptitle(title, x=0.01, ha="left", weight="bold")
    part.supxlabel(xlabel, fontsize=9)
    part.supylabel(ylabel, fontsize=9)
