"""Networks: what is refused, sizes against the paper, seeds, normalisation."""

import pytest
import torch
from torch import nn

from randprune_core.datasets import DATASETS
from randprune_core.models import build_model, with_normalization
from randprune_core.pruning.layers import maskable_weights


def parameters(model) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def weights(model) -> int:
    return sum(weight.numel() for weight in maskable_weights(model).values())


@pytest.mark.parametrize("name", ["resnet-21", "resnet-9", "resnet-2", "vgg-12", "lenet"])
def test_build_model_refuses_an_unknown_network_and_says_which_there_are(name):
    with pytest.raises(ValueError, match=f"{name}.*resnet-DEPTH"):
        build_model(name)


@pytest.mark.parametrize("classes", [1, 0, -3])
def test_build_model_refuses_fewer_than_two_classes(classes):
    with pytest.raises(ValueError, match=f"num_classes {classes} "):
        build_model("resnet-8", num_classes=classes)


@pytest.mark.parametrize(
    ("name", "maskable"),
    [
        ("resnet-20", 270_896),
        ("resnet-20-8", 67_992),
        ("resnet-20-24", 608_712),
        ("resnet-20-32", 1_081_440),
        ("resnet-56", 851_504),
    ],
)
def test_resnets_have_the_papers_number_of_weights(name, maskable):
    with torch.device("meta"):
        assert weights(build_model(name)) == maskable


def test_parameters_of_all_kinds_are_counted():
    assert parameters(build_model("resnet-20")) == 272_474
    # 13 convolutions and a linear layer, written out: 3x3 kernels, batch norm, 512 x 10 and bias.
    channels = [3, 64, 64, 128, 128, 256, 256, 256, *[512] * 6]
    pairs = list(zip(channels, channels[1:], strict=False))
    kernels, norms = sum(9 * a * b for a, b in pairs), sum(2 * b for _, b in pairs)
    vgg = build_model("vgg-16")
    assert parameters(vgg) == kernels + norms + 512 * 10 + 10
    assert weights(vgg) == kernels + 512 * 10


@pytest.mark.parametrize(("name", "millions"), [("wide_resnet50_2", 68.88), ("resnet50", 25.56)])
def test_imagenet_networks_are_torchvisions(name, millions):
    with torch.device("meta"):
        model = build_model(name, num_classes=1_000)
        assert round(parameters(model) / 1e6, 2) == millions
        assert model(torch.empty(2, 3, 224, 224)).shape == (2, 1_000)


@pytest.mark.parametrize("depth", [8, 14, 20, 32, 44, 56, 110])
def test_a_resnet_has_as_many_layers_as_its_name_says(depth):
    with torch.device("meta"):
        names = list(maskable_weights(build_model(f"resnet-{depth}")))
    shortcuts = [name for name in names if "shortcut" in name]
    assert len(names) - len(shortcuts) == depth
    assert len(shortcuts) == 2  # where stages 2 and 3 begin
    assert names[0] == "conv1.weight" and names[-1] == "linear.weight"


@pytest.mark.parametrize("name", ["vgg-11", "vgg-13", "vgg-16", "vgg-19"])
def test_a_vgg_has_all_its_convolutions_and_one_linear_layer(name):
    with torch.device("meta"):
        shapes = [weight.ndim for weight in maskable_weights(build_model(name)).values()]
    assert shapes.count(4) == int(name[4:]) - 3 and shapes.count(2) == 1 and shapes[-1] == 2


@pytest.mark.parametrize("name", ["resnet-8", "resnet-8-4", "vgg-11"])
@pytest.mark.parametrize("side", [16, 32])
def test_logits_have_one_column_a_class_at_both_picture_sizes(name, side):
    model = build_model(name, num_classes=7)
    assert model(torch.rand(2, 3, side, side)).shape == (2, 7)


def test_stages_halve_the_picture_and_double_the_filters():
    model = build_model("resnet-8-8")
    x = torch.rand(1, 3, 32, 32)
    x = torch.relu(model.bn1(model.conv1(x)))
    for stage, shape in (
        (model.stage1, (8, 32)),
        (model.stage2, (16, 16)),
        (model.stage3, (32, 8)),
    ):
        x = stage(x)
        assert tuple(x.shape) == (1, shape[0], shape[1], shape[1])


def test_maskable_weights_leave_out_batch_norm_and_biases_and_keep_module_order():
    model = build_model("resnet-8")
    names = list(maskable_weights(model))
    assert all(not part.startswith("bn") for name in names for part in name.split("."))
    in_order = [name for name, _ in model.named_parameters() if name in set(names)]
    assert names == in_order
    for name, weight in maskable_weights(model).items():
        assert model.get_parameter(name) is weight


def test_maskable_weights_of_a_single_layer_and_of_none():
    assert list(maskable_weights(nn.Linear(2, 3))) == ["weight"]
    assert maskable_weights(nn.BatchNorm2d(3)) == {}


@pytest.mark.parametrize("name", ["resnet-8", "vgg-11"])
def test_the_same_seed_gives_the_same_network_and_another_seed_another(name):
    first, repeated, other = (build_model(name, seed=seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[key], repeated[key]) for key in first)
    convolutions = [key for key in first if first[key].ndim > 1]
    assert not any(torch.equal(first[key], other[key]) for key in convolutions)


def test_building_leaves_the_global_generator_alone_and_does_not_depend_on_it():
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = build_model("resnet-8")
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    repeated = build_model("resnet-8")
    assert torch.equal(first.conv1.weight, repeated.conv1.weight)


def test_weights_are_kaiming_normal_over_fan_in_and_biases_zero():
    model = build_model("resnet-20-32")
    for weight in maskable_weights(model).values():
        if weight.numel() < 5_000:
            continue
        fan_in = weight[0].numel()
        sigma = (2 / fan_in) ** 0.5
        error = 4 * sigma / (2 * weight.numel()) ** 0.5  # four standard errors of a deviation
        assert abs(weight.std().item() - sigma) < error
        assert abs(weight.mean().item()) < 4 * sigma / weight.numel() ** 0.5
    assert not model.linear.bias.any()


def test_with_normalization_equals_normalising_by_hand_and_shares_the_weights():
    model = build_model("resnet-8").eval()
    pixels = torch.rand(3, 3, 32, 32)
    for dataset, facts in DATASETS.items():
        mean, std = facts.normalization
        wrapped = with_normalization(model, dataset).eval()
        by_hand = torch.stack([(pixels[:, c] - mean[c]) / std[c] for c in range(3)], 1)
        torch.testing.assert_close(wrapped(pixels), model(by_hand))
        assert maskable_weights(wrapped)["model.conv1.weight"] is model.conv1.weight


def test_with_normalization_refuses_an_unknown_data_set():
    with pytest.raises(ValueError, match=r"'mnist'.*cifar10"):
        with_normalization(build_model("resnet-8"), "mnist")


def test_normalisation_of_digits_matches_its_training_pixels():
    from randprune_core.data.loading import load_dataset

    pixels = load_dataset("digits").train_images.float() / 255
    mean, std = DATASETS["digits"].normalization
    assert abs(pixels.mean().item() - mean[0]) < 0.005
    assert abs(pixels.std().item() - std[0]) < 0.005
