"""What the benchmarks share: data of CIFAR's size, the description of this machine, its files."""

import io
import json
import os
import platform
import statistics
import tempfile
import time
import warnings
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from randprune_core import paths
from randprune_core.data.copies import available_variant
from randprune_core.devices import device_name
from randprune_core.presentation import foreign
from randprune_core.presentation.words import processor_label
from randprune_core.records.provenance import code_version


@contextmanager
def cifar_at_hand(images: int = 4_000):
    """Yield the variant of CIFAR-10 in `data_root()`; where there is none, of noise of its size.

    The noise comes with a CIFAR-100, whose images a run is measured on. Speed does not depend on
    what the images show.
    """
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if not (paths.data_root() / "cifar10").is_dir():
            _write_noise(Path(folder, "cifar10"), "label", 10, images)
            _write_noise(Path(folder, "cifar100"), "fine_label", 100, 100)
            os.environ["RANDPRUNE_DATA"] = folder
        yield available_variant("cifar10", download=False)


def _write_noise(folder: Path, label: str, classes: int, images: int) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq
    from PIL import Image

    random = np.random.default_rng(0)
    folder.mkdir()
    for split, count in (("train", images), ("test", 100)):
        encoded = []
        for pixels in random.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8):
            buffer = io.BytesIO()
            Image.fromarray(pixels).save(buffer, "PNG", compress_level=0)
            encoded.append({"bytes": buffer.getvalue(), "path": ""})
        table = pa.table({"img": encoded, label: random.integers(0, classes, count)})
        pq.write_table(table, folder / f"{split}-0.parquet")


def matmul_rate(device: torch.device, precision: str, seconds: float = 2.0) -> float:
    """Multiply-accumulates a second of a large matrix product: the ceiling of this device."""
    size = 8_192 if device.type == "cuda" else 2_048
    dtype = getattr(torch, precision)
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    rates, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(rates) < 3:
        started = time.perf_counter()
        left @ right
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        rates.append(size**3 / (time.perf_counter() - started))
    return statistics.median(rates)


def processor(device: torch.device) -> str:
    """The model name of the processor or GPU in one word, without the marks of its maker."""
    return processor_label(device_name(device.type)).replace(" ", "-")


def save_rows(name: str, rows: list[dict], device: torch.device) -> Path:
    """Put rows into `results/benchmarks/<name>.csv` in place of older ones of this processor.

    The column `processor` says which one that is.
    """
    path = paths.BENCHMARKS / f"{name}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame(rows).assign(processor=processor(device))
    if path.exists():
        old = pd.read_csv(path)
        table = pd.concat([old[old.processor != processor(device)], table], ignore_index=True)
    path.write_text(foreign.csv_text(table, float_format="%.6g"), encoding="utf-8")
    return path


def save_description(name: str, device: torch.device, **facts) -> None:
    """Note in `results/benchmarks/machines.json` where the rows of a processor were made."""
    path = paths.BENCHMARKS / "machines.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    known.setdefault(name, {})[processor(device)] = {
        "device": device.type,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "date": datetime.now(UTC).date().isoformat(),
        **code_version(),
        **facts,
    }
    path.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
