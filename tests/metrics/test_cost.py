"""Parameters and MACs: edge cases, values by hand, the published sizes of the networks."""

import pytest
import torch
from torch import nn

from randprune_core.metrics.cost import cost, layer_macs
from randprune_core.models import build_model, with_normalization
from randprune_core.pruning.layers import maskable_weights
from randprune_core.pruning.masks import mask_counts, random_masks
from randprune_core.pruning.ratios import kept_counts, layer_sparsities

CIFAR = (3, 32, 32)


def counts_of(model, ratio, sparsity):
    shapes = {name: tuple(weight.shape) for name, weight in maskable_weights(model).items()}
    return kept_counts(shapes, layer_sparsities(ratio, model, sparsity))


@pytest.fixture
def small():
    # 3x8x8 -> 4x4x4 -> 4x4x4 -> 5
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2, padding=1),
        nn.BatchNorm2d(4),
        nn.Conv2d(4, 4, 3, padding=1, groups=2, bias=False),
        nn.Flatten(),
        nn.Linear(64, 5),
    )


@pytest.mark.parametrize("shape", [(3, 32), (3, 32, 0), (1, 3, 32, 32)])
def test_input_shape_must_be_channels_height_width(small, shape):
    with pytest.raises(ValueError, match=r"\(channels, height, width\)"):
        layer_macs(small, shape)


def test_cost_refuses_a_missing_layer(small):
    with pytest.raises(ValueError, match=r"lack layer '4\.weight'"):
        cost(small, {"0.weight": 1, "2.weight": 1}, (3, 8, 8))


@pytest.mark.parametrize("count", [-1, 109])
def test_cost_refuses_a_count_that_the_layer_cannot_keep(small, count):
    with pytest.raises(ValueError, match=rf"'0\.weight' cannot keep {count} of its 108"):
        cost(small, {"0.weight": count, "2.weight": 1, "4.weight": 1}, (3, 8, 8))


def test_macs_by_hand_with_stride_and_groups(small):
    # 16 positions * 4*3*9 weights; 16 * 4*2*9; 64 * 5
    assert layer_macs(small, (3, 8, 8)) == {"0.weight": 1728, "2.weight": 1152, "4.weight": 320}


def test_cost_by_hand(small):
    result = cost(small, {"0.weight": 54, "2.weight": 0, "4.weight": 320}, (3, 8, 8))
    # 500 maskable weights; 4 + 8 + 5 biases and batch norm parameters
    assert result == {
        "dense_parameters": 517,
        "kept_parameters": 391,
        "dense_weights": 500,
        "kept_weights": 374,
        "sparsity": pytest.approx(126 / 500),
        "dense_macs": 3200,
        "sparse_macs": 864 + 320,
        "mac_ratio": pytest.approx(1184 / 3200),
    }


def test_masks_and_their_counts_cost_the_same():
    model = build_model("resnet-8")
    masks = random_masks(model, layer_sparsities("erk", model, 0.8))
    assert cost(model, masks, CIFAR) == cost(model, mask_counts(masks), CIFAR)


def test_nothing_pruned_costs_the_dense_network():
    model = build_model("resnet-8")
    result = cost(model, counts_of(model, "dense", 0.0), CIFAR)
    assert result["mac_ratio"] == 1 and result["sparsity"] == 0
    assert result["kept_parameters"] == result["dense_parameters"]


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("resnet-20", 270_896),
        ("resnet-20-8", 67_992),
        ("resnet-20-24", 608_712),
        ("resnet-20-32", 1_081_440),
        ("resnet-56", 851_504),
    ],
)
def test_networks_have_their_known_number_of_maskable_weights(name, weights):
    model = build_model(name)
    assert cost(model, counts_of(model, "uniform", 0.5), CIFAR)["dense_weights"] == weights


def test_parameters_of_resnet20_and_wide_resnet50():
    for name, classes, parameters in (
        ("resnet-20", 10, 272_474),
        ("wide_resnet50_2", 1000, 68_883_240),
    ):
        model = build_model(name, classes)
        shape = CIFAR if classes == 10 else (3, 224, 224)
        result = cost(model, counts_of(model, "uniform", 0.5), shape)
        assert result["dense_parameters"] == parameters


def test_macs_of_resnet20_by_hand():
    # stage 1: first conv and six of 16x16x9 on 1024 positions; stages 2 and 3: one conv from half
    # the channels, five square ones and a 1x1 shortcut, on 256 and 64 positions; linear 64x10.
    first = 1024 * (3 * 16 * 9 + 6 * 16 * 16 * 9)
    second = 256 * (16 * 32 * 9 + 5 * 32 * 32 * 9 + 16 * 32)
    third = 64 * (32 * 64 * 9 + 5 * 64 * 64 * 9 + 32 * 64)
    assert sum(layer_macs(build_model("resnet-20"), CIFAR).values()) == first + second + third + 640


@pytest.mark.parametrize(("sparsity", "ratio"), [(0.5, 0.737), (0.9, 0.177)])
def test_erk_costs_more_macs_than_uniform_at_equal_parameters(sparsity, ratio):
    model = build_model("resnet-20")
    erk = cost(model, counts_of(model, "erk", sparsity), CIFAR)
    uniform = cost(model, counts_of(model, "uniform", sparsity), CIFAR)
    assert erk["mac_ratio"] == pytest.approx(ratio, abs=5e-4)
    assert uniform["mac_ratio"] == pytest.approx(1 - sparsity, abs=1e-3)
    assert abs(erk["kept_weights"] - uniform["kept_weights"]) <= 22


def test_macs_follow_the_image_size():
    model = build_model("vgg-16")
    small, large = (layer_macs(model, (3, side, side)) for side in (16, 32))
    assert all(large[name] == 4 * small[name] for name in small if name != "linear.weight")
    assert large["linear.weight"] == small["linear.weight"] == 5120


def test_normalization_costs_no_macs():
    model = build_model("resnet-8")
    wrapped = layer_macs(with_normalization(model, "cifar10"), CIFAR)
    assert list(wrapped.values()) == list(layer_macs(model, CIFAR).values())


def test_counting_leaves_the_model_as_it_was():
    model = build_model("resnet-8").train()
    model.bn1.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    layer_macs(model, CIFAR)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())
    assert all(parameter.requires_grad for parameter in model.parameters())
