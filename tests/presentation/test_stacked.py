"""Figures for a phone: one column, every label, letters that fit."""

import io

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.backends.backend_svg import RendererSVG
from matplotlib.text import Text

from randprune_core.presentation import panels, plots, stacked, theme
from randprune_core.presentation.by_level import plot_by_level

matplotlib.use("Agg")
LONG = "Profile mini: a title that is longer than a phone is wide, with 5,000 images and 160 epochs"


@pytest.fixture(autouse=True)
def close_figures():
    theme.use_theme()
    yield
    plt.close("all")


def by_sparsity(models: int = 5, title: str = "title"):
    cells = [("dense", 0.0), ("erk", 0.8), ("erk", 0.9), ("uniform", 0.8), ("uniform", 0.9)]
    rows = [
        [f"resnet-{8 + 6 * model}", ratio, sparsity, 70.0 - 9 * sparsity, 60.0, 71.0]
        for model in range(models)
        for ratio, sparsity in cells
    ]
    columns = ["model", "ratio", "sparsity", "mean", "low", "high"]
    return plots.plot_by_sparsity(pd.DataFrame(rows, columns=columns), title=title)


def with_rows():
    figure, axes = plt.subplots(1, 2, figsize=(6.6, 2), sharey=True, layout="constrained")
    for axis in axes:
        axis.plot([1, 2], [0, 1])
        axis.set_title("panel")
    axes[0].set_yticks([0, 1], ["Wide ResNet-50-2, one thousand", "short"])
    return figure


def columns():
    """Two networks, each with a diagram and, lower and without a title, its counts."""
    heights = {"height_ratios": [2, 1]}
    figure, axes = plt.subplots(2, 2, gridspec_kw=heights, layout="constrained", sharex=True)
    for name, column in zip("ab", axes.T, strict=True):
        column[0].set_title(name)
        column[0].plot([0, 1], [0, 1])
        column[1].bar([0, 1], [2, 3])
    axes[1, 0].set_xlabel("confidence")
    axes[0, 0].set_ylabel("accuracy")
    axes[1, 0].set_ylabel("images")
    return figure


def by_level():
    rows = [
        [kind, level, "resnet-8", ratio, sparsity, 70 - level, 60.0, 71.0, kind]
        for kind in ("FGSM", "PGD, ten steps", "Gaussian noise")
        for ratio, sparsity in (("dense", 0.0), ("erk", 0.9))
        for level in (0.0, 0.5, 1.0, 2.0)
    ]
    columns = ["kind", "level", "model", "ratio", "sparsity", "value", "low", "high", "panel"]
    labels = {
        "label": "Test accuracy (%)",
        "xlabel": "a label that is rather long: ε (grey levels)",
    }
    guides = {"guides": {"chance": 10.0}, "floor": {"FGSM": [2.0]}}
    return plot_by_level(pd.DataFrame(rows, columns=columns), title=LONG, **labels, **guides)


def pictures(count: int):
    return plots.plot_mask({f"mask {n}": np.eye(8, dtype=bool) for n in range(count)})


FIGURES = {
    "panels": by_sparsity,
    "a long title": lambda: by_sparsity(2, LONG),
    "named rows": with_rows,
    "columns": columns,
    "levels": by_level,
    "four pictures": lambda: pictures(4),
    "five pictures": lambda: pictures(5),
}


def measured(figure) -> list[tuple[str, object]]:
    """Every visible text with its box in points."""
    renderer = RendererSVG(*figure.bbox.size, io.StringIO(), image_dpi=72)
    figure.draw_without_rendering()
    shown = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text()]
    ticks = {
        label
        for axis in figure.axes
        for line in (axis.xaxis, axis.yaxis)
        for tick in (*line.majorTicks, *line.minorTicks)
        for label in (tick.label1, tick.label2)
    }
    seen = {label for axis in figure.axes for label in (*visible(axis, "x"), *visible(axis, "y"))}
    return [(t, t.get_window_extent(renderer)) for t in shown if t not in ticks or t in seen]


def visible(axis, which: str) -> list[Text]:
    """The tick labels within the limits of an axis that are switched on."""
    low, high = sorted(getattr(axis, f"get_{which}lim")())
    ticks = getattr(axis, f"{which}axis").get_major_ticks()
    return [
        t.label1
        for t in ticks
        if t.label1.get_visible() and low <= t.get_loc() <= high and t.label1.get_text()
    ]


@pytest.mark.parametrize("make", FIGURES.values(), ids=FIGURES)
def test_letters_are_large_inside_and_do_not_touch(make):
    figure = stacked.stacked(make())
    assert figure.get_figwidth() == stacked.WIDTH
    found = measured(figure)
    assert len(found) > 5
    assert min(text.get_fontsize() for text, _ in found) >= stacked.LEAST
    for place, (text, box) in enumerate(found):
        assert box.x0 >= -0.5 and box.x1 <= figure.bbox.width + 0.5, text
        assert box.y0 >= -0.5 and box.y1 <= figure.bbox.height + 0.5, text
        for other, beside in found[place + 1 :]:
            across = min(box.x1, beside.x1) - max(box.x0, beside.x0)
            down = min(box.y1, beside.y1) - max(box.y0, beside.y0)
            assert across < 1 or down < 3, (text, other)


def test_panels_stand_below_each_other_in_the_order_of_reading():
    figure = stacked.stacked(by_sparsity())
    boxes = [axis.get_position() for axis in figure.axes]
    assert len({(round(box.x0, 6), round(box.width, 6)) for box in boxes}) == 1
    assert all(one.y0 > other.y1 for one, other in zip(boxes, boxes[1:], strict=False))
    assert [axis.get_title() for axis in figure.axes][:2] == ["ResNet-8", "ResNet-14"]


def test_what_belongs_to_a_panel_follows_it():
    figure = stacked.stacked(columns())
    order = sorted(figure.axes, key=lambda axis: -axis.get_position().y0)
    assert [bool(axis.patches) for axis in order] == [False, True, False, True]
    assert [axis.get_title() for axis in order] == ["a", "", "b", ""]


def test_every_panel_has_the_labels_that_it_shared():
    for axis in stacked.stacked(by_sparsity()).axes:
        assert (axis.get_xlabel(), axis.get_ylabel()) == ("Sparsity", "Test accuracy (%)")
        assert axis.xaxis.label.get_visible() and axis.yaxis.label.get_visible()
        assert visible(axis, "x") and visible(axis, "y")
    for axis in stacked.stacked(with_rows()).axes:
        rows = [label.get_text().replace("\n", " ") for label in axis.get_yticklabels()]
        assert rows == ["Wide ResNet-50-2, one thousand", "short"]
    labels = [(a.get_xlabel(), a.get_ylabel()) for a in stacked.stacked(columns()).axes]
    assert labels == [("confidence", "accuracy")] * 2 + [("confidence", "images")] * 2


def test_pictures_stand_two_or_three_in_a_line_and_keep_their_titles():
    for count, most in ((4, 2), (5, 3)):
        figure = stacked.stacked(pictures(count))
        bottoms = [round(axis.get_position().y0, 6) for axis in figure.axes]
        assert max(bottoms.count(bottom) for bottom in bottoms) == most
        assert [axis.get_title() for axis in figure.axes] == [f"mask {n}" for n in range(count)]


def test_the_figure_itself_stays_as_it_is():
    figure = by_sparsity(title=LONG)
    before = plots.digest(figure), tuple(figure.get_size_inches()), figure.dpi
    stacked.stacked(figure)
    stacked.fitted(figure)
    assert before == (plots.digest(figure), tuple(figure.get_size_inches()), figure.dpi)
    assert figure.subfigs[1].get_suptitle() == LONG


def test_what_is_drawn_stays_the_same():
    for make in FIGURES.values():
        figure = make()
        assert plots.digest(stacked.fitted(figure)) == plots.digest(figure)
    shown = by_sparsity()
    drawn = [[line.get_xydata().tolist() for line in axis.lines] for axis in shown.axes]
    phone = [
        [line.get_xydata().tolist() for line in axis.lines] for axis in stacked.stacked(shown).axes
    ]
    assert drawn == phone


def test_a_title_that_is_too_long_takes_lines_and_the_figure_their_height():
    short, long = by_sparsity(2), by_sparsity(2, f"{LONG}, {LONG}")
    assert stacked.fitted(short).get_figheight() == short.get_figheight()
    figure = stacked.fitted(long)
    title = figure.subfigs[1].get_suptitle()
    assert "\n" in title and title.replace("\n", " ") == f"{LONG}, {LONG}"
    assert figure.get_figheight() > long.get_figheight()
    figure.draw_without_rendering()
    assert figure.get_tightbbox().x1 <= figure.get_figwidth() + 0.01


def test_a_key_has_all_its_entries():
    figure = by_sparsity()
    panels.set_key(figure, [plots.ratio_handle(r) for r in ("dense", "erk", "uniform", "snip")])
    (key,) = stacked.stacked(figure).subfigs[0].legends
    assert [text.get_text() for text in key.get_texts()] == [
        "dense",
        "ERK",
        "Uniform",
        "SNIP ratio",
    ]
