import pytest

from randprune_core import models
from randprune_core.analysis.layers import (
    budget_table,
    layer_table,
    pivot,
)
from randprune_core.chapters import layerwise_ratios
from randprune_core.models import build_model
from randprune_core.pruning.layers import maskable_weights
from randprune_core.pruning.masks import random_masks
from randprune_core.pruning.ratios import layer_sparsities


def test_unknown_ratio_and_one_that_needs_data_raise():
    with pytest.raises(ValueError, match="erkk"):
        layerwise_ratios.split_ratios(["erk", "erkk"])
    with pytest.raises(ValueError, match="'snip' needs data"):
        layer_table(["resnet-8"], ["snip"], [0.9])
    with pytest.raises(ValueError, match=r"1\.5"):
        layer_table(["resnet-8"], ["erk"], [1.5])


def test_layer_table_counts_what_a_drawn_mask_keeps():
    table = layer_table(["resnet-8"], ["erk"], [0.9])
    model = build_model("resnet-8")
    masks = random_masks(model, layer_sparsities("erk", model, 0.9))
    assert table.layer.tolist() == list(masks)
    assert table.kept.tolist() == [int(mask.sum()) for mask in masks.values()]
    assert table.total.tolist() == [mask.numel() for mask in masks.values()]
    assert table.position.tolist() == list(range(1, len(masks) + 1))


def test_a_budget_that_cannot_be_met_has_no_rows():
    table = layer_table(["resnet-8"], ["erk", "erk_plus"], [0.995])
    assert set(table.ratio) == {"erk"}


def test_budget_of_resnet_20_is_met_and_its_macs_are_those_known():
    layers = layer_table(["resnet-20"], ["uniform", "erk"], [0.5, 0.9])
    budget = budget_table(layers).set_index(["ratio", "sparsity"])
    assert set(budget.total) == {270_896}
    assert (budget.off.abs() <= 22 / 2).all()
    assert budget.mac_ratio["erk", 0.5] == pytest.approx(0.737, abs=5e-4)
    assert budget.mac_ratio["erk", 0.9] == pytest.approx(0.177, abs=5e-4)
    assert budget.pinned["erk", 0.5] == 11 and budget.pinned["uniform", 0.5] == 0


def test_imagenet_networks_have_a_thousand_classes_and_no_weights_in_memory():
    model = models.meta_model("wide_resnet50_2")
    assert model.fc.weight.shape == (1_000, 2_048)
    assert all(weight.device.type == "meta" for weight in maskable_weights(model).values())


def test_pivot_has_a_column_a_ratio_and_a_dash_where_there_is_no_row():
    layers = layer_table(["resnet-8"], ["erk", "erk_plus"], [0.5, 0.995])
    table = pivot(budget_table(layers), lambda row: str(row.layers))
    assert table.columns.tolist() == ["network", "sparsity", "ERK", "ERK+"]
    assert table["ERK+"].tolist() == ["10", "–"]


def test_erk_prunes_large_layers_more():
    layers = layer_table(["resnet-20"], ["uniform", "erk"], [0.9])
    erk = layers[(layers.ratio == "erk") & (layers.kept < layers.total)]
    assert erk.total.corr(erk.layer_sparsity, method="spearman") > 0.9
    budget = budget_table(layers).set_index("ratio")
    assert budget.mac_ratio["erk"] / budget.mac_ratio["uniform"] == pytest.approx(1.77, abs=0.005)
    assert (budget.pinned["erk"], budget.layers["erk"]) == (2, 22)
