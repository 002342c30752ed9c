"""What an attack raises, and its gradient by the images."""

from collections.abc import Callable

import torch
from torch import nn

from .inputs import class_indices
from .predict import kind_of

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

COUNTS = ("gradients", "zero_gradients", "pixels", "zero_pixels")
"""What a report of an attack counts: gradients of one image, and those with no pixel but zeros."""


def confusion(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """log-sum-exp of the other classes' logits minus the logit of the own class, float64, (n,).

    Grows with the cross-entropy log(1 + exp(confusion)), and does not flatten out where the network
    is certain. logits: (n, classes) with at least two classes; targets: integer, (n,).
    """
    own, others = _own_and_others(logits, targets)
    return others.logsumexp(1) - own


def margin(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The highest of the other classes' logits minus the logit of the own class, float64, (n,).

    Above 0 where the image is misclassified. Arguments as in `confusion`. Carlini and Wagner 2017,
    arXiv 1608.04644, equation f6 with its sign turned.
    """
    own, others = _own_and_others(logits, targets)
    return others.amax(1) - own


LOSSES: dict[str, Loss] = {"cross_entropy": confusion, "margin": margin}
"""What `fgsm` and `pgd` can raise; the cross-entropy by way of `confusion`."""


def _own_and_others(
    logits: torch.Tensor, targets: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    if logits.dim() != 2 or logits.shape[1] < 2:
        raise ValueError(
            f"logits are of shape {tuple(logits.shape)}; an attack needs (n, classes) with at "
            "least two classes, since it moves an image towards the other ones"
        )
    logits = logits.double()
    own = targets[:, None].long()
    return logits.gather(1, own)[:, 0], logits.scatter(1, own, -torch.inf)


class Gradients:
    """Gradients of a loss by batches of images: what they are, and how many of them are zero."""

    def __init__(self, model: nn.Module, loss: Loss, report: dict | None = None):
        self.model, self.loss, self.kind, self.report = model, loss, kind_of(model), report
        self._finite = None
        if report is not None:
            for name in COUNTS:
                report.setdefault(name, 0)

    def of(self, x: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """A gradient by the images that has, image by image, the direction of the loss's.

        The cross-entropy is log(1 + exp(d)), d being `confusion`, so that its gradient is that of d
        times 1 - p, p the probability of the image's own class. In float32 that factor is zero for
        an image of which the network is certain, and the sign is lost with it; the gradient of d
        keeps it. The sum over images makes each image's gradient independent of its batch.
        """
        with torch.enable_grad():
            # Tensors of the caller's inference mode cannot be differentiated by; copies can.
            x = (x.clone() if x.is_inference() else x.detach()).requires_grad_(True)
            targets = targets.clone() if targets.is_inference() else targets
            logits = self.model(x.to(self.kind))
            self._check(logits, targets)
            (gradient,) = torch.autograd.grad(self.loss(logits, targets).sum(), x)
        if self.report is not None:
            zero = (gradient == 0).flatten(1)
            found = (len(zero), zero.all(1).sum(), zero.numel(), zero.sum())
            for name, count in zip(COUNTS, found, strict=True):
                self.report[name] += int(count)
        return gradient

    def _check(self, logits: torch.Tensor, targets: torch.Tensor) -> None:
        """Labels once a batch; whether logits are finite is noted, and not waited for."""
        if self._finite is None and logits.dim() == 2:
            class_indices(targets, len(targets), logits.shape[1])
        finite = torch.isfinite(logits.detach()).all()
        self._finite = finite if self._finite is None else self._finite & finite

    def end_of_batch(self) -> None:
        """Raise ValueError if a logit of the batch was not finite."""
        finite, self._finite = self._finite, None
        if not finite:
            raise ValueError("the network's logits hold NaN or an infinite number")
