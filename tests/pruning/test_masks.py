"""Masks: edge cases, exact counts, independence of layers, granularities, validation."""

import copy
import math

import pytest
import torch
from torch import nn

from randprune_core.models import build_model
from randprune_core.pruning.layers import maskable_weights
from randprune_core.pruning.masks import (
    apply_masks,
    assert_masked,
    mask_counts,
    model_sparsity,
    random_masks,
    to_torch_prune,
    top_k_masks,
    validate_masks,
)
from randprune_core.pruning.ratios import kept_counts, layer_sparsities
from randprune_core.seeds import layer_generator


@pytest.fixture
def model():
    return build_model("resnet-8", seed=0)


def shapes_of(model):
    return {name: tuple(weight.shape) for name, weight in maskable_weights(model).items()}


def same_sparsity(model, sparsity):
    return dict.fromkeys(maskable_weights(model), sparsity)


def all_kept(model):
    return {
        name: torch.ones_like(w, dtype=torch.bool) for name, w in maskable_weights(model).items()
    }


@pytest.mark.parametrize("sparsity", [1.0, -0.1, math.nan])
def test_random_masks_refuse_a_sparsity_outside_zero_to_one_and_name_the_layer(model, sparsity):
    sparsities = {**same_sparsity(model, 0.5), "stage2.0.conv1.weight": sparsity}
    for granularity in ("unstructured", "filter", "2:4"):
        with pytest.raises(ValueError, match=r"stage2\.0\.conv1\.weight"):
            random_masks(model, sparsities, 0, granularity)


@pytest.mark.parametrize("granularity", ["block", "4:2", "2:2", "0:4", "2:4:8", ""])
def test_random_masks_refuse_an_unknown_granularity(model, granularity):
    with pytest.raises(ValueError, match="granularity.*unstructured, filter"):
        random_masks(model, same_sparsity(model, 0.5), 0, granularity)


def test_random_masks_refuse_missing_and_unknown_layers(model):
    sparsities = same_sparsity(model, 0.5)
    with pytest.raises(ValueError, match="unknown layer 'conv9'"):
        random_masks(model, {**sparsities, "conv9": 0.5})
    del sparsities["conv1.weight"]
    with pytest.raises(ValueError, match=r"lack layer 'conv1\.weight'"):
        random_masks(model, sparsities)


@pytest.mark.parametrize("ratio", ["uniform", "uniform_plus", "erk", "erk_plus"])
@pytest.mark.parametrize("sparsity", [0.0, 0.1, 0.5, 0.9])
def test_random_masks_hold_the_exact_count_of_every_layer(model, ratio, sparsity):
    sparsities = layer_sparsities(ratio, model, sparsity)
    masks = random_masks(model, sparsities, seed=5)
    validate_masks(model, masks)
    expected = {
        name: max(1, round((1 - sparsities[name]) * weight.numel()))
        for name, weight in maskable_weights(model).items()
    }
    assert mask_counts(masks) == expected == kept_counts(shapes_of(model), sparsities)


@pytest.mark.parametrize("granularity", ["unstructured", "filter"])
def test_random_masks_keep_at_least_one_weight_in_every_layer(model, granularity):
    masks = random_masks(model, same_sparsity(model, 0.99999), granularity=granularity)
    smallest = {
        name: weight[0].numel() if granularity == "filter" and name != "linear.weight" else 1
        for name, weight in maskable_weights(model).items()
    }
    assert mask_counts(masks) == smallest


@pytest.mark.parametrize("granularity", ["unstructured", "filter", "2:4"])
def test_random_masks_are_fixed_by_their_seed(model, granularity):
    sparsities = same_sparsity(model, 0.5)
    first, repeated, other = (random_masks(model, sparsities, s, granularity) for s in (1, 1, 2))
    assert all(torch.equal(first[name], repeated[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first)


def test_random_masks_are_the_same_on_every_machine():
    # A fixed draw, so that a change of the seeding or of the order of draws cannot pass unseen: it
    # would give every recorded run another mask.
    layer = nn.Sequential(nn.Linear(4, 3, bias=False))
    kept = random_masks(layer, {"0.weight": 0.5}, seed=0)["0.weight"].flatten().nonzero().flatten()
    assert kept.tolist() == [1, 2, 5, 7, 8, 10]


def test_random_masks_leave_the_global_generator_alone(model):
    state = torch.get_rng_state()
    random_masks(model, same_sparsity(model, 0.5), granularity="2:4")
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("granularity", ["unstructured", "filter", "2:4"])
def test_adding_a_layer_or_changing_weights_never_moves_another_layers_mask(granularity):
    torch.manual_seed(0)
    small = nn.Sequential()
    small.add_module("conv", nn.Conv2d(8, 8, 3))
    small.add_module("fc", nn.Linear(8, 4))
    large = nn.Sequential()
    large.add_module("new", nn.Conv2d(3, 8, 1))
    large.add_module("conv", nn.Conv2d(8, 8, 3))
    large.add_module("middle", nn.Linear(8, 8))
    large.add_module("fc", nn.Linear(8, 4))
    before, after = (
        random_masks(net, same_sparsity(net, 0.5), 3, granularity) for net in (small, large)
    )
    assert len(after) == 4
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_layers_of_one_shape_get_different_masks():
    net = nn.Sequential(nn.Linear(20, 20), nn.Linear(20, 20))
    masks = random_masks(net, same_sparsity(net, 0.5))
    assert not torch.equal(masks["0.weight"], masks["1.weight"])


def test_random_masks_are_uniform_over_the_weights():
    # 2,000 seeds: each of 12 weights is kept 1,000 times in the mean, standard deviation 22.
    layer = nn.Linear(4, 3, bias=False)
    kept = sum(random_masks(layer, {"weight": 0.5}, seed)["weight"].long() for seed in range(2000))
    assert int(kept.sum()) == 12_000
    assert (kept - 1000).abs().max() < 5 * 22


def test_filter_masks_keep_whole_filters_in_exact_number(model):
    masks = random_masks(model, same_sparsity(model, 0.7), granularity="filter")
    for name, mask in masks.items():
        if name == "linear.weight":
            continue
        rows = mask.flatten(1)
        assert torch.equal(rows.any(1), rows.all(1))
        assert int(rows.any(1).sum()) == round(0.3 * len(rows))


def test_filter_masks_never_take_a_class_away(model):
    sparsity = 0.7
    mask = random_masks(model, same_sparsity(model, sparsity), granularity="filter")[
        "linear.weight"
    ]
    assert int(mask.sum()) == round(0.3 * mask.numel())
    assert mask.any(dim=1).all()


def test_filter_masks_meet_the_budget_to_within_one_filter_a_layer(model):
    sparsities = layer_sparsities("erk", model, 0.8)
    masks = random_masks(model, sparsities, granularity="filter")
    for name, weight in maskable_weights(model).items():
        budget = (1 - sparsities[name]) * weight.numel()
        assert abs(int(masks[name].sum()) - budget) <= weight[0].numel()


@pytest.mark.parametrize(("granularity", "n", "m"), [("2:4", 2, 4), ("4:8", 4, 8), ("1:4", 1, 4)])
@pytest.mark.parametrize("name", ["resnet-8", "resnet-20-24", "vgg-11"])
def test_n_m_masks_keep_n_of_every_m_channels_last_inputs(name, granularity, n, m):
    model = build_model(name)
    masks = random_masks(model, layer_sparsities("uniform", model, 1 - n / m), 0, granularity)
    validate_masks(model, masks)
    for key, mask in masks.items():
        rows = mask.movedim(1, -1).reshape(len(mask), -1) if mask.ndim == 4 else mask
        full = rows.shape[1] // m * m
        groups = rows[:, :full].reshape(len(mask), -1, m).sum(-1)
        assert (groups == n).all(), key
        left = rows[:, full:].sum(-1)
        share = (rows.shape[1] - full) * n / m
        assert left.min() >= math.floor(share) and left.max() <= math.ceil(share) <= n
        assert int(mask.sum()) == round(mask.numel() * n / m)


def test_two_of_four_runs_along_neighbouring_channels_of_one_kernel_position():
    net = nn.Conv2d(8, 4, 3, bias=False)
    mask = random_masks(net, {"weight": 0.5}, granularity="2:4")["weight"]
    assert (mask[:, :4].sum(1) == 2).all() and (mask[:, 4:].sum(1) == 2).all()


def test_n_m_choices_are_uniform_over_the_patterns():
    # 6 patterns of 2 in 4 over 6,000 groups: 1,000 each, standard deviation 29.
    net = nn.Linear(4, 6000, bias=False)
    mask = random_masks(net, {"weight": 0.5}, granularity="2:4")["weight"].long()
    patterns = (mask * torch.tensor([1, 2, 4, 8])).sum(1).unique(return_counts=True)[1]
    assert len(patterns) == 6 and (patterns - 1000).abs().max() < 5 * 29


@pytest.mark.parametrize("fan_in", [1, 3])
def test_n_m_masks_of_a_layer_narrower_than_a_group_keep_their_share(fan_in):
    net = nn.Linear(fan_in, 8, bias=False)
    mask = random_masks(net, {"weight": 0.5}, granularity="2:4")["weight"]
    assert int(mask.sum()) == 4 * fan_in


@pytest.mark.parametrize("ratio", ["erk", "uniform_plus"])
def test_n_m_masks_refuse_sparsities_that_contradict_them(model, ratio):
    with pytest.raises(ValueError, match="'2:4' fixes the sparsity of every layer at 0.5"):
        random_masks(model, layer_sparsities(ratio, model, 0.5), granularity="2:4")


def test_n_m_masks_refuse_another_uniform_sparsity(model):
    with pytest.raises(ValueError, match=r"'conv1\.weight' is given 0\.6"):
        random_masks(model, same_sparsity(model, 0.6), granularity="2:4")


@pytest.mark.parametrize("sparsity", [1.0, -0.1, math.nan])
def test_top_k_masks_refuse_a_sparsity_outside_zero_to_one(sparsity):
    with pytest.raises(ValueError, match=r"\[0, 1\)"):
        top_k_masks({"a": torch.rand(4)}, sparsity)


def test_top_k_masks_refuse_no_scores_and_nan_scores():
    with pytest.raises(ValueError, match="no scores"):
        top_k_masks({}, 0.5)
    with pytest.raises(ValueError, match="'b' hold NaN"):
        top_k_masks({"a": torch.rand(2), "b": torch.tensor([1.0, math.nan])}, 0.5)


def test_top_k_masks_by_hand_over_all_layers():
    scores = {
        "a": torch.tensor([[5.0, -1.0], [2.0, 0.0]]),
        "b": torch.tensor([3.0, 4.0, 1.0, -2.0]),
    }
    masks = top_k_masks(scores, 0.5)
    assert masks["a"].tolist() == [[True, False], [True, False]]
    assert masks["b"].tolist() == [True, True, False, False]


def test_top_k_masks_break_ties_by_position_and_keep_the_exact_count():
    scores = {"a": torch.tensor([1.0, 2.0, 1.0]), "b": torch.tensor([1.0, 1.0, 2.0])}
    masks = top_k_masks(scores, 0.5)
    assert masks["a"].tolist() == [True, True, False]
    assert masks["b"].tolist() == [False, False, True]


@pytest.mark.parametrize("sparsity", [0.0, 0.05, 0.5, 0.98])
def test_top_k_masks_agree_with_a_full_sort(sparsity):
    torch.manual_seed(0)
    scores = {"a": torch.randn(13, 7), "b": torch.randn(5, 3, 3, 3)}
    masks = top_k_masks(scores, sparsity)
    flat = torch.cat([score.flatten() for score in scores.values()])
    kept = round((1 - sparsity) * len(flat))
    lowest = flat.sort(descending=True).values[kept - 1]
    assert sum(mask_counts(masks).values()) == kept
    assert all(torch.equal(masks[name], scores[name] >= lowest) for name in scores)


def test_top_k_masks_warn_about_the_layer_that_they_empty():
    scores = {"strong": torch.ones(4), "weak": torch.zeros(4)}
    with pytest.warns(RuntimeWarning, match=r"1 layer\(s\) without a weight: weak"):
        masks = top_k_masks(scores, 0.5)
    assert mask_counts(masks) == {"strong": 4, "weak": 0}


def test_top_k_masks_do_not_warn_without_an_empty_layer(recwarn):
    top_k_masks({"a": torch.arange(4.0), "b": torch.arange(4.0)}, 0.5)
    assert not recwarn.list


def test_apply_masks_sets_pruned_weights_to_positive_zero_and_no_other(model):
    masks = random_masks(model, layer_sparsities("erk", model, 0.9))
    weights = maskable_weights(model)
    with torch.no_grad():
        weights["conv1.weight"][~masks["conv1.weight"]] = math.nan
    before = copy.deepcopy(model.state_dict())
    apply_masks(model, masks)
    for name, value in model.state_dict().items():
        if name in masks:
            assert torch.equal(value[masks[name]], before[name][masks[name]])
            pruned = value[~masks[name]]
            assert not pruned.any() and not torch.signbit(pruned).any()
        else:
            assert torch.equal(value, before[name])


def test_apply_masks_leaves_training_able_to_go_on(model):
    masks = random_masks(model, same_sparsity(model, 0.5))
    apply_masks(model, masks)
    assert all(weight.requires_grad and weight.is_leaf for weight in model.parameters())


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda masks: masks.pop("conv1.weight"), r"lack layer 'conv1\.weight'"),
        (lambda masks: masks.update(extra=torch.ones(1).bool()), "unknown layer 'extra'"),
        (
            lambda masks: masks.update({"conv1.weight": masks["conv1.weight"].float()}),
            r"'conv1\.weight' is torch\.float32.*torch\.bool",
        ),
        (lambda masks: masks.update({"conv1.weight": [True]}), r"'conv1\.weight' is list"),
        (
            lambda masks: masks.update({"conv1.weight": masks["conv1.weight"][:1]}),
            r"'conv1\.weight' has shape \(1, 3, 3, 3\).*\(16, 3, 3, 3\)",
        ),
    ],
    ids=["missing", "unknown", "dtype", "list", "shape"],
)
@pytest.mark.parametrize(
    "function",
    [apply_masks, validate_masks, assert_masked, to_torch_prune],
    ids=lambda f: f.__name__,
)
def test_masks_that_do_not_fit_are_refused_and_nothing_is_changed(model, function, damage, message):
    masks = random_masks(model, same_sparsity(model, 0.5))
    damage(masks)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=message):
        function(model, masks)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_assert_masked_passes_on_a_masked_model(model):
    masks = random_masks(model, same_sparsity(model, 0.5))
    apply_masks(model, masks)
    assert_masked(model, masks)


@pytest.mark.parametrize("value", [1e-30, math.nan, math.inf])
def test_assert_masked_names_the_layer_where_a_pruned_weight_came_back(model, value):
    masks = random_masks(model, same_sparsity(model, 0.5))
    apply_masks(model, masks)
    name = "stage2.0.shortcut.0.weight"
    position = tuple((~masks[name]).nonzero()[0].tolist())
    with torch.no_grad():
        maskable_weights(model)[name][position] = value
    with pytest.raises(RuntimeError, match=rf"1 pruned weight\(s\) of layer '{name}'"):
        assert_masked(model, masks)


def test_model_sparsity_counts_zeros_over_maskable_weights_only(model):
    assert model_sparsity(model) == 0  # biases are zero, but outside the budget
    masks = random_masks(model, layer_sparsities("erk", model, 0.9))
    apply_masks(model, masks)
    total = sum(mask.numel() for mask in masks.values())
    assert model_sparsity(model) == pytest.approx(1 - sum(mask_counts(masks).values()) / total)
    assert abs(model_sparsity(model) - 0.9) * total <= len(masks)


@pytest.mark.parametrize("name", ["resnet-8", "vgg-11"])
def test_torch_prune_gives_the_same_outputs_as_applied_masks(name):
    model = build_model(name).eval()
    masks = random_masks(model, layer_sparsities("erk", model, 0.8), seed=4)
    pruned = to_torch_prune(model, masks)
    assert model_sparsity(model) == 0  # the copy was pruned, not the model
    assert torch.nn.utils.prune.is_pruned(pruned) and not torch.nn.utils.prune.is_pruned(model)
    apply_masks(model, masks)
    torch.manual_seed(0)
    images = torch.randn(4, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(pruned(images), model(images))


def test_torch_prune_sees_the_sparsity_of_the_masks(model):
    masks = random_masks(model, layer_sparsities("erk", model, 0.8))
    pruned = to_torch_prune(model, masks)
    buffers = {name: value for name, value in pruned.named_buffers() if name.endswith("_mask")}
    assert {name.removesuffix("_mask"): int(value.sum()) for name, value in buffers.items()} == (
        mask_counts(masks)
    )
    assert model_sparsity(pruned) == pytest.approx(0.8, abs=1e-3)


def test_apply_masks_changes_nothing_when_all_is_kept(model):
    before = copy.deepcopy(model.state_dict())
    apply_masks(model, all_kept(model))
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_layer_generators_differ_by_seed_and_by_name():
    seeds = {layer_generator(seed, name).initial_seed() for seed in (0, 1) for name in ("a", "b")}
    assert len(seeds) == 4


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_masks_are_the_same_on_the_device_of_the_model(model):
    expected = random_masks(model, same_sparsity(model, 0.5))
    on_device = random_masks(model.cuda(), same_sparsity(model, 0.5))
    assert all(mask.is_cuda for mask in on_device.values())
    assert all(torch.equal(expected[name], on_device[name].cpu()) for name in expected)
