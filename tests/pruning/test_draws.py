"""Scores of a network that draws in training mode do not depend on the global generators."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from randprune_core.pruning.ratios import layer_sparsities
from randprune_core.pruning.saliency import SCORES


class Drops(nn.Module):
    """Dropout three ways: a module, a function, and noise that the network draws by itself."""

    def __init__(self, kind: str):
        super().__init__()
        self.kind = kind
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.module = nn.Dropout2d(0.5)
        self.linear = nn.Linear(4, 3)

    def forward(self, x):
        x = self.norm(self.conv(x)).relu()
        if self.kind == "module":
            x = self.module(x)
        elif self.kind == "function":
            x = F.dropout(x, 0.5, training=self.training)
        else:
            x = x + torch.randn_like(x)
        return self.linear(x.mean((2, 3)))


def made(kind: str) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Drops(kind), torch.rand(12, 3, 8, 8), torch.arange(12) % 3


@pytest.mark.parametrize("criterion", SCORES)
@pytest.mark.parametrize("kind", ["module", "function", "noise"])
@given(seed=st.integers(0, 2**31), chunk_size=st.sampled_from([None, 5]))
@settings(max_examples=8, deadline=None)
def test_the_global_seed_changes_no_bit_of_a_score_and_is_left_alone(
    criterion, kind, seed, chunk_size
):
    model, x, y = made(kind)
    expected = SCORES[criterion](model, x, y, chunk_size=chunk_size)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        found = SCORES[criterion](model, x, y, chunk_size=chunk_size)
        assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("ratio", SCORES)
def test_nor_does_a_ratio_that_follows_from_scores(ratio):
    model, x, y = made("module")
    found = []
    with torch.random.fork_rng():
        for seed in range(5):
            torch.manual_seed(seed)
            found.append(layer_sparsities(ratio, model, 0.5, inputs=x, targets=y))
    assert all(each == found[0] for each in found)


def test_grasp_takes_gradient_and_hessian_of_the_same_draw():
    """Against -w * Hg of a network whose one draw is written out, in float64."""
    model, x, y = made("function")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        kept = (F.dropout(torch.ones(12, 4, 6, 6), 0.5)).double()
    model = model.double()
    names = ["conv.weight", "linear.weight"]
    weights = [dict(model.named_parameters())[name] for name in names]

    def loss():
        hidden = model.norm(model.conv(x.double())).relu() * kept
        return F.cross_entropy(model.linear(hidden.mean((2, 3))) / 200, y)

    gradient = torch.autograd.grad(loss(), weights, create_graph=True)
    inner = sum((g * g.detach()).sum() for g in gradient)
    product = torch.autograd.grad(inner, weights)
    found = SCORES["grasp"](model.float(), x, y)
    for name, weight, part in zip(names, weights, product, strict=True):
        expected = weight.detach().double() * part.double()
        torch.testing.assert_close(found[name].double(), expected, rtol=1e-3, atol=1e-9)
