"""The gradient norm against a float64 loop."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from randprune_core.metrics.gradient import gradient_norm


class TestGradientNorm:
    def network(self):
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(64, 3)
        )
        F.cross_entropy(model(torch.rand(5, 3, 6, 6)), torch.arange(5) % 3).backward()
        generator = torch.Generator().manual_seed(0)
        masks = {
            name: torch.rand(model.get_parameter(name).shape, generator=generator) < 0.3
            for name in ("0.weight", "3.weight")
        }
        return model, masks

    def by_loop(self, model, masks):
        total = 0.0
        for name in ("0.weight", "3.weight"):
            gradient = model.get_parameter(name).grad.double().flatten().tolist()
            kept = [True] * len(gradient) if masks is None else masks[name].flatten().tolist()
            total += sum(g * g for g, keep in zip(gradient, kept, strict=True) if keep)
        return math.sqrt(total)

    def test_equals_a_float64_loop_over_conv_and_linear_weights(self):
        model, masks = self.network()
        assert gradient_norm(model, None) == pytest.approx(self.by_loop(model, None), rel=1e-12)
        assert gradient_norm(model, masks) == pytest.approx(self.by_loop(model, masks), rel=1e-12)
        assert gradient_norm(model, masks) < gradient_norm(model, None)

    def test_gradients_of_pruned_weights_biases_and_batch_norm_do_not_count(self):
        model, masks = self.network()
        before = gradient_norm(model, masks)
        for name, mask in masks.items():
            model.get_parameter(name).grad[~mask] = math.inf
        model[1].weight.grad += 1e6
        model[3].bias.grad += 1e6
        assert gradient_norm(model, masks) == before
        model[0].weight.grad[masks["0.weight"]] += 1.0
        assert gradient_norm(model, masks) != before

    def test_large_and_tiny_gradients_are_summed_in_float64(self):
        model, _ = self.network()
        for name in ("0.weight", "3.weight"):
            model.get_parameter(name).grad.fill_(1e-25)  # squares vanish in float32
        count = model[0].weight.numel() + model[3].weight.numel()
        assert gradient_norm(model, None) == pytest.approx(1e-25 * math.sqrt(count), rel=1e-6)

    def test_gradients_are_left_as_they_were(self):
        model, masks = self.network()
        before = {name: p.grad.clone() for name, p in model.named_parameters()}
        gradient_norm(model, masks)
        assert all(torch.equal(p.grad, before[name]) for name, p in model.named_parameters())

    def test_missing_gradient_and_misfit_masks_are_refused(self):
        model, masks = self.network()
        with pytest.raises(ValueError, match="3.weight"):
            gradient_norm(model, {"0.weight": masks["0.weight"]})
        with pytest.raises(ValueError, match="0.weight"):
            gradient_norm(model, {**masks, "0.weight": masks["0.weight"][:1]})
        model[3].weight.grad = None
        with pytest.raises(ValueError, match=r"3.weight.*backward"):
            gradient_norm(model, masks)
