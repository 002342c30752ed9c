import math

import pandas as pd
import pytest
from conftest import tiny

from randprune_core.chapters import layerwise_ratios
from randprune_core.chapters.shared.layers import (
    layer_table,
)
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


def test_last_layer_is_dense_for_few_classes_pruned_for_many_and_empty_where_impossible():
    table = layerwise_ratios.last_layer_table(["resnet-20"], (10, 100, 1_000), (0.5, 0.9))
    assert table.index.tolist() == ["ResNet-20, 10", "ResNet-20, 100", "ResNet-20, 1,000"]
    assert table.loc["ResNet-20, 10"].tolist() == [0, 0]
    assert 0 < table.loc["ResNet-20, 100", "0.9"] < 1
    assert math.isnan(table.loc["ResNet-20, 1,000", "0.9"])


@pytest.mark.parametrize("ratio", ["snip", "grasp"])
def test_redraw_keeps_the_counts_and_shares_what_chance_gives(ratio):
    config = tiny(ratio=ratio, sparsity=0.5, train_images=500)
    table = layerwise_ratios.redraw_table(config)
    assert (table.redrawn == table.own.clip(lower=1)).all()
    assert table.own.sum() == pytest.approx(0.5 * table.total.sum(), abs=len(table))
    # The overlap of a layer is hypergeometric: this is far outside of it for a copied mask.
    p, q = table.own / table.total, table.redrawn / table.total
    variance = (table.total * p * q * (1 - p) * (1 - q)).sum()
    assert abs(table.shared.sum() - table.chance.sum()) < 5 * math.sqrt(variance) + 1
    assert table.shared.sum() < 0.95 * table.own.sum()
    shown = layerwise_ratios.overlap_table({ratio: table})
    assert shown["layers emptied"].tolist() == [f"{(table.own == 0).sum()} of 10"]


def test_criteria_stand_beside_uniform_and_erk_in_one_frame():
    layers = layer_table(["resnet-8"], ["uniform", "erk", "erk_plus"], [0.5, 0.9])
    redraw = pd.DataFrame({"position": [1], "total": [100], "redrawn": [10]})
    frame = layerwise_ratios.with_criteria(layers, {"snip": redraw}, "resnet-8", 0.9)
    assert frame.ratio.unique().tolist() == ["uniform", "erk", "snip"]
    assert frame[frame.ratio == "snip"].sparsity.tolist() == [0.9]
    assert frame[frame.ratio == "uniform"].sparsity.to_numpy() == pytest.approx(0.9, abs=0.01)
