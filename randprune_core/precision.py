"""Which arithmetic is used where: true float32 for what is measured, bfloat16 where it is native.

Reduced precision quantises confidences and flips the sign of small input gradients, which biases
calibration and attacks; only the training steps may use it.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def full_float32() -> Iterator[None]:
    """Make float32 mean float32: no TF32 on a GPU, no bfloat16 products; restored afterwards.

    Autocast is left as it is; leave it out where everything must be float32.
    """
    # The per-backend switch is used alone: torch refuses a mix with the older `allow_tf32`.
    backends = (
        torch.backends.cuda.matmul,
        torch.backends.cudnn.conv,
        torch.backends.mkldnn.matmul,
        torch.backends.mkldnn.conv,
    )
    before = [backend.fp32_precision for backend in backends]
    try:
        for backend in backends:
            backend.fp32_precision = "ieee"
        yield
    finally:
        for backend, precision in zip(backends, before, strict=True):
            backend.fp32_precision = precision


def native_precision(device: str = "cpu") -> str:
    """`bfloat16` where the device multiplies it natively, else `float32`."""
    if device.startswith("cuda"):
        return "bfloat16" if torch.cuda.get_device_capability() >= (8, 0) else "float32"
    return "bfloat16" if "avx512_bf16" in _cpu_flags() else "float32"


def _cpu_flags() -> str:
    try:
        with open("/proc/cpuinfo") as info:
            return next((line for line in info if line.startswith(("flags", "Features"))), "")
    except OSError:
        return ""
