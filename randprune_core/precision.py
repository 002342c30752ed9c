"""Which arithmetic is used where: true float32 for what is measured, bfloat16 where it is native.

Reduced precision quantises confidences and flips the sign of small input gradients, which biases
calibration and attacks; only the training steps may use it.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
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
    """Compute in true float32: no autocast, no TF32 or bfloat16 products; restored afterwards.

    Kernels are those of a new process, whatever this one has switched off.
    """
    import torch

    with _plain_switches(), full_float32(), torch.autocast(device_type, enabled=False):
        yield


@contextmanager
def plain_tensors() -> Iterator[None]:
    """New tensors are float32 and on the CPU, whatever this process has set; restored afterwards.

    Everything that is drawn or built from a seed is made inside, so that it depends on the seed
    alone. Serves as a decorator too.
    """
    import torch

    before, device = torch.get_default_dtype(), torch.get_default_device()
    if before != torch.float32:
        torch.set_default_dtype(torch.float32)
    try:
        # As a context a device slows every call of torch down: only where it is needed.
        with nullcontext() if device.type == "cpu" else torch.device("cpu"):
            yield
    finally:
        if before != torch.float32:
            torch.set_default_dtype(before)


@contextmanager
def arithmetic() -> Iterator[None]:
    """PyTorch as a new process has it, with true float32 and the fastest kernels on a GPU.

    The numbers of a run follow from its config: none of what a process can set for all of torch
    reaches them (default type and device, inference mode, autocast, deterministic algorithms,
    kernels switched off, tiny numbers flushed to zero). All is restored afterwards. The number of
    threads is the caller's, and provenance states it. Raises ValueError, with its name, for an
    environment variable by which a library would round float32 unknown to PyTorch.
    """
    import torch

    _refuse_rounding()
    with ExitStack() as stack:
        stack.enter_context(plain_tensors())
        stack.enter_context(torch.inference_mode(False))  # turns gradients on, too
        for device in ("cpu", "cuda"):
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        stack.enter_context(_plain_switches(fastest=True))
        stack.enter_context(full_float32())
        yield


_ROUNDING = {
    "ONEDNN_DEFAULT_FPMATH_MODE": ("", "STRICT"),
    "DNNL_DEFAULT_FPMATH_MODE": ("", "STRICT"),
    "NVIDIA_TF32_OVERRIDE": ("", "0"),
}
"""Variables that let oneDNN or cuBLAS round float32, and the values that do not."""


def _refuse_rounding() -> None:
    for name, harmless in _ROUNDING.items():
        if (value := os.environ.get(name, "")).upper() not in harmless:
            raise ValueError(
                f"{name}={value} makes a library round float32, so that numbers would not follow "
                f"from the config: unset {name}"
            )


@contextmanager
def _plain_switches(fastest: bool = False) -> Iterator[None]:
    """The switches of torch as a new process has them; restored afterwards.

    With `fastest` a GPU tries which of its kernels is the fastest for every new shape: worth it
    where one shape is computed thousands of times, and a loss of half the time in an attack.
    """
    import torch

    cudnn, mkldnn = torch.backends.cudnn, torch.backends.mkldnn
    strict = torch.are_deterministic_algorithms_enabled()
    only_warns = torch.is_deterministic_algorithms_warn_only_enabled()
    before = cudnn.enabled, cudnn.benchmark, cudnn.deterministic, mkldnn.enabled
    tiny = torch.tensor(1e-30, dtype=torch.float32, device="cpu")
    flushes = bool(tiny * 1e-10 == 0)
    try:
        if strict:  # a call loads PyTorch's compiler
            torch.use_deterministic_algorithms(False)
        if flushes:
            torch.set_flush_denormal(False)
        cudnn.enabled, cudnn.deterministic = True, False
        cudnn.benchmark = fastest
        mkldnn.enabled = True
        yield
    finally:
        if strict:
            torch.use_deterministic_algorithms(True, warn_only=only_warns)
        if flushes:
            torch.set_flush_denormal(True)
        cudnn.enabled, cudnn.benchmark, cudnn.deterministic, mkldnn.enabled = before


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
