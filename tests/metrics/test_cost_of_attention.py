"""MACs of weights that are used without a call of their module, and of filter-pruned networks."""

import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from randprune_core.metrics.cost import cost, filter_cost, layer_macs
from randprune_core.models import build_model
from randprune_core.pruning.layers import maskable_weights
from randprune_core.pruning.masks import random_masks
from randprune_core.pruning.ratios import layer_sparsities


class Attends(nn.Module):
    """Patches, self-attention or cross-attention with other widths of key and value, a head."""

    def __init__(self, width: int, heads: int, batch_first: bool, other: int | None = None):
        super().__init__()
        self.batch_first, self.other = batch_first, other
        self.patch = nn.Conv2d(3, width, 4, 4)
        self.attention = nn.MultiheadAttention(
            width, heads, batch_first=batch_first, kdim=other, vdim=other
        )
        self.head = nn.Linear(width, 5)

    def forward(self, x):
        tokens = self.patch(x).flatten(2).transpose(1, 2)
        tokens = tokens if self.batch_first else tokens.transpose(0, 1)
        context = tokens if self.other is None else tokens[..., : self.other]
        out, _ = self.attention(tokens, context, value=context)
        return self.head(out.mean(1 if self.batch_first else 0))


@given(
    heads=st.integers(1, 3),
    size=st.integers(1, 3),
    side=st.integers(1, 3),
    batch_first=st.booleans(),
    cross=st.booleans(),
)
@settings(max_examples=25, deadline=None)
def test_attention_is_counted_as_by_hand(heads, size, side, batch_first, cross):
    width, tokens = 2 * heads * size, side * side
    other = width - 1 if cross else None
    model = Attends(width, heads, batch_first, other)
    found = layer_macs(model, (3, 4 * side, 4 * side))
    assert found["patch.weight"] == tokens * width * 3 * 16
    assert found["attention.out_proj.weight"] == tokens * width * width
    into = tokens * width * width + 2 * tokens * width * (other or width)
    assert sum(n for name, n in found.items() if "proj_weight" in name) == into
    assert found["head.weight"] == 5 * width
    assert all(weight.requires_grad for weight in model.parameters()) and model.training


def test_vit_b_16_has_its_published_macs():
    with torch.random.fork_rng():
        model = torchvision.models.vit_b_16(weights=None).requires_grad_(False)
    total = sum(layer_macs(model, (3, 224, 224)).values())
    assert round(total / 1e9, 2) == 16.85
    assert not any(weight.requires_grad for weight in model.parameters())
    dense = {name: weight.numel() for name, weight in maskable_weights(model).items()}
    assert cost(model, dense, (3, 224, 224))["mac_ratio"] == 1


def test_an_encoder_layer_is_counted_around_its_fast_path():
    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.TransformerEncoderLayer(12, 3, 20, batch_first=True)
            self.head = nn.Linear(12, 4)

        def forward(self, x):
            return self.head(self.layer(x.flatten(1).view(1, -1, 12)).mean(1))

    found = layer_macs(Encoder(), (3, 4, 8))  # 8 tokens of 12
    assert sum(found.values()) == 8 * (4 * 12 * 12 + 2 * 12 * 20) + 4 * 12


class Functional(nn.Module):
    """Uses a layer's weight without calling the layer, in one of several ways."""

    def __init__(self, way: str):
        super().__init__()
        self.way = way
        self.first, self.hidden = nn.Linear(12, 6), nn.Linear(6, 6)
        self.out = nn.Linear(6, 2)

    def forward(self, x):
        x = self.first(x.flatten(1))
        if self.way == "linear":
            x = F.linear(x, self.hidden.weight)
        elif self.way == "product":
            x = x @ self.hidden.weight
        elif self.way == "scaled":
            x = F.linear(x, self.hidden.weight * 2, self.hidden.bias)
        x = self.out(x)
        return {"logits": x} if self.way == "product" else (x,) if self.way == "scaled" else x


@pytest.mark.parametrize("way", ["linear", "product", "scaled"])
@pytest.mark.parametrize("trainable", [True, False])
def test_a_weight_that_is_used_without_its_module_is_named(way, trainable):
    model = Functional(way).requires_grad_(trainable)
    with pytest.raises(ValueError, match=r"'hidden\.weight' cannot be counted"):
        layer_macs(model, (3, 2, 2))
    assert model.hidden.weight.requires_grad == trainable and model.training
    assert model.hidden.weight.grad is None


def test_a_layer_that_is_not_used_costs_nothing():
    assert layer_macs(Functional("not"), (3, 2, 2)) == {
        "first.weight": 72,
        "hidden.weight": 0,
        "out.weight": 12,
    }


@pytest.mark.parametrize("name", ["resnet-8", "vgg-11"])
@pytest.mark.parametrize("sparsity", [0.3, 0.7])
def test_filter_masks_cost_their_zeros_and_their_compact_network(name, sparsity):
    model = build_model(name)
    masks = random_masks(model, layer_sparsities("uniform", model, sparsity), 0, "filter")
    found = filter_cost(model, masks, (3, 32, 32))
    assert {key: found[key] for key in cost(model, masks, (3, 32, 32))} == cost(
        model, masks, (3, 32, 32)
    )
    # A weight of a kept filter is left in the compact network if its input channel is.
    assert found["compact_macs"] < found["sparse_macs"] < found["dense_macs"]
    assert found["compact_weights"] < found["kept_weights"]


def test_vgg_16_at_70_percent_both_ways_by_hand():
    model = build_model("vgg-16")
    masks = random_masks(model, layer_sparsities("uniform", model, 0.7), 0, "filter")
    found = filter_cost(model, masks, (3, 32, 32))
    widths = [64, 64, 128, 128, 256, 256, 256, *[512] * 6]
    sides = [32, 32, 16, 16, 8, 8, 8, 4, 4, 4, 2, 2, 2]
    kept = [round(0.3 * width) for width in widths]

    def macs(inputs, outputs):
        return sum(9 * a * b * s * s for a, b, s in zip(inputs, outputs, sides, strict=True))

    head = int(masks["linear.weight"].sum())
    assert found["sparse_macs"] == macs([3, *widths[:-1]], kept) + head
    assert found["compact_macs"] == macs([3, *kept[:-1]], kept) + kept[-1] * 10
    assert round(found["sparse_macs"] / 1e6, 1) == 93.8
    assert round(found["compact_macs"] / 1e6, 1) == 28.5
