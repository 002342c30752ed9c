"""What an attack can be asked for: zero gradients counted, another loss, more than one start."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from randprune_core.metrics.attacks import fgsm, gradient_sign, pgd, random_start
from randprune_core.metrics.losses import LOSSES, confusion, margin
from randprune_core.metrics.predict import predict_logits

PIXELS = 3 * 4 * 4


class Dead(nn.Module):
    """A linear network behind a ReLU that is dead for the images whose mean is below a half."""

    def __init__(self):
        super().__init__()
        weight = torch.randn(3, PIXELS, generator=torch.Generator().manual_seed(0))
        self.weight = nn.Parameter(weight)

    def forward(self, x):
        x = x.flatten(1)
        return (x @ self.weight.T) * (x.mean(1, keepdim=True) > 0.5)


def two_kinds(dead: int, alive: int) -> tuple[torch.Tensor, torch.Tensor]:
    images = torch.cat([torch.full((dead, 3, 4, 4), 0.2), torch.full((alive, 3, 4, 4), 0.8)])
    return images, torch.arange(len(images)) % 3


@given(dead=st.integers(0, 140), alive=st.integers(0, 140))  # more than one batch
@settings(max_examples=15, deadline=None)
def test_fgsm_counts_the_images_that_no_gradient_moves(dead, alive):
    images, targets = two_kinds(dead, alive)
    report = {}
    attacked = fgsm(Dead(), images, targets, 0.01, report=report)
    assert report == {
        "gradients": dead + alive,
        "zero_gradients": dead,
        "pixels": (dead + alive) * PIXELS,
        "zero_pixels": dead * PIXELS,
    }
    still = (attacked == images).flatten(1).all(1)
    assert int(still.sum()) == report["zero_gradients"]


@pytest.mark.parametrize(("steps", "restarts"), [(1, 1), (4, 1), (3, 2)])
def test_pgd_counts_every_step_of_every_restart(steps, restarts):
    images, targets = two_kinds(5, 2)
    report = {}
    pgd(Dead(), images, targets, 0.01, 0.005, steps, 0, restarts=restarts, report=report)
    assert report["gradients"] == 7 * steps * restarts
    assert report["zero_gradients"] == 5 * steps * restarts


def test_counts_add_up_over_calls():
    images, targets = two_kinds(1, 1)
    report = {}
    for _ in range(3):
        fgsm(Dead(), images, targets, 0.01, report=report)
    assert (report["gradients"], report["zero_gradients"]) == (6, 3)


@given(seed=st.integers(0, 10_000), classes=st.integers(2, 6))
@settings(max_examples=40, deadline=None)
def test_losses_equal_their_closed_form_in_numpy(seed, classes):
    draw = np.random.default_rng(seed)
    logits, targets = 5 * draw.normal(size=(7, classes)), draw.integers(0, classes, 7)
    own = logits[np.arange(7), targets]
    others = np.array([np.delete(row, k) for row, k in zip(logits, targets, strict=True)])
    given_ = torch.from_numpy(logits), torch.from_numpy(targets)
    np.testing.assert_allclose(margin(*given_), others.max(1) - own, rtol=1e-12)
    np.testing.assert_allclose(confusion(*given_), np.log(np.exp(others).sum(1)) - own, rtol=1e-9)
    right = torch.from_numpy(logits.argmax(1) == targets)
    assert torch.equal(margin(*given_) <= 0, right)  # no ties in these draws


def test_the_margin_loss_follows_the_strongest_other_class(fitted):
    model, images, targets = fitted
    x, y = images[:20] / 255, targets[:20]
    leaf = x.double().requires_grad_()
    logits = copy.deepcopy(model).eval().double()(leaf)
    own = logits.gather(1, y[:, None])[:, 0]
    best = logits.scatter(1, y[:, None], -torch.inf).amax(1)
    (expected,) = torch.autograd.grad((best - own).sum(), leaf)
    sign = gradient_sign(model, x, y, loss="margin")
    assert (sign == expected.sign()).double().mean() > 0.999


def test_the_first_start_is_the_one_without_restarts_and_others_differ():
    images, _ = two_kinds(2, 2)
    first = random_start(images, 0.1, seed=3)
    assert torch.equal(random_start(images, 0.1, seed=3, restart=0), first)
    starts = [random_start(images, 0.1, seed=3, restart=number) for number in (1, 2)]
    assert not torch.equal(starts[0], first) and not torch.equal(*starts)
    assert all((start - images).abs().max() <= 0.1 for start in starts)


@pytest.mark.parametrize("loss", LOSSES)
def test_restarts_keep_each_image_s_greatest_margin(fitted, loss):
    model, images, targets = fitted
    x, y, epsilon = images[120:] / 255, targets[120:], 0.03

    def reached(restarts):
        found = pgd(model, x, y, epsilon, 0.01, 3, 0, loss=loss, restarts=restarts)
        assert (found - x).abs().max() <= epsilon
        return margin(predict_logits(model, found), y)

    margins = [reached(number) for number in (1, 2, 4)]
    assert torch.equal(reached(4), margins[2])  # the same once more
    assert (margins[1] >= margins[0]).all() and (margins[2] >= margins[1]).all()
    assert (margins[2] > margins[0]).any()


@pytest.mark.parametrize("attack", ["fgsm", "pgd"])
def test_naming_the_defaults_changes_no_bit(fitted, attack):
    model, images, targets = fitted
    x, y = images[:50] / 255, targets[:50]
    named = {"loss": "cross_entropy", "report": {}}
    if attack == "fgsm":
        assert torch.equal(fgsm(model, x, y, 0.05, **named), fgsm(model, x, y, 0.05))
        return
    usual = (0.05, 0.02, 3, 1)
    expected = pgd(model, x, y, *usual)
    assert torch.equal(pgd(model, x, y, *usual, restarts=1, **named), expected)


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "2"])
def test_a_number_of_restarts_that_cannot_be_is_refused(fitted, value):
    model, images, targets = fitted
    with pytest.raises(ValueError, match="restarts is"):
        pgd(model, images[:2] / 255, targets[:2], 0.1, 0.1, 1, 0, restarts=value)


def test_an_unknown_loss_is_refused_with_the_known_ones(fitted):
    model, images, targets = fitted
    with pytest.raises(ValueError, match="'hinge' is not known: choose from cross_entropy, margin"):
        fgsm(model, images[:2] / 255, targets[:2], 0.1, loss="hinge")
