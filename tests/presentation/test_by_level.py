import math

import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgb

from randprune_core.presentation import plots, theme
from randprune_core.presentation.by_level import plot_by_level

LABELS = {"label": "Accuracy", "xlabel": "ε"}


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def points(models=("a", "b"), levels=(0.0, 0.5, 2.0), sparsities=(0.5, 0.9)) -> pd.DataFrame:
    rows = [
        ["pgd", level, model, "erk", sparsity, 70 - level, 69 - level, 71 - level, model]
        for model in models
        for sparsity in sparsities
        for level in levels
    ]
    columns = ["kind", "level", "model", "ratio", "sparsity", "value", "low", "high"]
    return pd.DataFrame(rows, columns=[*columns, "panel"])


def drawn(axis) -> list:
    return [line for line in axis.lines if len(line.get_xdata()) == 3 and line.get_marker() in "os"]


def test_without_points_nothing_is_drawn():
    assert plots.is_empty(plot_by_level(points()[:0], **LABELS))


def test_levels_stand_at_equal_distances_and_have_their_numbers():
    axes = plot_by_level(points(), **LABELS).get_axes()
    assert [axis.get_title() for axis in axes] == ["a", "b"]
    assert [tick.get_text() for tick in axes[0].get_xticklabels()] == ["0", "0.5", "2"]
    for line in drawn(axes[0]):
        assert line.get_ydata().tolist() == [70, 69.5, 68]
        x = line.get_xdata()
        assert x[1] - x[0] == pytest.approx(1) and x[2] - x[1] == pytest.approx(1)


def test_fewer_zeros_are_paler_and_the_highest_sparsity_has_the_colour_of_its_ratio():
    half, tenth = drawn(plot_by_level(points(), **LABELS).get_axes()[0])
    assert to_rgb(tenth.get_color()) == to_rgb(theme.COLOURS["erk"])
    assert all(a > b for a, b in zip(half.get_color(), tenth.get_color(), strict=True))
    assert half.get_marker() != tenth.get_marker()


def test_one_seed_is_hollow_bands_guides_and_floor_are_drawn_and_named():
    table = points(models=("a",), sparsities=(0.9,)).assign(dense_band=3.0)
    table.loc[1, ["low", "high"]] = math.nan
    figure = plot_by_level(table, guides={"chance": 10.0}, floor={"a": [2.0]}, **LABELS)
    (axis,) = figure.get_axes()
    hollow = [line for line in axis.lines if line.get_markerfacecolor() == "white"]
    assert [line.get_ydata().tolist() for line in hollow] == [[69.5]]
    assert [bar.get_height() for bar in axis.patches[:3]] == [6.0] * 3
    floor = axis.patches[3]
    assert (floor.get_x(), floor.get_width()) == (1.5, 1.0)
    assert 10.0 in [line.get_ydata()[0] for line in axis.lines]
    entries = [text.get_text() for text in figure.subfigs[0].legends[0].get_texts()]
    assert entries == ["ERK 0.9", "one seed", "sampling error", "chance", "on the floor"]


def test_the_dense_network_is_a_line_without_markers_in_a_band():
    table = points(models=("a",), sparsities=(0.9,))
    figure = plot_by_level(pd.concat([table, table.assign(ratio="dense", sparsity=0.0)]), **LABELS)
    (axis,) = figure.get_axes()
    (dense,) = [line for line in axis.lines if to_rgb(line.get_color()) == to_rgb("#222222")]
    assert dense.get_marker() == "" and dense.get_ydata().tolist() == [70, 69.5, 68]
    band = axis.collections[0].get_paths()[0].vertices
    assert {tuple(point) for point in band} >= {(0, 69), (0, 71), (2, 67), (2, 69)}
    entries = [text.get_text() for text in figure.subfigs[0].legends[0].get_texts()]
    assert entries == ["dense", "ERK 0.9", "95 % interval of dense"]


def test_seeds_are_dots_at_their_level():
    table = points(models=("a",), sparsities=(0.9,))
    seeds = pd.concat([table.assign(value=value) for value in (60.0, 61.0)])
    (axis,) = plot_by_level(table, seeds[seeds.level == 0.5], **LABELS).get_axes()
    dots = [line.get_xydata().tolist() for line in axis.lines if line.get_markersize() < 3]
    assert [[1.0, 60.0], [1.0, 61.0]] in dots


def test_many_panels_fill_two_lines_evenly():
    figure = plot_by_level(points(models=tuple("abcdefg")), **LABELS)
    rows = [axis.get_subplotspec().rowspan.start for axis in figure.get_axes()]
    assert rows == [0] * 4 + [1] * 3
