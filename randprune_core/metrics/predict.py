"""How a network is asked for its answers: held still, in float32, on pixels in [0, 1]."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from ..arguments import whole_number
from ..precision import full_precision, plain_tensors

KINDS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


@contextmanager
def frozen(model: nn.Module) -> Iterator[torch.device]:
    """Hold a network in evaluation mode and full precision, its weights without gradients.

    Yields the model's device. Every module's training flag and every parameter's
    `requires_grad` are restored one by one, so that a partly frozen network comes back as it was.
    """
    modes = [(module, module.training) for module in model.modules()]
    needs_gradient = [
        parameter
        for parameter in model.parameters()
        if parameter.requires_grad and not parameter.is_inference()
    ]
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


@contextmanager
def differentiable(model: nn.Module) -> Iterator[torch.device]:
    """`frozen`, with gradients by the images even where the caller is in `inference_mode`.

    Raises ValueError for a network that was itself made in `inference_mode`: no gradient passes
    through such weights.
    """
    if any(weight.is_inference() for weight in [*model.parameters(), *model.buffers()]):
        raise ValueError(
            "the network was made in torch.inference_mode, and no gradient passes through it: "
            "build or copy it outside"
        )
    with torch.inference_mode(False), plain_tensors(), frozen(model) as device:
        yield device


def to_device(batch: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Move a batch to `device`; NCHW goes to channels_last, the fastest layout for convolutions."""
    layout = torch.channels_last if batch.dim() == 4 else torch.preserve_format
    return batch.to(device, memory_format=layout)


def kind_of(model: nn.Module) -> torch.dtype:
    """The floating-point type of a network's weights, in which it wants its images.

    Raises ValueError for a network that has weights of another kind.
    """
    kind = next((weight.dtype for weight in model.parameters()), torch.float32)
    if kind not in KINDS:
        names = ", ".join(str(known).removeprefix("torch.") for known in KINDS)
        raise ValueError(f"the network's weights are {kind}; allowed are {names}")
    return kind


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
    """Logits of `images` in evaluation mode, shape (n, classes), on the model's device.

    They are float32, of a float64 network float64; a network of 16-bit weights computes in 16 bits.

    images: uint8 NCHW in 0..255 (divided by 255) or float in [0, 1], on any device. The module
    takes [0, 1] pixels and is left as it was. Raises ValueError for other dtypes or ranges.
    """
    batch_size = whole_number(batch_size, "batch_size", least=1)
    if not len(images):
        raise ValueError("there are no images to predict; give at least 1")
    kind = kind_of(model)
    wanted = torch.float64 if kind == torch.float64 else torch.float32
    logits = []
    with plain_tensors(), frozen(model) as device:
        for batch in images.split(batch_size):
            batch = to_device(batch, device)
            if batch.dtype == torch.uint8:
                batch = batch.float() / 255
            check_images(batch)
            logits.append(model(batch.to(kind)).to(wanted))
    return torch.cat(logits)
