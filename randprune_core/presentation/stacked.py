"""A figure for a phone: the panels of a drawn figure in one column, every letter large enough.

A phone's text column is about 340 pixels wide: there a point is 1.4 pixels.
"""

from __future__ import annotations

import copy
import io
from collections.abc import Iterator, Sequence
from itertools import pairwise

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import RendererSVG
from matplotlib.figure import Figure, SubFigure
from matplotlib.legend import Legend
from matplotlib.text import Text
from matplotlib.ticker import FixedLocator
from matplotlib.transforms import Bbox

WIDTH = 3.4
"""Inches."""
LEAST = 8
"""Points, of the smallest letters: 11 pixels on a phone."""

_GAP = 10.0  # points between what is below or beside each other
_LOWEST = 80.0  # points: no panel with a numeric axis is lower
_NAMES = 0.36  # the part of the width that names of rows take at most


def stacked(figure: Figure) -> Figure:
    """A copy of a figure with its panels below each other; the figure itself stays as it is.

    Labels that panels shared are shown at each, and keys, titles and names of rows are broken into
    lines that fit.
    """
    figure = _copied(figure)
    figure.draw_without_rendering()
    high = {axis: _height(axis) for axis in figure.axes}
    figure.set_layout_engine("none")
    column = []  # what is below each other: titles, keys, lines of panels
    for part in (figure, *figure.subfigs):
        if part is not figure:  # a part takes the coordinates of the whole figure
            part.bbox_relative.p0, part.bbox_relative.p1 = (0, 0), (1, 1)
        axes = [a for a in figure.axes if a.get_figure(root=False) is part]
        _share_labels(part, axes)
        column += [*_titles(part), *part.legends, *_lines(axes)]
    for text in figure.findobj(Text):
        text.set_fontsize(max(text.get_fontsize(), LEAST))
    figure.set_figwidth(WIDTH)
    _place(figure, column, high)
    return figure


def fitted(figure: Figure) -> Figure:
    """A copy of a figure whose titles are broken into lines where they are wider than it."""
    figure = _copied(figure)
    for part in (figure, *figure.subfigs):
        for title in _titles(part):
            before = _extent(title).height
            _wrap(title, 0.98 * figure.bbox.width)
            more = _extent(title).height - before
            figure.set_figheight(figure.get_figheight() + more / 72)
    return figure


def _copied(figure: Figure) -> Figure:
    """A copy in which a pixel is a point, and which pyplot does not know."""
    manager, figure.canvas.manager = figure.canvas.manager, None
    try:
        copied = copy.deepcopy(figure)
    finally:
        figure.canvas.manager = manager
    copied.set_dpi(72)
    return copied


def _renderer(figure: Figure) -> RendererSVG:
    """What measures texts as they will be in the SVG."""
    return RendererSVG(figure.bbox.width, figure.bbox.height, io.StringIO(), image_dpi=72)


def _extent(artist: Artist) -> Bbox:
    return artist.get_window_extent(_renderer(artist.get_figure(root=True)))


def _titles(part: Figure | SubFigure) -> list[Text]:
    return [text for text in part.texts if text.get_text() == part.get_suptitle() != ""]


def _wrap(text: Text, width: float) -> None:
    """Break the lines of a text where they are wider than so many points."""
    renderer, lines = _renderer(text.get_figure(root=True)), []
    for line in text.get_text().split("\n"):
        first, *words = line.split(" ")
        lines.append(first)
        for word in words:
            longer = f"{lines[-1]} {word}"
            size = renderer.get_text_width_height_descent(longer, text.get_fontproperties(), False)
            if size[0] > width:
                lines.append(word)
            else:
                lines[-1] = longer
    text.set_text("\n".join(lines))


# ---------------------------------------------------------------- what is below each other


def _cell(axis: Axes) -> tuple[int, int]:
    place = axis.get_subplotspec()
    return place.rowspan.start, place.colspan.start


def _is_picture(axis: Axes) -> bool:
    return bool(axis.images) and not len(axis.get_xticks())


def _has_named_rows(axis: Axes) -> bool:
    named = isinstance(axis.yaxis.get_major_locator(), FixedLocator)
    return named and any(label.get_text() for label in axis.get_yticklabels())


def _height(axis: Axes) -> float:
    return axis.bbox.height if _has_named_rows(axis) else max(axis.bbox.height, _LOWEST)


def _lines(axes: Sequence[Axes]) -> Iterator[list[Axes | None]]:
    """Panels one a line; pictures two or three a line, and a line that goes on ends with it.

    Panels follow each other by rows, and by columns where those of a column belong together: lower
    ones have another height or no title.
    """
    if axes and all(map(_is_picture, axes)):
        for row in sorted({_cell(axis)[0] for axis in axes}):
            mine = sorted((axis for axis in axes if _cell(axis)[0] == row), key=_cell)
            most, later = (3, 2) if len(mine) % 2 else (2, 2)
            yield mine[:most]
            for start in range(most, len(mine), later):
                yield [*[None] * (most - later), *mine[start : start + later]]
        return
    named = [axis.get_title() or axis.get_title("left") for axis in axes if _cell(axis)[0]]
    grids = [axis.get_subplotspec().get_gridspec() for axis in axes]
    uneven = any(len(set(grid.get_height_ratios())) > 1 for grid in grids)
    order = slice(None, None, -1) if uneven or not all(named) else slice(None)
    for axis in sorted(axes, key=lambda axis: _cell(axis)[order]):
        yield [axis]


def _share_labels(part: Figure | SubFigure, axes: Sequence[Axes]) -> None:
    """Show at each panel the labels that it shares with others.

    An x label is that of the next panel below, or of any in the last row, or of the part; a y label
    that of the first panel in the row, or of the part. A picture has the title of its column.
    """
    at = {_cell(axis): axis for axis in axes}
    last = max((row for row, _ in at), default=0)
    found = []
    for (row, column), axis in at.items():
        if _is_picture(axis):
            axis.set_title(at.get((0, column), axis).get_title())
            continue
        below = [at[r, c].get_xlabel() for r, c in sorted(at) if c == column and r >= row]
        below += [at[r, c].get_xlabel() for r, c in sorted(at) if r == last]
        beside = [axis.get_ylabel()]
        beside += [at[r, c].get_ylabel() for r, c in sorted(at) if r == row]
        x = next(filter(None, [*below, part.get_supxlabel()]), "")
        y = next(filter(None, [*beside, part.get_supylabel()]), "")
        found.append((axis, x, y))
    for axis, x, y in found:
        axis.set(xlabel=x, ylabel=y)
        axis.tick_params(labelbottom=True, labelleft=True)
        axis.xaxis.label.set_visible(True)
        axis.yaxis.label.set_visible(True)
    for text in part.texts:
        if text.get_text() in (part.get_supxlabel(), part.get_supylabel()):
            text.set_visible(False)


# ---------------------------------------------------------------- where it stands


def _place(figure: Figure, column: list, high: dict[Axes, float]) -> None:
    """Give everything its place, from the top down, and the figure its height."""
    axes = [axis for line in column if isinstance(line, list) for axis in line if axis]
    alone = [line[0] for line in column if isinstance(line, list) and len(line) == 1]
    for axis in filter(_has_named_rows, axes):
        high[axis] = max(high[axis], _name_rows(axis, _NAMES * figure.bbox.width))
    for place, item in enumerate(column):
        if isinstance(item, Text):
            _wrap(item, figure.bbox.width)
            item.set(ha="left", va="top")
        elif isinstance(item, Legend):
            column[place] = _key(item)
    tall = {item: _extent(item).height for item in column if not isinstance(item, list)}
    turned = {a: max((t.get_rotation() for t in a.get_xticklabels()), default=0) for a in axes}
    around = dict.fromkeys(axes, (30.0, 5.0, 20.0, 30.0))  # letters left, right, above, below
    for _ in range(3):
        sides = [max((around[axis][side] for axis in alone), default=0.0) for side in (0, 1)]
        tops, y = [], 1.0
        for item in column:
            tops.append(y)
            if isinstance(item, list):
                y += sum(_measures(item, high, around, sides, figure.bbox.width)[2:]) + _GAP
            else:
                y += tall[item] + _GAP
        figure.set_figheight((y - _GAP + 1) / 72)
        width, height = figure.bbox.size
        for item, top in zip(column, tops, strict=True):
            if isinstance(item, Text):
                item.set_position((0, 1 - top / height))
            elif isinstance(item, Legend):
                item.set_bbox_to_anchor((0.5, 1 - top / height), figure.transFigure)
            else:
                left, across, down, above, _ = _measures(item, high, around, sides, width)
                bottom = 1 - (top + above + down) / height
                for place, axis in enumerate(item):
                    x = (left + place * (across + _GAP)) / width
                    if axis:
                        axis.set_position([x, bottom, across / width, down / height])
        for axis in axes:
            _fit_labels(axis, turned[axis])
            outer, inner = axis.get_tightbbox(_renderer(figure)), axis.bbox
            right = outer.x1 - inner.x1
            above, below = outer.y1 - inner.y1, inner.y0 - outer.y0
            around[axis] = (inner.x0 - outer.x0 + 2, right + 1, above, below)


def _measures(line: list, high: dict, around: dict, sides: list, width: float) -> tuple:
    """Of the panels of a line: left edge, width and height of one, letters above and below."""
    axes = [axis for axis in line if axis]
    above, below = (max(around[axis][side] for axis in axes) for side in (2, 3))
    if len(line) == 1:
        return sides[0], width - sides[0] - sides[1], high[line[0]], above, below
    left = max(around[axis][0] for axis in axes)
    side = (width - left - (len(line) - 1) * _GAP) / len(line)
    return left, side, side, above, below


def _key(key: Legend) -> Legend:
    """A key anew, in as many columns as fit."""
    part = key.get_figure(root=False)
    entries = zip(key.legend_handles, key.get_texts(), strict=True)
    shown = {text.get_text(): handle for handle, text in entries if text.get_text().strip()}
    close = {"columnspacing": 1.2, "handletextpad": 0.5, "handlelength": 1.8, "borderpad": 0.1}
    place = {"loc": "upper center", "borderaxespad": 0, "frameon": False}
    for columns in range(len(shown), 0, -1):
        part.legends.remove(key)
        key = part.legend(shown.values(), shown.keys(), ncols=columns, **close, **place)
        if _extent(key).width <= part.bbox.width:
            break
    return key


def _name_rows(axis: Axes, width: float) -> float:
    """Break the names of the rows of a panel into lines; the height that they need in all."""
    labels = axis.get_yticklabels()
    for label in labels:
        _wrap(label, width)
    texts = [label.get_text() for label in labels]
    axis.set_yticks(axis.get_yticks(), texts)
    return len(texts) * 1.2 * LEAST * (0.5 + max(text.count("\n") + 1 for text in texts))


def _fit_labels(axis: Axes, turned: float) -> None:
    """Break titles and labels of a panel, and show fewer ticks where their labels would touch.

    Where tick labels are `turned` in the drawn figure, by so many degrees, they all stay, and are
    turned where they would touch.
    """
    titles = {axis.get_title(loc) for loc in ("left", "center", "right")} - {""}
    for text in axis.get_children():
        if isinstance(text, Text) and text.get_text() in titles:
            text.set_text(text.get_text().replace("\n", " "))  # it was broken for another width
            _wrap(text, axis.bbox.width)
    for label, room in ((axis.xaxis.label, "width"), (axis.yaxis.label, "height")):
        if label is axis.yaxis.label or not _is_picture(axis):  # below a picture there is room
            label.set_text(label.get_text().replace("\n", " "))  # it was broken for another width
            _wrap(label, getattr(axis.bbox, room))
    axis.tick_params(axis="x", rotation=0)
    renderer = _renderer(axis.get_figure(root=True))
    for ticked, across in ((axis.xaxis, "x"), (axis.yaxis, "y")):
        if ticked is axis.yaxis and _has_named_rows(axis):
            continue
        while True:
            labels = [label for label in ticked.get_ticklabels() if label.get_text()]
            boxes = [label.get_window_extent(renderer) for label in labels]
            ends = sorted((getattr(box, f"{across}0"), getattr(box, f"{across}1")) for box in boxes)
            if all(one[1] + 2 <= two[0] for one, two in pairwise(ends)):
                break
            if ticked is axis.xaxis and turned:
                axis.tick_params(axis="x", rotation=turned)
                break
            ticked.set_ticks(ticked.get_ticklocs()[::2], [one.get_text() for one in labels[::2]])
