"""What a run draws and computes follows from its config, whatever the process has set for torch."""

import hashlib
import json
import os
import random
import subprocess
import sys
from contextlib import ExitStack, contextmanager

import numpy as np
import pytest
import torch
from conftest import tiny

from randprune_core import paths
from randprune_core.metrics.attacks import gaussian_noise, random_start
from randprune_core.models import build_model, with_normalization
from randprune_core.precision import arithmetic, plain_tensors
from randprune_core.pruning.masks import random_masks
from randprune_core.pruning.ratios import layer_sparsities
from randprune_core.pruning.saliency import class_balanced_batch, snip_scores
from randprune_core.training.protocol import epoch_order, epoch_plan
from randprune_core.training.train import train


def put(owner, name, value):
    """Set an attribute of a module of torch for a while."""

    @contextmanager
    def context():
        before = getattr(owner, name)
        setattr(owner, name, value)
        try:
            yield
        finally:
            setattr(owner, name, before)

    return context


def called(function, value, back):
    """Call a setter for a while."""

    @contextmanager
    def context():
        function(value)
        try:
            yield
        finally:
            function(back)

    return context


def seed_everything(seed):
    torch.manual_seed(seed), np.random.seed(seed % 2**32), random.seed(seed)


GLOBALS = {
    "float64": called(torch.set_default_dtype, torch.float64, torch.float32),
    "float16": called(torch.set_default_dtype, torch.float16, torch.float32),
    "device": called(torch.set_default_device, "meta", None),
    "generators": called(seed_everything, 99, 0),
    "inference mode": torch.inference_mode,
    "no gradients": torch.no_grad,
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "matmul precision": called(torch.set_float32_matmul_precision, "medium", "highest"),
    "convolutions": put(torch.backends.mkldnn.conv, "fp32_precision", "bf16"),
    "oneDNN off": put(torch.backends.mkldnn, "enabled", False),
    "cuDNN": put(torch.backends.cudnn, "deterministic", True),
    "deterministic": called(torch.use_deterministic_algorithms, True, False),
    "tiny numbers": called(torch.set_flush_denormal, True, False),
}


def drawn() -> dict[str, torch.Tensor]:
    """Everything that is drawn from a seed, by what it is."""
    config = tiny()
    model = build_model("resnet-8", seed=1)
    x, y = torch.from_numpy(PIXELS), torch.from_numpy(LABELS)
    found = {"weights/" + name: value for name, value in model.state_dict().items()}
    for ratio in ("erk", "snip"):
        sparsities = layer_sparsities(ratio, model, 0.8, inputs=x, targets=y)
        for granularity in ("unstructured", "filter"):
            masks = random_masks(model, sparsities, 2, granularity)
            found |= {f"{ratio}/{granularity}/{name}": mask for name, mask in masks.items()}
    half = dict.fromkeys(sparsities, 0.5)
    found |= {f"2:4/{n}": mask for n, mask in random_masks(model, half, 2, "2:4").items()}
    found |= {f"score/{n}": score for n, score in snip_scores(model, x, y).items()}
    found["order"] = epoch_order(config, 3)
    found |= dict(zip(("order of plan", "crops", "flips"), epoch_plan(config, 3), strict=True))
    found["batch"] = class_balanced_batch(y, 2, seed=4, num_classes=3)
    found["noise"] = gaussian_noise(x, 0.1, seed=5)
    found["starts"] = random_start(x, 0.1, seed=6)
    found["restart"] = random_start(x, 0.1, seed=6, restart=1)
    found["normalised"] = with_normalization(model, "cifar10").mean
    return found


PIXELS = np.random.default_rng(0).random((12, 3, 16, 16), dtype=np.float32)
LABELS = np.arange(12) % 3


@pytest.mark.parametrize("name", GLOBALS)
def test_no_global_of_torch_changes_a_bit_of_what_is_drawn(name):
    expected = drawn()
    with GLOBALS[name]():
        found = drawn()
    assert list(found) == list(expected)
    for key, value in expected.items():
        assert found[key].dtype == value.dtype and found[key].device == value.device, key
        assert torch.equal(found[key], value), key


def measured() -> str:
    result = train(tiny(epochs=1, train_images=100, sparsity=0.5), "cpu")
    return json.dumps({key: result[key] for key in ("layers", "cost", "history", "test")})


@pytest.fixture(scope="module")
def undisturbed_run(tmp_path_factory):
    from conftest import redirect_store

    with pytest.MonkeyPatch.context() as patch:
        redirect_store(patch, tmp_path_factory.mktemp("undisturbed"))
        return measured()


@pytest.mark.parametrize("name", GLOBALS)
def test_no_global_of_torch_changes_a_bit_of_a_run(store, undisturbed_run, name):
    with GLOBALS[name]():
        assert measured() == undisturbed_run


def test_all_globals_at_once_change_nothing_and_are_as_they_were(store, undisturbed_run):
    with ExitStack() as stack:
        for name, change in GLOBALS.items():
            if name not in ("float16", "no gradients"):
                stack.enter_context(change())
        before = state()
        assert measured() == undisturbed_run
        assert state() == before


def state() -> tuple:
    """The globals that `GLOBALS` changes, as they are."""
    with torch.device("cpu"):
        flushed = bool((torch.tensor(1e-30, dtype=torch.float32) * 1e-10) == 0)
    return (
        torch.get_default_dtype(),
        torch.get_default_device(),
        torch.is_inference_mode_enabled(),
        torch.is_grad_enabled(),
        torch.is_autocast_enabled("cpu"),
        torch.get_float32_matmul_precision(),
        torch.backends.mkldnn.conv.fp32_precision,
        torch.backends.mkldnn.enabled,
        torch.backends.cudnn.deterministic,
        torch.backends.cudnn.benchmark,
        torch.are_deterministic_algorithms_enabled(),
        flushed,
    )


@pytest.mark.parametrize("context", [arithmetic, plain_tensors])
def test_globals_are_restored_after_an_error(context):
    with ExitStack() as stack:
        for name in ("float64", "device", "tiny numbers", "oneDNN off", "deterministic"):
            stack.enter_context(GLOBALS[name]())
        before = state()
        with pytest.raises(ZeroDivisionError), context():
            raise ZeroDivisionError
        assert state() == before


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("ONEDNN_DEFAULT_FPMATH_MODE", "BF16"),
        ("DNNL_DEFAULT_FPMATH_MODE", "any"),
        ("NVIDIA_TF32_OVERRIDE", "1"),
    ],
)
def test_a_variable_that_lets_a_library_round_is_refused_by_name(monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)
    with pytest.raises(ValueError, match=f"{variable}={value} .*unset {variable}"), arithmetic():
        pass


@pytest.mark.parametrize("value", ["", "STRICT", "strict"])
def test_a_variable_that_rounds_nothing_is_no_error(monkeypatch, value):
    monkeypatch.setenv("ONEDNN_DEFAULT_FPMATH_MODE", value)
    with arithmetic():
        pass


DIGEST = """
import hashlib, sys
from randprune_core import build_model, layer_sparsities, random_masks
model = build_model("resnet-8", seed=1)
masks = random_masks(model, layer_sparsities("erk", model, 0.8), 2)
digest = hashlib.sha256()
for tensor in [*model.state_dict().values(), *masks.values()]:
    digest.update(tensor.numpy().tobytes())
print(digest.hexdigest())
"""


@pytest.mark.parametrize(
    ("first", "variables"),
    [
        (
            "import sklearn.utils, scipy.stats",
            {"PYTHONHASHSEED": "7", "LC_ALL": "C", "TZ": "Asia/Tokyo"},
        ),
        ("import torch; torch.set_default_dtype(torch.float64); torch.manual_seed(3)", {}),
    ],
)
def test_neither_environment_nor_order_of_imports_changes_what_is_drawn(first, variables):
    done = subprocess.run(
        [sys.executable, "-c", first + DIGEST],
        env=os.environ | variables | {"PYTHONPATH": str(paths.ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    model = build_model("resnet-8", seed=1)
    masks = random_masks(model, layer_sparsities("erk", model, 0.8), 2)
    digest = hashlib.sha256()
    for tensor in [*model.state_dict().values(), *masks.values()]:
        digest.update(tensor.numpy().tobytes())
    assert done.stdout.strip() == digest.hexdigest()
