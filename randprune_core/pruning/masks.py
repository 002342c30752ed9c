"""Masks: drawing them at random or from scores, granularity, applying, validating.

A mask is a bool tensor of the shape of its weight, True = kept. A set of masks is a dict that is
keyed by the parameter names of `maskable_weights(model)` and holds all of them.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping

import torch
from torch import BoolTensor, Tensor, nn
from torch.nn.utils import prune

from ..config import check_sparsity, parse_granularity
from ..precision import plain_tensors
from ..seeds import layer_generator
from .layers import KINDS, effective_weights, layers_with, maskable_layers, unwrapped, weights_of
from .ratios import check_names, kept_count, last_linear, warn_of_budget
from .saliency import global_top_k

Masks = dict[str, BoolTensor]


def random_masks(
    model: nn.Module,
    sparsities: Mapping[str, float],
    seed: int = 0,
    granularity: str = "unstructured",
    *,
    weights: Mapping[str, nn.Parameter] | None = None,
) -> Masks:
    """Random masks with an exact kept count per layer, drawn on the CPU for every device.

    `sparsities` gives every layer of `weights` (those of `maskable_weights(model)`, unless others
    were chosen with its arguments) one sparsity in [0, 1). Each layer has its own
    generator, seeded with sha256 of (seed, layer name): its mask depends on no other layer and on
    no weight. Every layer keeps at least one weight. `granularity` is one of

    - `"unstructured"`: `round((1 - s) * n)` of the n weights;
    - `"filter"`: `round((1 - s) * f)` of the f output filters, each whole, so that the budget
      holds to within one filter a layer. The last linear layer stays unstructured at its sparsity:
      its rows are the classes, and a class without a row could never be predicted;
    - `"n:m"`, for example `"2:4"`: n of every m consecutive inputs of each output. The inputs of a
      convolution run through the channels of one place of the kernel, then through those of the
      next; what is left over at the end, as of the 27 of a first layer on RGB images, keeps n/m of
      them, rounded up or down. Each sparsity must then be 1 - n/m.

    Masks come back on the device of their weights. A RuntimeWarning gives both numbers where whole
    weights or filters move the total by more than 1 % of the budget of the given sparsities, and
    another one names the classes that the last linear layer leaves without a weight. Raises
    ValueError for wrong names, a sparsity out of range or one that contradicts n:m, or an unknown
    granularity.
    """
    group = parse_granularity(granularity)
    weights = weights_of(model, weights)
    check_names(weights, sparsities, "sparsities")
    if granularity != "unstructured":
        _check_rows(model, weights, granularity)
    shapes = {name: tuple(weight.shape) for name, weight in weights.items()}
    classifier = last_linear(shapes) if granularity == "filter" else None
    with plain_tensors():
        masks = {
            name: _random_mask(
                name,
                weight,
                sparsities[name],
                layer_generator(seed, name),
                group,
                whole_filters=granularity == "filter" and name != classifier,
            )
            for name, weight in weights.items()
        }
    _warn_of_rounding(masks, sparsities)
    warn_of_classes(masks)
    return masks


def _random_mask(
    name: str,
    weight: Tensor,
    sparsity: float,
    generator: torch.Generator,
    group: tuple[int, int] | None,
    whole_filters: bool,
) -> BoolTensor:
    """The mask of one layer, on the device of its weight."""
    if group:
        _check_n_m(name, sparsity, weight.numel(), group)
        mask = _draw_n_m(tuple(weight.shape), *group, generator)
    elif whole_filters:
        filters = draw(len(weight), kept_count(sparsity, len(weight), name), generator)
        mask = filters.view(-1, *[1] * (weight.ndim - 1)).expand(weight.shape).contiguous()
    else:
        kept = kept_count(sparsity, weight.numel(), name)
        mask = draw(weight.numel(), kept, generator).view(weight.shape)
    return mask.to(weight.device)


def top_k_masks(scores: Mapping[str, Tensor], sparsity: float) -> Masks:
    """The criterion's own masks: the highest scores over the whole network are kept.

    Exactly `round((1 - sparsity) * n)` of all n weights stay; among equal scores the earlier
    layer and then the earlier weight wins. `sparsity` lies in [0, 1). A layer that is left empty
    cuts the network, and a RuntimeWarning names it, as one does the classes without a weight.
    Raises ValueError for no scores, NaN scores or a sparsity out of range.
    """
    masks = global_top_k(scores, sparsity)
    empty = [name for name, mask in masks.items() if not mask.any()]
    if empty:
        warnings.warn(
            f"sparsity {sparsity:g} leaves {len(empty)} layer(s) without a weight: "
            f"{', '.join(empty)}; the network is cut there",
            RuntimeWarning,
            stacklevel=2,
        )
    warn_of_classes(masks)
    return masks


def _warn_of_rounding(masks: Masks, sparsities: Mapping[str, float]) -> None:
    if any(mask.device.type == "meta" for mask in masks.values()):
        return  # shapes only
    kept = sum(mask_counts(masks).values())
    budget = sum((1 - float(sparsities[name])) * mask.numel() for name, mask in masks.items())
    warn_of_budget(kept, budget, sum(mask.numel() for mask in masks.values()), stacklevel=4)


def _check_rows(model: nn.Module, weights: Mapping[str, nn.Parameter], granularity: str) -> None:
    """ValueError for a layer whose first dimension is not its outputs."""
    for name, layer in layers_with(model, weights.values()).items():
        others = KINDS["conv_transpose"] + KINDS["embedding"]
        if granularity == "filter":
            others += KINDS["recurrent"] + KINDS["attention"]
        if any(isinstance(module, others) for module, _ in layer.owners):
            raise ValueError(
                f"granularity {granularity!r} is for convolutions and linear layers, and {name!r} "
                f"is a {type(layer.owners[0][0]).__name__}: leave it out, or use 'unstructured'"
            )


def warn_of_classes(masks: Mapping[str, Tensor]) -> None:
    """Name the classes whose row of the last linear layer has no weight; that layer may be none."""
    matrices = [name for name, mask in masks.items() if mask.ndim == 2]
    if not matrices or masks[matrices[-1]].device.type == "meta":
        return
    rows = masks[matrices[-1]].any(1)
    cut = (~rows).nonzero().flatten().tolist()
    if cut and rows.any():  # a layer without any weight has a warning of its own
        listed = ", ".join(map(str, cut[:10])) + (", …" if len(cut) > 10 else "")
        warnings.warn(
            f"layer {matrices[-1]!r} leaves {len(cut)} of {len(rows)} classes without a weight: "
            f"{listed}; only their bias speaks for them",
            RuntimeWarning,
            stacklevel=3,
        )


def apply_masks(
    model: nn.Module,
    masks: Mapping[str, Tensor],
    *,
    weights: Mapping[str, nn.Parameter] | None = None,
) -> None:
    """Set every pruned weight of `model` to exactly zero, in place; ValueError if masks misfit."""
    weights = weights_of(model, weights)
    validate_masks(model, masks, weights=weights)
    with torch.no_grad():
        for name, weight in weights.items():
            # Not a product: -1 * 0 is -0.0 and nan * 0 is nan.
            weight.masked_fill_(~masks[name].to(weight.device), 0.0)


def validate_masks(
    model: nn.Module,
    masks: Mapping[str, Tensor],
    *,
    weights: Mapping[str, nn.Parameter] | None = None,
) -> None:
    """Raise ValueError, naming the layer, unless names, shapes and dtype (bool) fit `model`.

    `weights` are those that the masks are for, all of `maskable_weights(model)` unless given.
    """
    weights = weights_of(model, weights)
    check_names(weights, masks, "masks")
    for name, weight in weights.items():
        mask = masks[name]
        if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
            kind = getattr(mask, "dtype", type(mask).__name__)
            raise ValueError(f"mask of layer {name!r} is {kind}, but must be a torch.bool tensor")
        if mask.shape != weight.shape:
            raise ValueError(
                f"mask of layer {name!r} has shape {tuple(mask.shape)}, but its weight "
                f"{tuple(weight.shape)}; draw it for this model"
            )


def assert_masked(
    model: nn.Module,
    masks: Mapping[str, Tensor],
    *,
    weights: Mapping[str, nn.Parameter] | None = None,
) -> None:
    """Raise RuntimeError, naming the layer, if a pruned weight is not exactly zero (or is NaN)."""
    weights = weights_of(model, weights)
    validate_masks(model, masks, weights=weights)
    with torch.no_grad():
        alive = {
            name: ((weight != 0) & ~masks[name].to(weight.device)).sum()
            for name, weight in weights.items()
        }
        counts = torch.stack(list(alive.values())).tolist()
    for name, count in zip(alive, counts, strict=True):
        if count:
            raise RuntimeError(
                f"{count} pruned weight(s) of layer {name!r} are not zero: the mask was not "
                "applied after the last change of the weights"
            )


def model_sparsity(model: nn.Module, *, weights: Mapping[str, nn.Parameter] | None = None) -> float:
    """Fraction of exact zeros over the maskable weights of `model`, in [0, 1].

    A network that `torch.nn.utils.prune` has pruned is counted by the weights it computes with.
    """
    chosen = effective_weights(model) if weights is None else list(weights.values())
    nonzero = sum(int(torch.count_nonzero(weight)) for weight in chosen)
    return 1 - nonzero / sum(weight.numel() for weight in chosen)


def mask_counts(masks: Mapping[str, Tensor]) -> dict[str, int]:
    """Number of kept weights of every layer."""
    return {name: int(mask.sum()) for name, mask in masks.items()}


def to_torch_prune(model: nn.Module, masks: Mapping[str, Tensor]) -> nn.Module:
    """A copy of `model` that is pruned through `torch.nn.utils.prune` (custom_from_mask).

    Each weight becomes `weight_orig` and a buffer `weight_mask`, so that the tools of PyTorch
    see it as pruned; its outputs are those of the masked model. ValueError if the masks misfit, and
    for a weight that several layers share, which torch would prune in one of them only.
    """
    pruned = copy.deepcopy(unwrapped(model))
    validate_masks(pruned, masks)
    for name, layer in maskable_layers(pruned).items():
        if len(layer.owners) > 1:
            raise ValueError(
                f"layer {name!r} is one weight with {', '.join(layer.names[1:])}: "
                "torch.nn.utils.prune cannot prune a weight that layers share"
            )
        prune.custom_from_mask(*layer.owners[0], masks[name])
    return pruned


def draw(total: int, kept: int, generator: torch.Generator) -> Tensor:
    """A flat mask that keeps `kept` of `total` places at random."""
    mask = torch.zeros(total, dtype=torch.bool)
    mask[torch.randperm(total, generator=generator)[:kept]] = True
    return mask


def _check_n_m(name: str, sparsity: float, total: int, group: tuple[int, int]) -> None:
    n, m = group
    try:
        check_sparsity(sparsity)
    except ValueError as error:
        raise ValueError(f"layer {name!r}: {error}") from None
    # One weight of slack: a sparsity computed from a whole number of weights may miss 1 - n/m.
    if not abs(sparsity - (1 - n / m)) * total <= 1:
        raise ValueError(
            f"granularity '{n}:{m}' fixes the sparsity of every layer at {1 - n / m:g}, but layer "
            f"{name!r} is given {sparsity:g}; use ratio 'uniform' at sparsity {1 - n / m:g}"
        )


def _draw_n_m(shape: tuple[int, ...], n: int, m: int, generator: torch.Generator) -> Tensor:
    """Keep n of every m consecutive inputs of each output, at random.

    The inputs of a convolution run as (kh, kw, channel), channels fastest: that is the reduction
    axis of the matrix product that sparse tensor cores see for channels-last weights. Where fan-in
    is no multiple of m (27 for the first convolution of an RGB image) the r inputs left over form
    one short group a row; it keeps floor or ceil of r * n / m of them, so never more than n, with
    the rows that round up drawn such that the layer keeps its exact count.
    """
    channels_last = (shape[0], *shape[2:], shape[1])
    rows, fan_in = shape[0], torch.Size(shape[1:]).numel()
    full = fan_in // m * m
    mask = torch.zeros(rows, fan_in, dtype=torch.bool)
    mask[:, :full] = _choose(torch.full((rows, full // m), n), m, generator).view(rows, full)
    if left := fan_in - full:
        kept = max(round(rows * fan_in * n / m), 1) - rows * full // m * n
        counts = kept // rows + draw(rows, kept % rows, generator).long()
        mask[:, full:] = _choose(counts, left, generator)
    order = (0, len(shape) - 1, *range(1, len(shape) - 1))
    return mask.view(channels_last).permute(order).contiguous()


def _choose(counts: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Bool tensor of shape (*counts.shape, size) with `counts` random True along the last axis."""
    keys = torch.rand(*counts.shape, size, generator=generator)
    ranks = keys.argsort(dim=-1, stable=True).argsort(dim=-1, stable=True)
    return ranks < counts.unsqueeze(-1)
