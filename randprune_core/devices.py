"""The devices that runs train on: which one, its name, memory layout, threads of a process.

torch is imported where it is used: to look a run up must not take the seconds that it takes.
"""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import nn


def pick_device(name: str = "auto") -> torch.device:
    """`auto` is CUDA when there is one, else the CPU. Raises `ValueError` for what is not there."""
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name != "cpu" and not name.startswith("cuda"):
        raise ValueError(f"device {name!r} is not known: choose auto, cpu or cuda")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"device {name!r}: no CUDA device is available here; choose cpu")
    return torch.device(name)


def device_name(device: str = "auto") -> str:
    """The model name of the processor or GPU, as provenance states it."""
    import torch

    picked = pick_device(device)
    if picked.type == "cuda":
        return torch.cuda.get_device_name(picked)
    try:
        with open("/proc/cpuinfo") as info:
            for line in info:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def memory_format(model: nn.Module, device: torch.device) -> torch.memory_format:
    """Channels last, which is the fastest, wherever it is safe.

    On a CPU oneDNN writes past its buffers in the backward pass of a strided 1x1 convolution with
    fewer input channels than a vector register holds numbers, and the process aborts: seen with
    torch 2.15 and AVX2, whose registers hold 8; those of AVX-512 hold 16.
    """
    import torch
    from torch import nn

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


def job_size() -> int:
    """How many processes `torchrun` started for this job; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def one_thread() -> None:
    """Let this process compute with one thread."""
    import torch

    torch.set_num_threads(1)


WORKER_ENVIRONMENT = {"OMP_NUM_THREADS": "1"}
"""What worker processes inherit: one thread each."""


def worker_environment() -> AbstractContextManager[None]:
    """Let processes that are started meanwhile inherit `WORKER_ENVIRONMENT`."""
    return environment(WORKER_ENVIRONMENT)


@contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set variables for this process and those that it starts meanwhile; then all is as before.

    The one place of the package that writes to the environment.
    """
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
