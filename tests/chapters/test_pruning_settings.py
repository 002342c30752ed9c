"""Differences between settings as a dot plot."""

import math

import pandas as pd
import pytest
from made_up_runs import runs_of_settings, small
from matplotlib.markers import MarkerStyle

from randprune_core.analysis import cells
from randprune_core.chapters.shared.pruning_settings import plot_differences
from randprune_core.chapters.shared.records import by_setting
from randprune_core.presentation import plots


def draw(table: pd.DataFrame, **options):
    return plot_differences(table, title="t", label="l", margin=0.3, **options)


def erk_minus(found, *names: str) -> pd.DataFrame:
    runs = by_setting(found.runs)
    pairs = [("erk", name) for name in names]
    return cells.differences(runs, cells.pairs_of_settings(runs, pairs))


def markers(axis) -> list:
    """The lines of one point; first comes the upright line at zero."""
    return [line for line in axis.lines[1:] if len(line.get_xdata()) == 1]


def test_nothing_recorded_draws_nothing():
    empty = runs_of_settings({("resnet-8", "dense"): None, ("resnet-8", "erk"): None})
    assert plots.is_empty(draw(erk_minus(empty, "snip")))
    dense_only = runs_of_settings({("resnet-8", "dense"): 75.0})
    assert plots.is_empty(draw(erk_minus(dense_only, "snip")))


def test_only_what_is_recorded_has_a_row_and_every_sparsity_its_panel():
    columns = ["model", "ratio", "sparsity", "difference"]
    rows = [["resnet-8", "snip", 0.8, 1.0], ["resnet-8", "grasp", 0.9, 2.0]]
    rows.append(["resnet-8", "uniform", 0.9, 3.0])
    table = pd.DataFrame(rows, columns=columns).assign(low=math.nan, high=math.nan)
    high, low = draw(table, named={"snip": "S", "grasp": "G", "uniform": "U"}).get_axes()
    assert [axis.get_title("left") for axis in (high, low)] == ["sparsity 0.9", "sparsity 0.8"]
    names = [[text.get_text() for text in axis.get_yticklabels()] for axis in (high, low)]
    assert names == [["U", "G"], ["S"]]
    assert [line.get_xdata()[0] for line in markers(high)] == [2.0, 3.0]


def test_bars_are_intervals_and_one_seed_is_hollow_without():
    found = small(seeds=(-1.0, 0.0, 1.0))
    table = erk_minus(found, "snip", "snip:own")
    (axis,) = draw(table).get_axes()
    bars = [line for line in axis.lines[1:] if len(line.get_xdata()) == 2]
    assert [tuple(bar.get_xdata()) for bar in bars] == list(zip(table.low, table.high, strict=True))
    assert all(point.get_markerfacecolor() != "white" for point in markers(axis))
    figure = draw(erk_minus(small(), "snip", "snip:own"))
    (axis,) = figure.get_axes()
    assert len(axis.lines) == 1 + 2
    assert {point.get_markerfacecolor() for point in markers(axis)} == {"white"}
    assert all(MarkerStyle(point.get_marker()).is_filled() for point in markers(axis))
    assert "one seed" in [text.get_text() for text in figure.legends[0].get_texts()]
    assert [line.get_xdata()[0] for line in axis.lines[1:]] == pytest.approx([1.0, 1.5])


def test_larger_networks_are_larger_markers_beside_each_other():
    accuracies = {(model, "erk"): 70.0 for model in ("resnet-8", "resnet-14", "resnet-20")}
    accuracies |= {(model, "snip"): 69.0 for model, _ in accuracies}
    (axis,) = draw(erk_minus(runs_of_settings(accuracies), "snip")).get_axes()
    small_one, middle, large = markers(axis)
    assert small_one.get_markersize() < middle.get_markersize() < large.get_markersize()
    assert len({line.get_ydata()[0] for line in (small_one, middle, large)}) == 3


def test_the_margin_is_a_strip_about_zero_and_panels_share_a_scale():
    table = pd.DataFrame(
        {"model": "a-1", "ratio": "snip", "sparsity": [0.5, 0.9], "difference": [5.0, -1.0]}
    ).assign(low=math.nan, high=math.nan)
    figure = draw(table)
    first, second = figure.get_axes()
    entries = [text.get_text() for text in figure.legends[0].get_texts()]
    assert entries == ["one seed", "margin ±0.3"]
    assert first.get_xlim() == second.get_xlim()
    strip = first.patches[0].get_window_extent().transformed(first.transData.inverted())
    assert (strip.x0, strip.x1) == pytest.approx((-0.3, 0.3))
