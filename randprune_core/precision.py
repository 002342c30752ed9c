"""Which arithmetic is used where: true float32 for what is measured, bfloat16 where it is native.

Reduced precision quantises confidences and flips the sign of small input gradients, which biases
calibration and attacks; only the training steps may use it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .devices import pick_device

# torch is imported where it is used: to look a run up must not take the seconds that it takes.


@contextmanager
def full_float32() -> Iterator[None]:
    """Make float32 mean float32: no TF32 on a GPU, no bfloat16 products; restored afterwards.

    Autocast is left as it is; leave it out where everything must be float32.
    """
    import torch

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


@contextmanager
def full_precision(device_type: str) -> Iterator[None]:
    """Compute in true float32: no autocast, no TF32 or bfloat16 products; restored afterwards."""
    import torch

    with full_float32(), torch.autocast(device_type, enabled=False):
        yield


@contextmanager
def arithmetic() -> Iterator[None]:
    """True float32 wherever autocast does not say otherwise; the fastest kernels on a GPU."""
    import torch

    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    try:
        with full_float32():
            yield
    finally:
        torch.backends.cudnn.benchmark = before


def native_precision(device: str = "auto") -> str:
    """`bfloat16` where the device (auto, cpu or cuda) multiplies it natively, else `float32`.

    Raises `ValueError` for a device that is not there.
    """
    if device == "cpu" or (device == "auto" and not _has_gpu()):
        return "bfloat16" if "avx512_bf16" in _cpu_flags() else "float32"
    import torch

    picked = pick_device(device)
    if picked.type == "cpu":
        return native_precision("cpu")
    return "bfloat16" if torch.cuda.get_device_capability(picked) >= (8, 0) else "float32"


def _has_gpu() -> bool:
    """Whether a driver shows a GPU that CUDA might use (on Linux, or Linux within Windows)."""
    return any(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/dxg").exists()


def _cpu_flags() -> str:
    try:
        with open("/proc/cpuinfo") as info:
            return next((line for line in info if line.startswith(("flags", "Features"))), "")
    except OSError:
        return ""
