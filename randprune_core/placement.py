"""Where the tensors of runs lie: one copy of the data on a device, and the layout of images."""

from functools import lru_cache

import torch
from torch import Tensor, nn

from . import data


@lru_cache(maxsize=2)
def dataset_on(name: str, variant: str, device: torch.device) -> data.Dataset:
    """The data set on a device, one copy for all runs of the process."""
    dataset = data.load_dataset(name, variant).to(device)
    _wait_for(device)
    return dataset


@lru_cache(maxsize=2)
def padded_images(name: str, variant: str, train_images: int, device: torch.device) -> Tensor:
    """The padded training images on a device, ready to be cropped: one copy for all runs."""
    dataset = dataset_on(name, variant, device)
    training, _ = dataset.split(train_images)
    padded = data.pad_for_crops(dataset.train_images[training], data.PADDING[name])
    _wait_for(device)
    return padded


def _wait_for(device: torch.device) -> None:
    """What is made here is read on other streams."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def memory_format(model: nn.Module, device: torch.device) -> torch.memory_format:
    """Channels last, which is the fastest, wherever it is safe.

    On a CPU oneDNN writes past its buffers in the backward pass of a strided 1x1 convolution with
    fewer input channels than a vector register holds numbers, and the process aborts: seen with
    torch 2.15 and AVX2, whose registers hold 8; those of AVX-512 hold 16.
    """
    risky = device.type == "cpu" and any(
        module.kernel_size == (1, 1) and module.stride != (1, 1) and module.in_channels < 16
        for module in model.modules()
        if isinstance(module, nn.Conv2d)
    )
    return torch.contiguous_format if risky else torch.channels_last
