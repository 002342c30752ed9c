import math

import pytest
from conftest import tiny

from randprune_core.analysis.layers import layer_table
from randprune_core.chapters import layerwise_ratios
from randprune_core.pruning.ratios import SHAPE_RATIOS

OF_SHAPES = [ratio for ratio in SHAPE_RATIOS if ratio != "dense"]


@pytest.mark.parametrize(
    ("ratios", "expected"),
    [
        (None, (OF_SHAPES, ["snip", "grasp"])),
        (["erk", "snip"], (["erk"], ["snip"])),
        (["grasp"], (OF_SHAPES, ["grasp"])),
    ],
)
def test_ratios_are_split_into_those_of_shapes_and_criteria(ratios, expected):
    assert layerwise_ratios.split_ratios(ratios) == expected


def test_each_layer_is_a_step_at_the_weights_that_it_keeps_and_shortcuts_are_shaded():
    layers = layer_table(["resnet-20"], ["uniform", "erk"], [0.9])
    (axis,) = layerwise_ratios.plot_densities(layers).get_axes()
    erk = layers[layers.ratio == "erk"]
    line = axis.lines[1]
    assert line.get_drawstyle() == "steps-post"
    assert line.get_xdata()[:-1] == pytest.approx(erk.position - 0.5)
    assert line.get_ydata()[:-1] == pytest.approx(100 * erk.kept / erk.total)
    low, high = axis.get_ylim()
    assert low < line.get_ydata().min() and line.get_ydata().max() == 100 < high
    shaded = [patch.get_x() + 0.5 for patch in axis.patches]
    assert shaded == erk.position[erk.layer.str.contains("shortcut")].tolist() == [10, 17]


def test_a_ratio_with_a_plus_is_a_dashed_line_that_leaves_its_plain_one_visible():
    layers = layer_table(["resnet-8"], ["erk", "erk_plus"], [0.9])
    (axis,) = layerwise_ratios.plot_densities(layers).get_axes()
    plain, plus = axis.lines
    assert (plain.get_ydata() == plus.get_ydata()).all()  # ERK keeps ten classes dense
    assert plus.get_linestyle() == "--" and plain.get_linestyle() == "-"
    assert plus.get_linewidth() < plain.get_linewidth()


@pytest.mark.parametrize("ratio", ["snip", "grasp"])
def test_redraw_keeps_the_counts_and_shares_what_chance_gives(ratio):
    config = tiny(ratio=ratio, sparsity=0.5, train_images=500)
    table = layerwise_ratios.redraw_table(config)
    assert (table.kept == table.own.clip(lower=1)).all()
    assert table.own.sum() == pytest.approx(0.5 * table.total.sum(), abs=len(table))
    # The overlap of a layer is hypergeometric: this is far outside of it for a copied mask.
    p, q = table.own / table.total, table.kept / table.total
    variance = (table.total * p * q * (1 - p) * (1 - q)).sum()
    assert abs(table.shared.sum() - table.chance.sum()) < 5 * math.sqrt(variance) + 1
    assert table.shared.sum() < 0.95 * table.own.sum()
