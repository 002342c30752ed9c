"""Perturbed inputs: FGSM, PGD and Gaussian noise.

Images are floating point NCHW in [0, 1], so attack the module that `with_normalization` returns. An
L-infinity ball of radius `epsilon` is on the same scale: 8/255, not 8. Every image returned lies
exactly inside its ball and inside [0, 1], float rounding included.
"""

from collections.abc import Iterator

import torch
from torch import nn

from .predict import check_images, frozen, to_device

# Measured for ResNet-20: on a CPU core a small batch stays in the cache.
BATCH_SIZES = {"cpu": 125, "cuda": 250}


def gradient_sign(model: nn.Module, images: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Sign of the cross-entropy's gradient by the images, int8, of the images' shape and device.

    It is taken of `confusion`, which has the same direction and keeps it in float32 where the
    network is certain of its answer.

    The whole of FGSM that does not depend on epsilon: compute it once, then call `fgsm_from_sign`.
    """
    check_images(images)
    _check_targets(images, targets)
    signs = torch.empty_like(images, dtype=torch.int8)
    with frozen(model) as device:
        for batch in _batches(images, device):
            x = to_device(images[batch], device)
            signs[batch] = _loss_gradient(model, x, targets[batch].to(device)).sign().to(signs)
    return signs


def fgsm_from_sign(images: torch.Tensor, sign: torch.Tensor, epsilon: float) -> torch.Tensor:
    """Move `images` by `epsilon` along `sign` (of `gradient_sign`), inside [0, 1].

    A full step along the sign ends on the ball's boundary, so the bounds are the answer.
    """
    check_images(images)
    _check_fraction(epsilon, "epsilon")
    low, high = _ball(images, epsilon)
    return torch.where(sign > 0, high, torch.where(sign < 0, low, images))


def fgsm(
    model: nn.Module, images: torch.Tensor, targets: torch.Tensor, epsilon: float
) -> torch.Tensor:
    """Fast gradient sign method: `images` + epsilon · sign(gradient of the cross-entropy).

    images: float in [0, 1], shape (n, ...); targets: integer, shape (n,); epsilon in [0, 1]. The
    module is attacked in evaluation mode and left as it was. Raises ValueError for anything else.
    Goodfellow et al. 2015, arXiv 1412.6572.
    """
    _check_fraction(epsilon, "epsilon")
    return fgsm_from_sign(images, gradient_sign(model, images, targets), epsilon)


def pgd(
    model: nn.Module,
    images: torch.Tensor,
    targets: torch.Tensor,
    epsilon: float,
    step: float,
    steps: int,
    seed: int,
) -> torch.Tensor:
    """Projected gradient descent in the L-infinity ball from a uniform random start.

    `steps` signed-gradient steps of size `step` that raise the cross-entropy; the last iterate is
    returned. images: float in [0, 1], shape (n, ...); targets: integer, shape (n,); epsilon and
    step in [0, 1]; steps >= 1. The start is drawn on the CPU from `seed`, the same for every
    device, and global generators are not used. Raises ValueError for anything else.
    Madry et al. 2018, arXiv 1706.06083.
    """
    start = random_start(images, epsilon, seed)
    return pgd_from_start(model, images, targets, start, epsilon, step, steps)


def random_start(images: torch.Tensor, epsilon: float, seed: int) -> torch.Tensor:
    """A uniform draw from each image's ball: where `pgd` starts."""
    check_images(images)
    _check_fraction(epsilon, "epsilon")
    generator = torch.Generator().manual_seed(seed)
    offset = (2 * torch.rand(images.shape, generator=generator) - 1).to(images)
    return torch.clamp(images.add(offset, alpha=epsilon), *_ball(images, epsilon))


def pgd_from_start(
    model: nn.Module,
    images: torch.Tensor,
    targets: torch.Tensor,
    start: torch.Tensor,
    epsilon: float,
    step: float,
    steps: int,
) -> torch.Tensor:
    """`pgd` from a given start of the images' shape."""
    check_images(images)
    _check_targets(images, targets)
    _check_fraction(epsilon, "epsilon")
    _check_fraction(step, "step")
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise ValueError(f"steps is {steps!r}; it must be a whole number of at least 1")
    adversarial = torch.empty_like(images)
    with frozen(model) as device:
        for batch in _batches(images, device):
            low, high = _ball(to_device(images[batch], device), epsilon)
            x, y = to_device(start[batch], device), targets[batch].to(device)
            for _ in range(steps):
                sign = _loss_gradient(model, x, y).sign_()
                x = torch.clamp(x.add(sign, alpha=step), low, high)
            adversarial[batch] = x.to(images.device)
    return adversarial


def gaussian_noise(images: torch.Tensor, sigma: float, seed: int) -> torch.Tensor:
    """Add independent Gaussian noise of standard deviation `sigma` to each pixel; clip to [0, 1].

    images: float in [0, 1]; sigma in [0, 1], a fraction of the pixel range. One seed gives the same
    draw for every sigma and device, so that accuracies at several sigmas are compared pairwise.
    """
    check_images(images)
    _check_fraction(sigma, "sigma")
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(images.shape, generator=generator).to(images)
    return images.add(noise, alpha=sigma).clamp_(0, 1)


def _loss_gradient(model: nn.Module, x: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """A gradient by the images that has, image by image, the direction of the cross-entropy's.

    The cross-entropy is log(1 + exp(d)), d being `confusion`, so that its gradient is that of d
    times 1 - p, p the probability of the image's own class. In float32 that factor is zero for an
    image of which the network is certain, and the sign is lost with it; the gradient of d keeps it.
    The sum over images makes each image's gradient independent of its batch.
    """
    with torch.enable_grad():
        x = x.detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(confusion(model(x), targets).sum(), x)
    return gradient


def confusion(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """log-sum-exp of the other classes' logits minus the logit of the own class, float64, (n,).

    Grows with the cross-entropy log(1 + exp(confusion)), and does not flatten out where the network
    is certain. logits: (n, classes) with at least two classes; targets: integer, (n,).
    """
    if logits.dim() != 2 or logits.shape[1] < 2:
        raise ValueError(
            f"logits are of shape {tuple(logits.shape)}; an attack needs (n, classes) with at "
            "least two classes, since it moves an image towards the other ones"
        )
    logits = logits.double()
    own = targets[:, None].long()
    others = logits.scatter(1, own, -torch.inf)
    return others.logsumexp(1) - logits.gather(1, own)[:, 0]


def _ball(images: torch.Tensor, epsilon: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Lower and upper bound of each pixel: within `epsilon` of the image and within [0, 1].

    images ± epsilon rounds to nearest and may so end outside of the ball by one unit in the last
    place; such bounds are moved to the next float inside. `epsilon` itself is first rounded down
    to the images' precision, so that the distance measured in that precision respects it too.
    """
    radius = torch.tensor(epsilon, dtype=images.dtype, device=images.device)
    if radius.item() > epsilon:
        radius = torch.nextafter(radius, torch.zeros_like(radius))
    low, high = images - radius, images + radius
    exact, limit = images.double(), radius.double()
    low = torch.where(exact - low.double() > limit, torch.nextafter(low, images), low)
    high = torch.where(high.double() - exact > limit, torch.nextafter(high, images), high)
    return low.clamp_(min=0), high.clamp_(max=1)


def _batches(images: torch.Tensor, device: torch.device) -> Iterator[slice]:
    """Slices of the images; fewer at a time where their sides are longer than 32 pixels."""
    size = BATCH_SIZES.get(device.type, BATCH_SIZES["cuda"])
    side = (images.shape[1:].numel() / 3) ** 0.5
    size = max(int(size * min(32 / side, 1)), 1)
    return (slice(start, start + size) for start in range(0, len(images), size))


def _check_targets(images: torch.Tensor, targets: torch.Tensor) -> None:
    if targets.is_floating_point() or targets.shape != (len(images),):
        raise ValueError(
            f"targets are {targets.dtype} of shape {tuple(targets.shape)}; they must be class "
            f"indices (int64) of shape ({len(images)},), one for each image"
        )


def _check_fraction(value: float, name: str) -> None:
    if not 0 <= value <= 1:
        raise ValueError(
            f"{name} is {value}; it must be in [0, 1], a fraction of the pixel range: "
            "write 8/255 for 8 grey levels"
        )
