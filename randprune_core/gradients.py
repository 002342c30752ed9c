"""The loss gradient of a run at weights that stand still: its norm at the start, RigL's gradient.

Everything here happens in training mode, without augmentation and in float32, and leaves the
network as it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from .metrics import gradient
from .models import maskable_weights
from .protocol import epoch_plan

if TYPE_CHECKING:
    from .engine import Run

INITIAL_BATCHES = 10
RIGL_BATCHES = 4


def initial_norm(run: Run) -> float:
    """Mean norm over the unpruned conv and linear weights, for the first 10 batches of images."""
    batches = run.first_batches(INITIAL_BATCHES)
    norms = [gradient.gradient_norm(run.model, run.masks or None) for _ in _passes(run, batches)]
    return sum(norms) / len(norms)


def dense_gradients(run: Run) -> dict[str, Tensor]:
    """Sum of the gradient of every maskable weight, pruned or not, over the first 4 batches.

    They are those that the epoch to come begins with.
    """
    weights = maskable_weights(run.model)
    sums = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    places = epoch_plan(run.config, run.epoch)[0][: RIGL_BATCHES * run.config.batch_size]
    for _ in _passes(run, run.batches_of(places)):
        for name, weight in weights.items():
            sums[name] += weight.grad
    return sums


def _passes(run: Run, batches: Iterable[tuple[Tensor, Tensor]]) -> Iterator[None]:
    """Backward passes over batches of images and labels, one each time, in `.grad`."""
    buffers = {name: value.clone() for name, value in run.model.named_buffers()}
    run.model.train()
    for images, labels in batches:
        logits = run.network(run.normalize(images))
        F.cross_entropy(logits, labels, label_smoothing=run.label_smoothing).backward()
        yield
        run.model.zero_grad(set_to_none=True)
    for name, value in run.model.named_buffers():
        value.copy_(buffers[name])
