"""The loss gradient at weights that stand still: its norm before training, RigL's gradient.

Everything here happens in training mode and in float32, and leaves the network as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..metrics.gradient import gradient_norm
from ..pruning.layers import maskable_weights

INITIAL_BATCHES = 10
RIGL_BATCHES = 4

Batches = Iterable[tuple[Tensor, Tensor]]


def initial_norm(
    model: nn.Module,
    batches: Batches,
    masks: Mapping[str, Tensor],
    *,
    network: Callable[[Tensor], Tensor] | None = None,
    label_smoothing: float = 0.0,
) -> float:
    """Mean over batches of the gradient norm over the unpruned conv and linear weights.

    `masks` is empty for a dense network; `network` is called in place of the model where it wraps
    it to average the gradients of several processes.
    """
    passes = _passes(model, batches, network or model, label_smoothing)
    norms = [gradient_norm(model, masks or None) for _ in passes]
    return sum(norms) / len(norms)


def dense_gradients(model: nn.Module, batches: Batches) -> dict[str, Tensor]:
    """Sum over batches of the gradient of every maskable weight, pruned or not."""
    weights = maskable_weights(model)
    sums = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    for _ in _passes(model, batches, model, 0.0):
        for name, weight in weights.items():
            sums[name] += weight.grad
    return sums


def _passes(
    model: nn.Module,
    batches: Batches,
    network: Callable[[Tensor], Tensor],
    label_smoothing: float,
) -> Iterator[None]:
    """Backward passes over batches of images and labels, one each time, in `.grad`."""
    buffers = {name: value.clone() for name, value in model.named_buffers()}
    model.train()
    for images, labels in batches:
        F.cross_entropy(network(images), labels, label_smoothing=label_smoothing).backward()
        yield
        model.zero_grad(set_to_none=True)
    for name, value in model.named_buffers():
        value.copy_(buffers[name])
