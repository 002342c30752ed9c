"""Layer-wise ratios: edge cases, hand-computed values, exact budgets on every network."""

import math

import numpy as np
import pytest
import torch

from randprune_core import config
from randprune_core.models import build_model
from randprune_core.pruning import ratios
from randprune_core.pruning.layers import maskable_weights

# 27 + 72 + 16 = 115 weights; the sums of the shapes are 10, 15 and 10.
TINY = {"conv": (1, 3, 3, 3), "block": (8, 1, 3, 3), "fc": (2, 8)}

CIFAR_MODELS = (
    *("resnet-8", "resnet-20", "resnet-32", "resnet-44", "resnet-56", "resnet-110"),
    *("resnet-20-8", "resnet-20-24", "resnet-20-32", "vgg-11", "vgg-13", "vgg-16", "vgg-19"),
)
NETWORKS = [
    *((name, classes) for name in CIFAR_MODELS for classes in (10, 100, 1000)),
    *((name, classes) for name in ("resnet50", "wide_resnet50_2") for classes in (10, 1000)),
]
SPARSITIES = [round(0.05 * step, 2) for step in range(1, 20)] + [0.98]
SHAPE_RATIOS = tuple(ratios.SHAPE_RATIOS)
PRUNING_RATIOS = tuple(name for name in SHAPE_RATIOS if name != "dense")


def network_shapes(name, classes):
    with torch.device("meta"):  # shapes without weights: Wide ResNet-50-2 has 69 M
        model = build_model(name, num_classes=classes)
    return {name: tuple(weight.shape) for name, weight in maskable_weights(model).items()}


@pytest.fixture(scope="module")
def resnet20():
    return network_shapes("resnet-20", 10)


@pytest.mark.parametrize("ratio", SHAPE_RATIOS)
@pytest.mark.parametrize("sparsity", [1.0, -0.1, 1.5, math.nan, math.inf, None, "much"])
def test_every_ratio_refuses_a_sparsity_outside_zero_to_one(ratio, sparsity):
    with pytest.raises(ValueError, match=r"sparsity .*\[0, 1\)") as error:
        ratios.SHAPE_RATIOS[ratio](TINY, sparsity)
    assert str(sparsity) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("ratio", SHAPE_RATIOS)
def test_every_ratio_refuses_to_work_without_a_layer(ratio):
    with pytest.raises(ValueError, match="no layer to prune"):
        ratios.SHAPE_RATIOS[ratio]({}, 0.0)


@pytest.mark.parametrize("ratio", SHAPE_RATIOS)
def test_every_ratio_refuses_a_layer_without_weights_by_name(ratio):
    with pytest.raises(ValueError, match="'hollow'"):
        ratios.SHAPE_RATIOS[ratio]({**TINY, "hollow": (4, 0)}, 0.0)


@pytest.mark.parametrize("ratio", SHAPE_RATIOS)
def test_every_ratio_is_dense_at_sparsity_zero(ratio):
    assert ratios.SHAPE_RATIOS[ratio](TINY, 0) == dict.fromkeys(TINY, 0.0)


@pytest.mark.parametrize("ratio", ["uniform", "erk"])
def test_one_layer_takes_the_whole_sparsity(ratio):
    assert ratios.SHAPE_RATIOS[ratio]({"fc": (10, 30)}, 0.7) == {"fc": pytest.approx(0.7)}


def test_registry_and_config_know_the_same_ratios_in_the_same_order():
    assert ratios.RATIOS == config.RATIOS == (*SHAPE_RATIOS, "snip", "grasp")


def test_unknown_ratio_is_answered_with_the_known_ones():
    with pytest.raises(ValueError, match="'erkk'") as error:
        ratios.layer_sparsities("erkk", build_model("resnet-8"), 0.5)
    assert all(name in str(error.value) for name in ratios.RATIOS)


def test_dense_refuses_any_other_sparsity():
    with pytest.raises(ValueError, match="'dense' cannot give sparsity 0.5.*'conv'"):
        ratios.dense(TINY, 0.5)


def test_uniform_gives_the_global_sparsity_to_every_layer():
    assert ratios.uniform(TINY, 0.3) == {"conv": 0.3, "block": 0.3, "fc": 0.3}


def test_uniform_plus_by_hand_with_the_last_layer_above_its_floor():
    # 115 * 0.4 = 46 kept; 27 in the dense conv leave 19 of 88: d = 0.2159 >= 0.2 for block and fc.
    sparsities = ratios.uniform_plus(TINY, 0.6)
    assert sparsities == pytest.approx({"conv": 0, "block": 1 - 19 / 88, "fc": 1 - 19 / 88})


def test_uniform_plus_by_hand_with_the_last_layer_on_its_floor():
    # 115 * 0.3 = 34.5 kept; minus 27 dense and 0.2 * 16 = 3.2 leaves 4.3 of 72.
    sparsities = ratios.uniform_plus(TINY, 0.7)
    assert sparsities == pytest.approx({"conv": 0, "block": 1 - 4.3 / 72, "fc": 0.8})


def test_uniform_plus_raises_when_the_first_conv_alone_exceeds_the_budget():
    # 115 * 0.2 = 23 < 27
    with pytest.raises(ValueError, match="'conv' cannot give enough.*27 weights.*budget is 23"):
        ratios.uniform_plus(TINY, 0.8)


def test_uniform_plus_raises_when_first_conv_and_last_layer_exceed_the_budget():
    # 115 * 0.25 = 28.75 is more than 27, but less than 27 + 3.2
    with pytest.raises(ValueError, match="'fc' cannot give enough"):
        ratios.uniform_plus(TINY, 0.75)


def test_uniform_plus_raises_when_no_layer_is_left_to_take_the_rest():
    with pytest.raises(ValueError, match="'fc' cannot give enough"):
        ratios.uniform_plus({"conv": (1, 3, 3, 3), "fc": (10, 100)}, 0.9)


@pytest.mark.parametrize(
    ("ratio", "shapes", "missing"),
    [
        ("uniform_plus", {"a": (3, 4), "b": (2, 3)}, "no convolution"),
        ("uniform_plus", {"a": (3, 4, 1, 1)}, "no linear layer"),
        ("erk_plus", {"a": (3, 4, 1, 1)}, "no linear layer"),
    ],
)
def test_ratio_that_protects_a_layer_raises_when_there_is_none_of_its_kind(ratio, shapes, missing):
    with pytest.raises(ValueError, match=missing):
        ratios.SHAPE_RATIOS[ratio](shapes, 0.5)


def test_erk_by_hand_with_a_pinned_layer():
    # At 0.5 the budget is 57.5 and the scale 57.5 / 35 = 1.643:
    # fc would keep 16.43 of 16. Pinned, it leaves 41.5 for conv and block in proportion 10 : 15.
    assert ratios.erk(TINY, 0.5) == pytest.approx(
        {"conv": 1 - 41.5 * 10 / 25 / 27, "block": 1 - 41.5 * 15 / 25 / 72, "fc": 0}
    )


def test_erk_by_hand_without_a_pinned_layer():
    # Budget 11.5, scale 11.5 / 35.
    assert ratios.erk(TINY, 0.9) == pytest.approx(
        {"conv": 1 - 11.5 * 10 / 35 / 27, "block": 1 - 11.5 * 15 / 35 / 72, "fc": 1 - 115 / 35 / 16}
    )


def test_erk_pins_layer_after_layer():
    # Budget 39 of 50, sums 2, 9, 30. Scale 39/41: a would keep 1.9 of 1, c only 28.5 of 29. With a
    # pinned the scale is 38/39 and c would keep 29.2 of 29. With c pinned too, b takes the last 9.
    shapes = {"a": (1, 1), "b": (5, 4), "c": (29, 1)}
    assert ratios.erk(shapes, 0.22) == pytest.approx({"a": 0, "b": 1 - 9 / 20, "c": 0})


def test_erk_pins_half_of_resnet20_at_half_sparsity(resnet20):
    pinned = [name for name, sparsity in ratios.erk(resnet20, 0.5).items() if sparsity == 0]
    assert (len(pinned), len(resnet20)) == (11, 22)


def test_erk_gives_bigger_layers_lower_density(resnet20):
    sparsities = ratios.erk(resnet20, 0.95)
    ordered = sorted(resnet20, key=lambda name: math.prod(resnet20[name]))
    convs = [name for name in ordered if resnet20[name][2:] == (3, 3)]
    assert [sparsities[name] for name in convs] == sorted(sparsities[name] for name in convs)
    assert sparsities[convs[0]] < sparsities[convs[-1]]


def test_erk_plus_by_hand():
    # 115 * 0.3 = 34.5; 16 in the dense fc leave 18.5 for conv and block in proportion 10 : 15.
    assert ratios.erk_plus(TINY, 0.7) == pytest.approx(
        {"conv": 1 - 18.5 * 10 / 25 / 27, "block": 1 - 18.5 * 15 / 25 / 72, "fc": 0}
    )


def test_erk_plus_raises_when_the_last_layer_alone_exceeds_the_budget():
    with pytest.raises(ValueError, match=r"'fc' cannot give enough.*16 weights.*budget is 14"):
        ratios.erk_plus(TINY, 0.88)


def test_erk_plus_equals_erk_where_erk_keeps_the_last_layer_dense(resnet20):
    assert ratios.erk(resnet20, 0.5)["linear.weight"] == 0
    assert ratios.erk_plus(resnet20, 0.5) == pytest.approx(ratios.erk(resnet20, 0.5))


def test_erk_plus_differs_from_erk_on_a_thousand_classes():
    shapes = network_shapes("resnet-20", 1000)
    assert ratios.erk(shapes, 0.7)["linear.weight"] > 0.1
    assert ratios.erk_plus(shapes, 0.7)["linear.weight"] == 0


@pytest.mark.parametrize(("name", "classes"), NETWORKS)
def test_every_ratio_meets_the_budget_of_every_network_or_names_the_layer(name, classes):
    shapes = network_shapes(name, classes)
    total = sum(math.prod(shape) for shape in shapes.values())
    first, last = ratios.first_conv(shapes), ratios.last_linear(shapes)
    met = 0
    for ratio in PRUNING_RATIOS:
        for sparsity in SPARSITIES:
            try:
                sparsities = ratios.SHAPE_RATIOS[ratio](shapes, sparsity)
            except ValueError as error:
                assert repr(first) in str(error) or repr(last) in str(error)
                assert not must_be_feasible(ratio, shapes, sparsity)
                continue
            met += 1
            assert must_be_feasible(ratio, shapes, sparsity)
            assert list(sparsities) == list(shapes)
            assert all(0 <= value < 1 for value in sparsities.values())
            # In real numbers the budget is exact; rounding adds less than one weight a layer.
            real = sum((1 - sparsities[key]) * math.prod(shapes[key]) for key in shapes)
            assert real == pytest.approx((1 - sparsity) * total, rel=1e-9)
            counts = ratios.kept_counts(shapes, sparsities)
            assert abs(sum(counts.values()) - (1 - sparsity) * total) <= len(shapes)
            assert min(counts.values()) >= 1
    assert met >= 2 * len(SPARSITIES)  # uniform and erk can always be met


def must_be_feasible(ratio, shapes, sparsity):
    """Independent rule: the protected weights leave something for the other layers."""
    sizes = np.array([math.prod(shape) for shape in shapes.values()])
    first = next(i for i, shape in enumerate(shapes.values()) if len(shape) == 4)
    last = max(i for i, shape in enumerate(shapes.values()) if len(shape) == 2)
    protected = {
        "uniform_plus": sizes[first] + 0.2 * sizes[last],
        "erk_plus": sizes[last],
    }.get(ratio, 0)
    return protected < (1 - sparsity) * sizes.sum()


@pytest.mark.parametrize("sparsity", [0.1, 0.5, 0.9])
def test_erk_agrees_with_bisection_on_the_scale(resnet20, sparsity):
    # Oracle: min(1, scale * sum/prod) meets the budget at one scale; find it by bisection.
    sizes = np.array([math.prod(shape) for shape in resnet20.values()], dtype=float)
    raw = np.array([sum(shape) for shape in resnet20.values()]) / sizes
    low, high = 0.0, 1e6
    for _ in range(200):
        scale = (low + high) / 2
        too_many = (np.minimum(1, scale * raw) * sizes).sum() > (1 - sparsity) * sizes.sum()
        low, high = (low, scale) if too_many else (scale, high)
    expected = 1 - np.minimum(1, low * raw)
    assert list(ratios.erk(resnet20, sparsity).values()) == pytest.approx(list(expected), abs=1e-9)


def test_kept_counts_round_and_keep_at_least_one():
    shapes = {"a": (10, 10), "b": (3, 1)}
    assert ratios.kept_counts(shapes, {"a": 0.126, "b": 0.9}) == {"a": 87, "b": 1}


@pytest.mark.parametrize(
    ("sparsities", "message"),
    [({"a": 0.5}, "lack layer 'b'"), ({"a": 0.5, "b": 1.0}, "'b'.*1.0.*0, 1")],
)
def test_kept_counts_refuse_what_does_not_fit_and_name_the_layer(sparsities, message):
    with pytest.raises(ValueError, match=message):
        ratios.kept_counts({"a": (10, 10), "b": (3, 1)}, sparsities)


def test_kept_counts_refuse_an_unknown_layer():
    with pytest.raises(ValueError, match="unknown layer 'c'"):
        ratios.kept_counts({"a": (2, 2)}, {"a": 0.5, "c": 0.5})


def test_refill_empty_takes_from_the_fullest_layer():
    assert ratios.refill_empty({"a": 5, "b": 0, "c": 6, "d": 0}) == {"a": 4, "b": 1, "c": 5, "d": 1}


def test_refill_empty_gives_every_layer_one_weight_when_there_are_too_few():
    assert ratios.refill_empty({"a": 2, "b": 0, "c": 0}) == {"a": 1, "b": 1, "c": 1}


@pytest.mark.parametrize("ratio", PRUNING_RATIOS)
def test_layer_sparsities_of_a_model_are_those_of_its_shapes(ratio, resnet20):
    expected = ratios.SHAPE_RATIOS[ratio](resnet20, 0.8)
    assert ratios.layer_sparsities(ratio, build_model("resnet-20"), 0.8) == expected


@pytest.mark.parametrize("ratio", ["snip", "grasp"])
def test_criterion_ratio_asks_for_its_batch(ratio):
    with pytest.raises(ValueError, match=f"{ratio}.*inputs= and targets="):
        ratios.layer_sparsities(ratio, build_model("resnet-8"), 0.5)


@pytest.mark.parametrize("ratio", ["snip", "grasp"])
@pytest.mark.parametrize("sparsity", [0.05, 0.5, 0.9, 0.98, 0.9999])
def test_criterion_ratio_is_the_layer_fractions_of_its_global_top_k(ratio, sparsity):
    from randprune_core.pruning.saliency import SCORES

    model = build_model("resnet-8-8")
    torch.manual_seed(0)
    batch = {"inputs": torch.randn(20, 3, 8, 8), "targets": torch.arange(20) % 10}
    sparsities = ratios.layer_sparsities(ratio, model, sparsity, **batch)
    weights = maskable_weights(model)
    counts = ratios.kept_counts({k: tuple(w.shape) for k, w in weights.items()}, sparsities)
    total = sum(weight.numel() for weight in weights.values())
    assert sum(counts.values()) == max(len(weights), round((1 - sparsity) * total))
    # Oracle: numpy's sort over all scores.
    scores = SCORES[ratio](model, **batch)
    flat = np.concatenate([score.flatten().numpy() for score in scores.values()])
    owner = np.repeat(np.arange(len(scores)), [score.numel() for score in scores.values()])
    best = np.argsort(-flat, kind="stable")[: round((1 - sparsity) * total)]
    expected = np.bincount(owner[best], minlength=len(scores))
    if expected.min() > 0:
        assert list(counts.values()) == expected.tolist()
    else:
        assert min(counts.values()) == 1
