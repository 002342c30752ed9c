"""Where the tensors of runs lie: one copy of the data on a device, layout, freed memory."""

import ctypes
from functools import cache, lru_cache

import torch
from torch import nn

from . import data


@lru_cache(maxsize=2)
def dataset_on(
    name: str, variant: str, device: torch.device, image_size: int | None = None
) -> data.Dataset:
    """The data set on a device, one copy for all runs of the process."""
    dataset = data.load_dataset(name, variant, image_size).to(device)
    if device.type == "cuda":  # it is read on other streams
        torch.cuda.synchronize(device)
    return dataset


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


@cache
def keep_freed_memory() -> None:
    """Have this process keep the memory that a step frees for the next step, where it can.

    The C library of most Linux systems (glibc) hands blocks of megabytes back to the system as
    they are freed, and the next step waits while the system clears fresh ones: a fifth of the
    images a second of ResNet-20 on two cores, a third of ResNet-110. This holds for all that the
    process does, which in return keeps the most memory that it ever used. Other C libraries are
    left as they are.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, TypeError, AttributeError):
        return
    for option, value in _GLIBC_OPTIONS.items():
        mallopt(option, value)


_GLIBC_OPTIONS = {-4: 0, -1: 2**31 - 1, -2: 2**26}
"""M_MMAP_MAX: no block of its own; M_TRIM_THRESHOLD: give back nothing; M_TOP_PAD: 64 MiB more."""
