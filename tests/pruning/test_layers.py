"""Which weights of a network can be pruned: every kind, by choice, shared, wrapped, computed."""

import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import NETWORKS, LanguageModel, Unet, batch, network
from torch import nn
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm

from randprune_core import build_model, describe, layer_sparsities, maskable_weights, random_masks
from randprune_core.metrics.cost import cost, layer_macs
from randprune_core.pruning.layers import KINDS
from randprune_core.pruning.ratios import er, erk

CHOSEN = {
    "mlp": ["1.weight", "3.weight"],
    "separable": ["0.weight", "3.weight", "6.weight", "9.weight"],
    "u-net": ["first.weight", "down.weight", "up.weight", "head.weight"],
    "1-d": ["0.weight", "2.weight", "5.weight"],
    "3-d": ["0.weight", "2.weight", "5.weight"],
    "language model": ["embedding.weight"],
}


def names(model, **choice):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return list(maskable_weights(model, **choice))


@pytest.mark.parametrize("name", CHOSEN)
def test_every_kind_of_layer_is_found(name):
    assert names(network(name)) == CHOSEN[name]


def test_projections_of_attention_are_linear_layers():
    found = names(network("transformer"))
    for part in ("in_proj_weight", "out_proj.weight"):
        layer = f"encoder.layers.encoder_layer_1.self_attention.{part}"
        assert layer in found
    other = nn.MultiheadAttention(8, 2, kdim=6, vdim=4)
    assert names(other) == ["q_proj_weight", "k_proj_weight", "v_proj_weight", "out_proj.weight"]


def test_embeddings_and_recurrent_weights_are_there_by_choice():
    model = nn.ModuleDict(
        {
            "words": nn.Embedding(9, 4),
            "bag": nn.EmbeddingBag(9, 4),
            "rnn": nn.GRU(4, 5, bidirectional=True),
            "cell": nn.LSTMCell(4, 5),
            "head": nn.Linear(5, 2),
        }
    )
    assert names(model) == ["head.weight"]
    assert names(model, types=["embedding"]) == ["words.weight", "bag.weight"]
    assert names(model, types="recurrent") == [
        *(f"rnn.weight_{part}_l0{way}" for way in ("", "_reverse") for part in ("ih", "hh")),
        "cell.weight_ih",
        "cell.weight_hh",
    ]
    assert len(names(model, types=KINDS)) == 9
    assert names(model, types=[nn.GRU, nn.Linear])[-1] == "head.weight"


@pytest.mark.parametrize(
    ("choice", "found"),
    [
        ({"exclude": "head"}, ["first.weight", "down.weight", "up.weight"]),
        ({"exclude": ["*t.weight", "up.weight"]}, ["down.weight", "head.weight"]),
        ({"types": (), "include": ["down", "head.weight"]}, ["down.weight", "head.weight"]),
        ({"types": "conv_transpose", "include": "first"}, ["first.weight", "up.weight"]),
        ({"types": nn.Conv2d}, ["first.weight", "down.weight", "head.weight"]),
    ],
)
def test_layers_are_chosen_by_name_of_a_parameter_a_module_or_a_pattern(choice, found):
    assert names(Unet(), **choice) == found


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"types": "convolution"}, "unknown type of layer 'convolution': give conv, conv_transp"),
        ({"types": [int]}, "unknown type of layer"),
        ({"include": "tail"}, "include names 'tail', which no parameter is called"),
        ({"exclude": ["head", "fc"]}, "exclude names 'fc'"),
        ({"include": "head.bias"}, r"'head.bias' has shape \(5,\): only weights of two"),
    ],
)
def test_a_choice_that_means_nothing_is_refused(choice, message):
    with pytest.raises(ValueError, match=message):
        maskable_weights(Unet(), **choice)


def test_a_shared_weight_is_one_layer_with_all_its_names():
    model = LanguageModel()
    with pytest.warns(RuntimeWarning, match=r"100 % of the weights stay dense.*lstm"):
        weights = maskable_weights(model, types=["linear"], exclude="decoder")
    assert not weights  # excluded by either of its names
    assert names(model, types=["linear", "embedding"]) == ["embedding.weight"]
    rows = describe(model, types=["linear", "recurrent"]).set_index("layer")
    assert rows.loc["embedding.weight", "tied_to"] == "decoder.weight"
    assert rows["parameters"].sum() == sum(p.numel() for p in model.parameters())
    assert rows["share"].sum() == pytest.approx(1)
    assert rows["maskable"].sum() == 5


def test_a_module_that_is_used_twice_is_one_layer():
    block = nn.Linear(4, 4)
    model = nn.Sequential(block, nn.ReLU(), block)
    assert names(model) == ["0.weight"]
    assert describe(model)["tied_to"].tolist() == ["2.weight", "2.bias"]
    assert layer_macs(model, torch.zeros(1, 4)) == {"0.weight": 32}  # it is computed with twice
    assert cost(model, {"0.weight": 8}, torch.zeros(1, 4))["dense_weights"] == 16


COMPUTED = {
    "weight norm": lambda layer: parametrizations.weight_norm(layer),
    "orthogonal": lambda layer: parametrizations.orthogonal(layer),
    "spectral norm": lambda layer: parametrizations.spectral_norm(layer),
    "old weight norm": lambda layer: weight_norm(layer),
    "old spectral norm": lambda layer: spectral_norm(layer),
    "torch's pruning": lambda layer: prune.random_unstructured(layer, "weight", 0.5),
}


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("kind", COMPUTED)
def test_a_weight_that_is_computed_from_others_is_refused_by_name(kind):
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 3))
    COMPUTED[kind](model[0])
    with pytest.raises(ValueError, match=r"weight '0\.weight' is no parameter of its own"):
        maskable_weights(model)
    with pytest.raises(ValueError, match=r"'0\.weight'"):
        random_masks(model, {"0.weight": 0.5, "1.weight": 0.5})
    assert names(model, exclude="0") == ["1.weight"]
    rows = describe(model).set_index("layer")
    assert rows["maskable"].sum() == 1 and rows.loc["1.weight", "maskable"]
    reasons = " ".join(rows["why_not"])
    assert "0.weight is computed from it" in reasons


def test_a_layer_without_a_shape_yet_is_refused():
    model = nn.Sequential(nn.LazyLinear(4), nn.Linear(4, 2))
    with pytest.raises(ValueError, match=r"'0\.weight' has no shape yet: run one batch"):
        maskable_weights(model)
    assert describe(model)["why_not"].tolist()[:2] == ["no shape yet"] * 2


def test_most_of_a_network_outside_of_the_budget_is_said_with_the_names():
    model = nn.ModuleDict({"words": nn.Embedding(90, 10), "head": nn.Linear(10, 10)})
    for call in (
        lambda: maskable_weights(model),
        lambda: layer_sparsities("uniform", model, 0.5),
    ):
        with pytest.warns(RuntimeWarning, match=r"90 % of the weights stay dense.*words\.weight"):
            call()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        maskable_weights(model, types=["linear", "embedding"])
        for name in ("mlp", "resnet-18", "vgg", "u-net", "transformer"):
            maskable_weights(network(name))


def test_describe_says_what_stays_and_why():
    rows = describe(network("language model"), exclude="lstm.weight_hh_l0").set_index("layer")
    assert rows.loc["lstm.weight_ih_l0", "why_not"] == "recurrent: not among the types"
    assert rows.loc["lstm.weight_hh_l0", "why_not"] == "excluded"
    assert rows.loc["decoder.bias", "why_not"] == "biases and scales are not pruned"
    rows = describe(network("transformer")).set_index("layer")
    assert rows.loc["class_token", "why_not"] == "no type of layer that is pruned"
    assert rows.loc["conv_proj.weight", "shape"] == (24, 3, 8, 8)


WRAPPERS = {
    "compiled": lambda model: torch.compile(model, backend="eager"),
    "data parallel": nn.DataParallel,
    "both": lambda model: torch.compile(nn.DataParallel(model), backend="eager"),
    "compiled part": lambda model: _compile_part(model),
}


def _compile_part(model):
    model.stage2[0] = torch.compile(model.stage2[0], backend="eager")
    return model


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_wrappers_change_no_name_and_no_mask(wrapper):
    bare = build_model("resnet-8", 10)
    masks = random_masks(bare, layer_sparsities("erk", bare, 0.8), seed=3)
    wrapped = WRAPPERS[wrapper](build_model("resnet-8", 10))
    found = random_masks(wrapped, layer_sparsities("erk", wrapped, 0.8), seed=3)
    assert list(found) == list(masks)
    assert all(torch.equal(found[name], masks[name]) for name in masks)
    assert describe(wrapped)["layer"].tolist() == describe(bare)["layer"].tolist()


@given(
    dimensions=st.integers(1, 3),
    inputs=st.integers(1, 4),
    outputs=st.integers(1, 4),
    groups=st.integers(1, 2),
    stride=st.integers(1, 2),
    side=st.integers(3, 6),
    transposed=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_macs_of_convolutions_are_the_products_that_are_made(
    dimensions, inputs, outputs, groups, stride, side, transposed
):
    kind = f"Conv{'Transpose' if transposed else ''}{dimensions}d"
    layer = getattr(nn, kind)(inputs * groups, outputs * groups, 2, stride, groups=groups)
    example = torch.ones(1, inputs * groups, *[side] * dimensions)
    positions = side if transposed else (side - 2) // stride + 1
    # Without padding every weight of a kernel meets every position of its smaller side.
    by_hand = positions**dimensions * inputs * outputs * groups * 2**dimensions
    assert layer_macs(layer, example) == {"weight": by_hand}


def test_macs_of_recurrent_layers_and_of_shared_weights():
    model, (tokens, _) = network("language model"), batch("language model", 1)
    found = layer_macs(model, tokens)
    assert found["lstm.weight_ih_l0"] == found["lstm.weight_hh_l1"] == 7 * 4 * 16 * 16
    assert found["embedding.weight"] == 30 * 16  # looked up for nothing, multiplied once
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        weights = maskable_weights(model, types=["linear", "recurrent"])
    kept = {name: weight.numel() // 2 for name, weight in weights.items()}
    result = cost(model, kept, tokens, weights=weights)
    assert result["dense_parameters"] == sum(p.numel() for p in model.parameters())
    assert result["mac_ratio"] == 0.5


# PyTorch counts no LSTM on a CPU, and in attention the products of activations as well.
@pytest.mark.parametrize("name", sorted(NETWORKS.keys() - {"language model", "transformer"}))
def test_macs_agree_with_the_counter_of_pytorch(name):
    from torch.utils.flop_counter import FlopCounterMode

    model, (example, _) = network(name).eval(), batch(name, 1)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(example)
    assert sum(layer_macs(model, example).values()) * 2 == counter.get_total_flops()


def test_an_example_is_a_batch_of_one():
    with pytest.raises(ValueError, match="give a batch of one"):
        layer_macs(network("1-d"), torch.zeros(2, 2, 12))


def test_er_and_the_power_by_hand():
    # Shapes (out, in, k, k): 8*4*9 = 288 weights, sum 18; 10*8 = 80 weights, sum 18.
    shapes = {"conv": (8, 4, 3, 3), "fc": (10, 8)}
    density = {name: 1 - value for name, value in er(shapes, 0.75).items()}
    assert density["conv"] / density["fc"] == pytest.approx((12 / 32) / (18 / 80))
    assert 288 * density["conv"] + 80 * density["fc"] == pytest.approx(92)
    half = {name: 1 - value for name, value in erk(shapes, 0.75, power=0.5).items()}
    assert half["conv"] / half["fc"] == pytest.approx(((18 / 288) / (18 / 80)) ** 0.5)
    assert set(erk(shapes, 0.75, power=0).values()) == {0.75}
    for power in (-1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="power"):
            erk(shapes, 0.75, power=power)


def test_granularities_that_need_rows_of_outputs_are_refused_elsewhere():
    model = Unet()
    for granularity, sparsity in (("filter", 0.5), ("2:4", 0.5)):
        with pytest.raises(ValueError, match=r"'up\.weight' is a ConvTranspose2d"):
            random_masks(model, dict.fromkeys(names(model), sparsity), 0, granularity)
        weights = dict(list(maskable_weights(model).items())[:2])
        sparsities = dict.fromkeys(weights, sparsity)
        if granularity == "2:4":
            masks = random_masks(model, sparsities, 0, granularity, weights=weights)
            assert list(masks) == list(weights)
