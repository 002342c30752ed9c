"""The compact network computes what the filter-pruned one does, and is really smaller."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from randprune_core import apply_masks, build_model, maskable_weights, random_masks
from randprune_core.metrics.cost import cost, layer_macs
from randprune_core.pruning.compact import compact

NETWORKS = ("resnet-8-4", "resnet-20-4", "vgg-11")


def network(name: str, seed: int = 0, trained: bool = True) -> nn.Module:
    """A network in float64; `trained` gives its batch norm statistics and biases of any size."""
    model = build_model(name, 5, seed).double()
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in model.modules():
            if trained and isinstance(module, nn.BatchNorm2d):
                for value in (module.weight, module.bias, module.running_mean):
                    value.copy_(torch.randn(value.shape, generator=draw))
                module.running_var.copy_(torch.rand(module.num_features, generator=draw) + 0.1)
        if trained:
            model.linear.bias.normal_(generator=draw)
    return model.eval()


def filter_masks(model: nn.Module, sparsity: float, seed: int = 0):
    return random_masks(model, dict.fromkeys(maskable_weights(model), sparsity), seed, "filter")


def images(count: int = 2, side: int = 16) -> torch.Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(7)).double()


def masked(model: nn.Module, masks) -> nn.Module:
    model = copy.deepcopy(model)
    apply_masks(model, masks)
    return model


# --- what is refused -------------------------------------------------------------------------


def test_single_weights_and_parts_of_filters_are_refused_by_name():
    model = network("resnet-8-4")
    sparsities = dict.fromkeys(maskable_weights(model), 0.5)
    for granularity in ("unstructured", "2:4"):
        with pytest.raises(ValueError, match="layer 'conv1.weight' prunes single weights"):
            compact(model, random_masks(model, sparsities, 0, granularity))
    masks = filter_masks(model, 0.5)
    name = "stage2.0.shortcut.0.weight"
    masks[name] = masks[name] & (torch.rand(masks[name].shape) < 2)
    masks[name].view(-1)[masks[name].flatten().nonzero()[0]] = False
    with pytest.raises(ValueError, match=name):
        compact(model, masks)


def test_an_empty_layer_and_a_misfit_and_another_network_are_refused():
    model = network("resnet-8-4")
    masks = filter_masks(model, 0.5)
    empty = masks | {"conv1.weight": torch.zeros_like(masks["conv1.weight"])}
    with pytest.raises(ValueError, match="'conv1.weight' keeps no filter"):
        compact(model, empty)
    with pytest.raises(ValueError, match="lack layer"):
        compact(model, {name: masks[name] for name in list(masks)[1:]})
    other = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4, 2))
    with pytest.raises(ValueError, match="a Sequential cannot be made compact: known are Cifar"):
        compact(other, filter_masks(other, 0.5))


# --- the same outputs ------------------------------------------------------------------------


@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_are_those_of_the_masked_network_in_evaluation_mode(name, sparsity):
    for seed in range(1 if name == "vgg-11" else 3):
        model = network(name, seed)
        masks = filter_masks(model, sparsity, seed)
        small = compact(model, masks)
        with torch.no_grad():
            torch.testing.assert_close(small(images()), masked(model, masks)(images()))


def test_outputs_are_equal_at_another_size_of_image_too():
    model = network("resnet-8-4")
    masks = filter_masks(model, 0.5)
    small = compact(model, masks)
    with torch.no_grad():
        for side in (7, 32):
            picture = images(2, side)
            torch.testing.assert_close(small(picture), masked(model, masks)(picture))


def test_the_constants_of_pruned_filters_matter_at_the_border():
    """The test above could not fail if every constant were zero, or were added everywhere alike."""
    model = network("vgg-11")
    masks = filter_masks(model, 0.5)
    small = compact(model, masks)
    expected = masked(model, masks)(images())
    edges = {name: edge.clone() for name, edge in small.named_buffers() if "edge" in name}
    assert len(edges) == 7  # all but the first convolution, which reads the image
    for change in ("no constant", "no border"):
        for name, edge in small.named_buffers():
            if name in edges and change == "no constant":
                edge.zero_()
            elif name in edges:  # the whole kernel in its centre: as if there were no padding
                edge.zero_()[..., 1, 1] = edges[name].sum((-2, -1))
        assert not torch.allclose(small(images()), expected, rtol=1e-3)


def test_a_channel_that_one_branch_has_stays_in_the_sum_and_one_that_none_has_goes():
    model = network("resnet-8-4")
    masks = {name: torch.ones_like(w, dtype=torch.bool) for name, w in model_weights(model)}
    masks["conv1.weight"][[0, 1]] = False
    masks["stage1.0.conv2.weight"][[0, 2]] = False
    block = compact(model, masks).blocks[0]
    assert block.conv1.conv.weight.shape == (4, 2, 3, 3)  # 0 and 1 are constant before the sum
    assert block.conv2.conv.weight.shape == (2, 4, 3, 3)
    assert block.bias.shape == (1,)  # of channel 2, which the sum takes from before the block
    assert block.width == 3  # 1, 2 and 3: only 0 is pruned in both branches
    assert compact(model, masks).blocks[1].conv1.conv.weight.shape == (8, 3, 3, 3)


def model_weights(model: nn.Module):
    return maskable_weights(model).items()


# --- training --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETWORKS)
def test_from_initialisation_on_it_trains_like_the_masked_network(name):
    model = network(name, trained=False).train()
    masks = filter_masks(model, 0.5)
    masks["linear.weight"].fill_(True)  # its single zeros would have to be held in either network
    large, small = masked(model, masks), compact(model, masks)
    assert small.training
    assert not any("edge" in key for key in small.state_dict())
    targets = torch.tensor([0, 1, 2, 3])
    for _ in range(3):
        for trained in (large, small):
            trained.zero_grad()
            F.cross_entropy(trained(images(4)), targets).backward()
            with torch.no_grad():
                for parameter in trained.parameters():
                    parameter -= 0.1 * (parameter.grad + 5e-4 * parameter)
            if trained is large:
                apply_masks(large, masks)
    with torch.no_grad():
        torch.testing.assert_close(small.eval()(images()), large.eval()(images()))


# --- really smaller --------------------------------------------------------------------------


def test_it_has_no_pruned_weight_and_at_most_the_macs_of_the_masks():
    for name in NETWORKS:
        model = network(name)
        masks = filter_masks(model, 0.5)
        small = compact(model, masks)
        counted = cost(model, masks, (3, 16, 16))
        weights = sum(w.numel() for w in maskable_weights(small).values())
        classifier = model.linear.weight.numel()  # unstructured: its zeros are still there
        assert weights <= counted["kept_weights"] + classifier
        assert sum(layer_macs(small, (3, 16, 16)).values()) < counted["sparse_macs"] + classifier
        assert weights < 0.5 * counted["dense_weights"]


def test_without_a_pruned_filter_nothing_goes_and_the_model_is_left_alone():
    model = network("resnet-8-4")
    before = copy.deepcopy(model.state_dict())
    masks = filter_masks(model, 0.0)
    small = compact(model, masks)
    count = sum(w.numel() for w in maskable_weights(small).values())
    assert count == sum(w.numel() for w in maskable_weights(model).values())
    compact(model, filter_masks(model, 0.9))
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    with torch.no_grad():
        small.first.conv.weight.zero_()
    assert model.conv1.weight.any()
