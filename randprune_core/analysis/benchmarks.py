"""What the scripts in `benchmarks/` measured: here, else what is committed with the project."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from .. import paths
from ..records import forms

DEVICES = ("cpu", "cuda")
_COLUMNS = {
    "granularity": "device model case processor",
    "training_speed": "case device model side precision images_per_second ratio_to_plain "
    "share_of_matmul processor",
    "scaling": "grows model runs_at_once device precision seconds_per_step macs processor",
    "load_runs": "records seconds device processor",
    "compiled": "case device model precision threads first_epoch_seconds images_per_second "
    "ratio_to_eager epochs_to_win_back processor",
    "precision": "model ratio sparsity seed precision arithmetic device record accuracy ece "
    "processor",
    "overhead": "run part model device seconds share processor",
}
"""Columns of the tables, where nothing was measured yet."""


def benchmark(name: str, device: str = "auto") -> pd.DataFrame:
    """The rows of `results/benchmarks/<name>.csv`; `device` is auto (all), cpu or cuda.

    Raises ValueError for another device. No row where nothing was measured.
    """
    if device not in ("auto", *DEVICES):
        raise ValueError(f"device {device!r} is not known: choose auto, cpu or cuda")
    path = _folder(name) / f"{name}.csv"
    table = pd.read_csv(path) if path.exists() else pd.DataFrame(columns=_COLUMNS[name].split())
    forms.check_benchmark(table, path)
    if "processor" not in table:
        raise ValueError(
            f"{path}: it has no column `processor`, an older version wrote it; measure again with "
            f"python benchmarks/{name}.py, or delete it"
        )
    table["processor"] = [_spoken(name) for name in table.processor]
    return table if device == "auto" else table[table.device == device]


def _folder(name: str) -> Path:
    """Where the rows of a benchmark and what is said of its machine lie."""
    measured = (paths.BENCHMARKS / f"{name}.csv").exists()
    return paths.BENCHMARKS if measured else paths.COMMITTED_BENCHMARKS


def machines(name: str) -> dict:
    """Where the rows of a benchmark were made, by processor."""
    path = _folder(name) / "machines.json"
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    forms.check_benchmark(known, path)
    return {_spoken(processor): facts for processor, facts in known.get(name, {}).items()}


def _spoken(processor: str) -> str:
    """A processor's name as it is written: in the files it is one word."""
    return processor.replace("-", " ")
