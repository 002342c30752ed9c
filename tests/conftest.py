"""Shared fixtures: a record store of its own for each test, made-up data and made-up records."""

import copy
import io
import json
import os
import pickle
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

# One thread a process, before PyTorch is loaded: the tests run side by side.
os.environ["OMP_NUM_THREADS"] = "1"
# A shell has what it starts with `&` ignore Ctrl-C, and so would all that the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import numpy as np
import pytest
from filelock import FileLock

from randprune_core import paths
from randprune_core.config import RunConfig, config_to_dict, run_id

REAL_DATA = os.environ.get("RANDPRUNE_DATA")
STORE_FOLDERS = {
    "RUNS": "runs",
    "FAILED": "failed",
    "FIGURES": "figures",
    "LOCAL": "local",
    "CHECKPOINTS": "checkpoints",
    "BENCHMARKS": "benchmarks",
    "COMMITTED_BENCHMARKS": "benchmarks",
}


@pytest.fixture(autouse=True)
def no_data(monkeypatch, tmp_path_factory):
    """No test meets the data of this machine, unless it asks for `real_data`."""
    monkeypatch.delenv("RANDPRUNE_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
    identified = tmp_path_factory.mktemp("identified") / "data.json"
    monkeypatch.setattr(paths, "identified_path", lambda: identified)


@pytest.fixture
def real_data(monkeypatch) -> Path:
    """The data folder that $RANDPRUNE_DATA named when the tests began; skips without one."""
    if not REAL_DATA or not (Path(REAL_DATA) / "cifar10").is_dir():
        pytest.skip("RANDPRUNE_DATA names no folder with a cifar10/ folder in it")
    monkeypatch.setenv("RANDPRUNE_DATA", REAL_DATA)
    return Path(REAL_DATA)


def redirect_store(monkeypatch, folder: Path) -> Path:
    """Make `folder` the results folder of this process and of those that it starts."""
    monkeypatch.setenv("RANDPRUNE_RESULTS", str(folder))
    monkeypatch.setattr(paths, "RESULTS", folder)
    for name, below in STORE_FOLDERS.items():
        monkeypatch.setattr(paths, name, folder / below)
    return folder


@pytest.fixture
def store(tmp_path, monkeypatch) -> Path:
    """An empty results folder in place of the project's."""
    return redirect_store(monkeypatch, tmp_path / "results")


@pytest.fixture
def registering(monkeypatch):
    """Names that a test registers are forgotten after it."""
    from randprune_core import registry

    monkeypatch.setattr(registry, "_ENTRIES", {})
    monkeypatch.setattr(registry, "_LOADED", {})
    monkeypatch.setattr(sys, "path", sys.path.copy())


def outputs_of(notebook: Path) -> list[dict]:
    """What all cells of an executed notebook have put out."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return [out for cell in cells for out in cell.get("outputs", ())]


def files_under(folder: Path) -> list[str]:
    """Every file below a folder, by its relative path: what 'nothing was written' looks at."""
    return sorted(str(p.relative_to(folder)) for p in Path(folder).rglob("*") if p.is_file())


# A run that trains and is measured in a second or two.
TINY = {
    "dataset": "digits",
    "model": "resnet-8",
    "ratio": "erk",
    "sparsity": 0.9,
    "epochs": 2,
    "train_images": 200,
    "batch_size": 50,
}


def tiny(**changes) -> RunConfig:
    return RunConfig(**{**TINY, **changes})


@pytest.fixture(scope="session")
def _trained(tmp_path_factory):
    from randprune_core.sweeps.run import load_or_train

    with pytest.MonkeyPatch.context() as monkeypatch:
        folder = redirect_store(monkeypatch, tmp_path_factory.mktemp("trained"))
        config = tiny()
        record = load_or_train(config, device="cpu", progress=False)
        path = paths.record_path(config.dataset, run_id(config))
        left = files_under(folder)
    return SimpleNamespace(config=config, record=record, text=path.read_text(), files=left)


@pytest.fixture
def trained(_trained) -> SimpleNamespace:
    """One real tiny run, trained once: `config`, `record`, the file's `text`, `files` left."""
    return copy.deepcopy(_trained)


@pytest.fixture(scope="session")
def fitted():
    """(model, uint8 images, targets): three faint patterns, learned well but not perfectly."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    generator = torch.Generator().manual_seed(0)
    patterns = torch.rand(3, 3, 6, 6, generator=generator)
    targets = torch.arange(240) % 3
    noise = 0.15 * torch.randn(240, 3, 6, 6, generator=generator)
    images = ((0.4 + 0.15 * patterns[targets] + noise).clamp(0, 1) * 255).byte()
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)
    )
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for _ in range(15):
        optimiser.zero_grad()
        F.cross_entropy(model(images[:120] / 255), targets[:120]).backward()
        optimiser.step()
    return model, images, targets


@pytest.fixture
def unmeasured(monkeypatch, store):
    """`train` returns the finished `Run` itself: quick, and the network can be looked at."""
    from randprune_core.training import train as train_module

    monkeypatch.setattr(train_module, "measure", lambda run: run)


def made_up_record(config: RunConfig, accuracy: float = 0.5) -> dict:
    """A record of the right form that contradicts nothing, without any training."""
    kept = round((1 - config.sparsity) * 1_000)
    history = ("epoch", "lr", "train_loss", "train_accuracy", "validation_loss")
    history += ("validation_accuracy",)
    epochs = [float(epoch) for epoch in range(1, config.epochs + 1)]
    bins = [{"lower": 0.0, "upper": 1.0, "count": 360, "confidence": abs(accuracy - 0.0625)}]
    bins[0]["accuracy"] = accuracy
    ood = {"auroc": 0.75, "auroc_se": 0.01, "fpr95": 0.5, "auroc_energy": 0.7, "n": 9, "n_in": 9}
    return {
        "schema": 1,
        "run_id": run_id(config),
        "config": config_to_dict(config),
        "provenance": {"commit": "abc", "device": "a CPU", "seconds": 1.5, "data": {"test": 360}},
        "layers": [{"name": "conv1.weight", "shape": [10, 100], "kept": kept, "total": 1_000}],
        "cost": {"kept_weights": kept, "dense_weights": 1_000},
        "history": dict.fromkeys(history, epochs) | {"gradient_norm_at_init": 1.0},
        "test": {
            "accuracy": accuracy,
            "nll": 1.25,
            "ece": 0.0625,
            "n": 360,
            "bins": bins,
            "ood": {"photos": ood},
            "fgsm": {"1": {"accuracy": 0.25, "n": 100}},
            "pgd": {"0.5": {"accuracy": 0.125, "n": 100}},
        },
    }


def store_record(record: dict) -> Path:
    """Write a record where the store looks for it, as it is."""
    path = paths.record_path(record["config"]["dataset"], record["run_id"])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record))
    return path


def picture(pixels: np.ndarray, form: str = "PNG") -> bytes:
    """Encode (height, width, 3) uint8 pixels."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form)
    return buffer.getvalue()


def write_parquet(path: Path, images: list[bytes], labels, label_column: str) -> None:
    """A Parquet file in the layout of the Hugging Face hub."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    column = pa.array(
        [{"bytes": image, "path": None} for image in images],
        pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    labels = pa.array(np.asarray(labels, dtype=np.int64))
    pq.write_table(pa.table({"img": column, label_column: labels}), path)


CIFAR_LAYOUT = {
    "cifar10": ("plain_text", "label", 200, 50),
    "cifar100": ("x", "fine_label", 30, 40),
}


@pytest.fixture
def cifar_folder(tmp_path, monkeypatch) -> SimpleNamespace:
    """A data folder with a small CIFAR-10 and CIFAR-100 as Parquet, and what is in it.

    `root`, and by data set and split: `path`, `pixels` (n, 32, 32, 3) and `labels`.
    """
    draw = np.random.default_rng(0)
    made = SimpleNamespace(root=tmp_path / "data", path={}, pixels={}, labels={}, encoded={})
    for name, (folder, column, train, test) in CIFAR_LAYOUT.items():
        classes = 10 if name == "cifar10" else 100
        for split, count in (("train", train), ("test", test)):
            key = (name, split)
            made.pixels[key] = draw.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
            made.labels[key] = np.arange(count) % classes
            made.encoded[key] = [picture(pixels) for pixels in made.pixels[key]]
            made.path[key] = made.root / name / folder / f"{split}-00000-of-00001.parquet"
            write_parquet(made.path[key], made.encoded[key], made.labels[key], column)
    monkeypatch.setenv("RANDPRUNE_DATA", str(made.root))
    return made


def write_torchvision(made, root: Path) -> Path:
    """CIFAR-10 in torchvision's pickled batches, with the pixels of the made-up folder."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)

    def rows(split, place):
        pixels = made.pixels["cifar10", split][place].transpose(0, 3, 1, 2)
        labels = made.labels["cifar10", split][place].tolist()
        return {"data": pixels.reshape(len(pixels), -1), "labels": labels}

    for number in range(5):
        batch = rows("train", slice(40 * number, 40 * (number + 1)))
        (folder / f"data_batch_{number + 1}").write_bytes(pickle.dumps(batch))
    (folder / "test_batch").write_bytes(pickle.dumps(rows("test", slice(None))))
    meta = {"label_names": [str(number) for number in range(10)]}
    (folder / "batches.meta").write_bytes(pickle.dumps(meta))
    return folder


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A small ImageNet in the data folder: 48 training and 18 validation images."""
    from randprune_core.data import imagenet

    monkeypatch.setenv("RANDPRUNE_DATA", str(tmp_path / "data"))
    imagenet._folder.cache_clear()
    return imagenet.make_pictures(tmp_path / "data", train=16, val=6, classes=3)


def pytest_configure():
    """An example of a property may take any time: how long it takes depends on what else runs."""
    from hypothesis import settings

    settings.register_profile("shared machine", deadline=None)
    settings.load_profile("shared machine")


COUNTED = ("faults injected", "faults survived", "inputs tried")


def pytest_terminal_summary(terminalreporter):
    """How many faults were injected and survived, and how many inputs tried, in this test run."""
    reports = [report for kind in terminalreporter.stats.values() for report in kind]
    sums = dict.fromkeys(COUNTED, 0)
    for report in reports:
        if getattr(report, "when", None) == "teardown":
            for name, value in report.user_properties:
                if name in COUNTED:
                    sums[name] += value
    if any(sums.values()):
        terminalreporter.write_line(", ".join(f"{sums[name]} {name}" for name in COUNTED))


@pytest.fixture
def survived(record_property):
    """Count faults for the summary of the test run: call it once a fault has been survived."""
    counted = []
    yield lambda times=1: counted.append(times)
    record_property("faults injected", sum(counted))
    record_property("faults survived", sum(counted))


@pytest.fixture(scope="session")
def once(request, tmp_path_factory):
    """Calls a function with a folder, which all workers of this test run share, and returns it.

    The first worker that asks for a name calls the function; the others find what it has left.
    """

    def made(name: str, make: Callable[[Path], object]) -> Path:
        several = hasattr(request.config, "workerinput")  # as pytest-xdist has them
        base = tmp_path_factory.getbasetemp()
        folder = (base.parent if several else base) / f"once-{name}"
        with FileLock(f"{folder}.lock"):
            if not (done := folder.with_suffix(".done")).exists():
                folder.mkdir(exist_ok=True)
                make(folder)
                done.touch()
        return folder

    return made


@pytest.fixture(scope="session")
def undisturbed_store(once) -> Path:
    """The results folder of the sweep when nothing happens to it."""
    from fault_tools import RUNS, leftovers, run

    def sweep(store: Path) -> None:
        status, out, error = run(store)
        said = f"{RUNS} trained, 0 were recorded before, 0 failed, 0 not finished\n"
        assert (status, out) == (0, said)
        assert len(error.splitlines()) == RUNS and leftovers(store) == []

    return once("undisturbed", sweep)


@pytest.fixture(scope="session")
def undisturbed(undisturbed_store) -> dict[str, dict]:
    """The records of the sweep when nothing happens to it."""
    from fault_tools import records

    return records(undisturbed_store)


@pytest.fixture(scope="session")
def html(once) -> Path:
    """The folder of the built book."""
    from randprune_core.bookmaking import build

    once("book", lambda _: build.build_book())
    return paths.BUILD / "html"
