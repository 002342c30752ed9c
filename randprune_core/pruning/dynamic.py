"""Dynamic sparse training: between epochs every layer drops some of its weights and grows others.

Two rules, which differ in where they grow only:

- SET (Mocanu et al. 2018) drops the kept weights of smallest magnitude and grows at random places;
- RigL (Evci et al. 2020) drops the same and grows where the loss gradient is largest.

The number of kept weights of a layer never changes. As in RigL's published algorithm a weight that
was just dropped may be grown again. It has then not moved, and keeps its value and its momentum; a
place that is new starts with both at zero.

Both rules follow RigL's schedule: the fraction of a layer that is dropped falls from 0.3 along a
cosine, and nothing moves in the last quarter of training. SET alone would keep its fraction and
move until the end. Masks move between epochs, as in SET; RigL moves them every 100 steps, so that a
run here moves them less often wherever an epoch is longer than that. RigL's gradient is that of a
few batches instead of one, because a whole epoch follows from it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import BoolTensor, Generator, Tensor

from ..config import RunConfig
from ..seeds import generator as generator_of

UPDATE_EVERY = 1
"""Epochs between two updates of the masks."""
FRACTION = 0.3
"""Fraction of the kept weights of a layer that an update drops, where its cosine begins."""
STOP = 0.75
"""The share of the epochs after which masks stay as they are."""


def dropped_fraction(config: RunConfig, epoch: int) -> float:
    """Fraction of kept weights that the update before an epoch (from 0) drops; 0 without update."""
    end = STOP * config.epochs
    if config.method == "static" or epoch % UPDATE_EVERY or not 0 < epoch < end:
        return 0.0
    return FRACTION / 2 * (1 + math.cos(math.pi * epoch / end))


def drop_smallest(weight: Tensor, mask: BoolTensor, count: int) -> BoolTensor:
    """The mask without the `count` kept weights of smallest magnitude, the earlier of equal ones.

    Raises `ValueError` when fewer than `count` are kept.
    """
    kept = mask.flatten().nonzero().flatten()
    if not 0 <= count <= len(kept):
        raise ValueError(f"count {count} is not between 0 and the {len(kept)} kept weights")
    smallest = weight.detach().flatten()[kept].abs().argsort(stable=True)[:count]
    left = mask.flatten().clone()
    left[kept[smallest]] = False
    return left.view(mask.shape)


def grow_highest(score: Tensor, mask: BoolTensor, count: int) -> BoolTensor:
    """The mask with `count` more places: those of highest score, the earlier of equal ones.

    Raises `ValueError` when fewer than `count` places are free.
    """
    free = (~mask).flatten().nonzero().flatten()
    if not 0 <= count <= len(free):
        raise ValueError(f"count {count} is not between 0 and the {len(free)} free places")
    highest = score.flatten()[free].argsort(descending=True, stable=True)[:count]
    grown = mask.flatten().clone()
    grown[free[highest]] = True
    return grown.view(mask.shape)


def move_by_set(
    weight: Tensor, mask: BoolTensor, gradient: Tensor | None, count: int, generator: Generator
) -> BoolTensor:
    """SET: the `count` smallest weights go, as many places are drawn at random; no gradient."""
    score = torch.randperm(mask.numel(), generator=generator).view(mask.shape)
    return grow_highest(score, drop_smallest(weight, mask, count), count)


def move_by_rigl(
    weight: Tensor, mask: BoolTensor, gradient: Tensor, count: int, generator: Generator | None
) -> BoolTensor:
    """RigL: the `count` smallest weights go, the largest gradients come; nothing is random."""
    return grow_highest(gradient.abs(), drop_smallest(weight, mask, count), count)


RULES = {"set": move_by_set, "rigl": move_by_rigl}
"""What `RunConfig.method` names: the new mask of a layer, tensors on the CPU."""


def moved_masks(
    config: RunConfig,
    epoch: int,
    weights: Mapping[str, Tensor],
    masks: Mapping[str, BoolTensor],
    gradients: Mapping[str, Tensor],
) -> dict[str, BoolTensor]:
    """The masks of a run from an epoch (from 0) on, on the CPU, with the kept counts they had.

    `gradients` are those of all weights, pruned ones included; SET takes an empty dict. A layer
    that keeps k weights moves `int(fraction * k)` of them. What is random depends on the mask seed,
    the epoch and the name of the layer, and on no device.
    """
    fraction, moved = dropped_fraction(config, epoch), {}
    for name, mask in masks.items():
        mask, gradient = mask.cpu(), gradients.get(name)
        moved[name] = RULES[config.method](
            weights[name].detach().cpu(),
            mask,
            None if gradient is None else gradient.cpu(),
            int(fraction * int(mask.sum())),
            generator_of(config.seed_mask, config.method, epoch, name),
        )
    return moved
