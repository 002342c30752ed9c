"""Settings side by side: spreads and the dot plot."""

import math

import pandas as pd
import pytest
from made_up_runs import runs_of_settings, small

from randprune_core.analysis import intervals
from randprune_core.analysis.cells import summarise
from randprune_core.chapters import granularity, methods
from randprune_core.chapters.shared import pruning_settings
from randprune_core.chapters.shared.records import by_setting


def test_nothing_recorded_gives_empty_tables_and_figures_that_say_so():
    empty = runs_of_settings({("resnet-8", "dense"): None, ("resnet-8", "erk"): None})
    runs = by_setting(empty.runs)
    others, own = methods.erk_minus_others(empty, runs), methods.own_minus_redrawn(runs)
    assert others.empty and own.empty
    points = summarise(runs)
    assert pruning_settings.spreads(points).empty
    for table in (methods.figure_table(empty, points, others, own), granularity.renamed(points)):
        assert table.empty
    figure = pruning_settings.plot_settings(points, "mean", ["erk"], title="t", label="l")
    assert figure.get_axes()[0].get_title() == "nothing to compare is recorded"


def test_dense_runs_alone_draw_no_panel():
    points = summarise(by_setting(runs_of_settings({("resnet-8", "dense"): 75.0}).runs))
    figure = pruning_settings.plot_settings(points, "mean", ["erk"], title="t", label="l")
    assert [axis.get_title() for axis in figure.get_axes()] == ["nothing to compare is recorded"]


def test_the_spread_counts_only_settings_that_every_network_has():
    cells = {("resnet-8", "erk"): 70.0, ("resnet-8", "snip"): 66.0, ("resnet-8", "grasp"): 10.0}
    cells |= {("resnet-20", "erk"): 72.0, ("resnet-20", "snip"): 71.0}
    table = pruning_settings.spreads(summarise(by_setting(runs_of_settings(cells).runs)))
    assert table.spread.tolist() == pytest.approx([4.0, 1.0])
    assert table.settings.tolist() == [("erk", "snip")] * 2


def test_the_dot_plot_has_a_panel_a_network_and_sparsity_and_marks_dense_and_intervals():
    seeds = (-1.0, 0.0, 1.0)
    found = small(seeds=seeds)
    points = summarise(by_setting(found.runs))
    names = pruning_settings.settings_of(found)
    assert names == ["erk", "snip", "snip:own"]
    axis = pruning_settings.plot_settings(points, "mean", names, title="t", label="l").get_axes()[0]
    assert axis.get_title() == "ResNet-8, 0.5"
    assert [label.get_text() for label in axis.get_yticklabels()] == [
        "ERK",
        "SNIP ratio",
        "SNIP mask",
    ]
    dense, *drawn = axis.lines
    assert set(dense.get_xdata()) == {75.0}
    assert [line.get_xdata()[0] for line in drawn[::2]] == pytest.approx([70.0, 69.0, 68.5])
    spread = intervals.pooled_spread([seeds] * 4)  # dense is a cell too
    half = intervals.contrast([seeds], [1], spread).high
    assert drawn[1].get_xdata() == pytest.approx([70 - half, 70 + half])
    bare = summarise(by_setting(small().runs))
    lone = pruning_settings.plot_settings(bare, "mean", names, title="t", label="l").get_axes()[0]
    assert len(lone.lines) == 1 + 3 and not lone.patches


def test_the_margin_is_a_strip_about_zero_and_its_panels_share_a_scale():
    table = pd.DataFrame(
        {"model": ["a-1", "a-2"], "ratio": "snip", "sparsity": 0.5, "difference": [5.0, -1.0]}
    ).assign(low=math.nan, high=math.nan)
    figure = pruning_settings.plot_settings(
        table, "difference", ["snip"], title="t", label="l", margin=0.3
    )
    first, second = figure.get_axes()
    assert first.get_xlim() == second.get_xlim()
    strip = first.patches[0].get_window_extent().transformed(first.transData.inverted())
    assert (strip.x0, strip.x1) == pytest.approx((-0.3, 0.3))
