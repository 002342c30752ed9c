"""Perturbed inputs stay in their ball, do harm, and leave the network as it was."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from randprune_core.metrics.attacks import (
    fgsm,
    fgsm_from_sign,
    gaussian_noise,
    gradient_sign,
    pgd,
)
from randprune_core.metrics.losses import confusion
from randprune_core.metrics.predict import frozen
from randprune_core.precision import full_precision

ATTACKS = {
    "fgsm": lambda model, x, y, epsilon: fgsm(model, x, y, epsilon),
    "pgd": lambda model, x, y, epsilon: pgd(model, x, y, epsilon, epsilon / 4, 10, seed=0),
}


def tiny_network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Flatten(),
        nn.Linear(4 * 36, 3),
    )


def tiny_batch(n: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(n, 3, 6, 6, generator=generator)
    images[0], images[1] = 0.0, 1.0  # the corners of the box
    return images, torch.arange(n) % 3


@pytest.fixture(scope="module")
def fitted():
    """A network that separates faint patterns (amplitude 0.15) almost perfectly."""
    generator = torch.Generator().manual_seed(0)
    patterns = torch.rand(3, 3, 6, 6, generator=generator)
    targets = torch.arange(300) % 3
    noise = 0.05 * torch.randn(300, 3, 6, 6, generator=generator)
    images = (0.4 + 0.15 * patterns[targets] + noise).clamp(0, 1)
    model = tiny_network()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for _ in range(40):
        optimiser.zero_grad()
        F.cross_entropy(model(images), targets).backward()
        optimiser.step()
    return model.eval(), images, targets


def share_right(model, images, targets) -> float:
    with torch.no_grad():
        return (model(images).argmax(1) == targets).float().mean().item()


def assert_in_ball_and_box(perturbed, images, epsilon):
    distance = (perturbed.double() - images.double()).abs().max().item()
    assert distance <= epsilon
    assert (perturbed - images).abs().max().item() <= epsilon  # in the images' own precision too
    assert perturbed.min() >= 0
    assert perturbed.max() <= 1
    assert perturbed.shape == images.shape
    assert perturbed.dtype == images.dtype


@pytest.mark.parametrize("attack", ATTACKS)
def test_attack_with_epsilon_zero_returns_the_images(attack):
    images, targets = tiny_batch()
    assert torch.equal(ATTACKS[attack](tiny_network(), images, targets, 0.0), images)


@pytest.mark.parametrize("attack", ATTACKS)
def test_attack_of_no_images_returns_no_images(attack):
    images, targets = tiny_batch()
    assert ATTACKS[attack](tiny_network(), images[:0], targets[:0], 0.1).shape == (0, 3, 6, 6)


@pytest.mark.parametrize("attack", ATTACKS)
@given(epsilon=st.floats(0, 1, width=64))
@settings(max_examples=25, deadline=None)
def test_attack_stays_exactly_in_ball_and_box(attack, epsilon):
    images, targets = tiny_batch()
    perturbed = ATTACKS[attack](tiny_network(), images, targets, epsilon)
    assert_in_ball_and_box(perturbed, images, epsilon)


@given(seed=st.integers(0, 2**32 - 1), epsilon=st.sampled_from([k / 255 for k in (0.5, 1, 2, 8)]))
@settings(max_examples=25, deadline=None)
def test_fgsm_step_never_rounds_out_of_the_ball(seed, epsilon):
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(10_000, generator=generator) ** 3  # many magnitudes
    sign = torch.randint(-1, 2, (10_000,), generator=generator)
    perturbed = fgsm_from_sign(images, sign, epsilon)
    assert_in_ball_and_box(perturbed, images, epsilon)
    inside = (images > epsilon) & (images < 1 - epsilon)
    expected = images.double() + epsilon * sign
    torch.testing.assert_close(perturbed[inside].double(), expected[inside], rtol=0, atol=2e-7)


def test_naive_addition_does_round_out_of_the_ball():
    """The exact check above can fail: plain image + epsilon does not pass it."""
    images = torch.rand(10_000, generator=torch.Generator().manual_seed(0))
    with pytest.raises(AssertionError):
        assert_in_ball_and_box((images + 8 / 255).clamp(0, 1), images, 8 / 255)


def test_fgsm_follows_the_sign_of_the_gradient_in_float64():
    model, (images, targets) = tiny_network().eval().double(), tiny_batch()
    images = images.double().clamp(0.2, 0.8).requires_grad_(True)
    F.cross_entropy(model(images), targets).backward()
    expected = images.detach() + 0.1 * images.grad.sign()
    perturbed = fgsm(model, images.detach(), targets, 0.1)
    torch.testing.assert_close(perturbed, expected, rtol=0, atol=1e-12)


def test_gradient_sign_of_a_batch_is_that_of_each_image():
    model, (images, targets) = tiny_network(), tiny_batch(130)  # more than one internal batch
    whole = gradient_sign(model, images, targets)
    single = [gradient_sign(model, images[[i]], targets[[i]]) for i in (0, 124, 125, 129)]
    assert torch.equal(whole[[0, 124, 125, 129]], torch.cat(single))


@pytest.mark.parametrize("attack", ATTACKS)
def test_attack_lowers_accuracy_and_more_so_at_a_larger_epsilon(attack, fitted):
    model, images, targets = fitted
    clean, small, large = (
        share_right(model, ATTACKS[attack](model, images, targets, epsilon), targets)
        for epsilon in (0.0, 0.02, 0.2)
    )
    assert clean > 0.95
    assert large < 0.1
    assert large < small <= clean


def test_pgd_raises_the_loss_at_least_as_much_as_a_random_start(fitted):
    model, images, targets = fitted
    noise = torch.rand(images.shape, generator=torch.Generator().manual_seed(3)) * 0.2 - 0.1
    with torch.no_grad():
        random = F.cross_entropy(model((images + noise).clamp(0, 1)), targets)
        attacked = F.cross_entropy(model(pgd(model, images, targets, 0.1, 0.025, 10, 0)), targets)
    assert attacked > 2 * random


def test_pgd_of_one_seed_repeats_and_of_another_differs():
    model, (images, targets) = tiny_network(), tiny_batch()
    seeds = (5, 5, 6)
    first, same, other = (pgd(model, images, targets, 0.1, 0.001, 2, seed) for seed in seeds)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_pgd_start_of_an_image_does_not_depend_on_the_images_after_it():
    model, (images, targets) = tiny_network(), tiny_batch(130)
    whole = pgd(model, images, targets, 0.1, 0.001, 1, seed=0)
    first = pgd(model, images[:10], targets[:10], 0.1, 0.001, 1, seed=0)
    torch.testing.assert_close(whole[:10], first, rtol=0, atol=1e-6)


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("grad_enabled", [True, False])
def test_attack_leaves_the_network_and_the_generators_untouched(attack, grad_enabled):
    model, (images, targets) = tiny_network(), tiny_batch()
    model.train()
    model[1].eval()  # a partly frozen network
    model[0].weight.requires_grad_(False)
    F.cross_entropy(model(images), targets).backward()
    before = copy.deepcopy(model)
    gradients = {name: p.grad for name, p in model.named_parameters()}
    kept = {name: None if g is None else g.clone() for name, g in gradients.items()}
    pixels, torch_state, numpy_state = images.clone(), torch.get_rng_state(), np.random.get_state()
    with torch.set_grad_enabled(grad_enabled):
        ATTACKS[attack](model, images, targets, 0.1)
        gaussian_noise(images, 0.1, seed=0)
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert np.array_equal(np.random.get_state()[1], numpy_state[1])
    assert torch.equal(images, pixels)
    assert not images.requires_grad
    assert [m.training for m in model.modules()] == [m.training for m in before.modules()]
    for name, value in before.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad == before.get_parameter(name).requires_grad
        assert parameter.grad is gradients[name]
        assert parameter.grad is None or torch.equal(parameter.grad, kept[name])


def test_frozen_restores_the_network_after_an_error():
    model = tiny_network().train()
    with pytest.raises(RuntimeError, match="inside"), frozen(model):
        assert not model.training
        assert not any(p.requires_grad for p in model.parameters())
        raise RuntimeError("inside")
    assert all(module.training for module in model.modules())
    assert all(p.requires_grad for p in model.parameters())


def test_full_precision_switches_tf32_and_autocast_off_and_back():
    matmul, convolution = torch.backends.cuda.matmul, torch.backends.cudnn.conv
    before = matmul.fp32_precision, convolution.fp32_precision
    try:
        matmul.fp32_precision = convolution.fp32_precision = "tf32"
        with torch.autocast("cpu", dtype=torch.bfloat16):
            with full_precision("cpu"):
                assert (matmul.fp32_precision, convolution.fp32_precision) == ("ieee", "ieee")
                assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16
        assert (matmul.fp32_precision, convolution.fp32_precision) == ("tf32", "tf32")
    finally:
        matmul.fp32_precision, convolution.fp32_precision = before


def test_attack_under_autocast_equals_the_attack_in_float32():
    model, (images, targets) = tiny_network(), tiny_batch()
    plain = pgd(model, images, targets, 0.1, 0.025, 3, seed=0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(pgd(model, images, targets, 0.1, 0.025, 3, seed=0), plain)


def test_gaussian_noise_has_the_stated_deviation_and_is_clipped():
    images = torch.full((4, 3, 64, 64), 0.5)
    noise = gaussian_noise(images, 0.08, seed=0) - images
    assert noise.mean().item() == pytest.approx(0, abs=0.08 * 4 / noise.numel() ** 0.5)
    assert noise.std().item() == pytest.approx(0.08, rel=0.02)
    white = gaussian_noise(torch.ones_like(images), 0.5, seed=0)
    assert (white.min().item(), white.max().item()) == (0.0, 1.0)
    assert torch.equal(gaussian_noise(images, 0.0, seed=0), images)


def test_gaussian_noise_repeats_by_seed_and_scales_one_draw_by_sigma():
    images = torch.full((2, 3, 8, 8), 0.5)
    small, double = (gaussian_noise(images, sigma, seed=1) - images for sigma in (0.02, 0.04))
    torch.testing.assert_close(double, 2 * small, rtol=0, atol=1e-6)
    assert torch.equal(gaussian_noise(images, 0.02, 1), gaussian_noise(images, 0.02, 1))
    assert not torch.equal(gaussian_noise(images, 0.02, 1), gaussian_noise(images, 0.02, 2))


IMAGES, TARGETS = tiny_batch()


@pytest.mark.parametrize(
    ("images", "targets", "epsilon", "message"),
    [
        (IMAGES, TARGETS, -0.1, "epsilon is -0.1"),
        (IMAGES, TARGETS, 8, "8/255"),
        (IMAGES, TARGETS, float("nan"), "epsilon is nan"),
        (IMAGES * 255, TARGETS, 0.1, "range from 0 to 255"),
        (IMAGES - 0.5, TARGETS, 0.1, "range from -0.5 to 0.5"),
        (IMAGES * float("nan"), TARGETS, 0.1, r"in \[0, 1\]"),
        ((IMAGES * 255).byte(), TARGETS, 0.1, "torch.uint8"),
        (IMAGES, TARGETS[:-1], 0.1, r"shape \(7,\)"),
        (IMAGES, TARGETS.float(), 0.1, "float32"),
    ],
)
@pytest.mark.parametrize("attack", ATTACKS)
def test_attack_refuses_bad_input_in_one_line(attack, images, targets, epsilon, message):
    with pytest.raises(ValueError, match=message) as error:
        ATTACKS[attack](tiny_network(), images, targets, epsilon)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("step", "steps", "message"),
    [(-0.1, 10, "step is -0.1"), (0.1, 0, "steps is 0"), (0.1, 2.5, "steps is 2.5")],
)
def test_pgd_refuses_bad_steps(step, steps, message):
    with pytest.raises(ValueError, match=message):
        pgd(tiny_network(), IMAGES, TARGETS, 0.1, step, steps, seed=0)


@pytest.mark.parametrize("sigma", [-0.01, 1.5, float("nan")])
def test_gaussian_noise_refuses_a_sigma_off_the_pixel_range(sigma):
    with pytest.raises(ValueError, match="sigma is"):
        gaussian_noise(IMAGES, sigma, seed=0)


class Scaled(nn.Module):
    """The same decisions with more certainty: all logits times a factor."""

    def __init__(self, model: nn.Module, factor: float):
        super().__init__()
        self.model, self.factor = model, factor

    def forward(self, x):
        return self.factor * self.model(x)


def exact_direction(model, images, targets) -> torch.Tensor:
    """Direction of the cross-entropy's gradient, class by class in float64, without its factor.

    The gradient is the sum over the other classes k of p_k (g_k - g_y), g being the gradient of a
    logit; divided by 1 - p_y, the weights are a softmax over the other classes.
    """
    model, x = copy.deepcopy(model).double(), images.double().requires_grad_(True)
    logits = model(x)
    grads = torch.stack(
        [torch.autograd.grad(logits[:, k].sum(), x, retain_graph=True)[0] for k in range(3)], 1
    )
    index = torch.arange(len(targets))
    own, logits = grads[index, targets], logits.detach().clone()
    logits[index, targets] = -torch.inf
    weights = logits.softmax(1)[:, :, None, None, None]
    return (weights * (grads - own[:, None])).sum(1)


@pytest.mark.parametrize("scale", [1, 8, 32, 100, 1_000])
def test_signs_of_a_certain_network_are_those_of_float64(fitted, scale):
    model, images, targets = fitted
    model = Scaled(model, scale).eval()
    exact = exact_direction(model, images, targets)
    wrong = (gradient_sign(model, images, targets) != exact.sign()) & (exact != 0)
    # A rectified unit within one rounding of zero is on in one precision and off in the other.
    assert wrong.double().mean() < 1e-4
    assert (gradient_sign(model, images, targets) == 0).double().mean() <= 1e-4


def test_the_plain_cross_entropy_loses_the_signs_that_are_kept_here(fitted):
    model, images, targets = fitted
    model = Scaled(model, 1_000).eval()
    x = images.clone().requires_grad_(True)
    F.cross_entropy(model(x), targets, reduction="sum").backward()
    assert (x.grad == 0).double().mean() > 0.5


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_certain_network_is_attacked_as_well_as_an_uncertain_one(fitted, attack):
    model, images, targets = fitted
    attacked = ATTACKS[attack](Scaled(model, 1_000).eval(), images, targets, 0.1)
    plain = ATTACKS[attack](model, images, targets, 0.1)
    robust, usual = (share_right(model, found, targets) for found in (attacked, plain))
    assert usual < 0.9
    assert robust <= usual + 0.02


def test_uncertain_network_is_moved_as_the_plain_cross_entropy_moves_it(fitted):
    model, images, targets = fitted
    x = images.clone().requires_grad_(True)
    F.cross_entropy(model(x), targets, reduction="sum").backward()
    assert (gradient_sign(model, images, targets) == x.grad.sign()).double().mean() > 0.9999


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**16), classes=st.integers(2, 12), spread=st.floats(0.1, 50))
def test_confusion_gives_the_cross_entropy(seed, classes, spread):
    generator = torch.Generator().manual_seed(seed)
    logits = spread * torch.randn(5, classes, generator=generator, dtype=torch.float64)
    targets = torch.randint(classes, (5,), generator=generator)
    expected = F.cross_entropy(logits, targets, reduction="none")
    torch.testing.assert_close(F.softplus(confusion(logits, targets)), expected)


@pytest.mark.parametrize("shape", [(4,), (4, 1), (4, 3, 2)])
def test_logits_that_leave_no_other_class_are_refused(shape):
    with pytest.raises(ValueError, match="at least two classes"):
        confusion(torch.zeros(shape), torch.zeros(4, dtype=torch.long))
