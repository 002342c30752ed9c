"""Precision: float32 means float32 where it is measured, and everything is put back."""

import pytest
import torch

from randprune_core import paths, precision
from randprune_core.precision import full_float32, native_precision

BACKENDS = (
    torch.backends.cuda.matmul,
    torch.backends.cudnn.conv,
    torch.backends.mkldnn.matmul,
    torch.backends.mkldnn.conv,
)


def settings() -> list[str]:
    return [backend.fp32_precision for backend in BACKENDS]


def test_full_float32_switches_every_backend_and_puts_it_back():
    before = settings()
    with full_float32():
        assert settings() == ["ieee"] * 4
    assert settings() == before


def test_full_float32_puts_back_what_a_user_had_set_also_after_an_error():
    before = settings()
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    try:
        with pytest.raises(ZeroDivisionError), full_float32():
            _ = 1 / 0
        assert torch.backends.cuda.matmul.fp32_precision == "tf32"
    finally:
        torch.backends.cuda.matmul.fp32_precision = before[0]


def test_full_float32_may_be_nested():
    before = settings()
    with full_float32():
        with full_float32():
            pass
        assert settings() == ["ieee"] * 4
    assert settings() == before


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("flags : fpu avx2 avx512f avx512_bf16 amx_bf16", "bfloat16"),
        ("flags : fpu avx2 avx512f", "float32"),
        ("", "float32"),
    ],
)
def test_a_cpu_trains_in_bfloat16_only_where_it_multiplies_it_natively(
    monkeypatch, flags, expected
):
    monkeypatch.setattr(precision, "_cpu_flags", lambda: flags)
    assert native_precision("cpu") == expected


@pytest.mark.parametrize(("capability", "expected"), [((9, 0), "bfloat16"), ((7, 5), "float32")])
def test_a_gpu_trains_in_bfloat16_from_compute_capability_8_on(monkeypatch, capability, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert native_precision("cuda:0") == expected


def test_the_flags_of_this_processor_can_be_read_or_are_none():
    assert isinstance(precision._cpu_flags(), str)
    assert native_precision() in ("bfloat16", "float32")


@pytest.mark.parametrize("driver", [True, False])
def test_auto_is_the_cpu_where_cuda_cannot_be_used(monkeypatch, driver):
    monkeypatch.setattr(precision, "_has_gpu", lambda: driver)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert native_precision("auto") == native_precision("cpu")


def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="'tpu' is not known"):
        native_precision("tpu")


def test_emulated_bfloat16_rounds_the_exact_sums_of_convolutions_once(monkeypatch):
    monkeypatch.syspath_prepend(str(paths.ROOT / "benchmarks"))
    from precision import Float32Sums

    generator = torch.Generator().manual_seed(0)
    shapes = (4, 16, 8, 8), (32, 16, 3, 3), (4, 32, 8, 8)
    image, weight, gradient = (torch.randn(s, generator=generator).bfloat16() for s in shapes)
    results = []
    for dtype in (torch.bfloat16, torch.float64):
        x, w = (part.to(dtype).detach().requires_grad_() for part in (image, weight))
        with Float32Sums():
            y = torch.nn.functional.conv2d(x, w, padding=1)
            y.backward(gradient.to(dtype))
        results.append((y.detach(), x.grad, w.grad))
    for emulated, exact in zip(*results, strict=True):
        assert emulated.dtype == torch.bfloat16 and exact.dtype == torch.float64
        off = (emulated.double() - exact).abs()
        # Half a unit in the last place of a number of 8 bits, and a little for the float32 sums.
        assert (off <= exact.abs() * 2**-8 * 1.01 + 1e-5).all()
