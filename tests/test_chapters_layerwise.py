import math

import pandas as pd
import pytest
from conftest import tiny

from randprune_core import models
from randprune_core.chapters import layerwise
from randprune_core.models import build_model, maskable_weights
from randprune_core.pruning.masks import random_masks
from randprune_core.pruning.ratios import SHAPE_RATIOS, layer_sparsities

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
    assert layerwise.split_ratios(ratios) == expected


def test_unknown_ratio_and_one_that_needs_data_raise():
    with pytest.raises(ValueError, match="erkk"):
        layerwise.split_ratios(["erk", "erkk"])
    with pytest.raises(ValueError, match="'snip' needs data"):
        layerwise.layer_table(["resnet-8"], ["snip"], [0.9])
    with pytest.raises(ValueError, match=r"1\.5"):
        layerwise.layer_table(["resnet-8"], ["erk"], [1.5])


def test_layer_table_counts_what_a_drawn_mask_keeps():
    table = layerwise.layer_table(["resnet-8"], ["erk"], [0.9])
    model = build_model("resnet-8")
    masks = random_masks(model, layer_sparsities("erk", model, 0.9))
    assert table.layer.tolist() == list(masks)
    assert table.kept.tolist() == [int(mask.sum()) for mask in masks.values()]
    assert table.total.tolist() == [mask.numel() for mask in masks.values()]
    assert table.position.tolist() == list(range(1, len(masks) + 1))


def test_a_budget_that_cannot_be_met_has_no_rows():
    table = layerwise.layer_table(["resnet-8"], ["erk", "erk_plus"], [0.995])
    assert set(table.ratio) == {"erk"}


def test_budget_of_resnet_20_is_met_and_its_macs_are_those_known():
    layers = layerwise.layer_table(["resnet-20"], ["uniform", "erk"], [0.5, 0.9])
    budget = layerwise.budget_table(layers).set_index(["ratio", "sparsity"])
    assert set(budget.total) == {270_896}
    assert (budget.off.abs() <= 22 / 2).all()
    assert budget.mac_ratio["erk", 0.5] == pytest.approx(0.737, abs=5e-4)
    assert budget.mac_ratio["erk", 0.9] == pytest.approx(0.177, abs=5e-4)
    assert budget.pinned["erk", 0.5] == 11 and budget.pinned["uniform", 0.5] == 0


def test_imagenet_networks_have_a_thousand_classes_and_no_weights_in_memory():
    model = models.meta_model("wide_resnet50_2")
    assert model.fc.weight.shape == (1_000, 2_048)
    assert all(weight.device.type == "meta" for weight in maskable_weights(model).values())


def test_last_layer_is_dense_for_few_classes_pruned_for_many_and_empty_where_impossible():
    table = layerwise.last_layer_table(["resnet-20"], (10, 100, 1_000), (0.5, 0.9))
    assert table.index.tolist() == ["ResNet-20, 10", "ResNet-20, 100", "ResNet-20, 1,000"]
    assert table.loc["ResNet-20, 10"].tolist() == [0, 0]
    assert 0 < table.loc["ResNet-20, 100", "0.9"] < 1
    assert math.isnan(table.loc["ResNet-20, 1,000", "0.9"])


def test_pivot_has_a_column_a_ratio_and_a_dash_where_there_is_no_row():
    layers = layerwise.layer_table(["resnet-8"], ["erk", "erk_plus"], [0.5, 0.995])
    table = layerwise.pivot(layerwise.budget_table(layers), lambda row: str(row.layers))
    assert table.columns.tolist() == ["network", "sparsity", "ERK", "ERK+"]
    assert table["ERK+"].tolist() == ["10", "–"]


def test_erk_prunes_large_layers_more():
    layers = layerwise.layer_table(["resnet-20"], ["uniform", "erk"], [0.9])
    assert layerwise.size_correlation(layers, "erk", 0.9)["resnet-20"] > 0.9
    sentences = layerwise.reading(layerwise.budget_table(layers), layers)
    assert sentences[0].startswith("At sparsity 0.9, ERK takes 1.77 times the MACs of Uniform")
    assert "2 of 22 layers dense" in sentences[0]
    only_uniform = layers[layers.ratio == "uniform"]
    assert layerwise.reading(layerwise.budget_table(only_uniform), only_uniform) == []


@pytest.mark.parametrize("ratio", ["snip", "grasp"])
def test_redraw_keeps_the_counts_and_shares_what_chance_gives(ratio):
    config = tiny(ratio=ratio, sparsity=0.5, train_images=500)
    table = layerwise.redraw_table(config)
    assert (table.redrawn == table.own.clip(lower=1)).all()
    assert table.own.sum() == pytest.approx(0.5 * table.total.sum(), abs=len(table))
    # The overlap of a layer is hypergeometric: this is far outside of it for a copied mask.
    p, q = table.own / table.total, table.redrawn / table.total
    variance = (table.total * p * q * (1 - p) * (1 - q)).sum()
    assert abs(table.shared.sum() - table.chance.sum()) < 5 * math.sqrt(variance) + 1
    assert table.shared.sum() < 0.95 * table.own.sum()
    shown = layerwise.overlap_table({ratio: table})
    assert shown["layers emptied"].tolist() == [f"{(table.own == 0).sum()} of 10"]


def test_criteria_stand_beside_uniform_and_erk_in_one_frame():
    layers = layerwise.layer_table(["resnet-8"], ["uniform", "erk", "erk_plus"], [0.5, 0.9])
    redraw = pd.DataFrame({"position": [1], "total": [100], "redrawn": [10]})
    frame = layerwise.with_criteria(layers, {"snip": redraw}, "resnet-8", 0.9)
    assert frame.ratio.unique().tolist() == ["uniform", "erk", "snip"]
    assert frame[frame.ratio == "snip"].sparsity.tolist() == [0.9]
    assert frame[frame.ratio == "uniform"].sparsity.to_numpy() == pytest.approx(0.9, abs=0.01)
