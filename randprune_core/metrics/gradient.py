"""The norm of the loss gradient over the weights that a network still has."""

from collections.abc import Mapping

import torch
from torch import nn

from ..pruning.layers import weights_of
from ..pruning.masks import validate_masks


def gradient_norm(
    model: nn.Module,
    masks: Mapping[str, torch.Tensor] | None,
    *,
    weights: Mapping[str, nn.Parameter] | None = None,
) -> float:
    """L2 norm of the `.grad` of unpruned conv and linear weights; `masks` None = dense.

    Call it after `backward()` and before the optimiser's step. Gradients of masked weights are not
    zero by themselves and are left out here. masks: boolean, by the names of `weights`, which are
    those of `maskable_weights(model)` unless others were chosen with its arguments.
    Raises ValueError for a weight without gradient and for masks that do not fit the network.
    """
    return gradient_norm_tensor(model, masks, weights=weights).item()


@torch.no_grad()
def gradient_norm_tensor(
    model: nn.Module,
    masks: Mapping[str, torch.Tensor] | None,
    *,
    weights: Mapping[str, nn.Parameter] | None = None,
) -> torch.Tensor:
    """`gradient_norm` as a float64 scalar on the model's device: no wait for the device."""
    weights = weights_of(model, weights)
    if masks is not None:
        validate_masks(model, masks, weights=weights)
    norms = []
    for name, weight in weights.items():
        gradient = weight.grad
        if gradient is None:
            raise ValueError(f"weight '{name}' has no gradient; call loss.backward() first")
        if masks is not None:
            # Not a product: an infinite gradient of a pruned weight times 0 is NaN.
            gradient = gradient.masked_fill(~masks[name].to(gradient.device), 0)
        norms.append(torch.linalg.vector_norm(gradient, dtype=torch.float64))
    return torch.linalg.vector_norm(torch.stack(norms))
