"""Perturbed inputs: FGSM, PGD and Gaussian noise.

Images are floating point NCHW in [0, 1], so attack the module that `with_normalization` returns. An
L-infinity ball of radius `epsilon` is on the same scale: 8/255, not 8. Every image returned lies
exactly inside its ball and inside [0, 1], float rounding included.
"""

from collections.abc import Callable, Iterator

import torch
from torch import nn

from ..arguments import whole_number
from ..precision import plain_tensors
from ..seeds import generator, plain_generator
from .inputs import class_indices
from .losses import LOSSES, Gradients, margin
from .predict import check_images, differentiable, predict_logits, to_device

# Measured for ResNet-20: on a CPU core a small batch stays in the cache; an H100 takes 1.6 times as
# long for 1,000 images as for 250, but their memory grows with the depth of a network.
BATCH_SIZES = {"cpu": 125, "cuda": 500}


def gradient_sign(
    model: nn.Module,
    images: torch.Tensor,
    targets: torch.Tensor,
    *,
    loss: str = "cross_entropy",
    report: dict | None = None,
) -> torch.Tensor:
    """Sign of the loss's gradient by the images, int8, of the images' shape and device.

    The cross-entropy's is taken of `losses.confusion`, which has the same direction and keeps it in
    float32 where the network is certain of its answer.

    The whole of FGSM that does not depend on epsilon: compute it once, then call `fgsm_from_sign`.
    Arguments as in `fgsm`.
    """
    check_images(images)
    targets = class_indices(targets, len(images))
    with differentiable(model) as device:
        signs = torch.empty_like(images, dtype=torch.int8)
        gradients = Gradients(model, _loss(loss), report)
        for batch in _batches(images, device):
            gradient = gradients.of(to_device(images[batch], device), targets[batch].to(device))
            signs[batch] = gradient.sign().to(signs)
            gradients.end_of_batch()
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
    model: nn.Module,
    images: torch.Tensor,
    targets: torch.Tensor,
    epsilon: float,
    *,
    loss: str = "cross_entropy",
    report: dict | None = None,
) -> torch.Tensor:
    """Fast gradient sign method: `images` + epsilon · sign(gradient of the cross-entropy).

    images: float in [0, 1], shape (n, ...); targets: integer, shape (n,); epsilon in [0, 1]. The
    module is attacked in evaluation mode and left as it was; its weights may have 16, 32 or 64
    bits. `loss` is one of `losses.LOSSES`. A dict given as `report` gets `gradients`, one an image
    and step, `zero_gradients`, how many of these are zero in every pixel and so move none, and
    `pixels` and `zero_pixels`; counts add up over calls. Raises ValueError for anything else,
    labels that are no class, and logits that are not finite.
    Goodfellow et al. 2015, arXiv 1412.6572.
    """
    _check_fraction(epsilon, "epsilon")
    sign = gradient_sign(model, images, targets, loss=loss, report=report)
    return fgsm_from_sign(images, sign, epsilon)


def pgd(
    model: nn.Module,
    images: torch.Tensor,
    targets: torch.Tensor,
    epsilon: float,
    step: float,
    steps: int,
    seed: int,
    *,
    loss: str = "cross_entropy",
    restarts: int = 1,
    report: dict | None = None,
) -> torch.Tensor:
    """Projected gradient descent in the L-infinity ball from a uniform random start.

    `steps` signed-gradient steps of size `step` that raise the loss; the last iterate is
    returned. images: float in [0, 1], shape (n, ...); targets: integer, shape (n,); epsilon and
    step in [0, 1]; steps >= 1. The start is drawn on the CPU from `seed`, the same for every
    device, and global generators are not used. With `restarts` above 1 as many starts are tried,
    the first the same as without, and each image's iterate of greatest margin is returned.
    `loss`, `report` (over all restarts) and errors as in `fgsm`.
    Madry et al. 2018, arXiv 1706.06083.
    """
    restarts = whole_number(restarts, "restarts", least=1)
    best = found = None
    for number in range(restarts):
        start = random_start(images, epsilon, seed, restart=number)
        attacked = pgd_from_start(
            model, images, targets, start, epsilon, step, steps, loss=loss, report=report
        )
        if restarts == 1 or not len(images):
            best = attacked
            continue
        logits = predict_logits(model, attacked)
        reached = margin(logits, class_indices(targets, len(images)).to(logits.device))
        reached = reached.to(images.device)
        if best is None:
            best, found = attacked, reached
        else:
            stronger = reached > found
            best[stronger], found[stronger] = attacked[stronger], reached[stronger]
    return best


def random_start(
    images: torch.Tensor, epsilon: float, seed: int, *, restart: int = 0
) -> torch.Tensor:
    """A uniform draw from each image's ball: where `pgd` starts, or one of its restarts."""
    check_images(images)
    _check_fraction(epsilon, "epsilon")
    draw = generator(seed, "restart", restart) if restart else plain_generator(seed)
    with plain_tensors():
        offset = (2 * torch.rand(images.shape, generator=draw) - 1).to(images)
    return torch.clamp(images.add(offset, alpha=epsilon), *_ball(images, epsilon))


def pgd_from_start(
    model: nn.Module,
    images: torch.Tensor,
    targets: torch.Tensor,
    start: torch.Tensor,
    epsilon: float,
    step: float,
    steps: int,
    *,
    loss: str = "cross_entropy",
    report: dict | None = None,
) -> torch.Tensor:
    """`pgd` from a given start of the images' shape."""
    check_images(images)
    targets = class_indices(targets, len(images))
    if start.shape != images.shape:
        raise ValueError(
            f"start has shape {tuple(start.shape)}, but the images {tuple(images.shape)}"
        )
    _check_fraction(epsilon, "epsilon")
    _check_fraction(step, "step")
    steps = whole_number(steps, "steps", least=1)
    with differentiable(model) as device:
        adversarial = torch.empty_like(images)
        gradients = Gradients(model, _loss(loss), report)
        for batch in _batches(images, device):
            low, high = _ball(to_device(images[batch], device), epsilon)
            x, y = to_device(start[batch], device), targets[batch].to(device)
            for _ in range(steps):
                sign = gradients.of(x, y).sign_()
                x = torch.clamp(x.add(sign, alpha=step), low, high)
            adversarial[batch] = x.to(images.device)
            gradients.end_of_batch()
    return adversarial


def gaussian_noise(images: torch.Tensor, sigma: float, seed: int) -> torch.Tensor:
    """Add independent Gaussian noise of standard deviation `sigma` to each pixel; clip to [0, 1].

    images: float in [0, 1]; sigma in [0, 1], a fraction of the pixel range. One seed gives the same
    draw for every sigma and device, so that accuracies at several sigmas are compared pairwise.
    """
    check_images(images)
    _check_fraction(sigma, "sigma")
    with plain_tensors():
        noise = torch.randn(images.shape, generator=plain_generator(seed)).to(images)
    return images.add(noise, alpha=sigma).clamp_(0, 1)


def _loss(name: str) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    if name not in LOSSES:
        raise ValueError(f"loss {name!r} is not known: choose from {', '.join(LOSSES)}")
    return LOSSES[name]


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


def _check_fraction(value: float, name: str) -> None:
    if not 0 <= value <= 1:
        raise ValueError(
            f"{name} is {value}; it must be in [0, 1], a fraction of the pixel range: "
            "write 8/255 for 8 grey levels"
        )
