"""How a network is asked for its answers: held still, in float32, on pixels in [0, 1]."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from ..precision import full_precision


@contextmanager
def frozen(model: nn.Module) -> Iterator[torch.device]:
    """Hold a network in evaluation mode and full precision, its weights without gradients.

    Yields the model's device. Every module's training flag and every parameter's
    `requires_grad` are restored one by one, so that a partly frozen network comes back as it was.
    """
    modes = [(module, module.training) for module in model.modules()]
    needs_gradient = [parameter for parameter in model.parameters() if parameter.requires_grad]
    device = next(iter([*model.parameters(), *model.buffers()]), torch.empty(0)).device
    with full_precision(device.type):
        try:
            model.eval()
            for parameter in needs_gradient:
                parameter.requires_grad_(False)
            yield device
        finally:
            for module, mode in modes:
                module.training = mode
            for parameter in needs_gradient:
                parameter.requires_grad_(True)


def to_device(batch: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Move a batch to `device`; NCHW goes to channels_last, the fastest layout for convolutions."""
    layout = torch.channels_last if batch.dim() == 4 else torch.preserve_format
    return batch.to(device, memory_format=layout)


def check_images(images: torch.Tensor) -> None:
    """Raise ValueError unless `images` are float32 or float64 in [0, 1]."""
    if images.dtype not in (torch.float32, torch.float64):
        raise ValueError(
            f"images are {images.dtype}; they must be float32 in [0, 1]: use images.float() / 255"
        )
    if len(images) and not bool(((images >= 0) & (images <= 1)).all()):
        low, high = (value.item() for value in images.aminmax())
        raise ValueError(
            f"images range from {low:g} to {high:g}; they must be plain pixels in [0, 1]: "
            "with_normalization gives a module that takes them"
        )


@torch.no_grad()
def predict_logits(model: nn.Module, images: torch.Tensor, batch_size: int = 500) -> torch.Tensor:
    """Logits of `images` in evaluation mode: float32, shape (n, classes), on the model's device.

    images: uint8 NCHW in 0..255 (divided by 255) or float in [0, 1], on any device. The module
    takes [0, 1] pixels and is left as it was. Raises ValueError for other dtypes or ranges.
    """
    if batch_size < 1 or not len(images):
        raise ValueError(
            f"batch_size is {batch_size} for {len(images)} images; both must be at least 1"
        )
    logits = []
    with frozen(model) as device:
        for batch in images.split(batch_size):
            batch = to_device(batch, device)
            if batch.dtype == torch.uint8:
                batch = batch.float() / 255
            check_images(batch)
            logits.append(model(batch).float())
    return torch.cat(logits)
